"""Boxes around arrays, and rules from logical axes to a mesh."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from tests.parity.harness import same, same_error

LAYERS = {'partition_name': 'layers'}
ARRAY = jnp.arange(6.0).reshape(2, 3)


def new_mesh():
    return Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ('data', 'model'))


def constraints(fn, *args):
    jaxpr = jax.make_jaxpr(fn)(*args)
    return [(str(e.primitive), e.params.get('sharding')) for e in jaxpr.eqns]


def boxes(M):
    box = M.Partitioned(ARRAY, ('data', None))
    return box, {
        'w': box,
        'n': [M.Partitioned(M.Partitioned(ARRAY[0], (None,)), ('model',))],
        'b': ARRAY,
    }


META_PROGRAMS = {
    'add_axis': lambda M, box, tree: [box.add_axis(i, LAYERS) for i in (0, 1, 2, 5, -1, -2)],
    'remove_axis': lambda M, box, tree: [
        box.add_axis(i, LAYERS).remove_axis(i, LAYERS) for i in (0, 1, 2)
    ],
    'trees': lambda M, box, tree: [
        M.add_axis(tree, 0, LAYERS), M.remove_axis(M.add_axis(tree, 0, LAYERS), 0, LAYERS),
        M.unbox(tree), M.replace_boxed(tree, M.unbox(tree)), M.map_axis_meta(repr, tree),
        M.is_axis_metadata(box), M.is_axis_metadata(tree),
    ],
    'specs': lambda M, box, tree: [
        M.get_partition_spec({**tree, 's': 'text', 'f': 1.0}), M.get_sharding(tree, new_mesh()),
        box.get_partition_spec(), box.get_sharding(new_mesh()),
        M.get_partition_spec(jax.eval_shape(lambda: tree)),
    ],
    'pytree': lambda M, box, tree: [
        jax.tree_util.tree_leaves_with_path(tree), jax.tree.structure(box).node_data()[1],
        repr(box),
    ],
    'mesh of the box': lambda M, box, tree: [
        M.Partitioned(ARRAY, ('data', None), new_mesh()).unbox().sharding,
        M.Partitioned(ARRAY, ('data', None), new_mesh()).unbox(apply_constraint=False).sharding,
        constraints(lambda x: M.Partitioned(x, ('data', None), new_mesh()).unbox(), ARRAY),
    ],
    'no mesh': lambda M, box, tree: [
        M.get_global_mesh(), M.global_mesh_defined(), constraints(lambda b: b.unbox(), box),
    ],
    'initialiser': lambda M, box, tree: [
        M.with_partitioning(jax.nn.initializers.normal(), ('data', None), mesh)(
            jax.random.key(0), (2, 3)
        )
        for mesh in (None, new_mesh())
    ],
}  # fmt: skip


@pytest.mark.parametrize('name', META_PROGRAMS)
def test_boxes_behave_alike(name):
    def program(lib):
        meta = lib.load('core.meta')
        return META_PROGRAMS[name](meta, *boxes(meta))

    same(program)


def test_boxes_behave_alike_under_a_mesh():
    def program(lib):
        meta = lib.load('core.meta')
        box, tree = boxes(meta)
        with jax.set_mesh(new_mesh()):
            placed = jax.device_put(ARRAY, NamedSharding(new_mesh(), P()))
            return [
                str(meta.get_global_mesh()),
                meta.global_mesh_defined(),
                str(constraints(lambda b: b.unbox(), box)),
                str(constraints(lambda b: b.unbox(apply_constraint=False), box)),
                meta.Partitioned(placed, ('data', None)).unbox().sharding,
                jax.jit(meta.unbox)(tree),
                jax.eval_shape(meta.unbox, tree),
            ]

    same(program)


def test_boxes_refuse_alike():
    for change in ('add_axis', 'remove_axis'):
        same_error(lambda lib, c=change: getattr(boxes(lib.load('core.meta'))[0], c)(0, {}))
    same_error(lambda lib: lib.load('core.meta').AxisMetadata())
    same_error(lambda lib: lib.load('core.meta').Partitioned(1.0))


RULES = (('embed', 'model'), ('batch', None), ('heads', ('data', 'model')))
SHARDINGS = [
    ('embed', 'batch'), ('embed', 'other', None), (('embed', 'batch'),), ('heads',), (), P('embed'),
    P('data', 'batch'), None, 'embed', SingleDeviceSharding(jax.devices()[0]),
]  # fmt: skip


def test_rules_are_applied_alike():
    def program(lib):
        spmd = lib.load('core.spmd')
        named = NamedSharding(new_mesh(), P('data'))
        results = []
        for sharding, rules in itertools.product([*SHARDINGS, named], (RULES, None, ())):
            results += [spmd.apply_rules(sharding, rules), spmd.get_pspec(sharding, rules)]
            results.append(spmd.get_mesh(sharding))
        with spmd.logical_axis_rules(RULES):
            results += [spmd.get_logical_axis_rules(), spmd.get_pspec(('embed', 'kv'))]
            results.append(spmd.get_pspec(('embed', 'kv'), (('kv', 'data'),)))
        results.append(spmd.get_logical_axis_rules())
        return results

    same(program)


def test_rules_are_joined_alike():
    more = (('kv', 'data'), ('kv', 'model'))
    sets = [RULES, (), None, (('embed', 'model'),), [('x', 'y')]]
    same(
        lambda lib: [
            lib.load('core.spmd').composite_rules(a, b)
            for a, b in [*itertools.product(sets, sets), (more, RULES), (more, ())]
        ]
    )
    for contradiction in ((('embed', 'data'),), more):
        same_error(lambda lib, c=contradiction: lib.load('core.spmd').composite_rules(RULES, c))
    same(
        lambda lib: [
            lib.load('core.spmd').from_sharding_rules(sharding, RULES)
            for sharding in [*SHARDINGS[:7], (None,)]
        ]
    )
    same(
        lambda lib: [
            lib.load('core.spmd').map_sharding(lambda name: 'model', x)
            for x in [*SHARDINGS, NamedSharding(new_mesh(), P('data'))]
        ]
    )


def test_values_are_sharded_alike():
    def program(lib):
        shard = lib.load('core.spmd').shard_value
        return [
            shard(ARRAY, None, None, None),
            shard(ARRAY, (), RULES, new_mesh()),
            shard({'a': ARRAY}, ('embed', None), RULES, new_mesh()),
            shard(ARRAY, ('embed', None), RULES, new_mesh()).sharding,
            shard(ARRAY, NamedSharding(new_mesh(), P('data')), None, None).sharding,
            constraints(lambda x: shard(x, ('data', None), None, new_mesh()), ARRAY),
        ]

    same(program)
    same_error(lambda lib: lib.load('core.spmd').shard_value(ARRAY, ('data',), None, None))

"""Boxes around arrays: names of axes, and what happens to them under a mesh."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from linnet import serialization, struct
from linnet.core import meta
from linnet.core.meta import PARTITION_NAME, AxisMetadata, Partitioned
from linnet.errors import InvalidOptionError, PartitioningUnspecifiedError

LAYERS = {PARTITION_NAME: 'layers'}


def new_mesh():
    return Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ('data', 'model'))


class Counted(struct.PyTreeNode, AxisMetadata[Any]):
    """A box of another kind, which counts the axes that were added."""

    value: Any
    added: int = struct.field(pytree_node=False, default=0)

    def unbox(self):
        return self.value

    def replace_boxed(self, val):
        return self.replace(value=val)

    def add_axis(self, index, params):
        return self.replace(added=self.added + 1)

    def remove_axis(self, index, params):
        return self.replace(added=self.added - 1)


@pytest.mark.parametrize(
    ('index', 'names'),
    [
        (0, ('layers', 'data', None)),
        (1, ('data', 'layers', None)),
        (2, ('data', None, 'layers')),
        (4, ('data', None, None, None, 'layers')),
        (-1, ('data', 'layers', None)),
    ],
)
def test_an_axis_is_added_and_removed_by_its_name(index, names):
    box = Partitioned(1.0, ('data', None))
    added = box.add_axis(index, LAYERS)
    assert added.names == names
    if index in (0, 1, 2):
        assert added.remove_axis(index, LAYERS) == box
    assert added.value == 1.0


def test_an_axis_without_a_name_is_an_error():
    box = Partitioned(1.0, ('data', None))
    for change in (box.add_axis, box.remove_axis):
        with pytest.raises(PartitioningUnspecifiedError, match=PARTITION_NAME.upper()):
            change(0, {})
    assert box.remove_axis(-1, {PARTITION_NAME: None}).names == ('data',)
    for index in (0, 1, 2, -3):
        with pytest.raises(
            InvalidOptionError, match=rf"axis {index} is .* 'layers', .*\('data', N"
        ):
            box.remove_axis(index, LAYERS)


def test_trees_of_boxes_are_mapped():
    tree = {'w': Partitioned(1.0, ('data',)), 'c': Counted(2.0), 'b': 3.0}
    assert meta.add_axis(tree, 0, LAYERS) == {
        'w': Partitioned(1.0, ('layers', 'data')), 'c': Counted(2.0, 1), 'b': 3.0,
    }  # fmt: skip
    assert meta.remove_axis(meta.add_axis(tree, 0, LAYERS), 0, LAYERS) == tree
    assert meta.map_axis_meta(lambda box: box.value, tree) == {'w': 1.0, 'c': 2.0, 'b': 3.0}
    assert meta.unbox(tree) == {'w': 1.0, 'c': 2.0, 'b': 3.0}
    assert meta.replace_boxed(tree, {'w': 4.0, 'c': 5.0, 'b': 6.0}) == {
        'w': Partitioned(4.0, ('data',)), 'c': Counted(5.0), 'b': 6.0,
    }  # fmt: skip
    assert meta.is_axis_metadata(tree['c'])
    assert not meta.is_axis_metadata(tree['b'])


def test_boxes_in_boxes_are_unboxed_and_replaced_to_the_ground():
    inner = {'a': Counted(1.0), 'n': None}
    box = Counted(Partitioned(inner, ('data',)))
    assert meta.unbox(box) == {'a': 1.0, 'n': None}
    assert meta.replace_boxed(box, {'a': 2.0, 'n': None}) == Counted(
        Partitioned({'a': Counted(2.0), 'n': None}, ('data',))
    )
    assert meta.add_axis(Counted(Counted(1.0)), 0, {}) == Counted(Counted(1.0), 1)


def test_a_box_is_abstract_until_it_has_its_four_methods():
    with pytest.raises(TypeError, match='abstract'):
        AxisMetadata()
    assert sorted(AxisMetadata.__abstractmethods__) == [
        'add_axis', 'remove_axis', 'replace_boxed', 'unbox',
    ]  # fmt: skip


def test_specs_and_shardings_are_read_off():
    mesh = new_mesh()
    tree = {
        'w': Partitioned(jnp.ones((2, 3)), ('data', ('model',))),
        'b': jnp.ones(3),
        'c': Counted(jnp.ones(3)),
        'lr': 0.1,
    }
    assert meta.get_partition_spec(tree) == {
        'w': P('data', ('model',)), 'b': P(), 'c': None, 'lr': None,
    }  # fmt: skip
    assert meta.get_sharding(tree, mesh) == {
        'w': NamedSharding(mesh, P('data', ('model',))),
        'b': NamedSharding(mesh, P()),
        'c': None,
        'lr': None,
    }
    assert tree['w'].get_sharding(mesh) == NamedSharding(mesh, P('data', ('model',)))


def test_without_a_mesh_unboxing_does_nothing():
    x = jnp.ones((2, 3))
    assert Partitioned(x, ('data', None)).unbox() is x
    assert meta.get_global_mesh() is None
    assert not meta.global_mesh_defined()


def constrained(box):
    jaxpr = jax.make_jaxpr(lambda box: box.unbox())(box)
    return [(e.primitive.name, e.params['sharding'].spec) for e in jaxpr.eqns]


def test_a_mesh_constrains_a_traced_array():
    x = jnp.ones((2, 3))
    wanted = [('sharding_constraint', P('data', None))]
    assert constrained(Partitioned(x, ('data', None))) == []
    assert constrained(Partitioned(x, ('data', None), new_mesh())) == wanted
    with jax.set_mesh(new_mesh()):
        assert meta.global_mesh_defined()
        assert meta.get_global_mesh().axis_names == ('data', 'model')
        assert constrained(Partitioned(x, ('data', None))) == wanted
        unconstrained = jax.make_jaxpr(lambda box: box.unbox(apply_constraint=False))
        assert unconstrained(Partitioned(x, ('data', None))).eqns == []


def test_a_mesh_moves_an_array_that_is_not_traced():
    x = jnp.ones((2, 3))
    wanted = NamedSharding(new_mesh(), P('data', None))
    assert Partitioned(x, ('data', None), new_mesh()).unbox().sharding == wanted
    with jax.set_mesh(new_mesh()):
        for value in (x, np.ones((2, 3)), jax.device_put(x, NamedSharding(new_mesh(), P()))):
            moved = Partitioned(value, ('data', None)).unbox()
            assert moved.sharding.is_equivalent_to(wanted, 2)
        assert meta.unbox({'s': Partitioned(2.0, ())}) == {'s': 2.0}
        shape = jax.ShapeDtypeStruct((2, 3), jnp.float32)
        assert Partitioned(shape, ('data', None)).unbox() is shape


def test_a_mesh_constrains_a_constant_of_a_program():
    box = Partitioned(jnp.ones((2, 3)), ('data', None))
    with jax.set_mesh(new_mesh()):
        jaxpr = jax.make_jaxpr(box.unbox)()
        jitted = jax.jit(box.unbox)()
        mapped = jax.vmap(lambda i: i * box.unbox())(jnp.ones(2))
        gradient = jax.grad(lambda box: box.unbox().sum())(box)
    specs = [e.params['sharding'].spec for e in jaxpr.eqns]
    assert specs == [P('data', None)]
    assert jitted.sharding.is_equivalent_to(NamedSharding(new_mesh(), P('data', None)), 2)
    assert mapped.shape == (2, 2, 3)
    np.testing.assert_array_equal(gradient.value, np.ones((2, 3)))


def test_what_jax_cannot_constrain_is_refused_by_jax():
    for mesh in (new_mesh(), new_mesh().abstract_mesh):
        with pytest.raises(TypeError):
            Partitioned('text' if mesh == new_mesh() else jnp.ones(2), ('data',), mesh).unbox()


def test_a_partitioned_initialiser_boxes_what_it_makes():
    mesh = new_mesh()
    init = meta.with_partitioning(jax.nn.initializers.zeros, ['data', None], mesh)
    box = init(jax.random.key(0), (2, 3), dtype=jnp.bfloat16)
    assert (box.names, box.mesh, box.value.dtype) == (('data', None), mesh, jnp.bfloat16)
    assert box.value.shape == (2, 3)


def test_initialisers_made_of_equal_parts_are_equal():
    zeros = jax.nn.initializers.zeros
    init = meta.with_partitioning(zeros, ('data',))
    assert init == meta.with_partitioning(zeros, ['data'])
    assert hash(init) == hash(meta.with_partitioning(zeros, ('data',)))
    assert init != meta.with_partitioning(zeros, ('model',))
    assert init != meta.with_partitioning(jax.nn.initializers.ones, ('data',))
    assert init.__wrapped__ is zeros
    assert inspect.signature(init) == inspect.signature(zeros)
    assert pickle.loads(pickle.dumps(init)) == init


def test_a_box_is_a_pytree_with_a_state_dict():
    box = Partitioned(1.0, ('data',))
    assert jax.tree_util.tree_leaves_with_path(box) == [((jax.tree_util.GetAttrKey('value'),), 1.0)]
    assert jax.tree.map(lambda x: x + 1, box) == Partitioned(2.0, ('data',))
    assert serialization.to_state_dict(box) == {'value': 1.0}
    assert serialization.from_state_dict(box, {'value': 3.0}) == Partitioned(3.0, ('data',))

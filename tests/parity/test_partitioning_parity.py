"""Names of axes beside the variables, and the transforms that keep them: both libraries agree."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from tests.devices import checks_in, constraints, new_mesh, run_checks
from tests.parity.harness import ORACLE, OURS, same, same_error
from tests.parity.test_spmd_parity import ARRAY, KEY, RULES, placed, shardings, signature, spmd_of

PARTITIONING = (
    'AxisMetadata PartitionedVariable axis_rules core_remat_static get_axis_names get_axis_rules '
    'logical_to_mesh logical_to_mesh_axes param_with_axes remat scan_with_axes set_axis_rules '
    'variable_with_axes vmap_with_axes with_sharding_constraint'
).split()


def partitioning_of(lib):
    return lib.load('linen.partitioning')


@pytest.mark.parametrize('name', PARTITIONING)
def test_signatures_are_alike(name):
    same(lambda lib: signature(lib, 'linen.partitioning', name))


def test_one_object_goes_by_several_names():
    def program(lib):
        spmd, partitioning = spmd_of(lib), partitioning_of(lib)
        core, typing = lib.load('core.spmd'), lib.load('typing')
        return [
            partitioning.with_sharding_constraint is spmd.with_logical_constraint,
            partitioning.logical_to_mesh is spmd.logical_to_mesh,
            partitioning.logical_to_mesh_axes is spmd.logical_to_mesh_axes,
            partitioning.RulesFallback is spmd.RulesFallback,
            partitioning.axis_rules is core.logical_axis_rules,
            partitioning.get_axis_rules is spmd.get_logical_axis_rules,
            partitioning.get_axis_rules is core.get_logical_axis_rules,
            partitioning.set_axis_rules is core.set_logical_axis_rules,
            partitioning.ScanIn is typing.In and partitioning.ScanOut is typing.Out,
        ]

    assert program(ORACLE) == program(OURS) == [True] * 9


def axes_block(lib):
    """A module that records the names of axes beside its variables."""
    nn, pt = lib.nn, partitioning_of(lib)

    class Block(nn.Module):
        axes: tuple = ('embed', 'mlp')

        @nn.compact
        def __call__(self, x, _=None):
            w = pt.param_with_axes('w', nn.initializers.normal(), (8, 8), axes=self.axes)
            b = pt.param_with_axes('b', nn.initializers.ones, (8,), axes=('mlp',), module=self)
            n = pt.variable_with_axes('cache', 'n', jnp.zeros, (8,), axes=('mlp',))
            bare = pt.param_with_axes('bare', nn.initializers.ones, (8,))
            if self.is_mutable_collection('cache'):
                n.value += bare
            return x @ w + b + n.value, None

    return Block


def in_all_ways(lib, make):
    """Variables of a module, and what several calls of ``apply`` give."""
    variables = make().init(KEY, ARRAY)
    bare = {col: part for col, part in variables.items() if not col.endswith('_axes')}
    return [
        variables, lib.load('linen.partitioning').get_axis_names(variables.get('params_axes', {})),
        make().apply(variables, ARRAY), make().apply(variables, ARRAY, mutable=['cache']),
        make().apply(variables, ARRAY, mutable=True), make().apply(bare, ARRAY, mutable=True),
        make().apply(lib.core.freeze(variables), ARRAY, mutable=['params_axes', 'cache_axes']),
    ]  # fmt: skip


@pytest.mark.parametrize('axes', [('embed', 'mlp'), P('embed', None), ('embed',), ()], ids=str)
def test_names_are_recorded_alike(axes):
    same(lambda lib: in_all_ways(lib, lambda: axes_block(lib)(axes)), ordered=False)


SCANS = {
    'axis 0': {},
    'axis 1': {'variable_axes': {'params': 1, 'cache': 0}},
    'two': {'axes_collections': ('params', 'cache'), 'axis_name': 'depth'},
    'other': {'axes_collections': ('params', 'state')},
    'shared': {
        'variable_axes': {'cache': 0}, 'variable_broadcast': 'params',
        'split_rngs': {'params': False},
    },
    'listed': {'variable_axes': {'params': 0, 'cache': 0, 'params_axes': 0}},
    'methods': {'methods': ['__call__']},
    'unrolled': {'reverse': True, 'unroll': 2},
}  # fmt: skip


@pytest.mark.parametrize('name', SCANS)
def test_scans_are_alike(name):
    def program(lib):
        options = {
            'variable_axes': {'params': 0, 'cache': 0}, 'split_rngs': {'params': True}, 'length': 2,
            **SCANS[name],
        }  # fmt: skip
        lifted = partitioning_of(lib).scan_with_axes(axes_block(lib), **options)
        return [lifted.__name__, in_all_ways(lib, lifted)]

    same(program, ordered=False)


VMAPS = {
    'axis 0': {'partitioning_axis_names': {'params': 'heads'}},
    'axis 1': {
        'variable_axes': {'params': 1, 'cache': 0},
        'partitioning_axis_names': {'params': 'heads', 'cache': 'other'},
    },
    'shared': {
        'variable_axes': {'params': None, 'cache': 0}, 'split_rngs': {'params': False},
        'partitioning_axis_names': {'cache': 'heads', 'state': 'other'},
    },
    'no name': {'partitioning_axis_names': {'params': None, 'state': 'heads'}},
}  # fmt: skip


@pytest.mark.parametrize('name', VMAPS)
def test_vmaps_are_alike(name):
    def program(lib):
        options = {
            'variable_axes': {'params': 0, 'cache': 0}, 'split_rngs': {'params': True},
            'in_axes': None, 'axis_size': 2, **VMAPS[name],
        }  # fmt: skip
        lifted = partitioning_of(lib).vmap_with_axes(axes_block(lib), **options)
        return [lifted.__name__, in_all_ways(lib, lifted)]

    same(program, ordered=False)


def test_lifted_blocks_are_named_alike():
    def program(lib):
        nn, pt, block = lib.nn, partitioning_of(lib), axes_block(lib)
        axes = {'variable_axes': {'params': 0, 'cache': 0}, 'split_rngs': {'params': True}}

        class Model(nn.Module):
            @nn.compact
            def __call__(self, x):
                x, _ = pt.scan_with_axes(block, **axes, length=2)()(x, None)
                x, _ = pt.remat(block)()(x)
                y, _ = pt.vmap_with_axes(block, **axes, axis_size=2, in_axes=None)()(x, None)
                z, _ = pt.scan_with_axes(lambda m, x, _: m(x), **axes, length=2)(block(), x, None)
                return x, y, z

        return in_all_ways(lib, Model)

    same(program, ordered=False)


def test_remat_is_alike():
    def program(lib):
        nn, pt = lib.nn, partitioning_of(lib)

        class Block(nn.Module):
            @nn.compact
            def __call__(self, x, train, scale=1.0):
                return scale * nn.Dense(3)(x) if train else x

        lifted = pt.remat(Block, prevent_cse=False, static_argnums=(1, 2))
        variables = lifted().init(KEY, ARRAY, True)
        loss = jax.grad(lambda v: lifted().apply(v, ARRAY, True).sum())
        scope_fn = pt.core_remat_static(
            lambda scope, x, on: scope.param('w', nn.initializers.ones, ()) * x if on else x,
            static_argnums=(1,),
        )
        return [
            lifted.__name__, variables, loss(variables), lib.core.init(scope_fn)(KEY, 2.0, True)[1]
        ]  # fmt: skip

    same(program)


def test_records_are_read_alike():
    def program(lib):
        pt = partitioning_of(lib)
        A = pt.AxisMetadata
        tree = {
            'w_axes': A(('a', None)), 'x': A(P('a')), 'e': {}, 'f': {'g': {}}, 'y_axes': A(None),
            'z_axes': {'w_axes': A(()), 'b_axes_axes': A(('c',))}, 't_axes': A({'k': ('a',)}),
        }  # fmt: skip
        a, b = A(('a',)), A(('b',))
        return [
            pt.get_axis_names(tree), pt.get_axis_names(lib.core.freeze(tree)),
            jax.tree.leaves(tree), a == A(('a',)), a == b, hash(a) == hash(A(('a',))),
            repr(a.replace(names=('b',))),
        ]  # fmt: skip

    same(program, ordered=False)


def conflicting(lib):
    block = axes_block(lib)
    variables = block().init(KEY, ARRAY)
    return block(('embed', 'other')).apply(variables, ARRAY, mutable=['params_axes'])


def unnamed_axis(lib):
    pt = partitioning_of(lib)
    options = {
        'variable_axes': {'params': 0, 'cache': 0},
        'split_rngs': {'params': True},
        'length': 2,
    }
    variables = pt.scan_with_axes(axes_block(lib), **options)().init(KEY, ARRAY)
    return pt.scan_with_axes(axes_block(lib), **options, axis_name='depth')().apply(
        variables, ARRAY
    )


def declared_twice(lib):
    def twice(module):
        make = partitioning_of(lib).variable_with_axes
        return [make('cache', 'n', jnp.zeros, (1,), axes=('a',), module=module) for _ in '12']

    return lib.nn.init(twice, lib.nn.Dense(1))(KEY)


@pytest.mark.parametrize('program', [conflicting, unnamed_axis, declared_twice])
def test_conflicts_are_refused_alike(program):
    same_error(program)


def check_recorded_variables_are_sharded_alike():
    def program(lib):
        mesh, pt = new_mesh(), partitioning_of(lib)
        options = {'variable_axes': {'params': 0, 'cache': 0}, 'split_rngs': {'params': True}}
        model = pt.remat(pt.scan_with_axes(axes_block(lib), **options, length=2))()
        with pt.axis_rules(RULES), jax.set_mesh(mesh):
            variables = model.init(KEY, placed(mesh))
            names = pt.get_axis_names(variables['params_axes'])
            where = spmd_of(lib).logical_to_mesh_sharding(names, mesh)
            params = jax.device_put(dict(variables['params']), {**where, 'bare': None})
            variables = {**variables, 'params': params}
            y, changed = jax.jit(lambda v: model.apply(v, ARRAY, mutable='cache'))(variables)
            run = lambda v: model.apply(v, ARRAY, mutable='cache')  # noqa: E731
            seen = constraints(run, variables)
        assert len(seen) > 4
        return [variables, y, changed, shardings([variables, y, changed]), seen]

    same(program, ordered=False)


@pytest.fixture(scope='module')
def outcomes():
    return run_checks('tests.parity.test_partitioning_parity')


@pytest.mark.parametrize('check', checks_in(globals()))
def test_on_eight_devices(check, outcomes):
    assert not outcomes[check], outcomes[check]

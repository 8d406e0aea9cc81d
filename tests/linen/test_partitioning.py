"""Names of axes that are recorded beside the variables, and kept in step by transforms."""

from __future__ import annotations

import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import linnet.linen as nn
from linnet import core
from linnet.errors import (
    BindingError,
    InvalidOptionError,
    ModifyScopeVariableError,
    NameInUseError,
    ScopeCollectionNotFound,
)
from linnet.linen import partitioning, spmd
from linnet.linen.partitioning import (
    AxisMetadata,
    PartitionedVariable,
    RulesFallback,
    ScanIn,
    axis_rules,
    get_axis_names,
    param_with_axes,
    scan_with_axes,
    variable_with_axes,
    vmap_with_axes,
)
from tests.devices import checks_in, constraints, new_mesh, run_checks

ARRAY = jnp.arange(32.0).reshape(4, 8)
KEY = jax.random.key(0)
RULES = (('embed', 'x'), ('mlp', 'y'))


class Block(nn.Module):
    """A kernel, and a count of calls, whose axes have names."""

    axes: Any = ('embed', 'mlp')

    @nn.compact
    def __call__(self, x, _=None):
        w = param_with_axes('w', nn.initializers.normal(), (8, 8), axes=self.axes)
        n = variable_with_axes('cache', 'n', jnp.zeros, (8,), axes=('mlp',))
        if self.is_mutable_collection('cache'):
            n.value += 1
        return x @ w, None


class Host(nn.Module):
    """A module that does what it is told."""

    @nn.compact
    def __call__(self, fn, *args):
        return fn(*args)


def run(fn, *args):
    """The variables that a function makes inside a module."""
    return Host().init(KEY, fn, *args)


def shapes(variables):
    return jax.tree.map(jnp.shape, dict(variables))


def test_names_are_recorded_beside_the_variables():
    variables = Block().init(KEY, ARRAY)
    assert shapes(variables) == {
        'params': {'w': (8, 8)},
        'params_axes': {'w_axes': AxisMetadata(('embed', 'mlp'))},
        'cache': {'n': (8,)},
        'cache_axes': {'n_axes': AxisMetadata(('mlp',))},
    }
    assert get_axis_names(variables['params_axes']) == {'w': P('embed', 'mlp')}
    np.testing.assert_array_equal(variables['cache']['n'], np.ones(8))
    y, changed = Block().apply(variables, ARRAY, mutable=['cache'])
    assert list(changed) == ['cache']
    np.testing.assert_array_equal(changed['cache']['n'], np.full(8, 2.0))
    np.testing.assert_array_equal(y[0], ARRAY @ variables['params']['w'])


def test_without_axes_nothing_is_recorded():
    def make():
        param_with_axes('w', nn.initializers.ones, (2,))
        variable = variable_with_axes('cache', 'n', jnp.ones, (2,))
        assert isinstance(variable, PartitionedVariable)
        assert variable.axes is None
        return variable.value

    assert shapes(run(make)) == {'params': {'w': (2,)}, 'cache': {'n': (2,)}}


def test_initialisers_get_all_that_is_not_for_the_library():
    def init(*args, **kwargs):
        return jnp.asarray([len(args), kwargs['unbox']])

    def make():
        return variable_with_axes('c', 'n', init, 1, 2, axes=('a',), unbox=5).value

    np.testing.assert_array_equal(run(make)['c']['n'], [2, 5])


def test_names_may_be_a_list_a_spec_or_a_tree():
    assert Block(['embed', 'mlp']).init(KEY, ARRAY)['params_axes']['w_axes'] == AxisMetadata(
        ('embed', 'mlp')
    )

    def make():
        init = lambda key: {'a': ARRAY, 'b': ARRAY}  # noqa: E731
        axes = {'a': ('mlp',), 'b': P(None, 'mlp')}
        return param_with_axes('w', init, axes=axes)

    with axis_rules(RULES), jax.set_mesh(new_mesh()):
        assert constraints(lambda: run(make)) == ["('y',)", "(None, 'y')"]
    names = get_axis_names(run(make)['params_axes'])
    assert names == {'w': {'a': P('mlp'), 'b': P(None, 'mlp')}}


def test_a_variable_is_constrained_when_made_read_and_written():
    with axis_rules(RULES), jax.set_mesh(new_mesh()):
        variables = Block().init(KEY, ARRAY)
        made = constraints(Block().init, KEY, ARRAY)
        read = constraints(Block().apply, variables, ARRAY)
        written = constraints(lambda v: Block().apply(v, ARRAY, mutable=['cache']), variables)
    assert made == ["('x', 'y')", "('y',)", "('y',)", "('y',)"]
    assert read == ["('x', 'y')"]
    assert written == ["('x', 'y')", "('y',)", "('y',)"]


def test_a_variable_has_a_fallback():
    def make(fallback):
        return variable_with_axes('c', 'n', jnp.ones, 8, axes=('zz',), fallback=fallback).value

    with axis_rules(RULES), jax.set_mesh(new_mesh()):
        assert constraints(lambda: run(make, RulesFallback.AXIS_IS_UNSHARDED)) == ['(None,)'] * 2
        assert constraints(lambda: run(make, RulesFallback.NO_CONSTRAINT)) == []
        with pytest.raises(InvalidOptionError, match="no rule for the logical axis 'zz'"):
            run(make, RulesFallback.RAISE_ERROR)


def test_a_handle_works_on_a_bare_scope():
    def make(scope):
        handle = PartitionedVariable(scope, 'cache', 'n')
        handle.value = ARRAY
        return handle.value, handle.is_mutable(), handle.axes

    (value, mutable, axes), variables = core.apply(make, mutable=['cache'])({})
    assert value is ARRAY is variables['cache']['n']
    assert mutable
    assert axes is None


def test_a_handle_goes_through_transforms():
    class Reader(nn.Module):
        @nn.compact
        def __call__(self):
            handle = variable_with_axes('cache', 'n', jnp.ones, (8,), axes=('mlp',))

            def read(module, handle):
                assert type(handle) is PartitionedVariable
                assert handle.axes == ('mlp',)
                return handle.value + 1

            return nn.jit(read)(self, handle)

    with axis_rules(RULES), jax.set_mesh(new_mesh()):
        assert constraints(Reader().apply, {'cache': {'n': jnp.ones(8)}}) == ["('y',)"]


def test_what_cannot_be_declared_is_refused():
    with pytest.raises(BindingError, match="param 'w' was created outside a module"):
        param_with_axes('w', nn.initializers.ones, (2,), axes=('a',))
    with pytest.raises(BindingError, match="variable 'n'"):
        variable_with_axes('cache', 'n', jnp.ones, (2,), axes=('a',))
    with pytest.raises(BindingError, match=r"variable 'n' of Dense: it is not bound"):
        variable_with_axes('cache', 'n', jnp.ones, (2,), axes=('a',), module=nn.Dense(1))
    for make in (
        lambda: param_with_axes('w', nn.initializers.ones, (2,), axes='a'),
        lambda: variable_with_axes('c', 'n', jnp.ones, (2,), axes='a'),
    ):
        with pytest.raises(InvalidOptionError, match=r"axes is the string 'a'(.|\n)*axes=\('a',\)"):
            run(make)
    with pytest.raises(ScopeCollectionNotFound, match="'cache'"):
        Block().apply({'params': {'w': ARRAY[:1].repeat(8, 0)}}, ARRAY)
    for make in (
        lambda: param_with_axes('n', nn.initializers.ones, (2,), axes=('a',)),
        lambda: variable_with_axes('c', 'n', jnp.ones, (2,), axes=('a',)),
    ):
        with pytest.raises(NameInUseError, match="'n'"):
            run(lambda make=make: (make(), make()))


def test_a_read_only_variable_is_not_written():
    def write():
        variable_with_axes('cache', 'n', jnp.ones, (8,), axes=('a',)).value = 0.0

    with pytest.raises(ModifyScopeVariableError, match="'n'"):
        Host().apply({'cache': {'n': ARRAY}}, write)


def test_other_names_than_those_stored_are_refused():
    variables = Block().init(KEY, ARRAY)
    other = Block(('embed', 'heads'))
    other.apply(variables, ARRAY)
    assert Block().apply(variables, ARRAY, mutable=['params_axes'])[1] == {
        'params_axes': variables['params_axes']
    }
    what = r"axes of 'w' in 'params' are \('embed', 'heads'\), and AxisMetadata.*'mlp'.* is stored"
    with pytest.raises(InvalidOptionError, match=what):
        other.apply(variables, ARRAY, mutable=['params_axes'])


def test_records_have_no_leaves_and_are_hashable():
    box = AxisMetadata(('a', None))
    assert jax.tree.leaves(box) == []
    assert hash(box) == hash(AxisMetadata(('a', None)))
    assert box.replace(names=('b',)) == AxisMetadata(('b',))
    assert pickle.loads(pickle.dumps(box)) == box


def test_names_are_read_off_records():
    tree = {
        'b_axes': AxisMetadata(('b',)), 'a': AxisMetadata(P('a')), 'empty': {'e': {}},
        'c_axes': {'d_axes_axes': AxisMetadata(())}, 'none': AxisMetadata(None),
    }  # fmt: skip
    names = get_axis_names(tree)
    assert names == {'b': P('b'), 'a': P('a'), 'c_axes': {'d_axes': P()}, 'none': None}
    assert type(names) is core.FrozenDict
    assert list(names) == ['b', 'a', 'c_axes', 'none']
    for wrong in (None, AxisMetadata(('a',)), {'w': ('a', 'b')}):
        with pytest.raises(InvalidOptionError, match=r"get_axis_names\(variables\['params_axes'\]"):
            get_axis_names(wrong)


def scanned(block=Block, **options):
    defaults = {'variable_axes': {'params': 0, 'cache': 0}, 'split_rngs': {'params': True}}
    return scan_with_axes(block, **{**defaults, 'length': 2, **options})


@pytest.mark.parametrize(
    ('axis', 'shape', 'names'),
    [
        (0, (2, 8, 8), ('layers', 'embed', 'mlp')),
        (1, (8, 2, 8), ('embed', 'layers', 'mlp')),
        (2, (8, 8, 2), ('embed', 'mlp', 'layers')),
        (-1, (8, 8, 2), ('embed', 'mlp', 'layers')),
        (-3, (2, 8, 8), ('layers', 'embed', 'mlp')),
        (partitioning.ScanOut(1), (8, 2, 8), ('embed', 'layers', 'mlp')),
    ],
)
def test_scan_names_the_axis_that_it_adds(axis, shape, names):
    model = scanned(variable_axes={'params': axis, 'cache': 0})()
    variables = model.init(KEY, ARRAY)
    assert variables['params']['w'].shape == shape
    assert variables['params_axes']['w_axes'].names == names
    assert 'cache_axes' not in variables
    if isinstance(axis, int):
        _, changed = model.apply(variables, ARRAY, mutable=['cache', 'params_axes'])
        assert changed['params_axes'] == variables['params_axes']


def test_scan_names_axes_of_several_collections():
    lifted = scanned(axes_collections=('params', 'cache', 'other'), axis_name='depth')
    variables = lifted().init(KEY, ARRAY)
    assert variables['params_axes']['w_axes'].names == ('depth', 'embed', 'mlp')
    assert variables['cache_axes']['n_axes'].names == ('depth', 'mlp')
    assert lifted.__name__ == 'Map_variablesMap_variablesScanBlock'


def test_scan_reads_records_without_the_axis():
    variables = scanned()().init(KEY, ARRAY)
    seen = []

    class Watched(Block):
        @nn.compact
        def __call__(self, x, _=None):
            seen.append(self.variables['params_axes']['w_axes'].names)
            return super().__call__(x)

    for axis in (0, ScanIn(0)):
        scanned(Watched, variable_axes={'params': axis, 'cache': 0})().apply(variables, ARRAY)
    assert set(seen) == {('embed', 'mlp')}


def test_scan_leaves_shared_parameters_and_other_entries_alone():
    options = {'variable_axes': {'cache': 0}, 'split_rngs': {'params': False}}
    variables = scanned(variable_broadcast='params', **options)().init(KEY, ARRAY)
    assert variables['params_axes']['w_axes'].names == ('embed', 'mlp')
    variables = scanned()().init(KEY, ARRAY)
    other = {**variables, 'params_axes': {'w_axes': jnp.ones(2), 'x_axes': AxisMetadata(None)}}
    scanned()().apply(other, ARRAY)


def test_trees_of_names_get_an_axis_in_each_part():
    class Pair(nn.Module):
        @nn.compact
        def __call__(self, x, _=None):
            init = lambda key: {'a': jnp.ones(2), 'b': jnp.ones((2, 2))}  # noqa: E731
            axes = {'a': ('x',), 'b': P('x', 'y')}
            w = param_with_axes('w', init, axes=axes)
            return x + w['a'][0], None

    variables = scanned(Pair)().init(KEY, ARRAY)
    assert variables['params_axes']['w_axes'].names == {
        'a': ('layers', 'x'), 'b': ('layers', 'x', 'y'),
    }  # fmt: skip
    scanned(Pair)().apply(variables, ARRAY)


class Other(nn.Module):
    """A module whose method is not ``__call__``."""

    @nn.compact
    def run(self, x, _=None):
        return x @ param_with_axes('w', nn.initializers.ones, (8, 8), axes=('a', 'b')), None


@pytest.mark.parametrize('methods', ['run', ['run'], ('run',)])
def test_the_methods_that_are_lifted_name_their_axes(methods):
    lifted = scanned(Other, methods=methods)
    variables = lifted().init(KEY, ARRAY, method='run')
    assert variables['params_axes']['w_axes'].names == ('layers', 'a', 'b')
    lifted().apply(variables, ARRAY, method='run')


def test_vmap_names_the_axis_that_it_adds():
    def mapped(**options):
        defaults = {'variable_axes': {'params': 0, 'cache': 1}, 'split_rngs': {'params': True}}
        options = {**defaults, 'axis_size': 2, 'in_axes': None, **options}
        return vmap_with_axes(Block, **options)

    bare = mapped()().init(KEY, ARRAY)
    assert shapes(bare) == {'params': {'w': (2, 8, 8)}, 'cache': {'n': (8, 2)}}
    model = mapped(partitioning_axis_names={'params': 'heads', 'cache': None, 'other': 'x'})()
    variables = model.init(KEY, ARRAY)
    assert variables['params_axes']['w_axes'].names == ('heads', 'embed', 'mlp')
    assert variables['cache_axes']['n_axes'].names == ('mlp', None)
    y, _ = model.apply(variables, ARRAY)
    np.testing.assert_allclose(y[1], ARRAY @ variables['params']['w'][1], rtol=1e-5)
    axes = {'params': None, 'cache': 0}
    with pytest.raises(InvalidOptionError, match="axis of 'params' is named 'p', and its axis is"):
        mapped(variable_axes=axes, partitioning_axis_names={'params': 'p'})


def test_axes_that_do_not_fit_the_records_are_refused():
    variables = scanned()().init(KEY, ARRAY)
    what = r"takes away axis 0, 'depth', and the axes of a variable are \('layers', 'embed'"
    with pytest.raises(InvalidOptionError, match=what):
        scanned(axis_name='depth')().apply(variables, ARRAY)
    what = r"adds axis 1, 'layers', to a variable whose axes are \(\)"
    with pytest.raises(InvalidOptionError, match=what):
        scanned(variable_axes={'params': 1, 'cache': 0})((), name='b').init(KEY, ARRAY)
    with pytest.raises(InvalidOptionError, match=r"axes_collections=\('params',\)"):
        scanned(axes_collections='params')


def test_remat_counts_arguments_after_self():
    class Branch(nn.Module):
        @nn.compact
        def __call__(self, x, train, scale=2.0):
            return scale * nn.Dense(2)(x) if train else x

    for static in (1, (1,), [1, 2], (1, -5)[:1]):
        lifted = partitioning.remat(Branch, static_argnums=static)
        assert lifted.__name__ == 'Core_remat_staticBranch'
        variables = lifted().init(KEY, ARRAY, True)
        assert shapes(variables['params']) == {'Dense_0': {'kernel': (8, 2), 'bias': (2,)}}
    assert lifted().apply({}, ARRAY, False) is ARRAY
    program = str(jax.make_jaxpr(lambda v: lifted().apply(v, ARRAY, True))(variables))
    assert 'remat' in program or 'checkpoint' in program


def test_one_object_goes_by_several_names():
    assert partitioning.with_sharding_constraint is spmd.with_logical_constraint
    assert partitioning.logical_to_mesh_axes is spmd.logical_to_mesh_axes
    assert partitioning.axis_rules is core.spmd.logical_axis_rules
    assert partitioning.get_axis_rules is core.spmd.get_logical_axis_rules
    assert partitioning.set_axis_rules is core.spmd.set_logical_axis_rules


def check_layers_are_sharded_by_their_records():
    mesh = new_mesh()
    rules = (('layers', 'x'), *RULES)
    model = scanned()()
    with axis_rules(rules), jax.set_mesh(mesh):
        variables = model.init(KEY, ARRAY)
        names = get_axis_names(variables['params_axes'])
        where = spmd.logical_to_mesh_sharding(names, mesh)
        params = jax.device_put(variables['params'], dict(where))
        (y, _), changed = jax.jit(lambda v: model.apply(v, ARRAY, mutable=['cache']))(
            {**variables, 'params': params}
        )
    assert params['w'].sharding == NamedSharding(mesh, P('x', None, 'y'))
    assert params['w'].addressable_shards[0].data.shape == (1, 8, 2)
    assert changed['cache']['n'].sharding.spec[-1:] == ('y',)
    alone = model.apply(variables, ARRAY)[0]
    np.testing.assert_allclose(y, alone, rtol=1e-6)


@pytest.fixture(scope='module')
def outcomes():
    return run_checks('tests.linen.test_partitioning')


@pytest.mark.parametrize('check', checks_in(globals()))
def test_on_eight_devices(check, outcomes):
    assert not outcomes[check], outcomes[check]

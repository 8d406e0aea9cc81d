"""Logical names of axes: which mesh axes they get, what is constrained, and what is refused."""

from __future__ import annotations

import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

import linnet.linen as nn
from linnet.core.meta import Partitioned, get_partition_spec
from linnet.core.spmd import get_logical_axis_rules, logical_axis_rules
from linnet.errors import InputShapeError, InvalidOptionError
from linnet.linen import spmd
from linnet.linen.spmd import (
    LogicallyPartitioned,
    RulesFallback,
    logical_to_mesh,
    logical_to_mesh_axes,
    logical_to_mesh_sharding,
    with_logical_constraint,
    with_logical_partitioning,
)
from tests.devices import checks_in, constraints, new_mesh, run_checks

ARRAY = jnp.arange(32.0).reshape(4, 8)
KEY = jax.random.key(0)
RULES = (('batch', 'x'), ('embed', 'x'), ('mlp', 'y'), ('embed', 'y'), ('none', None))
U = P.UNCONSTRAINED


@pytest.mark.parametrize(
    ('names', 'axes'),
    [
        (('batch', 'mlp'), ('x', 'y')),
        (('embed', 'batch'), ('y', 'x')),
        (('embed', 'batch', 'mlp'), (None, 'x', 'y')),
        (('none', 'other', None), (None, None, None)),
        ((('x', 'y'), 'mlp', 'batch'), (('x', 'y'), None, None)),
        ((U, 'mlp'), (U, 'y')),
        ((), ()),
    ],
)
def test_the_first_rule_counts_whose_mesh_axes_are_free(names, axes):
    assert logical_to_mesh_axes(names, RULES) == P(*axes)
    assert logical_to_mesh_axes((name for name in names), RULES) == P(*axes)
    with logical_axis_rules(RULES):
        assert logical_to_mesh_axes(P(*names)) == P(*axes)


def test_a_rule_may_name_several_axes_or_none():
    rules = (('a', ['x', 'y']), ('b', 'y'), ('b', 'z'), ('c', None), ('c', 'w'), ('d', U), ('e', U))
    assert logical_to_mesh_axes(('c', 'b', 'a'), rules) == P(None, 'z', ('x', 'y'))
    assert logical_to_mesh_axes(('d', 'e'), rules) == P(U, U)
    assert logical_to_mesh_axes(None, rules) is None
    assert logical_to_mesh_axes(('a',)) == logical_to_mesh_axes(('a',), ()) == P(None)
    assert spmd.get_logical_axis_rules is get_logical_axis_rules


def test_trees_of_specs_become_shardings():
    tree = {'a': P('embed', 'mlp'), 'b': [P(), None], 'c': P('other')}
    wanted = {'a': P('x', 'y'), 'b': [P(), None], 'c': P(None)}
    assert logical_to_mesh(tree, RULES) == wanted
    mesh = new_mesh()
    with logical_axis_rules(RULES):
        assert logical_to_mesh_sharding(tree, mesh) == {
            'a': NamedSharding(mesh, P('x', 'y')),
            'b': [NamedSharding(mesh, P()), None],
            'c': NamedSharding(mesh, P(None)),
        }


MISTAKES = [
    (lambda: logical_to_mesh_axes('embed', RULES), r"string 'embed'", r"\('embed',\)"),
    (lambda: logical_to_mesh_axes(('a', None, 'a'), RULES), r"'a' comes twice", r'a_out'),
    (lambda: logical_to_mesh_axes(('a',), dict(RULES)), r'no rules', r'tuple\(rules.items\(\)\)'),
    (lambda: logical_to_mesh_axes(('a',), 'ab'), r"'ab' are no rules", r"\('batch', 'data'\)"),
    (lambda: logical_to_mesh_axes(('a',), ('ab',)), r'no rules', r"\('batch', 'data'\)"),
    (lambda: logical_to_mesh_axes(('a',), (('a', 'x', 'y'),)), r'no rules', r'pairs'),
    (lambda: with_logical_partitioning(len, ('a',), rules=3), r'3 are no rules', r'pairs'),
    (lambda: logical_to_mesh({'a': 1.0}, RULES), r'leaf of the tree is 1.0', r'get_partition_spec'),
    (
        lambda: logical_to_mesh_sharding(P('mlp'), new_mesh(), (('mlp', 'xx'),)),
        r"'mlp' goes to the mesh axis 'xx', and the mesh has the axes \('x', 'y'\)",
        r"rules=\(\('mlp', 'x'\), ",
    ),
    (lambda: with_logical_constraint(ARRAY, 'embed', RULES), r"string 'embed'", r"\('embed',\)"),
    (
        lambda: with_logical_constraint(ARRAY, ['embed', 'mlp'], RULES),
        r"\['embed', 'mlp'\] do not fit a value of the structure PyTreeDef\(\*\)",
        r"with_logical_constraint\(x, \('batch', 'embed'\)\)",
    ),
    (
        lambda: with_logical_constraint(
            ARRAY, ('batch', 'embbed'), RULES, fallback=RulesFallback.RAISE_ERROR
        ),
        r"no rule for the logical axis 'embbed' of \('batch', 'embbed'\)\n.*Did you mean 'embed'",
        r"rules=\(..., \('embbed', None\)\)",
    ),
    (
        lambda: with_logical_constraint(
            ARRAY, ('a', 'b'), (('a', 'x'), ('b', 'x')), fallback=RulesFallback.RAISE_ERROR
        ),
        r"'b' of \('a', 'b'\) counts: other axes of the array have its mesh axes",
        r"\('b', None\)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(('program', 'what', 'mend'), MISTAKES)
def test_mistakes_are_refused_with_their_mend(program, what, mend):
    with pytest.raises(InvalidOptionError, match=what) as caught:
        program()
    assert caught.match(rf'(?s)\n.*{mend}')


def test_more_names_than_axes_are_refused():
    names = ('batch', None, 'mlp')
    with pytest.raises(InputShapeError, match=r'shape \(4, 8\) has 2 axes, and 3 names: \(.batch'):
        with_logical_constraint(ARRAY, names, RULES, new_mesh())
    assert with_logical_constraint(ARRAY, names, RULES) is ARRAY


def test_a_fallback_is_one_of_three():
    options = {'rules': RULES, 'mesh': new_mesh()}
    assert with_logical_constraint(ARRAY, ('other',), fallback='no_constraint', **options) is ARRAY
    with pytest.raises(ValueError, match="'error' is not a valid RulesFallback"):
        with_logical_constraint(ARRAY, ('other',), fallback='error', **options)


def test_nothing_happens_without_names_rules_or_mesh():
    mesh = new_mesh()
    for x in (ARRAY, np.ones(3), {'a': ARRAY}, 3.0, None):
        assert with_logical_constraint(x, None, RULES, mesh) is x
        assert with_logical_constraint(x, ('embed',), (), mesh) is x
        assert with_logical_constraint(x, ('embed',), mesh=mesh) is x
    assert with_logical_constraint(ARRAY, ('embed',), RULES) is ARRAY


def test_fallbacks_decide_about_names_without_a_rule():
    def seen(names, fallback):
        return constraints(
            lambda x: with_logical_constraint(x, names, RULES, new_mesh(), fallback), ARRAY
        )

    for fallback in RulesFallback:
        assert seen(('embed', 'mlp'), fallback) == ["('x', 'y')"]
        assert seen(('none', 'mlp'), fallback) == ["(None, 'y')"]
    assert seen(('other', 'mlp'), RulesFallback.AXIS_IS_UNSHARDED) == ["(None, 'y')"]
    assert seen(('other', 'mlp'), RulesFallback.NO_CONSTRAINT) == []


def test_each_part_of_a_tree_has_its_names():
    tree = {'a': ARRAY, 'b': [ARRAY, None]}
    names = {'a': P('embed', 'mlp'), 'b': ('mlp',)}
    moved = with_logical_constraint(tree, names, RULES, new_mesh())
    assert moved['a'].sharding.spec == P('x', 'y')
    assert moved['b'][0].sharding.spec == P('y')
    assert moved['b'][1] is None
    left = with_logical_constraint(tree, {'a': ('mlp',), 'b': None}, RULES, new_mesh())
    assert left['a'].sharding.spec == P('y')
    assert left['b'][0] is ARRAY


def test_an_array_outside_the_mesh_in_effect_is_moved():
    with jax.set_mesh(new_mesh()), logical_axis_rules(RULES):
        moved = with_logical_constraint(ARRAY, ('embed', 'mlp'))
        boxed = LogicallyPartitioned(ARRAY, ('mlp', None)).unbox()
    assert isinstance(ARRAY.sharding, SingleDeviceSharding)
    assert moved.sharding == NamedSharding(new_mesh(), P('x', 'y'))
    assert boxed.sharding == NamedSharding(new_mesh(), P('y', None))


def test_a_box_is_read_under_the_rules_in_effect_or_its_own():
    box = LogicallyPartitioned(ARRAY, ('embed', 'mlp'))
    own = box.replace(mesh=new_mesh(), rules=(('mlp', 'x'),))

    def seen(box, *args):
        return constraints(lambda box: box.unbox(*args), box)

    assert seen(box) == seen(own, False) == []
    assert box.unbox() is ARRAY
    assert seen(own) == ["(None, 'x')"]
    with jax.set_mesh(new_mesh()), logical_axis_rules(RULES):
        assert seen(box) == ["('x', 'y')"]
        assert seen(own) == ["(None, 'x')"]
        assert seen(own.replace(rules=())) == []
        shape = jax.ShapeDtypeStruct((4, 8), jnp.float32)
        assert box.replace(value=shape).unbox() is shape


def test_a_box_keeps_its_rules_as_axes_come_and_go():
    box = LogicallyPartitioned(1.0, ('embed',), new_mesh(), RULES)
    added = box.add_axis(0, {nn.PARTITION_NAME: 'layers'})
    assert added == LogicallyPartitioned(1.0, ('layers', 'embed'), new_mesh(), RULES)
    assert added.remove_axis(0, {nn.PARTITION_NAME: 'layers'}) == box
    assert box.replace_boxed(2.0) == LogicallyPartitioned(2.0, ('embed',), new_mesh(), RULES)
    assert isinstance(box, Partitioned)
    assert jax.tree.leaves(box) == [1.0]
    assert get_partition_spec({'w': box}) == {'w': P('embed')}


def test_initialisers_made_of_equal_parts_are_equal():
    zeros = nn.initializers.zeros
    init = with_logical_partitioning(zeros, ['a', None], rules=[['a', ['x', 'y']]])
    box = init(KEY, (2, 3), jnp.bfloat16)
    assert (box.names, box.rules, box.mesh) == (('a', None), (('a', ('x', 'y')),), None)
    assert box.value.dtype == jnp.bfloat16
    assert init == with_logical_partitioning(zeros, ('a', None), rules=(('a', ('x', 'y')),))
    assert init != with_logical_partitioning(zeros, ('a', None))
    assert with_logical_partitioning(zeros, ('a',)) != nn.with_partitioning(zeros, ('a',))
    assert hash(init) == hash(pickle.loads(pickle.dumps(init)))
    assert inspect.signature(init) == inspect.signature(zeros)


class Model(nn.Module):
    """Two layers, whose parameters and values have logical names."""

    @nn.compact
    def __call__(self, x):
        for names in (('embed', 'mlp'), ('mlp', 'embed')):
            init = with_logical_partitioning(nn.initializers.ones, names)
            x = nn.Dense(8, use_bias=False, kernel_init=init)(x)
            x = with_logical_constraint(x, ('batch', names[1]))
        return x


def test_a_compiled_module_is_compiled_anew_under_other_rules():
    model, variables = nn.jit(Model)(), Model().init(KEY, ARRAY)
    with jax.set_mesh(new_mesh()):
        for axis in 'xy':
            with logical_axis_rules([['mlp', axis]]):
                seen = constraints(model.apply, variables, ARRAY)
            first, second = f"(None, '{axis}')", f"('{axis}', None)"
            assert seen == [first, first, second, '(None, None)']


def check_parameters_are_made_on_the_devices_where_they_belong():
    mesh = new_mesh()
    with jax.set_mesh(mesh), logical_axis_rules(RULES):
        specs = get_partition_spec(jax.eval_shape(Model().init, KEY, ARRAY))
        shardings = logical_to_mesh_sharding(specs, mesh)
        variables = jax.jit(Model().init, out_shardings=shardings)(KEY, ARRAY)
        y = jax.jit(Model().apply)(variables, ARRAY)
    kernels = [variables['params'][name]['kernel'].value for name in ('Dense_0', 'Dense_1')]
    assert [k.sharding.spec for k in kernels] == [P('x', 'y'), P('y', 'x')]
    assert [k.addressable_shards[0].data.shape for k in kernels] == [(4, 2), (2, 4)]
    assert y.sharding == NamedSharding(mesh, P('x', 'y'))
    np.testing.assert_array_equal(y, ARRAY @ np.ones((8, 8)) @ np.ones((8, 8)))


def check_values_are_spread_over_the_devices():
    mesh = new_mesh()
    x = with_logical_constraint(ARRAY.T, ('both', None), (('both', ('x', 'y')),), mesh)
    assert len(x.sharding.device_set) == 8
    assert x.addressable_shards[0].data.shape == (1, 4)
    with jax.set_mesh(mesh), logical_axis_rules(RULES):
        moved = with_logical_constraint({'a': ARRAY, 'b': np.asarray(ARRAY)}, ('embed', 'mlp'))
    for part in moved.values():
        assert part.sharding == NamedSharding(mesh, P('x', 'y'))
        assert part.addressable_shards[-1].data.shape == (2, 2)
        np.testing.assert_array_equal(part, ARRAY)


def check_arrays_outside_the_mesh_are_moved_under_any_transform():
    variables = Model().init(KEY, ARRAY)

    def loss(variables):
        return Model().apply(variables, ARRAY).sum()

    alone = jax.grad(loss)(variables)
    with jax.set_mesh(new_mesh()), logical_axis_rules(RULES):
        gradient = jax.grad(loss)(variables)
        mapped = jax.vmap(lambda i: i * Model().apply(variables, ARRAY))(jnp.ones(2))
    kernel = gradient['params']['Dense_0']['kernel']
    assert kernel.names == ('embed', 'mlp')
    np.testing.assert_array_equal(kernel.value, alone['params']['Dense_0']['kernel'].value)
    np.testing.assert_array_equal(mapped[1], Model().apply(variables, ARRAY))


@pytest.fixture(scope='module')
def outcomes():
    return run_checks('tests.linen.test_spmd')


@pytest.mark.parametrize('check', checks_in(globals()))
def test_on_eight_devices(check, outcomes):
    assert not outcomes[check], outcomes[check]

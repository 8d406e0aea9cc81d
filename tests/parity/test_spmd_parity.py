"""Logical names of axes: what both libraries make of them, on one device and on eight."""

from __future__ import annotations

import contextlib
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from tests.devices import checks_in, constraints, new_mesh, run_checks
from tests.parity.harness import OURS, same, same_error

ARRAY = jnp.arange(32.0).reshape(4, 8)
KEY = jax.random.key(0)
RULES = (
    ('batch', 'x'), ('embed', 'x'), ('mlp', 'y'), ('both', ('x', 'y')), ('none', None),
    ('embed', 'y'), ('layers', None),
)  # fmt: skip


def spmd_of(lib):
    return lib.load('linen.spmd')


def rules_of(lib, rules=RULES):
    return lib.load('core.spmd').logical_axis_rules(rules)


SPMD = (
    'LogicallyPartitioned logical_to_mesh logical_to_mesh_axes '
    'logical_to_mesh_sharding with_logical_constraint with_logical_partitioning'
).split()


def signature(lib, path, name):
    parameters = inspect.signature(getattr(lib.load(path), name)).parameters.values()
    return [(p.name, str(p.kind), repr(p.default)) for p in parameters]


@pytest.mark.parametrize('name', SPMD)
def test_signatures_are_alike(name):
    same(lambda lib: signature(lib, 'linen.spmd', name))


def test_fallbacks_are_alike():
    same(lambda lib: [(m.name, m.value) for m in spmd_of(lib).RulesFallback])


NAMES = [
    None, (), (None,), ('embed',), ('embed', 'mlp'), ('mlp', 'embed'), ('both', 'embed'),
    ('embed', 'both'), ('none', 'embed'), ('other', 'embed', None), ('x', 'y'), ('batch', 'embed'),
    ('embed', 'batch', 'mlp'), ['embed', 'mlp'], P('embed', 'mlp'), P(('x', 'y'), 'mlp'),
    (('x',), 'batch'), (P.UNCONSTRAINED, 'mlp', P.UNCONSTRAINED),
]  # fmt: skip
RULE_SETS = [
    None, (), RULES, list(map(list, RULES)), RULES[::-1], (('embed', None), ('embed', 'x')),
    (('mlp', 'x'), ('embed', 'x'), ('embed', ('x', 'y')), ('embed', 'y')),
    (('mlp', ('x',)), ('embed', ['x', 'y']), ('embed', ['y'])), (('mlp', ()), ('embed', ())),
    (('embed', 'unknown'), ('mlp', P.UNCONSTRAINED)),
    (('embed', P.UNCONSTRAINED), ('mlp', P.UNCONSTRAINED)),
]  # fmt: skip


def test_mesh_axes_are_found_alike():
    def program(lib):
        to_axes = spmd_of(lib).logical_to_mesh_axes
        with rules_of(lib):
            inside = [to_axes(names, rules) for names in NAMES for rules in RULE_SETS]
        return [inside, [to_axes(names) for names in NAMES]]

    same(program)


def test_trees_of_specs_are_replaced_alike():
    def program(lib):
        spmd = spmd_of(lib)
        trees = [
            None, P('embed'), {'a': P('embed', 'mlp'), 'b': [P(), None], 'c': P('other')},
            lib.core.freeze({'a': P('batch')}),
            lib.load('linen.partitioning').AxisMetadata(P('embed')),
        ]  # fmt: skip
        with rules_of(lib):
            return [
                (
                    spmd.logical_to_mesh(tree, rules),
                    spmd.logical_to_mesh_sharding(tree, mesh, rules),
                )
                for tree in trees
                for rules in (None, (), (('embed', ('x', 'y')),))
                for mesh in [new_mesh()]
            ]

    same(program)


MISTAKES = {
    'twice': lambda M: M.logical_to_mesh_axes(('embed', None, 'embed'), RULES),
    'twice in a tree': lambda M: M.logical_to_mesh({'a': P('embed', 'embed')}, RULES),
    'string': lambda M: M.logical_to_mesh_axes('embed', RULES),
    'string in a tree': lambda M: M.logical_to_mesh({'a': 'embed'}, RULES),
    'dict': lambda M: M.logical_to_mesh_axes(('embed',), dict(RULES)),
    'triples': lambda M: M.logical_to_mesh_axes(('embed',), (('embed', 'x', 'y'),)),
    'mesh': lambda M: M.logical_to_mesh_sharding(P('mlp'), new_mesh(), (('mlp', 'z'),)),
    'constrained twice': lambda M: M.with_logical_constraint(ARRAY, ('mlp', 'mlp'), RULES),
    'constrained to no axis': lambda M: M.with_logical_constraint(
        ARRAY, ('mlp', 'embed'), (('mlp', 'z'),), new_mesh()
    ),
    'too many names': lambda M: M.with_logical_constraint(
        ARRAY, ('mlp', 'embed', None), RULES, new_mesh()
    ),
    'other structure': lambda M: M.with_logical_constraint(ARRAY, ['mlp', None], RULES, new_mesh()),
    'missing part': lambda M: M.with_logical_constraint(
        {'a': ARRAY, 'b': ARRAY}, {'a': ('mlp',)}, RULES, new_mesh()
    ),
    'no rule': lambda M: M.with_logical_constraint(
        ARRAY, ('mlp', 'other'), RULES, fallback=M.RulesFallback.RAISE_ERROR
    ),
    'taken': lambda M: M.with_logical_constraint(
        ARRAY, ('mlp', 'both'), RULES, fallback=M.RulesFallback.RAISE_ERROR
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', MISTAKES)
def test_mistakes_are_refused_alike(name):
    same_error(lambda lib: MISTAKES[name](spmd_of(lib)))


CONSTRAINED = [
    None, (), (None, None), ('embed',), ('embed', 'mlp'), ('mlp', 'embed'), ('both', 'embed'),
    ('other', 'embed'), P('embed', 'mlp'), P(('x', 'y'), None), (P.UNCONSTRAINED, 'mlp'),
    ('none', 'mlp'), ('other', 'more'),
]  # fmt: skip


def constrained(lib, mesh):
    """What is constrained by all names, rules and fallbacks."""
    spmd = spmd_of(lib)
    found = []
    for names, rules, fallback in itertools.product(
        CONSTRAINED, (None, (), RULES[::-1]), ('AXIS_IS_UNSHARDED', 'NO_CONSTRAINT')
    ):
        options = dict(rules=rules, mesh=mesh, fallback=spmd.RulesFallback[fallback])
        found.append(
            constraints(lambda x: spmd.with_logical_constraint(x, names, **options), ARRAY)  # noqa: B023
        )
    return found


@pytest.mark.parametrize('has_rules', [False, True])
@pytest.mark.parametrize('place', ['nowhere', 'argument', 'in effect'])
def test_programs_are_constrained_alike(place, has_rules):
    def program(lib):
        in_effect = jax.set_mesh(new_mesh()) if place == 'in effect' else contextlib.nullcontext()
        with in_effect, rules_of(lib, RULES if has_rules else ()):
            return constrained(lib, new_mesh() if place == 'argument' else None)

    same(program)
    count = sum(map(len, program(OURS)))
    assert count > 0 if place != 'nowhere' else count == 0


def test_trees_are_constrained_alike():
    tree = {'a': ARRAY, 'b': {'c': ARRAY, 'd': None}}
    names = [
        ('embed', 'mlp'), {'a': ('mlp',), 'b': P('embed', 'mlp')},
        {'a': P('mlp'), 'b': {'c': (None, 'embed'), 'd': None}},
    ]  # fmt: skip

    def program(lib):
        constrain = spmd_of(lib).with_logical_constraint
        moved = [constrain(tree, part, RULES, new_mesh()) for part in names]
        pair = constrain((ARRAY, ARRAY), (('embed',), ('mlp', None)), RULES, new_mesh())
        return [moved, jax.tree.map(lambda x: x.sharding, [moved, pair])]

    same(program)


def test_boxes_behave_alike():
    def program(lib):
        spmd, meta = spmd_of(lib), lib.load('core.meta')
        box = spmd.LogicallyPartitioned(ARRAY, ('embed', 'mlp'), new_mesh(), RULES)
        bare = spmd.LogicallyPartitioned(ARRAY, ('embed', 'mlp'))
        params = {'partition_name': 'layers'}
        with rules_of(lib, (('embed', 'y'),)):
            unboxed = [
                constraints(lambda x, b=b, a=a: b.replace_boxed(x).unbox(a), ARRAY)
                for b in (box, bare, box.replace(rules=None), box.replace(rules=()))
                for a in (True, False)
            ]
            with jax.set_mesh(new_mesh()):
                unboxed += [constraints(lambda b: b.unbox(), b) for b in (box, bare)]
        return [
            unboxed, repr(bare), box.names, box.mesh, box.rules,
            [box.add_axis(i, params).names for i in (0, 1, 2, 4)], box.add_axis(0, params).rules,
            box.add_axis(1, params).remove_axis(1, params), box.get_partition_spec(),
            bare.replace(names=('x', None)).get_sharding(new_mesh()), meta.unbox({'w': box}),
            meta.get_partition_spec({'w': box, 'b': ARRAY}), meta.is_axis_metadata(box),
            jax.tree_util.tree_leaves_with_path(box), isinstance(box, meta.Partitioned),
        ]  # fmt: skip

    same(program)


def logical_model(lib):
    """A model with logical names on parameters and on values."""
    nn, spmd = lib.nn, spmd_of(lib)
    name = spmd.with_logical_partitioning

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _=None):
            x = spmd.with_logical_constraint(x, ('batch', 'embed'))
            w = self.param('w', name(nn.initializers.normal(), ('embed', 'mlp')), (8, 8))
            b = self.param('b', name(nn.initializers.zeros, ('mlp',), None, RULES[::-1]), (8,))
            return jnp.tanh(x @ w + b), None

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            layers = nn.scan(
                Block, variable_axes={'params': 0}, split_rngs={'params': True}, length=2,
                metadata_params={nn.PARTITION_NAME: 'layers'},
            )  # fmt: skip
            x, _ = nn.remat(layers)(name='layers')(x, None)
            return spmd.with_logical_constraint(Block(name='last')(x)[0], ('other', 'mlp'))

    return Model()


def with_specs(lib, variables):
    spmd, meta = spmd_of(lib), lib.load('core.meta')
    specs = meta.get_partition_spec(variables)
    return [specs, spmd.logical_to_mesh(specs), spmd.logical_to_mesh_sharding(specs, new_mesh())]


def test_models_with_boxes_are_alike():
    def program(lib):
        model = logical_model(lib)
        with rules_of(lib):
            variables = model.init(KEY, ARRAY)
            with jax.set_mesh(new_mesh()):
                seen = constraints(model.apply, variables, ARRAY)
            return [variables, with_specs(lib, variables), model.apply(variables, ARRAY), seen]

    same(program, ordered=False)


# On eight devices.


def shardings(tree):
    return jax.tree.map(lambda x: str(x.sharding), tree)


def placed(mesh):
    """An array that lies on the devices of a mesh, as the oracle demands outside of ``jit``."""
    return jax.device_put(ARRAY, NamedSharding(mesh, P()))


def check_parameters_are_sharded_alike():
    def program(lib):
        model, mesh = logical_model(lib), new_mesh()
        with rules_of(lib), jax.set_mesh(mesh):
            specs = with_specs(lib, jax.eval_shape(model.init, KEY, ARRAY))
            variables = jax.jit(model.init, out_shardings=specs[2])(KEY, ARRAY)
            y = jax.jit(model.apply)(variables, ARRAY)
            seen = constraints(model.apply, variables, ARRAY)
            eager = model.apply(variables, placed(mesh))
        assert 'x' in str(seen)
        assert 'y' in str(variables['params']['last']['w'].value.sharding.spec)
        return [specs, variables, y, shardings([variables, y, eager]), seen]

    same(program, ordered=False)


def check_values_are_moved_alike():
    def program(lib):
        constrain, mesh = spmd_of(lib).with_logical_constraint, new_mesh()
        values = [ARRAY, np.asarray(ARRAY), placed(mesh), jax.random.split(KEY, (4, 8))]
        moved = [
            constrain(x, names, RULES, mesh)
            for x in values
            for names in (('embed', 'mlp'), ('both',)[:0], ('mlp', 'embed'), (None, 'both'), None)
            if names is not None or x is not values[1]
        ]
        with jax.set_mesh(mesh):
            moved += [constrain(x, ('batch', 'mlp'), RULES) for x in values[1:3]]
        return [moved, shardings(moved)]

    same(program)


def check_programs_are_constrained_alike():
    mesh = new_mesh()

    def program(lib):
        constrain = spmd_of(lib).with_logical_constraint
        with rules_of(lib), jax.set_mesh(mesh):
            return [constrained(lib, mesh), constrained(lib, None), constraints(
                jax.vmap(lambda x: constrain(x, ('mlp',))), ARRAY
            )]  # fmt: skip

    same(program)


@pytest.fixture(scope='module')
def outcomes():
    return run_checks('tests.parity.test_spmd_parity')


@pytest.mark.parametrize('check', checks_in(globals()))
def test_on_eight_devices(check, outcomes):
    assert not outcomes[check], outcomes[check]

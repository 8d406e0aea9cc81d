"""The surface of the modules of data; frozen dicts, dataclasses, flat dicts, training state."""

from __future__ import annotations

import collections
import dataclasses
import inspect
import pickle
import types
import typing

import jax
import jax.numpy as jnp
import optax
import pytest

from tests.parity.harness import (
    PAIR,
    repr_without_library,
    same,
    same_error,
)

MODULES = {
    'core.frozen_dict': 'FrozenDict FrozenKeysView FrozenValuesView K V copy freeze pop '
    'pretty_repr unfreeze',
    'struct': 'PyTreeNode TNode dataclass field',
    'serialization': 'MAX_CHUNK_SIZE current_path from_bytes from_state_dict is_serializable '
    'msgpack_restore msgpack_serialize register_serialization_state to_bytes to_state_dict',
    'core.meta': 'A AxisMetadata B PARTITION_NAME Partitioned TAxisMetadata add_axis '
    'get_global_mesh get_partition_spec get_sharding global_mesh_defined is_axis_metadata '
    'map_axis_meta remove_axis replace_boxed unbox with_partitioning',
    'core.spmd': 'apply_rules composite_rules from_sharding_rules get_logical_axis_rules get_mesh '
    'get_pspec logical_axis_rules map_sharding set_logical_axis_rules shard_value',
    'training.train_state': 'OVERWRITE_WITH_GRADIENT TrainState',
    'traverse_util': 'ModelParamTraversal Traversal TraverseAttr TraverseCompose TraverseEach '
    'TraverseFilter TraverseId TraverseItem TraverseMerge TraverseTree empty_node flatten_dict '
    'path_aware_map t_identity unflatten_dict',
}
NAMES = [(module, name) for module, names in MODULES.items() for name in names.split()]
# `from_nnx_metadata` and `to_nnx_metadata` belong to another library.
LEFT_OUT = {'from_nnx_metadata', 'to_nnx_metadata'}


def parameters(function):
    return [
        (p.name, p.kind, repr(p.default)) for p in inspect.signature(function).parameters.values()
    ]


def public_methods(cls):
    return {
        name: getattr(cls, name)
        for name in dir(cls)
        if not name.startswith('_') and callable(getattr(cls, name))
    }


@pytest.mark.parametrize(('module', 'name'), NAMES)
def test_the_surface_is_the_oracles(module, name):
    theirs, ours = (getattr(lib.load(module), name) for lib in PAIR)
    if isinstance(theirs, typing.TypeVar | int | str):
        assert ours == theirs or isinstance(theirs, typing.TypeVar)
    elif isinstance(theirs, type):
        assert set(public_methods(ours)) - LEFT_OUT == set(public_methods(theirs)) - LEFT_OUT
        for method, function in public_methods(theirs).items():
            if method not in LEFT_OUT | {'register'}:
                assert [n for n, *_ in parameters(function)] == [
                    n for n, *_ in parameters(getattr(ours, method))
                ] or method in ('replace', 'items')
        if dataclasses.is_dataclass(theirs):
            fields = [
                [(f.name, f.default, dict(f.metadata)) for f in dataclasses.fields(cls)]
                for cls in (theirs, ours)
            ]
            assert fields[0] == fields[1]
    elif callable(theirs):
        assert parameters(theirs) == parameters(ours)
    else:
        assert type(theirs).__name__ == type(ours).__name__


# Frozen dicts.

NESTED = {'b': {'y': 1, 'x': {'z': 2}}, 'a': [1, {'q': 3}], 'e': {}, 'n': None}
Pair = collections.namedtuple('Pair', 'first second')

FROZEN_PROGRAMS = {
    'items': lambda F, f: [list(f), list(f.items()), list(f.keys()), list(f.values()), len(f)],
    'types': lambda F, f: [type(value).__name__ for value in f.values()],
    'get': lambda F, f: [f['b'], f.get('b'), f.get('z'), f.get('z', 3), 'a' in f, 'z' in f],
    'texts': lambda F, f: [repr(f), str(f), repr(f.keys()), repr(f.values()), f.pretty_repr()],
    'pretty': lambda F, f: [
        F.pretty_repr(x) for x in ({'a': f}, 3, {}, {1: {(2, 3): 's'}}, [f], {'a': {}})
    ] + [F.pretty_repr(NESTED, 3)    ],
    'equality': lambda F, f: [
        f == NESTED, f == f.copy(), f != NESTED, f == 3, f == types.MappingProxyType(NESTED),
        [f] == [NESTED], F.FrozenDict(a=1) == F.FrozenDict(a=2),
    ],
    'hash': lambda F, f: [
        hash(F.FrozenDict(a=1, b={'c': 2})) == hash(F.FrozenDict(b={'c': 2}, a=1)),
        {F.FrozenDict(a=1): 1}[F.FrozenDict(a=1)],
    ],
    'copy': lambda F, f: [
        f.copy(), f.copy({'b': {'n': f}}), F.copy(f, {'c': 1}), F.copy(NESTED, {'c': f}),
        F.copy(NESTED),
    ],
    'pop': lambda F, f: [
        f.pop('b'), F.pop(f, 'a'), F.pop(NESTED, 'b'), F.pop({'b': f, 'a': 1}, 'b'),
    ],
    'freeze': lambda F, f: [
        F.freeze(NESTED), F.freeze(f), F.FrozenDict(), F.FrozenDict(a=1, b={'c': f}),
        F.FrozenDict([('a', 1)], b=2), F.FrozenDict(collections.OrderedDict(b={'c': 1})),
        F.FrozenDict({'a': {'b': 1}}, __unsafe_skip_copy__=True),
    ],
    'unfreeze': lambda F, f: [
        f.unfreeze(), F.unfreeze(f), F.unfreeze({'b': f, 'a': f}), F.unfreeze(3),
        F.unfreeze([f]), F.unfreeze(NESTED), F.FrozenDict(a=(1, f)).unfreeze(),
    ],
    'pickle': lambda F, f: [pickle.loads(pickle.dumps(f)), f.__reduce__()[1]],
    'tree': lambda F, f: [
        jax.tree.leaves(f), jax.tree_util.tree_leaves_with_path(f), jax.tree.map(str, f),
        repr_without_library(jax.tree.structure(f)), jax.tree.structure(f).node_data()[1],
        f.tree_flatten_with_keys(), F.FrozenDict.tree_unflatten(('b', 'a'), (1, {'c': 2})),
    ],
}  # fmt: skip


@pytest.mark.parametrize('name', FROZEN_PROGRAMS)
def test_frozen_dicts_behave_alike(name):
    def program(lib):
        frozen_dict = lib.load('core.frozen_dict')
        return FROZEN_PROGRAMS[name](frozen_dict, frozen_dict.FrozenDict(NESTED))

    same(program)


@pytest.mark.parametrize(
    'program',
    [
        lambda F, f: f.__setitem__('a', 1),
        lambda F, f: f['missing'],
        lambda F, f: f.pop('missing'),
        lambda F, f: F.pop(NESTED, 'missing'),
        lambda F, f: F.copy(3),
        lambda F, f: F.pop(3, 'a'),
        lambda F, f: F.freeze(3),
        lambda F, f: F.freeze([1]),
        lambda F, f: hash(f),
        lambda F, f: f | f,
        lambda F, f: f.copy(a=1),
        lambda F, f: setattr(f, 'a', 1),
        lambda F, f: jax.tree.leaves(F.FrozenDict({1: 2, 'a': 3})),
        lambda F, f: jax.tree.map(lambda *x: x, f, NESTED),
    ],
)
def test_frozen_dicts_refuse_alike(program):
    def run(lib):
        frozen_dict = lib.load('core.frozen_dict')
        return program(frozen_dict, frozen_dict.FrozenDict(NESTED))

    same_error(run)


# Dataclasses.


def classes(lib):
    """The same dataclasses of either library."""
    struct = lib.struct

    @struct.dataclass
    class Point:
        x: object
        name: str = struct.field(pytree_node=False, default='p')
        y: object = 7
        built: list = struct.field(pytree_node=False, default_factory=list, compare=False)

        def __post_init__(self):
            self.built.append(self.x)

    class Node(struct.PyTreeNode):
        a: object
        kind: str = struct.field(pytree_node=False, default='k')

    class Child(Node, kw_only=True):
        b: object

    class Loose(struct.PyTreeNode, frozen=False):
        a: object = 1

        def replace(self, **updates):
            return 'never called'

    return Point, Node, Child, Loose


STRUCT_PROGRAMS = {
    'flatten': lambda Point, Node, Child, Loose: [
        (jax.tree.leaves(x), jax.tree_util.tree_leaves_with_path(x))
        for x in (Point(1), Point([1, {'a': 2}], 'q', 3), Node(1), Child(1, b=2), Loose())
    ],
    'rebuild': lambda Point, Node, Child, Loose: [
        jax.tree.map(lambda leaf: leaf + 1, x) for x in (Point(1), Node(1), Child(1, b=2), Loose())
    ],
    'post_init': lambda Point, Node, Child, Loose: jax.tree.map(str, Point(1)).built,
    'replace': lambda Point, Node, Child, Loose: [
        Point(1).replace(x=2, name='q'), Node(1).replace(a=3), Loose().replace(a=5),
    ],
    'equality': lambda Point, Node, Child, Loose: [
        Point(1) == Point(1), Point(1) == Point(2), hash(Node(1)) == hash(Node(1)),
        jax.tree.structure(Node(1)) == jax.tree.structure(Node(2)),
        jax.tree.structure(Node(1, 'a')) == jax.tree.structure(Node(1, 'b')),
    ],
    'texts': lambda Point, Node, Child, Loose: [
        repr(x) for x in (Point(1), Child(1, b=2), Loose())
    ],
    'fields': lambda *kinds: [
        [(f.name, dict(f.metadata)) for f in dataclasses.fields(kind)] for kind in kinds
    ],
    'params': lambda *kinds: [repr(kind.__dataclass_params__) for kind in kinds],
    'marker': lambda *kinds: [kind._flax_dataclass for kind in kinds],
    'jit': lambda Point, Node, Child, Loose: jax.jit(lambda n: n.replace(a=n.a * 2))(
        Node(jnp.arange(3))
    ),
    'grad': lambda Point, Node, Child, Loose: jax.grad(lambda n: jnp.sum(n.a**2))(
        Node(jnp.ones(2))
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', STRUCT_PROGRAMS)
def test_dataclasses_behave_alike(name):
    same(lambda lib: STRUCT_PROGRAMS[name](*classes(lib)))


@pytest.mark.parametrize(
    'program',
    [
        lambda Point, Node, Child, Loose: Point(1).__setattr__('x', 2),
        lambda Point, Node, Child, Loose: Point(1).replace(missing=1),
        lambda Point, Node, Child, Loose: Child(1, 2),
        lambda Point, Node, Child, Loose: Child(1),
        lambda Point, Node, Child, Loose: hash(Node([1])),
    ],
)
def test_dataclasses_refuse_alike(program):
    same_error(lambda lib: program(*classes(lib)))


# Flat dicts and traversals.

FLAT_PROGRAMS = {
    'flatten': lambda U, F: [
        U.flatten_dict(x, *args)
        for x in (NESTED, F.freeze(NESTED), {'a': F.freeze({'b': 1})}, {}, {1: {2: 3}})
        for args in ((), (True,), (False, lambda path, _: path == ('b',)))
    ],
    'separators': lambda U, F: [
        U.flatten_dict(NESTED, keep_empty_nodes=keep, sep=sep)
        for keep in (False, True)
        for sep in ('/', '.', '')
    ],
    'leaf calls': lambda U, F: (
        lambda seen: [U.flatten_dict(NESTED, is_leaf=lambda *x: seen.append(x)), seen]
    )([]),
    'root leaf': lambda U, F: U.flatten_dict(NESTED, is_leaf=lambda *_: True, sep='/'),
    'unflatten': lambda U, F: [
        U.unflatten_dict(U.flatten_dict(NESTED, keep_empty_nodes=True)),
        U.unflatten_dict(U.flatten_dict(NESTED, True, sep='/'), sep='/'),
        U.unflatten_dict({'a//b': 1, '/': 2, 'c': U.empty_node}, sep='/'),
        U.unflatten_dict({('a',): {}, ('b', 'c'): 1}),
        U.unflatten_dict({}),
    ],
    'map': lambda U, F: [
        U.path_aware_map(lambda path, x: (path, x), x) for x in (NESTED, F.freeze(NESTED), {})
    ],
    'empty node': lambda U, F: [U.empty_node, jax.tree.leaves(U.empty_node), U.empty_node == 3],
    'traversals': lambda U, F: [
        (list(t.iterate(x)), t.update(lambda v: v * 2, x))
        for t, x in (
            (U.t_identity, 3),
            (U.t_identity['a'], {'a': 1, 'b': 2}),
            (U.t_identity[1], (1, 2)),
            (U.t_identity[1], [1, 2]),
            (U.t_identity.second, Pair(1, 2)),
            (U.t_identity.each(), {'b': 1, 'a': 2}),
            (U.t_identity.each()[0], [(1, 2), (3, 4)]),
            (U.t_identity.each().filter(lambda v: v > 1), (1, 2, 3)),
            (U.t_identity.tree(), {'b': [1], 'a': 2}),
            (
                U.t_identity.merge(U.TraverseItem('a'), U.TraverseItem('b')),
                {'a': 1, 'b': 2, 'c': 3},
            ),
            (U.TraverseCompose(U.TraverseItem('a'), U.TraverseEach()), {'a': [1, 2]}),
            (U.ModelParamTraversal(lambda path, _: 'z' in path), NESTED),
            (U.ModelParamTraversal(lambda path, _: path == '/b/y'), F.freeze(NESTED)),
        )
    ],
    'set': lambda U, F: U.t_identity.each()['k'].set([5, 6], [{'k': 1}, {'k': 2}]),
}


@pytest.mark.filterwarnings('ignore:`flax.traverse_util.Traversal`:DeprecationWarning')
@pytest.mark.parametrize('name', FLAT_PROGRAMS)
def test_flat_dicts_and_traversals_behave_alike(name):
    same(lambda lib: FLAT_PROGRAMS[name](lib.load('traverse_util'), lib.load('core.frozen_dict')))


@pytest.mark.filterwarnings('ignore:`flax.traverse_util.Traversal`:DeprecationWarning')
@pytest.mark.parametrize(
    'program',
    [
        lambda U: U.flatten_dict({1: {2: 3}}, sep='/'),
        lambda U: U.unflatten_dict({('a',): 2, ('a', 'b'): 1}),
        lambda U: U.unflatten_dict({1: 1}),
        lambda U: U.t_identity.each().set([1], [1, 2]),
        lambda U: U.t_identity.each().set([1, 2, 3], [1, 2]),
        lambda U: U.t_identity['q'].update(str, {'a': 1}),
        lambda U: U.Traversal(),
    ],
)
def test_flat_dicts_and_traversals_refuse_alike(program):
    same_error(lambda lib: program(lib.load('traverse_util')))


# The training state.

PARAMS = {'w': jnp.arange(3.0), 'b': {'c': jnp.ones(2, jnp.bfloat16)}}
OPTIMISERS = {
    'sgd': optax.sgd(0.1, momentum=0.9),
    'adamw': optax.adamw(optax.linear_schedule(0.1, 0.0, 5)),
    'multi': optax.MultiSteps(optax.adam(0.1), 2),
}


@pytest.mark.parametrize('jit', [False, True], ids=['eager', 'jit'])
@pytest.mark.parametrize('kind', ['plain', 'frozen', 'overwritten'])
@pytest.mark.parametrize('name', OPTIMISERS)
def test_training_states_take_the_same_steps(name, kind, jit):
    def program(lib):
        freeze = lib.load('core.frozen_dict').freeze
        params = {
            'plain': PARAMS,
            'frozen': freeze(PARAMS),
            'overwritten': {'params': PARAMS, '_overwrite_with_gradient': {'s': jnp.ones(1)}},
        }[kind]
        state = lib.load('training.train_state').TrainState.create(
            apply_fn=max, params=params, tx=OPTIMISERS[name]
        )
        step = lambda state, grads: state.apply_gradients(grads=grads)  # noqa: E731
        step = jax.jit(step) if jit else step
        results = []
        for i in range(3):
            state = step(state, jax.tree.map(lambda x, i=i: (x + i).astype(x.dtype), state.params))
            results.append([state.step, state.params, state.opt_state])
        return results, lib.load('serialization').to_state_dict(state)

    same(program)


def test_training_states_are_extended_and_written_alike():
    def program(lib):
        class WithStats(lib.load('training.train_state').TrainState):
            batch_stats: object

        state = WithStats.create(
            apply_fn=None, params=PARAMS, tx=OPTIMISERS['sgd'], batch_stats={'m': jnp.ones(1)}
        )
        after = state.apply_gradients(grads=PARAMS, batch_stats={'m': jnp.zeros(1)})
        serialization = lib.load('serialization')
        written = serialization.to_bytes(after)
        restored = serialization.from_bytes(state, written)
        return [written, restored.step, restored.params, restored.opt_state, restored.batch_stats]

    same(program)


def test_gradients_that_do_not_fit_are_refused_alike():
    def step(grads):
        return lambda lib: (
            lib.load('training.train_state')
            .TrainState.create(apply_fn=None, params=PARAMS, tx=OPTIMISERS['sgd'])
            .apply_gradients(grads=grads)
        )

    same_error(step({'w': PARAMS['w']}))
    same_error(step({**PARAMS, 'w': jnp.ones(5)}))

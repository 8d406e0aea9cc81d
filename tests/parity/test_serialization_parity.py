"""State dicts and their bytes: equal for the same tree, and each library reads the other's."""

from __future__ import annotations

import collections
import functools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parity.harness import ORACLE, OURS, PAIR, assert_same_tree, same, same_error

Pair = collections.namedtuple('Pair', 'first second')


def classes(lib):
    """The same dataclasses of either library."""
    struct = lib.struct

    @struct.dataclass
    class Point:
        x: object
        name: str = struct.field(pytree_node=False, default='p')
        y: object = 7

    class Node(struct.PyTreeNode):
        a: object

    return Point, Node


NAMES_OF_DTYPES = [
    'bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64', 'float16',
    'float32', 'float64', 'complex64', 'complex128',
    *(name for name in dir(ml_dtypes)
      if isinstance(getattr(ml_dtypes, name), type)
      and issubclass(getattr(ml_dtypes, name), np.generic)
      and 'complex' not in name),  # JAX has no such arrays
]  # fmt: skip


# Without 64 bits, which JAX has not by default, and those at which XLA ends the process.
NO_JAX_DTYPES = 'int64 uint64 float64 complex128 int1 uint1 float6_e2m3fn float6_e3m2fn'.split()
NAMES_OF_JAX_DTYPES = [
    name for name in NAMES_OF_DTYPES if hasattr(jnp, name) and name not in NO_JAX_DTYPES
]


def trained(lib):
    """A train state after a step, with trees of many kinds in it."""
    Point, Node = classes(lib)
    params = {'dense': {'kernel': jnp.ones((3, 2)), 'bias': jnp.zeros(2, jnp.bfloat16)}}
    optimisers = {'dense': optax.adam(optax.linear_schedule(1e-2, 0.0, 9)), 'rest': optax.sgd(0.1)}
    tx = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.multi_transform(optimisers, {'dense': {'kernel': 'dense', 'bias': 'rest'}}),
    )
    state = lib.load('training.train_state').TrainState.create(apply_fn=max, params=params, tx=tx)
    extra = [Node(Point(Node({'a': [Pair(1, Node(None))]}), y=np.zeros((0, 3)))), jnp.int4(3)]
    step = jax.jit(lambda state, grads: state.apply_gradients(grads=grads))
    return {'state': step(state, params), 'extra': extra}


@functools.cache
def optimiser_state():
    params = {'w': jnp.arange(3.0), 'b': {'c': jnp.ones(1, jnp.bfloat16)}}
    tx = optax.chain(
        optax.clip(1.0),
        optax.inject_hyperparams(optax.adamw)(optax.linear_schedule(1.0, 0.0, 3)),
        optax.masked(optax.trace(0.9), {'w': True, 'b': False}),
        optax.apply_if_finite(optax.scale(1.0), 2),
    )
    return tx.update(params, tx.init(params), params)[1]


@functools.cache
def trees(lib):
    """Trees of every kind that has bytes."""
    freeze = lib.load('core.frozen_dict').freeze
    Point, Node = classes(lib)
    partitioned = lib.load('core.meta').Partitioned(jnp.ones((2, 1)), ('data', None))
    return {
        'plain': {'b': 1, 'a': [1, (2, 3.5), None, True, 'text', b'raw', 1 + 2j, 2**63, -(2**63)]},
        'keys': {1: {2: 3}, 'a': {None: 4}, (1, 2): 5},
        'named': {'pair': Pair(1, [Pair(2, 3)])},
        'frozen': freeze({'b': {'z': 1, 'c': [2]}, 'a': {}}),
        'frozen inside': {'a': [freeze({'b': 1})]},
        'empty': {'a': {}, 'b': [], 'c': (), 'd': freeze({})},
        'dataclass': Point(np.arange(2), 'q', Node((2, Node([3])))),
        'partial': jax.tree_util.Partial(max, 1, [2], key=np.float32(3)),
        'partitioned': {'w': partitioned},
        'optimiser': optimiser_state(),
        'empty node': {'a': lib.load('traverse_util').empty_node},
        'arrays': {
            name: [
                np.arange(6).reshape(2, 3).astype(name), np.ones((), name), np.zeros((0, 2), name),
                np.dtype(name).type(1),
            ]
            for name in NAMES_OF_DTYPES
        },
        'jax arrays': {
            name: [
                jnp.asarray(x.astype(name))
                for x in (np.arange(6).reshape(2, 3), np.ones(()), np.zeros((0, 2)))
            ]
            for name in NAMES_OF_JAX_DTYPES
        },
        'trained': trained(lib),
        'layouts': [
            np.asfortranarray(np.arange(6).reshape(2, 3)), np.arange(6)[::2], jnp.arange(3),
            jnp.float32(2), jnp.ones(2, jnp.int4), jax.random.PRNGKey(0),
        ],
        'large': {'x': np.arange(10), 'y': [{'z': np.arange(20).reshape(4, 5)}], 's': np.int64(3)},
        'leaf': np.arange(20.0),
        'number': 3,
        'text': 'x' * 300,
        'many': list(range(300)),
    }  # fmt: skip


TREES = [
    'plain',
    'keys',
    'named',
    'frozen',
    'frozen inside',
    'empty',
    'dataclass',
    'partial',
    'partitioned',
    'optimiser',
    'empty node',
    'arrays',
    'jax arrays',
    'trained',
    'layouts',
    'large',
    'leaf',
    'number',
    'text',
    'many',
]


def test_every_tree_is_compared():
    assert list(trees(OURS)) == TREES


@pytest.fixture(params=[None, 16], ids=['whole', 'chunks'])
def chunk_size(request, monkeypatch):
    for lib in PAIR:
        if request.param:
            monkeypatch.setattr(lib.load('serialization'), 'MAX_CHUNK_SIZE', request.param)


@pytest.mark.parametrize('name', TREES)
def test_state_dicts_are_equal(name):
    same(lambda lib: lib.load('serialization').to_state_dict(trees(lib)[name]))


@pytest.mark.usefixtures('chunk_size')
@pytest.mark.parametrize('name', TREES)
def test_bytes_are_equal_and_each_library_reads_the_others(name):
    theirs, ours = (lib.load('serialization') for lib in PAIR)
    written = theirs.to_bytes(trees(ORACLE)[name])
    assert ours.to_bytes(trees(OURS)[name]) == written
    assert_same_tree(theirs.msgpack_restore(written), ours.msgpack_restore(written))
    restored = theirs.from_bytes(trees(ORACLE)[name], written)
    assert_same_tree(restored, ours.from_bytes(trees(OURS)[name], written))


@pytest.mark.usefixtures('chunk_size')
@pytest.mark.parametrize('in_place', [False, True])
@pytest.mark.parametrize(
    'tree',
    [
        {'b': {'z': np.arange(9), 'c': 2}, 'a': [{'y': 1, 'x': np.arange(9)}]},
        [np.arange(30), {'a': jnp.arange(30)}],
        {2: 1, 1: {'a': None}},
        np.arange(40).reshape(2, 20),
        {'x': np.zeros((3, 0)), 'y': np.arange(3, dtype=np.complex128), 'z': np.ones(17, bool)},
    ],
    ids=lambda tree: type(tree).__name__,
)
def test_serialized_trees_have_equal_bytes(tree, in_place):
    def serialize(lib):
        own = jax.tree.map(lambda x: x, tree)
        return lib.load('serialization').msgpack_serialize(own, in_place=in_place)

    theirs, ours = map(serialize, PAIR)
    assert theirs == ours
    assert_same_tree(
        *(
            lib.load('serialization').msgpack_restore(data)
            for lib, data in zip(PAIR, (ours, theirs), strict=True)
        )
    )


@pytest.mark.parametrize('name', ['dataclass', 'optimiser', 'trained', 'frozen', 'partitioned'])
def test_what_one_library_saves_the_other_restores_into_its_own_types(name):
    theirs, ours = (lib.load('serialization') for lib in PAIR)
    for writer, reader, lib in ((theirs, ours, OURS), (ours, theirs, ORACLE)):
        written = writer.to_bytes(trees(ORACLE if writer is theirs else OURS)[name])
        target = trees(lib)[name]
        blank = jax.tree.map(lambda x: np.zeros_like(x) if hasattr(x, 'dtype') else x, target)
        restored = reader.from_bytes(blank, written)
        assert jax.tree.structure(restored) == jax.tree.structure(target)
        for got, saved in zip(jax.tree.leaves(restored), jax.tree.leaves(target), strict=True):
            np.testing.assert_array_equal(got, saved)
            assert getattr(got, 'dtype', None) == getattr(saved, 'dtype', None)


@pytest.mark.parametrize('shape', [(), (2,)])
def test_typed_keys_are_refused_by_both(shape):
    keys = jax.random.split(jax.random.key(0), shape) if shape else jax.random.key(0)
    for lib in PAIR:
        with pytest.raises((TypeError, ValueError), match='key_data'):
            lib.load('serialization').to_bytes({'rng': keys})


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.complex_numbers(),
    st.text(max_size=40), st.binary(max_size=40),
    st.builds(
        lambda name, shape: np.arange(np.prod(shape)).reshape(shape).astype(name),
        st.sampled_from(NAMES_OF_DTYPES), st.lists(st.integers(0, 3), max_size=3).map(tuple),
    ),
)  # fmt: skip
drawn_trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(drawn_trees)
def test_drawn_trees_have_equal_bytes(tree):
    theirs, ours = (lib.load('serialization') for lib in PAIR)
    written = theirs.msgpack_serialize(jax.tree.map(lambda x: x, tree))
    assert ours.msgpack_serialize(tree) == written
    assert_same_tree(theirs.msgpack_restore(written), ours.msgpack_restore(written))


@pytest.mark.skipif(OURS == ORACLE, reason='the oracle writes other numbers')
def test_an_array_of_another_byte_order_keeps_its_numbers():
    array = np.arange(3, dtype='>i4')
    written = OURS.load('serialization').msgpack_serialize(array)
    restored = ORACLE.load('serialization').msgpack_restore(written)
    np.testing.assert_array_equal(restored, array)


@pytest.mark.parametrize(
    ('target', 'state'),
    [
        ({'a': 1}, {}),
        ({'a': {'b': 1}}, {'a': {'c': 1}}),
        ([1, 2], {'0': 1}),
        ([1], {'0': 1, '1': 2}),
        (Pair(1, 2), {'first': 1}),
        (Pair(1, 2), {'first': 1, 'second': 2, 'third': 3}),
    ],
)
def test_states_that_do_not_fit_are_refused_alike(target, state):
    error = same_error(lambda lib: lib.load('serialization').from_state_dict(target, state))
    assert isinstance(error, ValueError)


@pytest.mark.parametrize('state', [{'x': 1}, {'x': 1, 'y': 2, 'name': 'q'}])
def test_states_that_do_not_fit_a_dataclass_are_refused_alike(state):
    same_error(lambda lib: lib.load('serialization').from_state_dict(classes(lib)[0](0), state))


def test_the_place_is_named_alike():
    def places(lib):
        serialization = lib.load('serialization')
        seen = [serialization.current_path()]

        class Box:
            pass

        serialization.register_serialization_state(
            Box, lambda box: {}, lambda box, state: seen.append(serialization.current_path())
        )
        serialization.from_state_dict({'a': [Box()]}, {'a': {'0': {}}})
        serialization.from_state_dict(Pair(Box(), Box()), {'first': {}, 'second': {}}, name='top')
        return seen

    same(places)


def test_the_registry_is_asked_alike():
    questions = [dict, {}, [], (), Pair(1, 2), 3, None, np.ones(1), jnp.ones(1), set, max]
    same(lambda lib: [lib.load('serialization').is_serializable(x) for x in questions])

"""The comparison itself sees every difference that matters, and none that does not."""

from __future__ import annotations

import collections
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity.harness import ORACLE, Library, assert_same_tree, compare, same_error

Pair = collections.namedtuple('Pair', 'a b')

DIFFERENT = {
    'dtype': (jnp.ones(2), jnp.ones(2, jnp.bfloat16)),
    'shape': (jnp.ones(2), jnp.ones((1, 2))),
    'weak_type': (jnp.asarray(1.0), jnp.ones(())),
    'last_bit': (jnp.ones(3), jnp.ones(3).at[1].set(np.nextafter(np.float32(1), 2))),
    'sign_of_zero': (jnp.zeros(1), -jnp.zeros(1)),
    'half_bits': (jnp.ones(1, jnp.bfloat16), jnp.full(1, 1.01, jnp.bfloat16)),
    'imaginary': (np.array([1j]), np.array([2j])),
    'nan_or_number': (jnp.array([np.nan]), jnp.array([0.0])),
    'small_ints': (jnp.array([1], jnp.int4), jnp.array([2], jnp.int4)),
    'array_or_number': (jnp.asarray(1), 1),
    'numpy_or_jax': (np.ones(1, np.float32), jnp.ones(1)),
    'key_data': (jax.random.key(0), jax.random.key(1)),
    'key_kind': (jax.random.key(0), jax.random.key(0, impl='rbg')),
    'typed_or_raw_key': (jax.random.key(0), jax.random.PRNGKey(0)),
    'order_of_keys': ({'a': 1, 'b': 2}, {'b': 2, 'a': 1}),
    'missing_key': ({'a': 1}, {'a': 1, 'b': 2}),
    'list_or_tuple': ([1], (1,)),
    'tuple_or_named': ((1, 2), Pair(1, 2)),
    'length': ([1], [1, 2]),
    'dict_or_frozen': ({'a': 1}, ORACLE.core.freeze({'a': 1})),
    'boxed_or_not': (jnp.ones(1), ORACLE.nn.Partitioned(jnp.ones(1), names=('a',))),
    'names_of_a_box': tuple(ORACLE.nn.Partitioned(jnp.ones(1), names=(n,)) for n in 'ab'),
    'text': ('a', 'b'),
    'bool_or_int': (True, 1),
    'none_or_zero': (None, 0),
    'abstract_shape': tuple(jax.ShapeDtypeStruct((n,), jnp.float32) for n in (1, 2)),
    'deep_inside': ({'a': [(jnp.ones(1),)]}, {'a': [(jnp.zeros(1),)]}),
}

ALIKE = {
    'payload_of_nan': (
        np.array([0x7FC00000], np.uint32).view(np.float32),
        np.array([0x7FC00001], np.uint32).view(np.float32),
    ),
    'nan_as_number': (float('nan'), float('nan')),
    'float8': (jnp.ones(2, jnp.float8_e4m3fn), jnp.ones(2, jnp.float8_e4m3fn)),
    'keys': (jax.random.key(3), jax.random.key(3)),
    'modules': (ORACLE.nn.Dense(3), ORACLE.nn.Dense(3)),
    'empty': (jnp.ones((0, 3)), jnp.ones((0, 3))),
    'functions': (jnp.tanh, jnp.tanh),
}


@pytest.mark.parametrize('name', DIFFERENT)
def test_a_difference_is_seen(name: str) -> None:
    a, b = DIFFERENT[name]
    for pair in ((a, b), (b, a)):
        with pytest.raises(AssertionError):
            assert_same_tree(*pair)
    assert_same_tree(a, a)


@pytest.mark.parametrize('name', ALIKE)
def test_no_difference_is_invented(name: str) -> None:
    assert_same_tree(*ALIKE[name])


def test_a_failure_says_where() -> None:
    with pytest.raises(AssertionError, match=r'mine/a\[1\]: 1 of 4 elements .* at \(1, 0\)'):
        assert_same_tree({'a': [0, jnp.ones((2, 2))]}, {'a': [0, jnp.eye(2) + _corner()]}, 'mine')


def _corner() -> jax.Array:
    """What makes a unit matrix one of ones but for its lower left corner."""
    return jnp.array([[0.0, 1.0], [0.0, 0.0]])


def test_order_may_be_left_out() -> None:
    assert_same_tree({'a': 1, 'b': 2}, {'b': 2, 'a': 1}, ordered=False)


def _differs(nn: Any) -> Any:
    """A model that is another one each time it is built."""
    _differs.count += 1
    return nn.Dense(3, bias_init=nn.initializers.constant(_differs.count))


_differs.count = 0


@pytest.mark.parametrize('mode', ['eager_typed', 'jit_raw', 'grad', 'vmap', 'scan'])
def test_every_mode_sees_another_model(mode: str) -> None:
    with pytest.raises(AssertionError):
        compare(_differs, (np.ones((2, 4), np.float32),), modes=[mode])


def test_an_error_that_only_one_raises() -> None:
    def program(lib: Library) -> Any:
        raise (KeyError if lib is ORACLE else ValueError)('x')

    with pytest.raises(AssertionError, match='became ValueError'):
        same_error(program)

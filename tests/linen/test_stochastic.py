"""Dropout: what it drops, when, with which key, and what it refuses."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.errors import (
    InputDtypeError,
    InputShapeError,
    InvalidOptionError,
    InvalidRngError,
)

KEY = jax.random.key(0)
X = jnp.ones((4, 8))


def drop(layer: Any, x: Any = X, rngs: Any = KEY, **kwargs: Any) -> Any:
    rngs = {'dropout': rngs} if rngs is KEY else rngs
    return layer.apply({}, x, rngs=rngs, **{'deterministic': False, **kwargs})


def test_what_is_kept_is_scaled_up() -> None:
    y = drop(nn.Dropout(0.75), jnp.ones((100, 100)))
    assert set(np.unique(y)) == {0.0, 4.0}
    assert abs(float(y.mean()) - 1) < 0.1


@pytest.mark.parametrize('rate', [0, 0.0, 1, 1.0])
def test_nothing_and_everything(rate: float) -> None:
    np.testing.assert_array_equal(drop(nn.Dropout(rate), rngs=None), X * (1 - rate))


def test_dropping_everything_has_a_gradient_of_zero() -> None:
    gradient = jax.grad(lambda x: drop(nn.Dropout(1.0), x).sum())(X)
    np.testing.assert_array_equal(gradient, jnp.zeros_like(X))


@pytest.mark.parametrize('layer', [nn.Dropout(0.5, deterministic=True), nn.Dropout(0.5)])
def test_deterministic_at_either_place(layer: Any) -> None:
    flag = {} if layer.deterministic else {'deterministic': True}
    assert layer.apply({}, X, **flag) is X


@pytest.mark.parametrize('axis', [0, -1])
def test_elements_along_broadcast_axes_share_their_fate(axis: int) -> None:
    y = drop(nn.Dropout(0.5, broadcast_dims=(axis,)))
    assert jnp.all(y == jnp.take(y, jnp.array([0]), axis=axis))
    assert len(np.unique(y)) == 2


def test_the_stream_and_the_key() -> None:
    y = drop(nn.Dropout(0.5))
    np.testing.assert_array_equal(y, drop(nn.Dropout(0.5, rng_collection='x'), rngs={'x': KEY}))
    given = drop(nn.Dropout(0.5), rngs=None, rng=KEY)
    np.testing.assert_array_equal(given, jax.random.bernoulli(KEY, 0.5, X.shape) * 2.0)
    raw = drop(nn.Dropout(0.5), rngs=None, rng=jax.random.PRNGKey(0))
    np.testing.assert_array_equal(given, raw)


def test_each_call_drops_others() -> None:
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            layer = nn.Dropout(0.5, deterministic=False)
            return layer(x), layer(x)

    a, b = Twice().apply({}, X, rngs={'dropout': KEY})
    assert not jnp.array_equal(a, b)


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16', 'complex64'])
def test_the_dtype_stays(dtype: str) -> None:
    assert drop(nn.Dropout(0.5), X.astype(dtype)).dtype == dtype


def test_an_empty_batch() -> None:
    assert drop(nn.Dropout(0.5), X[:0]).shape == (0, 8)


@pytest.mark.parametrize('rate', [-0.1, 1.5, float('nan'), None, 'high', jnp.ones(2)])
def test_a_rate_that_is_no_probability(rate: Any) -> None:
    with pytest.raises(InvalidOptionError, match='is not a probability, from 0 to 1'):
        drop(nn.Dropout(rate))


def test_a_rate_of_any_kind_does_where_nothing_is_dropped() -> None:
    assert drop(nn.Dropout(None), deterministic=True) is X


def test_traced_options() -> None:
    with pytest.raises(InvalidOptionError, match='rate is a traced value'):
        jax.jit(lambda rate: drop(nn.Dropout(rate)))(0.5)
    with pytest.raises(InvalidOptionError, match='static_argnames') as caught:
        jax.jit(lambda flag: drop(nn.Dropout(0.5), deterministic=flag))(True)
    assert 'deterministic is a traced value' in str(caught.value)


def test_a_flag_given_nowhere_or_twice() -> None:
    with pytest.raises(InvalidOptionError, match="'deterministic' was given neither"):
        nn.Dropout(0.5).apply({}, X)
    with pytest.raises(InvalidOptionError, match="'deterministic' was given twice"):
        nn.Dropout(0.5, deterministic=True).apply({}, X, deterministic=True)


def test_no_key() -> None:
    with pytest.raises(InvalidRngError, match='dropout'):
        drop(nn.Dropout(0.5), rngs=None)


@pytest.mark.parametrize(
    ('key', 'said'),
    [
        (3, 'is not a key of jax.random: 3'),
        (jnp.ones(2), 'is not a key of jax.random'),
        (jax.random.split(KEY), r'is an array of keys, of shape \(2,\)'),
        (jax.random.split(jax.random.PRNGKey(0)), r'is an array of keys, of shape \(2, 2\)'),
    ],
)
def test_what_is_not_one_key(key: Any, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        drop(nn.Dropout(0.5), rngs=None, rng=key)


@pytest.mark.parametrize('dtype', ['int32', 'bool', 'uint8'])
def test_integers_cannot_be_scaled_up(dtype: str) -> None:
    with pytest.raises(InputDtypeError, match=rf'an input of {dtype} cannot be scaled up'):
        drop(nn.Dropout(0.5), X.astype(dtype))


def test_what_is_no_array() -> None:
    with pytest.raises(InputDtypeError, match='a list, not an array'):
        drop(nn.Dropout(0.5), [1.0])


def test_broadcast_axes_that_are_not_there() -> None:
    with pytest.raises(InputShapeError, match=r'axis 5, which an input of shape \(4, 8\)'):
        drop(nn.Dropout(0.5, (0, 5)))
    with pytest.raises(InvalidOptionError, match=r'broadcast_dims=\(1,\)'):
        drop(nn.Dropout(0.5, 1))

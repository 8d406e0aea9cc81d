"""Pooling."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import linnet.linen as nn
from linnet.errors import InputDtypeError, InputShapeError, InvalidOptionError
from linnet.linen.pooling import min_pool

POOLS = [nn.max_pool, min_pool, nn.avg_pool]


def signal(*values: float) -> jax.Array:
    """``[batch=1, len(values), channels=1]``."""
    return jnp.asarray(values, jnp.float32)[None, :, None]


@pytest.mark.parametrize(
    ('options', 'largest', 'smallest', 'mean'),
    [
        ({}, [5, 5, 3], [1, 2, 2], [3, 3.5, 2.5]),
        ({'strides': (2,)}, [5, 3], [1, 2], [3, 2.5]),
        ({'padding': 'SAME'}, [5, 5, 3, 3], [1, 2, 2, 3], [3, 3.5, 2.5, 1.5]),
        ({'padding': 'SAME_LOWER'}, [1, 5, 5, 3], [1, 1, 2, 2], [0.5, 3, 3.5, 2.5]),
        ({'padding': ((1, 0),)}, [1, 5, 5, 3], [1, 1, 2, 2], [0.5, 3, 3.5, 2.5]),
        ({'padding': [[-1, 0]]}, [5, 3], [2, 2], [3.5, 2.5]),
        ({'padding': np.array([[1, 1]]), 'strides': [2]}, [1, 5, 3], [1, 2, 3], [0.5, 3.5, 1.5]),
    ],
)
def test_one_axis(options: Any, largest: Any, smallest: Any, mean: Any) -> None:
    x = signal(1, 5, 2, 3)
    for pool, expected in zip(POOLS, (largest, smallest, mean), strict=True):
        np.testing.assert_array_equal(pool(x, (2,), **options).ravel(), expected)


@pytest.mark.parametrize('pool', POOLS)
@pytest.mark.parametrize('batch', [(), (1,), (1, 1)])
def test_padding_below_zero_cuts_off(pool: Any, batch: Any) -> None:
    x = jnp.arange(6.0).reshape(*batch, 3, 2)
    y = pool(x, (1,), padding=((-1, 1),))[..., :2, :]
    np.testing.assert_array_equal(y, x[..., 1:, :])
    with pytest.raises(InvalidOptionError, match='cuts more off than there is'):
        pool(x, (1,), padding=((-2, -2),))


def test_padding_that_does_not_count() -> None:
    y = nn.avg_pool(signal(1, 5, 2), (2,), padding='SAME', count_include_pad=False)
    np.testing.assert_array_equal(y.ravel(), [3, 3.5, 2])


def test_a_window_of_padding_alone() -> None:
    y = nn.avg_pool(signal(1, 5), (1,), padding=((1, 0),), count_include_pad=False)
    np.testing.assert_array_equal(y.ravel(), [np.nan, 1, 5])


@pytest.mark.parametrize('batch', [(), (3,), (0,), (2, 3), (1, 0)])
@pytest.mark.parametrize('pool', POOLS)
@pytest.mark.parametrize('padding', ['SAME', ((1, 1), (0, 2))])
def test_batches_of_any_rank(pool: Any, batch: Any, padding: Any) -> None:
    x = jax.random.normal(jax.random.key(0), (*batch, 5, 4, 2))
    y = pool(x, (2, 3), (2, 1), padding)
    flat = pool(x.reshape(np.prod(batch, dtype=int), 5, 4, 2), (2, 3), (2, 1), padding)
    assert y.shape == (*batch, *flat.shape[1:])
    np.testing.assert_array_equal(y.reshape(flat.shape), flat)


@pytest.mark.parametrize('batch', [(), (2, 3)])
def test_means_without_padding_in_batches_of_any_rank(batch: Any) -> None:
    x = jnp.ones((*batch, 5, 2))
    y = nn.avg_pool(x, (3,), padding=((2, 2),), count_include_pad=False)
    np.testing.assert_array_equal(y, np.ones((*batch, 7, 2)))


def test_any_number_of_spatial_axes() -> None:
    assert nn.max_pool(jnp.ones((2, 3, 4, 5, 6)), (2, 1, 2)).shape == (2, 2, 4, 4, 6)
    assert nn.max_pool(jnp.ones((2, 3)), ()).shape == (2, 3)


def test_any_reduction() -> None:
    y = nn.pool(signal(1, 2, 3), 1.0, lax.mul, (2,), None, 'VALID')
    np.testing.assert_array_equal(y.ravel(), [2, 6])


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float16, jnp.int32, jnp.uint8, bool])
def test_dtypes(dtype: Any) -> None:
    x = jnp.ones((1, 4, 2), dtype)
    assert nn.max_pool(x, (2,)).dtype == min_pool(x, (2,)).dtype == dtype
    if dtype is not bool:
        inexact = jnp.issubdtype(dtype, jnp.inexact)
        assert nn.avg_pool(x, (2,)).dtype == (dtype if inexact else jnp.float32)
        assert nn.avg_pool(x.astype('complex64'), (2,)).dtype == jnp.complex64


def test_the_gradient_goes_to_the_largest() -> None:
    grad = jax.grad(lambda x: nn.max_pool(x, (2,)).sum())(signal(1, 5, 2))
    np.testing.assert_array_equal(grad.ravel(), [0, 2, 0])


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'window_shape': 2}, 'window_shape=2 is not a sequence of integers'),
        (
            {'window_shape': (2, 0)},
            'window_shape=(2, 0) holds 0, which is not an integer of at least 1',
        ),
        ({'strides': 2}, 'strides=2 is not a sequence of integers'),
        ({'strides': (2,)}, 'strides=(2,) has 1 entries and the window 2 spatial axes'),
        ({'padding': 'SAEM'}, "Mend: padding='SAME'"),
        ({'padding': 'CIRCULAR'}, "padding='CIRCULAR' is not known"),
        ({'padding': 1}, 'padding=1 does not fit a window of 2 axes'),
        ({'padding': (1, 0)}, 'padding=(1, 0) does not fit'),
        ({'padding': ((1, 0),)}, 'padding=((1, 0),) does not fit'),
        ({'padding': ((1, 0, 0), (1, 0, 0))}, 'does not fit'),
    ],
)
@pytest.mark.parametrize('pool', POOLS)
def test_wrong_options(pool: Any, options: Any, words: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        pool(jnp.ones((1, 4, 4, 2)), **{'window_shape': (2, 2), **options})
    assert words in str(caught.value)


@pytest.mark.parametrize('pool', POOLS)
@pytest.mark.parametrize('shape', [(), (4,), (4, 2)])
def test_too_few_axes(pool: Any, shape: Any) -> None:
    with pytest.raises(InputShapeError) as caught:
        pool(jnp.ones(shape), (2, 2))
    words = 'needs an input of at least 3 axes, [batch..., spatial axes, channels]'
    assert f'{words}; got shape {shape}' in str(caught.value)


@pytest.mark.parametrize('pool', POOLS)
def test_no_array(pool: Any) -> None:
    with pytest.raises(InputDtypeError, match='is a list, not an array'):
        pool([[1.0]], (1,))

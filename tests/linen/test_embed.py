"""Embed."""

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
    ScopeParamShapeError,
    TokenIdError,
)

KEY = jax.random.key(0)
TABLE = np.arange(10, dtype=np.float32).reshape(5, 2)
VARIABLES = {'params': {'embedding': TABLE}}


@pytest.mark.parametrize('shape', [(), (3,), (2, 0), (2, 3, 4)])
@pytest.mark.parametrize('dtype', [np.int32, np.uint8, np.int64])
def test_lookup(shape: Any, dtype: Any) -> None:
    ids = (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 5).astype(dtype)
    np.testing.assert_array_equal(nn.Embed(5, 2).apply(VARIABLES, ids), TABLE[ids])


def test_the_table_is_made_at_init() -> None:
    variables = nn.Embed(5, 2).init(KEY, jnp.arange(3))
    assert jax.tree.map(jnp.shape, variables) == {'params': {'embedding': (5, 2)}}


def test_ids_outside_the_table() -> None:
    y = nn.Embed(5, 2).apply(VARIABLES, jnp.array([-1, 5, -6]))
    np.testing.assert_array_equal(y, [TABLE[4], [np.nan] * 2, [np.nan] * 2])


@pytest.mark.parametrize('ids', [7, [0, -3], [[1, 2], [3, 4]]])
def test_a_table_of_one_is_repeated(ids: Any) -> None:
    ids = jnp.asarray(ids)
    y = nn.Embed(1, 2).apply({'params': {'embedding': TABLE[:1]}}, ids)
    np.testing.assert_array_equal(y, np.broadcast_to(TABLE[0], (*ids.shape, 2)))


def test_attend() -> None:
    query = np.array([[[1.0, 10.0]]], np.float32)
    y = nn.Embed(5, 2).apply(VARIABLES, query, method='attend')
    np.testing.assert_array_equal(y, query @ TABLE.T)


def test_the_table_is_an_attribute() -> None:
    np.testing.assert_array_equal(nn.Embed(5, 2).bind(VARIABLES).embedding, TABLE)


def test_dtypes() -> None:
    layer = nn.Embed(5, 2, dtype=jnp.bfloat16, param_dtype=jnp.float16)
    y, variables = layer.init_with_output(KEY, jnp.arange(3))
    assert y.dtype == jnp.bfloat16
    assert variables['params']['embedding'].dtype == jnp.float16
    assert layer.apply(variables, jnp.ones(2), method='attend').dtype == jnp.bfloat16
    assert nn.Embed(5, 2, dtype=jnp.int32).apply(VARIABLES, jnp.arange(3)).dtype == jnp.int32


def test_gradient_counts_how_often_an_id_occurs() -> None:
    ids = jnp.array([3, 1, 3])
    grad = jax.grad(lambda v: nn.Embed(5, 2).apply(v, ids).sum())(VARIABLES)
    np.testing.assert_array_equal(grad['params']['embedding'][:, 0], [0, 1, 0, 2, 0])


def fails(layer: Any, *args: Any, **kwargs: Any) -> Any:
    with pytest.raises(
        (TokenIdError, InputShapeError, InputDtypeError, InvalidOptionError)
    ) as caught:
        layer.init(KEY, *args, **kwargs)
    return caught.value


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16, bool])
def test_ids_that_are_no_integers(dtype: Any) -> None:
    error = fails(nn.Embed(5, 2), jnp.ones(3, dtype))
    assert isinstance(error, TokenIdError)
    assert f'the ids of tokens are of dtype {jnp.dtype(dtype)}' in str(error)


@pytest.mark.parametrize('ids', [1, [1, 2], None])
def test_ids_that_are_no_array(ids: Any) -> None:
    assert isinstance(fails(nn.Embed(5, 2), ids), InputDtypeError)


def test_an_empty_table() -> None:
    layer = nn.Embed(0, 2, embedding_init=nn.initializers.zeros)
    y, _ = layer.init_with_output(KEY, jnp.zeros((0,), jnp.int32))
    assert y.shape == (0, 2)
    assert 'the table has no vector' in str(fails(layer, jnp.arange(2)))


@pytest.mark.parametrize('sizes', [(-1, 2), (5, 2.5), ('5', 2)])
def test_sizes_that_are_no_counts(sizes: Any) -> None:
    assert isinstance(fails(nn.Embed(*sizes), jnp.arange(2)), InvalidOptionError)


@pytest.mark.parametrize('query', [jnp.ones((2, 3)), jnp.ones(())])
def test_a_query_of_another_width(query: Any) -> None:
    error = fails(nn.Embed(5, 2), query, method='attend')
    assert isinstance(error, InputShapeError)
    assert f'the query has shape {query.shape}; attend needs [..., features=2]' in str(error)


def test_another_vocabulary_than_at_init() -> None:
    with pytest.raises(ScopeParamShapeError):
        nn.Embed(7, 2).apply(VARIABLES, jnp.arange(2))

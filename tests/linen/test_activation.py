"""Activations: those of JAX, and PReLU."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.errors import InputDtypeError, ScopeParamShapeError
from linnet.linen import activation

FUNCTIONS = """celu elu gelu glu hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu log_sigmoid
    log_softmax logsumexp one_hot relu relu6 selu sigmoid silu soft_sign softmax softplus
    standardize swish""".split()


@pytest.mark.parametrize('name', FUNCTIONS)
def test_is_that_of_jax(name: str) -> None:
    assert getattr(activation, name) is getattr(jax.nn, name)


def test_renamed() -> None:
    assert activation.normalize is jax.nn.standardize
    assert activation.tanh is jnp.tanh


def test_prelu() -> None:
    x = jnp.array([-2.0, 0.0, 3.0])
    y, variables = nn.PReLU().init_with_output(jax.random.key(0), x)
    np.testing.assert_array_equal(variables['params']['negative_slope'], np.float32(0.01))
    np.testing.assert_array_equal(y, np.float32([-0.02, 0, 3]))


def test_the_slope_is_learnt() -> None:
    x = jnp.array([-2.0, 0.0, 3.0, -5.0])
    layer = nn.PReLU(negative_slope_init=0.5)
    variables = layer.init(jax.random.key(0), x)
    grad = jax.grad(lambda v: layer.apply(v, x).sum())(variables)
    np.testing.assert_array_equal(grad['params']['negative_slope'], -7.0)


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float16, jnp.int32])
def test_prelu_keeps_the_dtype_of_the_input(dtype: Any) -> None:
    layer = nn.PReLU(param_dtype=jnp.bfloat16)
    y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((2, 0, 3), dtype))
    assert (y.dtype, y.shape) == (dtype, (2, 0, 3))
    assert variables['params']['negative_slope'].dtype == jnp.bfloat16


def test_there_is_one_slope() -> None:
    with pytest.raises(ScopeParamShapeError):
        nn.PReLU().apply({'params': {'negative_slope': jnp.ones(3)}}, jnp.ones(3))


def test_no_array() -> None:
    with pytest.raises(InputDtypeError, match=r'PReLU.*is a float, not an array'):
        nn.PReLU().init(jax.random.key(0), 1.0)

"""Initialisers: those of JAX, and the two that are constant."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linnet.linen import initializers

FACTORIES = """constant delta_orthogonal glorot_normal glorot_uniform he_normal he_uniform
    kaiming_normal kaiming_uniform lecun_normal lecun_uniform normal orthogonal truncated_normal
    uniform variance_scaling xavier_normal xavier_uniform zeros ones""".split()


@pytest.mark.parametrize('name', FACTORIES)
def test_is_that_of_jax(name: str) -> None:
    assert getattr(initializers, name) is getattr(jax.nn.initializers, name)


@pytest.mark.parametrize(('name', 'value'), [('zeros_init', 0), ('ones_init', 1)])
def test_constant(name: str, value: int) -> None:
    init = getattr(initializers, name)()
    x = init(jax.random.key(0), (2, 3), jnp.bfloat16)
    assert x.dtype == jnp.bfloat16
    np.testing.assert_array_equal(x, np.full((2, 3), value))
    assert getattr(initializers, name)() is init

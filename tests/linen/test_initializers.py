"""Initialisers: those of JAX, one for the same options, and the two that are constant."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.linen import initializers

FACTORIES = """constant delta_orthogonal glorot_normal glorot_uniform he_normal he_uniform
    kaiming_normal kaiming_uniform lecun_normal lecun_uniform normal orthogonal truncated_normal
    uniform variance_scaling xavier_normal xavier_uniform zeros ones""".split()


@pytest.mark.parametrize('name', FACTORIES)
def test_is_that_of_jax(name: str) -> None:
    ours, theirs = getattr(initializers, name), getattr(jax.nn.initializers, name)
    assert getattr(ours, '__wrapped__', ours) is theirs
    assert pickle.loads(pickle.dumps(ours)) is ours


def test_one_initialiser_for_the_same_options() -> None:
    normal, constant = initializers.normal, initializers.constant
    assert normal(0.1) is normal(0.1)
    assert normal(stddev=0.1) is normal(stddev=0.1)
    assert normal(0.1) is not normal(0.2)
    assert constant(0.0) is not constant(-0.0)
    assert constant(1) is not constant(1.0)
    assert constant(True) is not constant(1)
    assert constant(np.ones(2)) is not constant(np.ones(2))
    assert nn.Dense(3, kernel_init=normal(0.1)) == nn.Dense(3, kernel_init=normal(0.1))


def test_few_initialisers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initializers, '_MOST', 2)
    remembered = initializers._remembering(jax.nn.initializers.normal)
    first = remembered(1.0)
    assert remembered(1.0) is first
    remembered(2.0), remembered(3.0)
    assert remembered(1.0) is not first


@pytest.mark.parametrize(('name', 'value'), [('zeros_init', 0), ('ones_init', 1)])
def test_constant(name: str, value: int) -> None:
    init = getattr(initializers, name)()
    x = init(jax.random.key(0), (2, 3), jnp.bfloat16)
    assert x.dtype == jnp.bfloat16
    np.testing.assert_array_equal(x, np.full((2, 3), value))
    assert getattr(initializers, name)() is init

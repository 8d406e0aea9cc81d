"""Masks: exact values, and masks that do not fit each other."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.errors import InputDtypeError, InputShapeError, MaskError


def test_padding() -> None:
    mask = nn.make_attention_mask(jnp.array([[1, 0]]), jnp.array([[1, 1, 0]]))
    assert mask.dtype == jnp.float32
    np.testing.assert_array_equal(mask, [[[[1, 1, 0], [0, 0, 0]]]])


def test_a_pairwise_function() -> None:
    segments = jnp.array([1, 1, 2])
    mask = nn.make_attention_mask(segments, segments, jnp.equal, dtype=bool)
    np.testing.assert_array_equal(mask, [[[1, 1, 0], [1, 1, 0], [0, 0, 1]]])
    assert mask.dtype == jnp.bool_


def test_causal() -> None:
    mask = nn.make_causal_mask(jnp.ones((2, 3)), dtype=jnp.int32)
    np.testing.assert_array_equal(mask, np.broadcast_to(np.tril(np.ones((3, 3))), (2, 1, 3, 3)))
    assert mask.dtype == jnp.int32


@pytest.mark.parametrize('extra', [0, 1, 2])
def test_extra_batch_axes(extra: int) -> None:
    assert nn.make_causal_mask(jnp.ones((2, 3)), extra).shape == (1,) * extra + (2, 1, 3, 3)


def test_combining() -> None:
    a, b = jnp.array([[True, True, False]]), jnp.array([[0.5, 0, 1]])
    both = nn.combine_masks(a, None, b)
    np.testing.assert_array_equal(both, [[1, 0, 0]])
    assert both.dtype == jnp.float32
    assert nn.combine_masks(None, None) is None
    assert nn.combine_masks() is None
    assert nn.combine_masks(a, dtype=bool).dtype == jnp.bool_


@pytest.mark.parametrize(
    ('shapes', 'said'),
    [
        ([(2, 1, 3, 3), (1, 3, 3)], 'differ in their number of axes'),
        ([(2, 1, 3, 3), (2, 1, 3, 4)], 'do not broadcast'),
        ([(1, 1), (1, 3), (1, 4)], 'do not broadcast'),
    ],
)
def test_masks_that_do_not_fit_each_other(shapes: Any, said: str) -> None:
    with pytest.raises(MaskError, match=said):
        nn.combine_masks(*map(jnp.ones, shapes))


def test_what_is_no_array_of_positions() -> None:
    with pytest.raises(InputShapeError, match='query_input is a scalar'):
        nn.make_attention_mask(jnp.ones(()), jnp.ones(3))
    with pytest.raises(InputShapeError, match='x is a scalar'):
        nn.make_causal_mask(jnp.ones(()))
    with pytest.raises(InputDtypeError, match='key_input is a list'):
        nn.make_attention_mask(jnp.ones(3), [1, 2])
    with pytest.raises(InputDtypeError, match='a mask is a list'):
        nn.combine_masks([[1, 0]])


def test_batches_that_differ() -> None:
    with pytest.raises(InputShapeError, match=r'\(2, 3\).*\(4, 3\) differ in their batch axes'):
        nn.make_attention_mask(jnp.ones((2, 3)), jnp.ones((4, 3)))

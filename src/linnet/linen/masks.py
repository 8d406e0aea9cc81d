"""Masks for attention: which query may look at which key.

A mask is true, or nonzero, where a query may look at a key. It broadcasts to the attention weights,
``[batch..., heads, queries, keys]``; the functions here leave the axis of the heads at size 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from linnet.errors.layers import InputShapeError, MaskError
from linnet.linen._inputs import check_array
from linnet.typing import Array, Dtype


def make_attention_mask(
    query_input: Array,
    key_input: Array,
    pairwise_fn: Callable[..., Any] = jnp.multiply,
    extra_batch_dims: int = 0,
    dtype: Dtype = jnp.float32,
) -> Array:
    """A mask out of one number for each query and each key.

    ``[batch..., queries], [batch..., keys] -> [batch..., 1, queries, keys]``

    >>> import linnet.linen as nn
    >>> valid = jnp.array([[1, 1, 0]])
    >>> nn.make_attention_mask(valid, valid, dtype=bool)[0, 0].tolist()
    [[True, True, False], [True, True, False], [False, False, False]]

    Args:
        query_input: a number for each query, as 1 for a token and 0 for padding.
        key_input: a number for each key.
        pairwise_fn: decides from the number of a query and that of a key.
        extra_batch_dims: number of axes of size 1 to put before the others.
        dtype: dtype of the mask.

    Raises:
        InputShapeError: there is no axis of queries or keys, or the batch axes do not fit.
    """
    for name, x in (('query_input', query_input), ('key_input', key_input)):
        check_array(x, name)
        if not x.ndim:
            raise InputShapeError(f'{name} is a scalar, where [batch..., length] is wanted')
    if not _fit(query_input.shape[:-1], key_input.shape[:-1]):
        raise InputShapeError(
            f'query_input of shape {query_input.shape} and key_input of shape {key_input.shape} '
            'differ in their batch axes, all but the last'
        )
    mask = pairwise_fn(jnp.expand_dims(query_input, axis=-1), jnp.expand_dims(key_input, axis=-2))
    mask = jnp.expand_dims(mask, axis=-3)
    mask = jnp.expand_dims(mask, axis=tuple(range(extra_batch_dims)))
    return mask.astype(dtype)


def make_causal_mask(x: Array, extra_batch_dims: int = 0, dtype: Dtype = jnp.float32) -> Array:
    """The mask by which no token sees those after it.

    ``[batch..., length] -> [batch..., 1, length, length]``

    >>> import linnet.linen as nn
    >>> nn.make_causal_mask(jnp.ones((1, 3)), dtype=bool)[0, 0].tolist()
    [[True, False, False], [True, True, False], [True, True, True]]

    Args:
        x: any array of that shape; its values are not read.
        extra_batch_dims: number of axes of size 1 to put before the others.
        dtype: dtype of the mask.

    Raises:
        InputShapeError: ``x`` has no axis.
    """
    check_array(x, 'x')
    if not x.ndim:
        raise InputShapeError('x is a scalar, where [batch..., length] is wanted')
    positions = jnp.broadcast_to(jnp.arange(x.shape[-1], dtype=jnp.int32), x.shape)
    return make_attention_mask(
        positions,
        positions,
        jnp.greater_equal,
        extra_batch_dims=extra_batch_dims,
        dtype=dtype,
    )


def combine_masks(*masks: Array | None, dtype: Dtype = jnp.float32) -> Array | None:
    """A mask that allows what all masks allow.

    >>> import linnet.linen as nn
    >>> nn.combine_masks(jnp.array([[1, 1]]), None, jnp.array([[0, 2]]), dtype=bool)
    Array([[False,  True]], dtype=bool)

    Args:
        *masks: masks with the same number of axes; None counts for nothing.
        dtype: dtype of the result.

    Returns:
        The mask, or None if all are None.

    Raises:
        MaskError: the masks differ in rank, or do not broadcast to one another.
    """
    given = [mask for mask in masks if mask is not None]
    if not given:
        return None
    for mask in given:
        check_array(mask, 'a mask')
    _check_alike([mask.shape for mask in given])
    combined, *others = given
    for mask in others:
        combined = jnp.logical_and(combined, mask)
    return combined.astype(dtype)


def _check_alike(shapes: list[tuple[int, ...]]) -> None:
    """Refuses masks that differ in rank, or do not broadcast to one another."""
    if len({len(shape) for shape in shapes}) > 1:
        raise MaskError(
            f'masks of shapes {shapes} differ in their number of axes',
            why='masks to be combined have the same axes, [batch..., heads, queries, keys]',
            mend='combine_masks(a, b[None])',
        )
    if not _fit(*shapes):
        raise MaskError(f'masks of shapes {shapes} do not broadcast to one another')


def _fit(*shapes: tuple[int, ...]) -> bool:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return True

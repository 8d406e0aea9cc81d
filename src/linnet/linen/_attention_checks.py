"""Checks on what attention is called with, in the words of attention.

Words: *query*, *key* and *value* are ``[batch..., length, heads, depth]``; the *weights* that they
make are ``[batch..., heads, queries, keys]``, and *bias* and *mask* broadcast to them.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from linnet.errors.layers import InputShapeError, InvalidOptionError, MaskError
from linnet.errors.sharp_bits import AttentionMaskWarning
from linnet.linen._inputs import broadcasts, check_array, holds, warn_here
from linnet.typing import Array

_FORM = '[batch..., length, heads, depth]'


def check_query_key(query: Array, key: Array) -> None:
    """Refuses a query and a key that cannot be multiplied."""
    check_array(query, 'query')
    check_array(key, 'key')
    q, k = query.shape, key.shape
    if len(q) < 3 or len(k) < 3:
        raise InputShapeError(
            f'query of shape {q} and key of shape {k} lack an axis of {_FORM}',
            mend='nn.MultiHeadAttention(num_heads=4)(x) makes queries and keys out of x',
        )
    if len(q) != len(k):
        raise InputShapeError(f'query of shape {q} and key of shape {k} differ in rank', why=_FORM)
    _same('query', q, 'key', k, 'batch axes', slice(None, -3))
    if not k[-2] or q[-2] % k[-2]:  # where it divides them, groups of heads share one
        _same('query', q, 'key', k, 'number of heads', slice(-2, -1))
    _same('query', q, 'key', k, 'depth', slice(-1, None))


def check_key_value(key: Array, value: Array) -> None:
    """Refuses a key and a value that do not belong together."""
    check_array(value, 'value')
    k, v = key.shape, value.shape
    if len(k) != len(v):
        raise InputShapeError(f'key of shape {k} and value of shape {v} differ in rank', why=_FORM)
    _same('key', k, 'value', v, 'batch axes', slice(None, -3))
    _same('key', k, 'value', v, 'length', slice(-3, -2))
    _same('key', k, 'value', v, 'number of heads', slice(-2, -1))


def _same(a: str, a_shape: Any, b: str, b_shape: Any, what: str, axes: slice) -> None:
    if a_shape[axes] != b_shape[axes]:
        raise InputShapeError(
            f'{a} of shape {a_shape} and {b} of shape {b_shape} differ in their {what}: '
            f'{_list(a_shape[axes])} and {_list(b_shape[axes])}',
            why=f'both are {_FORM}',
        )


def _list(sizes: tuple[int, ...]) -> str:
    return str(sizes[0]) if len(sizes) == 1 else str(sizes)


def check_bias(bias: Array, weights: tuple[int, ...], masked: bool) -> None:
    """Refuses a bias that does not fit, and warns of one that makes NaN.

    Args:
        bias: the bias.
        weights: shape of the weights.
        masked: whether there is a mask too, which replaces what it forbids.
    """
    check_array(bias, 'bias')
    _check_fit('bias', bias.shape, weights)
    if jnp.issubdtype(bias.dtype, jnp.floating) and not masked and holds(_has_empty_row, bias):
        warn_here(
            AttentionMaskWarning,
            'a row of the attention bias is -inf everywhere, so that its weights and all '
            'gradients are NaN; forbid pairs with mask=, or add jnp.finfo(dtype).min',
        )


def check_mask(mask: Any, weights: tuple[int, ...]) -> None:
    """Refuses a mask that does not fit, and warns of one that means to be added."""
    if isinstance(mask, bool | np.bool_):
        return
    check_array(mask, 'mask')
    shape = mask.shape
    _check_fit('mask', shape, weights)
    if shape[:-2] and shape[-3] > 1 and shape[:-2] == weights[:-3]:
        warn_here(
            AttentionMaskWarning,
            f'axis {len(shape) - 3} of the mask of shape {shape} is taken for the heads of '
            f'attention weights of shape {weights}, and is as long as the batch; if it is the '
            'batch, write mask[..., None, :, :]',
        )
    if jnp.issubdtype(mask.dtype, jnp.floating) and holds(_is_additive, mask):
        warn_here(
            AttentionMaskWarning,
            f'the attention mask is {mask.dtype} with negative entries: nonzero means '
            "'attend', so that such a mask is read the wrong way round; pass an additive mask as "
            'bias=, or a boolean one as mask=',
        )


def _check_fit(name: str, shape: tuple[int, ...], weights: tuple[int, ...]) -> None:
    """Refuses what does not broadcast to the weights, and warns where it does by accident."""
    if shape == weights:
        return
    form = f'the attention weights [batch..., heads, queries, keys] = {weights}'
    try:
        enlarged = np.broadcast_shapes(shape, weights)
    except ValueError:
        raise MaskError(
            f'{name} of shape {shape} does not broadcast to {form}',
            mend=_aligned(name, shape, weights),
        ) from None
    if enlarged != weights:
        warn_here(AttentionMaskWarning, f'{name} of shape {shape} makes {form} larger: {enlarged}')


def _aligned(name: str, shape: tuple[int, ...], weights: tuple[int, ...]) -> str:
    """The line that gives a mask or bias the axes that it lacks, if that would do."""
    n = len(shape)
    for index, view in (
        ('..., None, :, :', (*shape[:-2], 1, *shape[-2:])),
        ('..., None, None, :', (*shape[:-1], 1, 1, *shape[-1:])),
    ):
        if n >= 2 and broadcasts(view, weights):
            return f'{name}={name}[{index}]'
    return ''


def _has_empty_row(bias: np.ndarray) -> bool:
    rows = np.atleast_1d(bias)
    return bool(rows.size and (rows == -np.inf).all(-1).any())


def _is_additive(mask: np.ndarray) -> bool:
    return bool((mask < 0).any())


def check_einsums(qk: Any, av: Any, precision: Any, dot_general: Any) -> None:
    """Refuses one custom einsum without the other, or with options that it would not see."""
    if (qk is None) != (av is None):
        raise InvalidOptionError(
            'only one of qk_attn_weights_einsum and attn_weights_value_einsum is given',
            why='both products are replaced, or neither',
        )
    if qk is not None and (precision is not None or dot_general is not None):
        raise InvalidOptionError(
            f'a custom einsum is given together with precision={precision!r} or '
            'einsum_dot_general, which it would not see',
            mend='functools.partial(jnp.einsum, precision=...)',
        )

"""Attention over any axes as functions of a scope.

The *attention axes* are those over which a query looks at keys; all others, with the heads, are
batches. After the projections, arrays are ``[batch, ..., heads, features]``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp

from linnet.core.nn.linear import default_kernel_init, dense_general
from linnet.core.scope import Scope
from linnet.errors.layers import InputShapeError, InvalidOptionError
from linnet.linen import initializers
from linnet.linen._dropout_masks import draw
from linnet.linen.masks import combine_masks
from linnet.typing import Array, Dtype, Initializer, PrecisionLike

Axes = int | Sequence[int] | None


def _attention_axes(axis: Axes, ndim: int) -> tuple[int, ...]:
    """The attention axes of an array with heads; all but the first and the last two by default."""
    if axis is None:
        return tuple(range(1, ndim - 2))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if not all(0 < i < ndim - 2 for i in axes):
        raise InvalidOptionError(
            f'the attention axes {axes} are not between the batch axis 0 and the last axes of '
            f'{ndim}',
            mend='axis=(1,)',
        )
    return axes


def dot_product_attention(
    scope: Scope,
    query: Array,
    key: Array,
    value: Array,
    dtype: Dtype = jnp.float32,
    bias: Array | None = None,
    axis: Axes = None,
    broadcast_dropout: bool = True,
    dropout_rng: Any = None,
    dropout_rate: float = 0.0,
    deterministic: bool = False,
    precision: PrecisionLike = None,
) -> Array:
    """The mean of values, weighed by the products of queries and keys.

    Args:
        scope: its stream ``dropout`` gives the key of dropout.
        query: ``[batch, ..., heads, features]``.
        key: as ``query``, of other sizes along the attention axes.
        value: as ``key``, of any number of features.
        dtype: of the weights.
        bias: is added to the products; broadcasts to ``[batch..., heads, queries..., keys...]``.
        axis: the attention axes.
        broadcast_dropout: whether all batches and heads drop the same weights.
        dropout_rng: a key in place of the scope's.
        dropout_rate: the share of weights that is dropped.
        deterministic: whether none is.
        precision: of the products.

    Raises:
        InputShapeError: the arrays do not fit each other.
        InvalidOptionError: ``axis`` names no attention axis.
    """
    if query.ndim != key.ndim or key.shape[:-1] != value.shape[:-1]:
        raise InputShapeError(
            f'query {query.shape}, key {key.shape} and value {value.shape} do not fit: key and '
            'value differ only in their features'
        )
    axes = _attention_axes(axis, query.ndim)
    n, last = len(axes), query.ndim - 1
    batch = tuple(i for i in range(last) if i not in axes)
    b = tuple(range(len(batch)))
    order = (*batch, *axes, last)
    query, key, value = (
        x.transpose(order_of) for x, order_of in ((query, order), (key, order),
                                                 (value, (*batch, last, *axes)))
    )  # fmt: skip
    query = query / jnp.sqrt(query.shape[-1]).astype(dtype)
    scores = lax.dot_general(query, key, (((last,), (last,)), (b, b)), precision=precision)
    if bias is not None:
        scores = scores + bias
    keys = tuple(range(scores.ndim - n, scores.ndim))
    weights = jnp.exp(scores - logsumexp(scores, axis=keys, keepdims=True)).astype(dtype)
    if not deterministic and dropout_rate > 0.0:
        rng = scope.make_rng('dropout') if dropout_rng is None else dropout_rng
        shape = weights.shape
        if broadcast_dropout:
            shape = (1,) * len(batch) + shape[len(batch) :]
        kept, keep = draw(rng, dropout_rate, shape)
        weights = weights * (kept.astype(dtype) / jnp.asarray(keep, dtype))
    contraction = (keys, tuple(range(len(batch) + 1, value.ndim)))
    y = lax.dot_general(weights, value, (contraction, (b, b)), precision=precision)
    return y.transpose([order.index(i) for i in range(y.ndim)])


def make_padding_mask(
    padding_mask_query: Array,
    padding_mask_key: Array,
    query_shape: Sequence[int],
    key_shape: Sequence[int],
    attention_axis: Axes = None,
    segmentation_mask: bool = False,
) -> Array:
    """Which keys each query sees, ``[batch, ..., 1, queries..., keys...]``, as 0 and 1.

    Args:
        padding_mask_query: true where there is a query, ``[batch, ..., 1]``.
        padding_mask_key: true where there is a key.
        query_shape: shape of the queries, ``[batch, ..., heads, features]``.
        key_shape: shape of the keys.
        attention_axis: the attention axes.
        segmentation_mask: whether the masks hold numbers of segments, which see only themselves.
    """
    axes = _attention_axes(attention_axis, len(query_shape))
    batch = tuple(i for i in range(len(query_shape) - 2) if i not in axes)
    first, second = (
        jnp.broadcast_to(mask[..., 0], shape[:-2]).transpose(*batch, *axes)
        for mask, shape in ((padding_mask_query, query_shape), (padding_mask_key, key_shape))
    )
    n = len(axes)
    first = jnp.expand_dims(first, (len(batch), *range(first.ndim + 1, first.ndim + n + 1)))
    second = jnp.expand_dims(second, tuple(range(len(batch), len(batch) + n + 1)))
    seen = first == second if segmentation_mask else (first != 0) & (second != 0)
    return seen.astype(jnp.float32)


def _causal_mask(queries: Sequence[int], keys: Sequence[int]) -> Array:
    """Lets a query see the keys at its place and before."""
    mask = jnp.tri(math.prod(queries), math.prod(keys), dtype=bool)
    return mask.reshape(1, 1, *queries, *keys)


def multi_head_dot_product_attention(
    scope: Scope,
    inputs_q: Array,
    inputs_kv: Array,
    num_heads: int,
    dtype: Dtype = jnp.float32,
    qkv_features: int | None = None,
    out_features: int | None = None,
    attention_axis: Axes = None,
    causal_mask: bool = False,
    padding_mask: Array | None = None,
    key_padding_mask: Array | None = None,
    segmentation: Array | None = None,
    key_segmentation: Array | None = None,
    cache: bool = False,
    broadcast_dropout: bool = True,
    dropout_rng: Any = None,
    dropout_rate: float = 0.0,
    deterministic: bool = False,
    precision: PrecisionLike = None,
    kernel_init: Initializer = default_kernel_init,
    bias_init: Initializer = initializers.zeros,
    bias: bool = True,
    attention_fn: Callable[..., Array] = dot_product_attention,
) -> Array:
    """Attention of several heads, ``[batch, ..., in] -> [batch, ..., out]``.

    Args:
        scope: holds the projections ``query``, ``key``, ``value`` and ``out``.
        inputs_q: makes the queries.
        inputs_kv: makes keys and values.
        num_heads: the number of heads.
        dtype: the computation dtype.
        qkv_features: the size of queries, keys and values of all heads; that of ``inputs_q``.
        out_features: the size of the output; that of ``inputs_q``.
        attention_axis: the axes over which queries look at keys.
        causal_mask: whether a query sees only what is at its place and before.
        padding_mask: true where there is a query, ``[batch, ..., 1]``.
        key_padding_mask: true where there is a key; ``padding_mask`` unless given.
        segmentation: the number of the segment of each query; it sees only keys of the same.
        key_segmentation: that of each key; ``segmentation`` unless given.
        cache: must be false: decoding step by step is what
            :class:`linnet.linen.MultiHeadDotProductAttention` does.
        broadcast_dropout: as for :func:`dot_product_attention`, with the three that follow.
        dropout_rng: a key of dropout.
        dropout_rate: the share of weights that is dropped.
        deterministic: whether none is.
        precision: of the products.
        kernel_init: initialiser of kernels.
        bias_init: initialiser of biases.
        bias: whether the projections have biases.
        attention_fn: computes in place of :func:`dot_product_attention`.

    Raises:
        InvalidOptionError: the features do not divide into the heads, or there is a cache.
    """
    features = qkv_features or inputs_q.shape[-1]
    if cache or features % num_heads:
        raise InvalidOptionError(
            f'cache={cache}, {features} features, {num_heads} heads',
            why='features must divide into the heads, and there is no cache here',
            mend='nn.MultiHeadDotProductAttention(num_heads, decode=True)',
        )
    project = functools.partial(
        dense_general, dtype=dtype, kernel_init=kernel_init, bias_init=bias_init, bias=bias,
        precision=precision,
    )  # fmt: skip
    heads = (num_heads, features // num_heads)
    query = scope.child(project, 'query')(inputs_q, features=heads)
    key = scope.child(project, 'key')(inputs_kv, features=heads)
    value = scope.child(project, 'value')(inputs_kv, features=heads)
    axes = _attention_axes(attention_axis, query.ndim)
    masks = [_causal_mask(*([x.shape[i] for i in axes] for x in (query, key)))] * causal_mask
    for own, of_key, by_segment in (
        (padding_mask, key_padding_mask, False),
        (segmentation, key_segmentation, True),
    ):
        if own is not None:
            of_key = own if of_key is None else of_key
            masks.append(make_padding_mask(own, of_key, query.shape, key.shape, axes, by_segment))
    y = attention_fn(
        scope, query, key, value, dtype=dtype, axis=axes, bias=_as_bias(masks, dtype),
        precision=precision, dropout_rng=dropout_rng, dropout_rate=dropout_rate,
        broadcast_dropout=broadcast_dropout, deterministic=deterministic,
    )  # fmt: skip
    out = scope.child(project, 'out')
    return out(y, features=out_features or inputs_q.shape[-1], axis=(-2, -1))


def _as_bias(masks: Sequence[Array], dtype: Dtype) -> Array | None:
    """Nothing where all masks let a key be seen, and very little otherwise."""
    mask = combine_masks(*masks)
    if mask is None:
        return None
    return jnp.where(mask > 0, jnp.asarray(0.0, dtype), jnp.asarray(-1e10, dtype))

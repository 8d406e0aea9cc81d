"""Attention as functions of query, key and value.

``softmax(query key^T / sqrt(depth) + bias) value``, for each head by itself. Vaswani et al., 2017.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from linnet.core.watching import watching
from linnet.errors.layers import InvalidOptionError
from linnet.linen._attention_checks import (
    check_bias,
    check_einsums,
    check_key_value,
    check_mask,
    check_query_key,
)
from linnet.linen._dropout_masks import draw
from linnet.linen._inputs import check_flag
from linnet.linen.dtypes import promote_dtype
from linnet.linen.stochastic import check_key, check_rate
from linnet.typing import Array, DotGeneralT, Dtype, EinsumT, PrecisionLike, PRNGKey

_QK = '...qhd,...khd->...hqk'
_AV = '...hqk,...khd->...qhd'


def dot_product_attention_weights(
    query: Array,
    key: Array,
    bias: Array | None = None,
    mask: Array | None = None,
    broadcast_dropout: bool = True,
    dropout_rng: PRNGKey | None = None,
    dropout_rate: float = 0.0,
    deterministic: bool = False,
    dtype: Dtype | None = None,
    precision: PrecisionLike = None,
    module: Any = None,
    force_fp32_for_softmax: bool = False,
    einsum_dot_general: DotGeneralT | None = None,
    einsum: EinsumT | None = None,
) -> Array:
    """How much each query attends to each key: ``softmax(query key^T / sqrt(depth) + bias)``.

    ``[batch..., queries, heads, depth], [batch..., keys, key_heads, depth]
    -> [batch..., heads, queries, keys]``

    >>> import linnet.linen as nn
    >>> q = jax.random.normal(jax.random.key(0), (1, 3, 2, 4))
    >>> weights = nn.dot_product_attention_weights(q, q)
    >>> weights.shape, bool(jnp.allclose(weights.sum(-1), 1))
    ((1, 2, 3, 3), True)

    Args:
        query: the queries.
        key: the keys.
        bias: added to the logits; broadcasts to the weights.
        mask: nonzero where a query may look at a key; broadcasts to the weights. Where it is
            zero, the logit is the least number of the dtype.
        broadcast_dropout: whether batch and heads drop the same pairs.
        dropout_rng: the key to draw with.
        dropout_rate: the probability that a weight is dropped, at least 0 and less than 1.
        deterministic: whether nothing is dropped.
        dtype: the computation dtype; inferred from query and key unless given.
        precision: of the product, as for ``jax.lax.dot_general``.
        module: a module that sows the weights before dropout, as ``attention_weights`` in
            ``intermediates``.
        force_fp32_for_softmax: computes the softmax in float32 and returns weights of that.
        einsum_dot_general: computes the product in place of ``jax.lax.dot_general``.
        einsum: computes the product in place of ``jnp.einsum``.

    Raises:
        InputShapeError: query and key do not fit each other.
        MaskError: bias or mask do not broadcast to the weights.
        InvalidOptionError: ``dropout_rate`` is out of range, or ``dropout_rng`` not a key.
    """
    check_query_key(query, key)
    check_einsums(einsum, einsum, precision, einsum_dot_general)
    query, key = promote_dtype(query, key, dtype=dtype)
    key, dtype = _repeated(key, query.shape[-2]), query.dtype
    query = query / np.asarray(math.sqrt(query.shape[-1]), dtype)
    # [batch..., heads, queries, keys]
    logits = _multiply(_qk, _QK, query, key, precision, einsum_dot_general, einsum)
    shape = logits.shape
    if watching.on_attention is not None:
        watching.on_attention(bias, mask)
    if bias is not None:
        check_bias(bias, shape, masked=mask is not None)
        logits = logits + bias
    if mask is not None:
        check_mask(mask, shape)
        logits = _forbid(logits, mask, dtype)
    if force_fp32_for_softmax and dtype != jnp.float32:
        weights = jax.nn.softmax(logits.astype(jnp.float32))
    else:
        weights = jax.nn.softmax(logits).astype(dtype)
    if module is not None:
        module.sow('intermediates', 'attention_weights', weights)
    if not check_dropout(dropout_rng, dropout_rate, deterministic):
        return weights
    n_shared = key.ndim - 2  # batch and heads
    shape = (1,) * n_shared + weights.shape[-2:] if broadcast_dropout else weights.shape
    kept, keep = draw(dropout_rng, dropout_rate, shape)
    return weights * (kept.astype(dtype) / np.asarray(keep, dtype))


def dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None = None,
    mask: Array | None = None,
    broadcast_dropout: bool = True,
    dropout_rng: PRNGKey | None = None,
    dropout_rate: float = 0.0,
    deterministic: bool = False,
    dtype: Dtype | None = None,
    precision: PrecisionLike = None,
    module: Any = None,
    force_fp32_for_softmax: bool = False,
    einsum_dot_general: DotGeneralT | None = None,
    qk_attn_weights_einsum: EinsumT | None = None,
    attn_weights_value_einsum: EinsumT | None = None,
) -> Array:
    """Averages the values with the weights of :func:`dot_product_attention_weights`.

    ``[batch..., queries, heads, depth], [batch..., keys, key_heads, depth],
    [batch..., keys, key_heads, value_depth] -> [batch..., queries, heads, value_depth]``, where
    heads are a multiple of ``key_heads``, of which groups share one. Ainslie et al., 2023.

    >>> import linnet.linen as nn
    >>> q = jax.random.normal(jax.random.key(0), (1, 3, 2, 4))
    >>> nn.dot_product_attention(q, q, q, mask=nn.make_causal_mask(jnp.ones((1, 3)))).shape
    (1, 3, 2, 4)

    Args:
        query: the queries.
        key: the keys.
        value: the values.
        bias: as for the weights, and so are all that are not explained here.
        mask: nonzero where a query may look at a key; broadcasts to the weights.
        broadcast_dropout: whether batch and heads drop the same pairs.
        dropout_rng: the key to draw with.
        dropout_rate: the probability that a weight is dropped, at least 0 and less than 1.
        deterministic: whether nothing is dropped.
        dtype: the computation dtype; inferred from query, key and value unless given.
        precision: of both products, as for ``jax.lax.dot_general``.
        module: a module that sows the weights.
        force_fp32_for_softmax: computes the softmax, and with it the result, in float32.
        einsum_dot_general: computes both products in place of ``jax.lax.dot_general``.
        qk_attn_weights_einsum: computes the product of queries and keys in place of
            ``jnp.einsum``.
        attn_weights_value_einsum: computes that of weights and values.

    Raises:
        InputShapeError: query, key and value do not fit each other.
        MaskError: bias or mask do not broadcast to the weights.
        InvalidOptionError: ``dropout_rate`` is out of range, ``dropout_rng`` not a key, or
            the custom einsums do not go with the other options.
    """
    check_query_key(query, key)
    check_key_value(key, value)
    check_einsums(qk_attn_weights_einsum, attn_weights_value_einsum, precision, einsum_dot_general)
    query, key, value = promote_dtype(query, key, value, dtype=dtype)
    weights = dot_product_attention_weights(
        query,
        key,
        bias,
        mask,
        broadcast_dropout,
        dropout_rng,
        dropout_rate,
        deterministic,
        query.dtype,
        precision,
        module,
        force_fp32_for_softmax,
        einsum_dot_general,
        qk_attn_weights_einsum,
    )
    value = _repeated(value, query.shape[-2])
    return _multiply(
        _av, _AV, weights, value, precision, einsum_dot_general, attn_weights_value_einsum
    )


def _multiply(
    product: Any,
    equation: str,
    a: Array,
    b: Array,
    precision: PrecisionLike,
    dot_general: DotGeneralT | None,
    einsum: EinsumT | None,
) -> Array:
    """One of the two products, by whatever is to compute it."""
    if einsum is not None:
        return einsum(equation, a, b)
    if dot_general is not None:
        return jnp.einsum(equation, a, b, precision=precision, _dot_general=dot_general)
    if a.ndim != b.ndim or a.shape[:-3] != b.shape[:-3]:  # a mask with axes of its own
        return jnp.einsum(equation, a, b, precision=precision)
    return product(a, b, precision)


# These compute what jnp.einsum does, to the bit. They are traced once for each shape and then only
# repeated, and jnp.einsum spends ten times as long on its equation.


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _qk(query: Array, key: Array, precision: PrecisionLike) -> Array:
    n = query.ndim
    shared = (*range(n - 3), n - 2)  # batch and heads
    return lax.dot_general(
        query,
        key,
        (((n - 1,), (n - 1,)), (shared, shared)),
        precision=precision,
        preferred_element_type=jnp.result_type(query, key),
    )


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _av(weights: Array, value: Array, precision: PrecisionLike) -> Array:
    n = value.ndim
    batch = tuple(range(n - 3))
    # [batch..., heads, depth, queries]
    product = lax.dot_general(
        value,
        weights,
        (((n - 3,), (n - 1,)), ((*batch, n - 2), (*batch, n - 3))),
        precision=precision,
        preferred_element_type=jnp.result_type(value, weights),
    )
    return lax.transpose(product, (*batch, n - 1, n - 3, n - 2))


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _forbid(logits: Array, mask: Array, dtype: Dtype) -> Array:
    return jnp.where(mask, logits, jnp.finfo(dtype).min)


def check_dropout(rng: Any, rate: float, deterministic: bool) -> bool:
    """Tells whether attention weights are dropped, and refuses what they cannot be dropped with.

    Args:
        rng: the key to draw with.
        rate: the probability that a weight is dropped.
        deterministic: whether nothing is dropped.
    """
    check_flag(deterministic, 'deterministic')
    if deterministic:
        return False
    check_rate(rate, 'dropout_rate')
    if rate == 0:
        return False
    if rate == 1:
        raise InvalidOptionError(
            'dropout_rate=1 drops every attention weight and scales up none, 0 / 0',
            mend='dropout_rate=0.1',
        )
    if rng is None:
        raise InvalidOptionError(
            f'dropout_rate={rate} needs a key, and dropout_rng is None',
            mend='dropout_rng=jax.random.key(0), or deterministic=True',
        )
    check_key(rng, 'dropout_rng')
    return True


def _repeated(x: Array, heads: int) -> Array:
    """Keys or values with a head for each head of the queries, of which groups share one."""
    return x if x.shape[-2] == heads else jnp.repeat(x, heads // x.shape[-2], axis=-2)

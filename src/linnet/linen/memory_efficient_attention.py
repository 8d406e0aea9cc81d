"""Attention that never holds all weights: functions to give to a layer as ``attention_fn``.

They compute what :func:`~linnet.linen.dot_product_attention` does, up to rounding, in memory that
grows with the length and not with its square. That one stays the default, since its bits are those
of Flax.

>>> import functools, linnet.linen as nn
>>> causal = functools.partial(nn.fused_attention, causal=True)
>>> layer = nn.MultiHeadAttention(num_heads=4, attention_fn=causal)
"""

from __future__ import annotations

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from linnet.core.devices import is_cuda
from linnet.errors.layers import InvalidOptionError, MaskError
from linnet.linen._attention_checks import check_bias, check_key_value, check_mask, check_query_key
from linnet.linen._attention_tiles import Inputs, Tiling, attend
from linnet.linen._dot_product import check_dropout
from linnet.linen._inputs import broadcasts
from linnet.linen._shapes import check_count
from linnet.linen.dtypes import promote_dtype
from linnet.typing import Array, Dtype, PrecisionLike, PRNGKey

__all__ = ['chunked_attention', 'fused_attention']


def chunked_attention(
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
    force_fp32_for_softmax: bool = False,
    *,
    causal: bool = False,
    query_chunk: int = 256,
    key_chunk: int = 512,
) -> Array:
    """:func:`~linnet.linen.dot_product_attention` by chunks, in memory linear in the length.

    ``[batch..., queries, heads, depth], [batch..., keys, key_heads, depth],
    [batch..., keys, key_heads, value_depth] -> [batch..., queries, heads, value_depth]``, where
    heads are a multiple of ``key_heads`` (grouped-query attention; Ainslie et al., 2023). Logits,
    softmax and all sums are computed in float32 or better, products in the dtype of the result.

    A bias or mask that differs from query to query has the square of the length in itself:
    ``causal=True`` stands for a causal mask, and skips what lies behind it. Dropout draws for each
    tile, so it drops other weights than the plain function. Weights cannot be sown, and derivatives
    are those of reverse mode, once. Rabe and Staats, 2021; Dao et al., 2022.

    >>> import linnet.linen as nn
    >>> q = jax.random.normal(jax.random.key(0), (1, 6, 2, 4))
    >>> y = chunked_attention(q, q, q, causal=True, query_chunk=2, key_chunk=3)
    >>> plain = nn.dot_product_attention(q, q, q, mask=nn.make_causal_mask(jnp.ones((1, 6))))
    >>> bool(jnp.allclose(y, plain, atol=1e-6))
    True

    Args:
        query: the queries.
        key: the keys.
        value: the values.
        bias: added to the logits; broadcasts to the weights, ``[batch..., heads, queries, keys]``.
        mask: nonzero where a query may look at a key; broadcasts to the weights. A query that may
            look at none averages all, of those that ``causal`` lets it see.
        broadcast_dropout: whether batch and heads drop the same pairs.
        dropout_rng: the key to draw with.
        dropout_rate: the probability that a weight is dropped, at least 0 and less than 1.
        deterministic: whether nothing is dropped.
        dtype: the computation dtype; inferred from query, key and value unless given.
        precision: of all products, as for ``jax.lax.dot_general``.
        force_fp32_for_softmax: whether the result is float32 where the dtype is less.
        causal: whether no query looks at a key of a later position.
        query_chunk: how many queries to take at a time.
        key_chunk: how many keys.

    Raises:
        InputShapeError: query, key and value do not fit each other.
        MaskError: bias or mask do not broadcast to the weights.
        InvalidOptionError: a chunk is no count; ``dropout_rate`` is out of range, or
            ``dropout_rng`` not a key; the arrays are complex.
    """
    query, key, value = _checked(query, key, value, bias, mask, dtype)
    check_count('query_chunk', query_chunk, 1)
    check_count('key_chunk', key_chunk, 1)
    drops = check_dropout(dropout_rng, dropout_rate, deterministic)
    (*batch, n_queries, heads, depth), (n_keys, groups) = query.shape, key.shape[-3:-1]
    result_dtype = query.dtype
    if force_fp32_for_softmax:
        result_dtype = jnp.promote_types(result_dtype, jnp.float32)
    if 0 in (*query.shape, *key.shape, *value.shape):
        return jnp.zeros((*query.shape[:-1], value.shape[-1]), result_dtype)
    rows, columns = _even(n_queries, query_chunk), _even(n_keys, key_chunk)
    query = jnp.swapaxes(query / np.asarray(math.sqrt(depth), query.dtype), -2, -3)
    inputs = Inputs(
        # [batch..., groups, repeats, queries, depth]
        _padded(query.reshape(*batch, groups, heads // groups, n_queries, depth), -2, rows),
        _padded(jnp.swapaxes(key, -2, -3), -2, columns),
        _padded(jnp.swapaxes(value, -2, -3), -2, columns),
        _by_group(bias, query.ndim, groups, rows, columns),
        _by_group(mask, query.ndim, groups, rows, columns),
        dropout_rng if drops else None,
    )
    rate = dropout_rate if drops else 0.0
    tiling = Tiling(rows, columns, n_keys, causal, rate, broadcast_dropout, precision)
    y = attend(tiling, inputs)[..., :n_queries, :]
    # [batch..., groups, repeats, queries, depth] -> [batch..., queries, heads, depth]
    y = y.reshape(*batch, heads, n_queries, value.shape[-1])
    return jnp.swapaxes(y, -2, -3).astype(result_dtype)


def _checked(
    query: Array, key: Array, value: Array, bias: Any, mask: Any, dtype: Dtype | None
) -> tuple[Array, Array, Array]:
    """Query, key and value in one dtype, after all are found to fit."""
    check_query_key(query, key)
    check_key_value(key, value)
    weights = (*query.shape[:-3], query.shape[-2], query.shape[-3], key.shape[-3])
    if bias is not None:
        check_bias(bias, weights, masked=mask is not None)
    if mask is not None:
        check_mask(mask, weights)
    for name, x in (('bias', bias), ('mask', mask)):
        if not broadcasts(np.shape(x), weights):
            raise MaskError(
                f'{name} of shape {np.shape(x)} has axes that the weights {weights} lack',
                mend='attention_fn=nn.dot_product_attention',
            )
    query, key, value = promote_dtype(query, key, value, dtype=dtype)
    if jnp.issubdtype(query.dtype, jnp.complexfloating):
        raise InvalidOptionError(
            f'the arrays are {query.dtype}, of which no logit is the greatest',
            mend='attention_fn=nn.dot_product_attention',
        )
    return query, key, value


def _even(length: int, chunk: int) -> int:
    """The size of as many chunks as are needed, so that little is left over in the last."""
    n_chunks = -(-length // chunk)
    return -(-length // n_chunks)


def _padded(x: Array, axis: int, chunk: int) -> Array:
    """The array with zeros up to a multiple of a chunk."""
    missing = -x.shape[axis] % chunk
    if not missing:
        return x
    sizes = [(0, 0)] * x.ndim
    sizes[axis] = (0, missing)
    return jnp.pad(x, sizes)


def _by_group(x: Any, rank: int, groups: int, rows: int, columns: int) -> Array | None:
    """A bias or mask ``[batch..., groups, repeats, queries, keys]``, with chunks that are full."""
    if x is None:
        return None
    x = jnp.asarray(x)
    x = x.reshape((1,) * (rank - x.ndim) + x.shape)
    heads = x.shape[-3]
    split = (1, 1) if heads == 1 else (groups, heads // groups)
    x = x.reshape(*x.shape[:-3], *split, *x.shape[-2:])
    for axis, chunk in ((-2, rows), (-1, columns)):
        if x.shape[axis] > 1:
            x = _padded(x, axis, chunk)
    return x


def fused_attention(
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
    force_fp32_for_softmax: bool = False,
    *,
    causal: bool = False,
) -> Array:
    """Attention by the fastest way that there is on the device at hand.

    On CPUs that is :func:`chunked_attention`, whose shapes, arguments and errors this function has.
    On others it is ``jax.nn.dot_product_attention``: with cuDNN's kernel where that takes the
    arrays (half precision, a depth that is a multiple of 8 and at most 128, neither bias nor mask),
    else with what XLA makes of the plain formula, as long as there are few weights. Beyond 2**27
    of them it is the chunked way, with chunks of 2,048, so that memory grows with the length alone.
    Chunked it is, too, where JAX does not do what is asked for: with dropout, which drops the same
    weights on every device, a precision, several batch axes, or values of another depth.

    >>> q = jax.random.normal(jax.random.key(0), (1, 6, 2, 4))
    >>> fused_attention(q, q, q, causal=True).shape
    (1, 6, 2, 4)
    """
    drops = not deterministic and dropout_rate != 0
    on_cpu, bare = jax.default_backend() == 'cpu', bias is None and mask is None
    of_jax = precision is None and query.ndim <= 4 and query.shape[-1] == value.shape[-1]
    implementation = None
    if of_jax and not on_cpu and not drops:
        implementation = _implementation(query, key, bare)
    if implementation is None:
        chunks = {} if on_cpu or drops else {'query_chunk': _WIDE, 'key_chunk': _WIDE}
        return chunked_attention(
            query,
            key,
            value,
            bias,
            mask,
            broadcast_dropout,
            dropout_rng,
            dropout_rate,
            deterministic,
            dtype,
            precision,
            force_fp32_for_softmax,
            causal=causal,
            **chunks,
        )
    query, key, value = _checked(query, key, value, bias, mask, dtype)
    y = jax.nn.dot_product_attention(
        query,
        key,
        value,
        None if bias is None else _of_rank_4(bias),
        None if mask is None else _of_rank_4(mask) != 0,
        is_causal=causal,
        implementation=implementation,
    )
    return y.astype(jnp.promote_types(y.dtype, jnp.float32)) if force_fp32_for_softmax else y


_FEW = 2**27  # weights, of which GPUs make as many at once in less time than by chunks
_WIDE = 2048  # queries or keys of a chunk on GPUs, where smaller ones take longer


def _implementation(query: Array, key: Array, bare: bool) -> Literal['cudnn', 'xla'] | None:
    """Which way of JAX to take on a device that is no CPU; None where it is too large."""
    if bare and _cudnn_takes(query, jax.devices()[0]):
        return 'cudnn'
    few = math.prod(query.shape[:-1]) * key.shape[-3] <= _FEW
    return 'xla' if few else None


def _of_rank_4(x: Any) -> Array:
    x = jnp.asarray(x)
    return x.reshape((1,) * (4 - x.ndim) + x.shape)


def _cudnn_takes(query: Array, device: Any) -> bool:
    """Tells whether cuDNN has a kernel for queries on a device."""
    if not is_cuda(device):
        return False
    is_half = query.dtype in (jnp.float16, jnp.bfloat16)
    depth = query.shape[-1]
    return is_half and depth % 8 == 0 and depth <= 128 and float(device.compute_capability) >= 8.0

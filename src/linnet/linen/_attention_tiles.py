"""Attention tile by tile, so that its memory grows with the length and not with its square.

The weights, ``[batch..., heads, queries, keys]``, are never held as a whole. Queries and keys are
cut into *chunks*, and a *tile* is what a chunk of queries makes with a chunk of keys. A loop over
the keys' chunks keeps, for each query, the greatest logit so far, the sum of the exponentials below
it, and the values averaged with them (Rabe and Staats, "Self-attention does not need O(n^2)
memory", 2021). The gradient makes each tile once more from those two numbers of each query (Dao et
al., "FlashAttention", 2022).

In here arrays are ``[batch..., groups, repeats, queries, depth]`` for queries, ``[batch..., groups,
keys, depth]`` for keys and values, of which the queries of a *group* share one head; bias and mask
have the rank of the weights, ``[batch..., groups, repeats, queries, keys]``, and sizes of 1 where
they are broadcast. All lengths are multiples of their chunk.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from linnet.linen._dropout_masks import draw
from linnet.typing import Array, PrecisionLike


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How attention is computed.

    Attributes:
        query_chunk: how many queries a tile has.
        key_chunk: how many keys.
        n_keys: how many keys there are; those behind them only fill the last chunk.
        causal: whether queries look at no key behind their own position.
        rate: the probability that a weight is dropped.
        broadcast_dropout: whether batch and heads drop the same pairs.
        precision: of all products.
    """

    query_chunk: int
    key_chunk: int
    n_keys: int
    causal: bool
    rate: float
    broadcast_dropout: bool
    precision: PrecisionLike


class Inputs(NamedTuple):
    """What attention is made of; queries are scaled already.

    Attributes:
        query: the queries.
        key: the keys.
        value: the values.
        bias: added to the logits.
        mask: nonzero where a query may look at a key.
        dropout_rng: the key to drop with.
    """

    query: Array
    key: Array
    value: Array
    bias: Array | None
    mask: Array | None
    dropout_rng: Any


class _Tile(NamedTuple):
    """What a chunk of queries makes with a chunk of keys.

    Attributes:
        logits: ``[batch..., groups, repeats, query_chunk, key_chunk]``, in float32 or better.
        allowed: where the mask lets the logits be.
        factor: what dropout multiplies the weights with.
    """

    logits: Array
    allowed: Array | None
    factor: Array | None


def _cut(x: Array, axis: int, chunk: Any, size: int) -> Array:
    """A chunk of an array, or all of it where it is broadcast along the axis."""
    if x.shape[axis] == 1 and size != 1:
        return x
    return lax.dynamic_slice_in_dim(x, chunk * size, size, axis)


def _add(total: Array, axis: int, chunk: Any, size: int, part: Array) -> Array:
    """Adds to a chunk of an array."""
    part = _cut(total, axis, chunk, size) + part.astype(total.dtype)
    return lax.dynamic_update_slice_in_dim(total, part, chunk * size, axis)


def _product(tiling: Tiling, equation: str, a: Array, b: Array) -> Array:
    """A product of a tile, summed up in float32 or better."""
    return jnp.einsum(
        equation,
        a,
        b,
        precision=tiling.precision,
        preferred_element_type=jnp.promote_types(a.dtype, jnp.float32),
    )


def _tile(tiling: Tiling, inputs: Inputs, query: Array, i: Any, j: Any) -> _Tile:
    """The tile of the chunk ``i`` of queries, which is given, and the chunk ``j`` of keys."""
    rows, columns = tiling.query_chunk, tiling.key_chunk
    key = _cut(inputs.key, -2, j, columns)
    logits = _product(tiling, '...grqd,...gkd->...grqk', query, key)

    def part(x: Array) -> Array:
        return _cut(_cut(x, -2, i, rows), -1, j, columns)

    if inputs.bias is not None:
        logits = logits + part(inputs.bias).astype(logits.dtype)
    allowed = None
    if inputs.mask is not None:
        allowed = part(inputs.mask) != 0
        logits = jnp.where(allowed, logits, jnp.finfo(logits.dtype).min)
    column = j * columns + lax.iota(np.int32, columns)
    if inputs.key.shape[-2] != tiling.n_keys:
        logits = jnp.where(column < tiling.n_keys, logits, -np.inf)
    if tiling.causal:
        row = i * rows + lax.iota(np.int32, rows)
        logits = jnp.where(column <= row[:, None], logits, -np.inf)
    factor = None
    if tiling.rate:
        shape = logits.shape
        if tiling.broadcast_dropout:
            shape = (1,) * (logits.ndim - 2) + shape[-2:]
        rng = jax.random.fold_in(jax.random.fold_in(inputs.dropout_rng, i), j)
        kept, keep = draw(rng, tiling.rate, shape)
        factor = kept.astype(logits.dtype) / np.asarray(keep, logits.dtype)
    return _Tile(logits, allowed, factor)


def _chunks_of_keys(tiling: Tiling, inputs: Inputs, i: Any) -> Any:
    """How many chunks of keys the chunk ``i`` of queries looks at."""
    n_chunks = inputs.key.shape[-2] // tiling.key_chunk
    if not tiling.causal:
        return n_chunks
    seen = (i + 1) * tiling.query_chunk + tiling.key_chunk - 1
    return jnp.minimum(seen // tiling.key_chunk, n_chunks)


class _Sums(NamedTuple):
    """What a loop over the keys keeps of each query.

    Attributes:
        greatest: the greatest logit.
        total: the sum of the exponentials of the logits below it.
        output: the sum of the values with these weights; in the end divided by ``total``.
    """

    greatest: Array
    total: Array
    output: Array


def _forward(tiling: Tiling, inputs: Inputs) -> _Sums:
    """The sums of all queries over all keys, with ``output`` divided."""
    n_chunks = inputs.query.shape[-2] // tiling.query_chunk

    def chunk(i: Any, all_sums: _Sums) -> _Sums:
        query = _cut(inputs.query, -2, i, tiling.query_chunk)
        n_keys = _chunks_of_keys(tiling, inputs, i)
        first = _first_sums(inputs, query)
        step = partial(_step, tiling, inputs, query, i)
        sums: _Sums = lax.fori_loop(0, n_keys, step, first)
        sums = sums._replace(output=sums.output / sums.total[..., None])
        return _Sums(
            *(
                lax.dynamic_update_slice_in_dim(whole, part, i * tiling.query_chunk, axis)
                for whole, part, axis in zip(all_sums, sums, _LENGTH, strict=True)
            )
        )

    return lax.fori_loop(0, n_chunks, chunk, _first_sums(inputs, inputs.query))


_LENGTH = (-1, -1, -2)
"""Which axis of each of the sums is that of the queries."""


def _first_sums(inputs: Inputs, query: Array) -> _Sums:
    """The sums before any key."""
    dtype = jnp.promote_types(query.dtype, jnp.float32)
    greatest = jnp.full(query.shape[:-1], jnp.finfo(dtype).min, dtype)
    output = jnp.zeros((*query.shape[:-1], inputs.value.shape[-1]), dtype)
    return _Sums(greatest, jnp.zeros_like(greatest), output)


def _step(tiling: Tiling, inputs: Inputs, query: Array, i: Any, j: Any, sums: _Sums) -> _Sums:
    """Adds a tile to the sums of its queries."""
    tile = _tile(tiling, inputs, query, i, j)
    value = _cut(inputs.value, -2, j, tiling.key_chunk)
    greatest = jnp.maximum(sums.greatest, tile.logits.max(-1))
    weights = jnp.exp(tile.logits - greatest[..., None])
    shrink = jnp.exp(sums.greatest - greatest)
    total = sums.total * shrink + weights.sum(-1)
    if tile.factor is not None:
        weights = weights * tile.factor
    added = _product(tiling, '...grqk,...gkd->...grqd', weights.astype(value.dtype), value)
    return _Sums(greatest, total, sums.output * shrink[..., None] + added)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def attend(tiling: Tiling, inputs: Inputs) -> Array:
    """The values averaged for each query: ``[batch..., groups, repeats, queries, depth]``."""
    return _forward(tiling, inputs).output


def _attend(tiling: Tiling, inputs: Inputs) -> tuple[Array, Any]:
    sums = _forward(tiling, inputs)
    return sums.output, (inputs, sums)


class _Gradients(NamedTuple):
    """The gradients that are summed up over the tiles."""

    query: Array
    key: Array
    value: Array
    bias: Array | None


class _Rows(NamedTuple):
    """What a chunk of queries brings to the gradients of its tiles.

    Attributes:
        query: the queries.
        greatest: their greatest logits.
        total: the sums of exponentials.
        common: what the gradients by a query's weights have in common, since these sum up to 1.
        gradient: the gradients by the outputs.
    """

    query: Array
    greatest: Array
    total: Array
    common: Array
    gradient: Array


def _gradients(tiling: Tiling, saved: Any, gradient: Array) -> tuple[Inputs]:
    """The gradients by all inputs, from that by the output."""
    inputs, sums = saved
    arrays = _Gradients(inputs.query, inputs.key, inputs.value, inputs.bias)
    zeros = jax.tree_util.tree_map(
        lambda x: jnp.zeros(x.shape, jnp.promote_types(x.dtype, jnp.float32)), arrays
    )
    size = tiling.query_chunk
    common = (gradient * sums.output).sum(-1)

    def chunk(i: Any, totals: _Gradients) -> _Gradients:
        greatest, total, shared = (
            _cut(x, -1, i, size)[..., None] for x in (sums.greatest, sums.total, common)
        )
        rows = _Rows(
            _cut(inputs.query, -2, i, size),
            greatest,
            total,
            shared,
            _cut(gradient, -2, i, size).astype(inputs.value.dtype),
        )
        first = totals._replace(query=jnp.zeros_like(rows.query, totals.query.dtype))
        step = partial(_step_back, tiling, inputs, rows, i)
        done = lax.fori_loop(0, _chunks_of_keys(tiling, inputs, i), step, first)
        of_query = lax.dynamic_update_slice_in_dim(totals.query, done.query, i * size, -2)
        return done._replace(query=of_query)

    totals = lax.fori_loop(0, inputs.query.shape[-2] // size, chunk, zeros)
    query, key, value, bias = jax.tree_util.tree_map(
        lambda total, x: total.astype(x.dtype), totals, arrays
    )
    return (Inputs(query, key, value, bias, None, None),)


def _step_back(
    tiling: Tiling, inputs: Inputs, rows: _Rows, i: Any, j: Any, totals: _Gradients
) -> _Gradients:
    """Adds the gradients of a tile to those of its queries, and of all keys, values and biases."""
    columns = tiling.key_chunk
    tile = _tile(tiling, inputs, rows.query, i, j)
    key, value = (_cut(x, -2, j, columns) for x in (inputs.key, inputs.value))
    weights = jnp.exp(tile.logits - rows.greatest) / rows.total
    kept = weights if tile.factor is None else weights * tile.factor
    of_value = _product(tiling, '...grqk,...grqd->...gkd', kept.astype(value.dtype), rows.gradient)
    of_kept = _product(tiling, '...grqd,...gkd->...grqk', rows.gradient, value)
    if tile.factor is not None:
        of_kept = of_kept * tile.factor
    of_logits = weights * (of_kept - rows.common)
    if tile.allowed is not None:
        of_logits = jnp.where(tile.allowed, of_logits, 0)
    rounded = of_logits.astype(rows.query.dtype)
    of_key = _product(tiling, '...grqk,...grqd->...gkd', rounded, rows.query)
    return _Gradients(
        totals.query + _product(tiling, '...grqk,...gkd->...grqd', rounded, key),
        _add(totals.key, -2, j, columns, of_key),
        _add(totals.value, -2, j, columns, of_value),
        None if totals.bias is None else _add_to_bias(tiling, totals.bias, i, j, of_logits),
    )


def _add_to_bias(tiling: Tiling, total: Array, i: Any, j: Any, part: Array) -> Array:
    """Adds to the tile of the bias, along whose axes of size 1 gradients are summed up."""
    shared = [axis for axis in range(part.ndim) if total.shape[axis] == 1]
    part = part.sum(shared, keepdims=True)
    at, sizes = [0] * part.ndim, part.shape
    for axis, chunk in ((-2, i), (-1, j)):
        if total.shape[axis] != 1:
            at[axis] = chunk * sizes[axis]
    part = lax.dynamic_slice(total, at, sizes) + part.astype(total.dtype)
    return lax.dynamic_update_slice(total, part, at)


attend.defvjp(_attend, _gradients)

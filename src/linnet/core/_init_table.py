"""Random numbers for all parameters of a model by one program, whatever their shapes.

The numbers of one parameter are a sequence: JAX's number ``i`` is a hash of the key and ``i``,
brought to a distribution element by element. So a *table* makes them: each *row* is a stretch of
consecutive numbers of one parameter, and holds what tells one parameter's numbers from another's,
its *columns*: the two words of the key, where the stretch starts, and the coefficients of the
distribution. One program of fixed size fills all rows; the host cuts them into arrays. It is
compiled once in a process, not once for each shape.

With the columns ``low``, ``high`` and so on of :class:`Coefficients`, the number is ::

    u = max(low, bits * (high - low) + low)       # uniform; bits in [0, 1) come from the hash
    clip(before * erf_inv(u), least, most) * after    # where it is normal, else u * after

in the order in which JAX computes it, so that the last bit is the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from linnet import _compat

_SMALL, _LARGE = (64, 256), (256, 4096)
_FEW = 16 * 64 * 256  # numbers: from here on, a call of the larger program costs less


class Coefficients(NamedTuple):
    """What brings a hash to one distribution; all in float32.

    Attributes:
        low: lower end of the uniform numbers; of a truncated normal, the number that is cut at.
        high: the upper end, in the same way.
        truncated: whether ``low`` and ``high`` are where a normal distribution is cut.
        normal: whether the numbers are normal; else they are uniform.
        before: the factor before clipping.
        least: the least number before the last factor.
        most: the greatest number before the last factor.
        after: the last factor.
    """

    low: Any = 0.0
    high: Any = 1.0
    truncated: bool = False
    normal: bool = False
    before: Any = 1.0
    least: Any = -np.inf
    most: Any = np.inf
    after: Any = 1.0


_TYPES = (*[np.float32] * 2, *[np.bool_] * 2, *[np.float32] * 4)


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """The hash Threefry-2x32 of 20 rounds (Salmon et al., 2011) of arrays of 32-bit words.

    The rounds are unrolled: in a loop, as JAX has them on CPUs, the hash takes several times as
    long, to compile too.

    Args:
        k0: the first word of the key.
        k1: the second one.
        x0: the first word to hash, of a shape to which the others broadcast.
        x1: the second one.
    """
    keys = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    x0, x1 = x0 + k0, x1 + k1
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            x0 = x0 + x1
            x1 = x0 ^ (x1 << np.uint32(rotation) | x1 >> np.uint32(32 - rotation))
        x0 = x0 + keys[(i + 1) % 3]
        x1 = x1 + keys[(i + 2) % 3] + np.uint32(i + 1)
    return x0, x1


def is_unrolled(key: Any) -> bool:
    """Tells whether :func:`threefry` hashes with a key in place of JAX, which would take a loop.

    Elsewhere than on CPUs JAX has kernels of its own, or unrolls the loop itself.
    """
    return (
        jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        and str(jax.random.key_impl(key)) == 'threefry2x32'
        and _compat.adds_alike
        and not jax.config.jax_debug_key_reuse
        and jax.default_backend() == 'cpu'
    )


def fold_in(words: np.ndarray, data: np.ndarray) -> np.ndarray:
    """``jax.random.fold_in`` of threefry keys on the host: words [n, 2] and [n] to words [n, 2]."""
    return np.stack(threefry(words[:, 0], words[:, 1], np.zeros_like(data), data), axis=-1)


@functools.partial(jax.jit, static_argnames='width')
def _fill(key: Any, start: Any, columns: Coefficients, *, width: int) -> Any:
    """Fills rows: key [rows, 2], start [rows] and columns [rows] -> [rows, width]."""
    row = jax.tree_util.tree_map(lambda column: column[:, None], columns)
    index = start[:, None] + lax.iota(np.uint32, width)
    words = threefry(key[:, :1], key[:, 1:], jnp.zeros_like(index), index)
    mantissa = (words[0] ^ words[1]) >> np.uint32(9) | np.uint32(0x3F800000)
    bits = lax.bitcast_convert_type(mantissa, np.float32) - np.float32(1)
    root = np.array(np.sqrt(2), np.float32)
    low = jnp.where(row.truncated, lax.erf(row.low / root), row.low)
    high = jnp.where(row.truncated, lax.erf(row.high / root), row.high)
    low, high = lax.optimization_barrier((low, high))  # else they are computed for each number
    uniform = lax.max(jnp.broadcast_to(low, bits.shape), bits * (high - low) + low)
    normal = jnp.clip(row.before * lax.erf_inv(uniform), row.least, row.most)
    return jnp.where(row.normal, normal, uniform) * row.after


def fill(
    keys: np.ndarray, sizes: Sequence[int], coefficients: Sequence[Coefficients]
) -> Iterator[np.ndarray]:
    """The numbers of each of several parameters, one after another.

    Args:
        keys: the words of their keys, [n, 2].
        sizes: how many numbers each has.
        coefficients: their distributions.

    Yields:
        Float32 arrays of the sizes, each in memory of its own.
    """
    rows, width = _SMALL if sum(sizes) <= _FEW else _LARGE
    counts = [-(-size // width) for size in sizes]
    owner = np.repeat(np.arange(len(sizes)), counts)
    first = np.cumsum(counts) - counts
    start = ((np.arange(len(owner)) - first[owner]) * width).astype(np.uint32)
    columns: list[np.ndarray] = [
        np.array(c, t) for c, t in zip(zip(*coefficients, strict=True), _TYPES, strict=True)
    ]
    blocks = _blocks(keys, owner, start, columns, rows, width)
    block, at = np.empty(0, np.float32), 0
    for size in sizes:
        numbers, done = np.empty(size, np.float32), 0
        while done < size:
            if at == len(block):
                block, at = next(blocks), 0
            part = block[at : at + size - done]
            numbers[done : done + len(part)] = part
            done += len(part)
            at += -(-len(part) // width) * width
        yield numbers


def _blocks(
    keys: np.ndarray,
    owner: np.ndarray,
    start: np.ndarray,
    columns: Sequence[np.ndarray],
    rows: int,
    width: int,
) -> Iterator[np.ndarray]:
    """Fills the table, some rows at a time; the next ones are on their way meanwhile."""
    blocks: list[Any] = []
    for at in range(0, len(owner), rows):
        chosen = np.resize(owner[at : at + rows], rows)  # the last block repeats rows
        starts = np.resize(start[at : at + rows], rows)
        picked = Coefficients._make(column[chosen] for column in columns)
        blocks.append(_fill(keys[chosen], starts, picked, width=width))
        if len(blocks) > 1:
            yield np.asarray(blocks.pop(0)).reshape(-1)
    for block in blocks:
        yield np.asarray(block).reshape(-1)

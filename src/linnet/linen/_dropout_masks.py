"""Which elements dropout keeps, drawn from a key, in two ways.

The *ordinary* mask is that of ``jax.random.bernoulli``, to the bit. JAX hashes the number of each
element, on CPUs in a loop over the rounds of the hash. Here the rounds are unrolled, which takes a
fraction of the time and less to compile. What follows the hash are JAX's own operations, so that
XLA puts them together with what stands around as it does in a program of JAX's, and the numbers
there are the same to the bit too.

The *fast* mask takes four elements of 16 bits from each hash, so that it hashes a quarter as often.
It is another mask, and rates are multiples of 1 / 65536. Neither depends on how many devices there
are.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from linnet.configurations import config
from linnet.core._init_table import is_unrolled, threefry
from linnet.typing import Array, Shape


def draw(key: Any, rate: Any, shape: Shape, fast: bool | None = None) -> tuple[Array, Any]:
    """Draws which elements are kept.

    >>> kept, keep = draw(jax.random.key(0), 0.3, (100, 100), fast=True)
    >>> keep
    0.6999969482421875
    >>> bool(abs(kept.mean() - keep) < 0.01)
    True

    Args:
        key: one key of any kind.
        rate: the probability that an element is dropped, between 0 and 1.
        shape: the shape of the mask.
        fast: whether to draw a fast mask; the flag ``linnet_fast_masks`` unless given.

    Returns:
        The mask, True where an element is kept, and the probability of that.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if config.linnet_fast_masks if fast is None else fast:
        dropped = min(round(float(rate) * 2**16), 2**16 - 1)
        keep = 1 - dropped / 2**16
        if str(jax.random.key_impl(key)) == 'threefry2x32':
            return _kept_of_four(jax.random.key_data(key), np.uint32(dropped), tuple(shape)), keep
        return jax.random.bits(key, shape, np.uint16) >= np.uint16(dropped), keep
    keep = 1.0 - rate
    if is_unrolled(key) and _is_usual(keep, shape):
        return _kept(jax.random.key_data(key), np.float32(keep), tuple(shape)), keep
    return jax.random.bernoulli(key, keep, shape), keep


def _is_usual(keep: Any, shape: Shape) -> bool:
    """Tells whether the bits of an ordinary mask are known here."""
    return (
        jnp.result_type(keep) == np.float32
        and math.prod(shape) < 2**32
        and jax.config.jax_threefry_partitionable
    )


@partial(jax.jit, static_argnums=2)
def _kept(words: Array, keep: Any, shape: Shape) -> Array:
    """The mask of ``jax.random.bernoulli`` for the words ``[2]`` of a key."""
    index = _numbers(shape)
    # The barrier stands where JAX's loop ends; without it, whatever uses the mask may hash again.
    a, b = lax.optimization_barrier(threefry(words[0], words[1], jnp.zeros_like(index), index))
    from_one_to_two = ((a ^ b) >> np.uint32(9)) | np.float32(1).view(np.uint32)
    uniform = lax.bitcast_convert_type(from_one_to_two, np.float32) - np.float32(1)
    return lax.max(np.float32(0), uniform) < keep


@partial(jax.jit, static_argnums=2)
def _kept_of_four(words: Array, dropped: Any, shape: Shape) -> Array:
    """A fast mask: a hash holds four neighbours of a row, the last axis that is no single place."""
    *rows, columns = [size for size in shape if size != 1] or [1]
    table = (*rows, -(-columns // 4))
    row, column = _numbers(tuple(rows))[..., None], lax.iota(np.uint32, table[-1])
    four = np.uint32(0)
    for i, word in enumerate(threefry(words[0], words[1], row, column)):
        for j, bits in enumerate((word & np.uint32(0xFFFF), word >> np.uint32(16))):
            four = four | (bits >= dropped).astype(np.uint32) << np.uint32(16 * i + 8 * j)
    # [rows..., columns / 4] -> [rows..., columns / 4, 4] -> [rows..., columns]
    places = lax.bitcast_convert_type(lax.optimization_barrier(four), np.uint8)
    places = places.reshape(*rows, 4 * table[-1])[..., :columns]
    return places.reshape(shape) != 0


def _numbers(shape: Shape) -> Array:
    """The numbers of elements in their order, by axes, which may lie on several devices."""
    number, stride = jnp.zeros(shape, np.uint32), 1
    for axis in reversed(range(len(shape))):
        number += lax.broadcasted_iota(np.uint32, shape, axis) * np.uint32(stride % 2**32)
        stride *= shape[axis]
    return number

"""What is computed of watched arrays: small facts, as words of 32 bits that travel together.

A *fingerprint* is a word that nearly always differs for arrays that differ, whatever the program
that computes it: it is made of integers alone.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_LEAVES = 16  # of a tree, at most so many are looked at


def as_words(values: Any) -> jax.Array:
    """Float32 or integers of 32 bits, as a vector of words."""
    values = jnp.atleast_1d(values)
    if values.dtype == jnp.uint32:
        return values
    return lax.bitcast_convert_type(values, jnp.uint32)


def as_floats(words: np.ndarray) -> np.ndarray:
    """The inverse of :func:`as_words`, on the host."""
    return np.ascontiguousarray(words).view(np.float32)


def as_integers(words: np.ndarray) -> np.ndarray:
    """Words that were signed integers."""
    return np.ascontiguousarray(words).view(np.int32)


def is_array(value: Any) -> bool:
    """Tells whether a value is an array of numbers, traced or not."""
    dtype = getattr(value, 'dtype', None)
    if dtype is None or not hasattr(value, 'shape'):
        return False
    return not jnp.issubdtype(dtype, jax.dtypes.extended)


def is_inexact(value: Any) -> bool:
    """Tells whether a value is an array of floating-point or complex numbers, and not empty."""
    return is_array(value) and jnp.issubdtype(value.dtype, jnp.inexact) and value.size > 0


def is_half(dtype: Any) -> bool:
    """Tells whether a dtype has 16 bits of a floating-point number."""
    return dtype in (jnp.float16, jnp.bfloat16)


def arrays_in(tree: Any) -> list[Any]:
    """The arrays of numbers in a tree."""
    return [leaf for leaf in jax.tree_util.tree_leaves(tree) if is_array(leaf)]


def largest(value: Any) -> jax.Array:
    """The largest magnitude as float32: NaN if there is one, infinite, or zero if all are.

    Bits of numbers that are not negative are in the order of the numbers, with NaN above infinity;
    a maximum of floats may lose NaN on its way between devices.
    """
    size = jnp.abs(lax.stop_gradient(value))
    if size.dtype == jnp.float64:  # large is not infinite
        limit = jnp.asarray(jnp.finfo(jnp.float32).max, size.dtype)
        size = jnp.where(jnp.isfinite(size), jnp.minimum(size, limit), size)
    bits = lax.bitcast_convert_type(size.astype(jnp.float32), jnp.int32)
    return lax.bitcast_convert_type(jnp.max(bits), jnp.float32)


def share_too_small(value: Any) -> jax.Array:
    """The share of the numbers that are not zero and below the smallest normal one."""
    size = jnp.abs(lax.stop_gradient(value))
    small = (size > 0) & (size < jnp.finfo(value.dtype).tiny)
    return small.mean(dtype=jnp.float32)


def fingerprint(tree: Any) -> jax.Array:
    """One word of the arrays in a tree."""
    total = jnp.zeros((), jnp.uint32)
    for leaf in arrays_in(tree)[:_LEAVES]:
        total = total * np.uint32(1000003) + _fingerprint(leaf)
    return total


def _fingerprint(value: Any) -> jax.Array:
    words = _words(lax.stop_gradient(jnp.asarray(value))).ravel()
    places = lax.iota(jnp.uint32, words.size) * np.uint32(2654435761)
    return jnp.sum((words ^ (words >> 15)) * (places | np.uint32(1)), dtype=jnp.uint32)


def _words(value: jax.Array) -> jax.Array:
    """The bits of an array, as words; the shape may gain an axis."""
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        value = jnp.stack([value.real, value.imag])
    if value.dtype == jnp.bool_ or (
        value.dtype.itemsize < 4 and jnp.issubdtype(value.dtype, jnp.integer)
    ):
        return value.astype(jnp.uint32)
    if value.dtype.itemsize == 1:
        return lax.bitcast_convert_type(value, jnp.uint8).astype(jnp.uint32)
    if value.dtype.itemsize == 2:
        return lax.bitcast_convert_type(value, jnp.uint16).astype(jnp.uint32)
    return lax.bitcast_convert_type(value, jnp.uint32)


def key_words(key: Any) -> jax.Array:
    """The words of a key, typed or raw."""
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    return lax.stop_gradient(key)

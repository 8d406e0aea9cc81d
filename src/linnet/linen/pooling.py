"""Pooling: a window slides over the spatial axes and one number is made of what it covers.

Inputs are ``[batch..., spatial..., channels]``: the window has one size for each spatial axis, the
last axis is kept apart, and what comes before the spatial axes is batch, of any number of axes or
none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from linnet.errors.layers import InputShapeError, InvalidOptionError
from linnet.linen._inputs import check_array
from linnet.linen._shapes import check_padding_name, window_sizes
from linnet.typing import Array

_PADDINGS = ('SAME', 'VALID', 'SAME_LOWER')
_Pads = tuple[tuple[int, int], ...]
_Padding = str | Iterable[tuple[int, int]]


def pool(
    inputs: Array,
    init: Any,
    reduce_fn: Callable[[Any, Any], Any],
    window_shape: Sequence[int],
    strides: Sequence[int] | None,
    padding: _Padding,
) -> Array:
    """Reduces what each window covers with any function of two numbers.

    ``[batch..., spatial..., channels] -> [batch..., windows..., channels]``, in the input's dtype.

    >>> pool(jnp.arange(8.0).reshape(4, 2), 1.0, lax.mul, (2,), (2,), 'VALID')
    Array([[ 0.,  3.],
           [24., 35.]], dtype=float32)

    Args:
        inputs: the array to pool.
        init: what the reduction begins with; also the value of padding.
        reduce_fn: an associative function of two numbers, as ``jax.lax.add``. Gradients exist
            for ``lax.add``, ``lax.max`` and ``lax.min``.
        window_shape: sizes of the window, one for each spatial axis.
        strides: steps between windows, one for each spatial axis; 1 unless given.
        padding: ``'SAME'``, ``'SAME_LOWER'``, ``'VALID'``, or a pair ``(before, after)`` for each
            spatial axis; what is below zero cuts off.

    Raises:
        InputDtypeError: the input is no array.
        InvalidOptionError: a window, stride or padding that does not fit the others.
        InputShapeError: the input has fewer axes than the window needs.
    """
    check_array(inputs)
    shape = inputs.shape
    window = window_sizes('window_shape', window_shape)
    steps = window_sizes('strides', strides, len(window)) if strides else (1,) * len(window)
    if len(shape) < len(window) + 1:
        raise InputShapeError(
            f'pooling with window_shape={window} needs an input of at least {len(window) + 1} '
            f'axes, [batch..., {_axes(len(window))}channels]; got shape {shape}',
        )
    unbatched = len(shape) == len(window) + 1
    if unbatched:
        inputs = jnp.expand_dims(inputs, 0)
    ones = (1,) * (inputs.ndim - len(window) - 1)
    pads = _pads(padding, len(window))
    if not isinstance(pads, str):
        inputs, pads = _crop(inputs, ((0, 0),) * len(ones) + pads + ((0, 0),))
    y = lax.reduce_window(inputs, init, reduce_fn, ones + window + (1,), ones + steps + (1,), pads)
    return jnp.squeeze(y, 0) if unbatched else y


def avg_pool(
    inputs: Array,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: _Padding = 'VALID',
    count_include_pad: bool = True,
) -> Array:
    """The mean of each window.

    ``[batch..., spatial..., channels] -> [batch..., windows..., channels]``, in the input's dtype;
    integers become floats.

    >>> avg_pool(jnp.arange(4.0).reshape(4, 1), (2,), padding='SAME', count_include_pad=False)
    Array([[0.5],
           [1.5],
           [2.5],
           [3. ]], dtype=float32)

    Args:
        inputs: the array to pool.
        window_shape: sizes of the window, one for each spatial axis.
        strides: steps between windows, one for each spatial axis; 1 unless given.
        padding: as for :func:`pool`.
        count_include_pad: whether padding counts as zeros of the mean. Otherwise the mean is over
            what lies inside the input, a count in the default float dtype, to which the result
            is promoted; it is NaN for a window that covers padding alone.

    Raises:
        InvalidOptionError: as for :func:`pool`.
        InputShapeError: as for :func:`pool`.
    """
    y = pool(inputs, 0.0, lax.add, window_shape, strides, padding)
    if count_include_pad:
        if not jnp.issubdtype(y.dtype, jnp.inexact):
            y = y.astype(float)
        return y / math.prod(window_shape)
    shape = (*inputs.shape[:-1], 1)
    if len(shape) == len(window_shape) + 2:
        shape = (1, *shape[1:])
    return y / pool(jnp.ones(shape), 0.0, lax.add, window_shape, strides, padding)


def max_pool(
    inputs: Array,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: _Padding = 'VALID',
) -> Array:
    """The largest number of each window.

    ``[batch..., spatial..., channels] -> [batch..., windows..., channels]``, in the input's dtype.

    >>> max_pool(jnp.arange(4.0).reshape(4, 1), (2,), strides=(2,))
    Array([[1.],
           [3.]], dtype=float32)

    Args:
        inputs: the array to pool.
        window_shape: sizes of the window, one for each spatial axis.
        strides: steps between windows, one for each spatial axis; 1 unless given.
        padding: as for :func:`pool`; padding is never the largest.

    Raises:
        InvalidOptionError: as for :func:`pool`.
        InputShapeError: as for :func:`pool`.
    """
    return pool(inputs, -jnp.inf, lax.max, window_shape, strides, padding)


def min_pool(
    inputs: Array,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: _Padding = 'VALID',
) -> Array:
    """The smallest number of each window.

    ``[batch..., spatial..., channels] -> [batch..., windows..., channels]``, in the input's dtype.

    >>> min_pool(jnp.arange(4.0).reshape(4, 1), (2,), strides=(2,))
    Array([[0.],
           [2.]], dtype=float32)

    Args:
        inputs: the array to pool.
        window_shape: sizes of the window, one for each spatial axis.
        strides: steps between windows, one for each spatial axis; 1 unless given.
        padding: as for :func:`pool`; padding is never the smallest.

    Raises:
        InvalidOptionError: as for :func:`pool`.
        InputShapeError: as for :func:`pool`.
    """
    return pool(inputs, jnp.inf, lax.min, window_shape, strides, padding)


def _pads(padding: _Padding, rank: int) -> str | _Pads:
    if isinstance(padding, str):
        check_padding_name(padding, _PADDINGS)
        return padding
    try:
        pads = tuple((before, after) for before, after in padding)
    except (TypeError, ValueError):
        pads = None
    if pads is None or len(pads) != rank:
        raise InvalidOptionError(
            f'padding={padding!r} does not fit a window of {rank} axes',
            why='padding is a name, or a pair (before, after) for each spatial axis',
            mend=f'padding={((1, 1),) * rank}',
        )
    return pads


def _crop(inputs: Array, pads: _Pads) -> tuple[Array, _Pads]:
    """Cuts off what padding below zero leaves out: XLA may abort the process on such padding."""
    if all(side >= 0 for pad in pads for side in pad):
        return inputs, pads
    cut = [tuple(max(-side, 0) for side in pad) for pad in pads]
    if any(before + after > n for n, (before, after) in zip(inputs.shape, cut, strict=True)):
        raise InvalidOptionError(f'padding={pads} cuts more off than there is of {inputs.shape}')
    ends = [n - after for n, (_, after) in zip(inputs.shape, cut, strict=True)]
    inputs = lax.slice(inputs, [before for before, _ in cut], ends)
    return inputs, tuple((max(before, 0), max(after, 0)) for before, after in pads)


def _axes(rank: int) -> str:
    return 'spatial axes, ' if rank else ''

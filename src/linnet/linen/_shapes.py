"""Arithmetic on shapes that the layers share, and the checks that belong to it.

Words: a *window* is the kernel of a convolution or the window of pooling, and its *rank* the
number of spatial axes. Layers see inputs of ``[batch..., spatial..., channels]`` with any number of
batch axes, and compute on ``[batch, spatial..., channels]``.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from linnet.errors.layers import InputShapeError, InvalidOptionError
from linnet.linen._inputs import check_array
from linnet.typing import Array, LaxPadding, PaddingLike


def canonicalize_tuple(x: Sequence[int] | int) -> tuple[int, ...]:
    """A tuple of what was given as a sequence or as a single value.

    >>> canonicalize_tuple([1, 2]), canonicalize_tuple(3)
    ((1, 2), (3,))
    """
    return tuple(x) if np.iterable(x) else (x,)


def normalize_axes(axes: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """Axes counted from the front, in ascending order.

    >>> normalize_axes((-1, 0), 3)
    (0, 2)
    """
    return tuple(sorted(axis if axis >= 0 else ndim + axis for axis in axes))


def conv_dimension_numbers(input_shape: Sequence[int]) -> lax.ConvDimensionNumbers:
    """Says that inputs are ``[batch, spatial..., in]`` and kernels ``[spatial..., in, out]``.

    >>> conv_dimension_numbers((8, 32, 32, 3)).rhs_spec
    (3, 2, 0, 1)
    """
    ndim = len(input_shape)
    image = (0, ndim - 1, *range(1, ndim - 1))
    return lax.ConvDimensionNumbers(image, (ndim - 1, ndim - 2, *range(ndim - 2)), image)


def canonicalize_padding(padding: PaddingLike, rank: int) -> LaxPadding:
    """Padding as ``jax.lax`` wants it: a name, or a pair for each spatial axis.

    >>> canonicalize_padding(1, 2)
    [(1, 1), (1, 1)]
    >>> canonicalize_padding((1, (0, 2)), 2)
    [(1, 1), (0, 2)]

    Args:
        padding: a name; or the padding on either side of every axis; or for each axis the
            padding on either side, or a pair ``(before, after)``.
        rank: number of spatial axes.

    Raises:
        InvalidOptionError: ``padding`` is none of these.
    """
    if isinstance(padding, str):
        return padding
    if not isinstance(padding, Sequence) and _is_int(padding):
        return [(padding, padding)] * rank
    pairs = [_pair(p) for p in padding] if isinstance(padding, Sequence) else []
    pads = [pair for pair in pairs if pair is not None]
    if len(pads) != rank or len(pairs) != rank:
        raise InvalidOptionError(
            f'padding={padding!r} does not fit a window of {rank} spatial axes',
            why='padding is a name, an int, or for each spatial axis an int or a pair of ints',
            mend=f"padding='SAME'  or  padding={((1, 1),) * rank}",
        )
    return pads


def _pair(padding: Any) -> tuple[int, int] | None:
    if _is_int(padding):
        return (padding, padding)
    is_pair = isinstance(padding, Sequence) and len(padding) == 2 and all(map(_is_int, padding))
    return (padding[0], padding[1]) if is_pair else None


def _is_int(x: Any) -> bool:
    return isinstance(x, int | np.integer)


def check_count(name: str, value: Any, least: int = 0) -> None:
    """Refuses an option that is not an integer of at least ``least``."""
    if not _is_count(value, least):
        smallest = least or 1
        meant = int(value) if isinstance(value, float) and smallest <= value < 2**31 else smallest
        raise InvalidOptionError(
            f'{name}={value!r} is not an integer of at least {least}', mend=f'{name}={meant}'
        )


def _is_count(value: Any, least: int) -> bool:
    try:
        return operator.index(value) >= least
    except TypeError:
        return False


def check_padding_name(padding: str, known: Sequence[str]) -> None:
    """Refuses a name of padding that is not among ``known``, and says which is near."""
    if padding in known or padding.upper() in ('SAME', 'VALID', 'SAME_LOWER'):
        return
    near = difflib.get_close_matches(padding.upper(), known, n=1)
    raise InvalidOptionError(
        f'padding={padding!r} is not known',
        why=f'the names are {", ".join(map(repr, known))}',
        mend=f'padding={near[0] if near else known[0]!r}',
    )


def window_sizes(name: str, sizes: Any, rank: int | None = None) -> tuple[int, ...]:
    """The sizes of a window, or its strides or dilations: positive integers, one for each axis.

    Args:
        name: the option they were given as, for the message of an error.
        sizes: a sequence of integers.
        rank: how many there must be, where that is known.

    Raises:
        InvalidOptionError: ``sizes`` is not that.
    """
    if not np.iterable(sizes) or isinstance(sizes, str):
        raise InvalidOptionError(
            f'{name}={sizes!r} is not a sequence of integers, one for each spatial axis',
            mend=f'{name}=({sizes!r}, {sizes!r})' if _is_int(sizes) else f'{name}=(2, 2)',
        )
    sizes = tuple(sizes)
    if rank is not None and len(sizes) != rank:
        raise InvalidOptionError(
            f'{name}={sizes} has {len(sizes)} entries and the window {rank} spatial axes',
            mend=f'{name}={(sizes[:1] or (1,)) * rank}',
        )
    for size in sizes:
        if not _is_count(size, 1):
            raise InvalidOptionError(
                f'{name}={sizes} holds {size!r}, which is not an integer of at least 1',
                mend=f'{name}={(2,) * len(sizes)}',
            )
    return sizes


def flatten_batch(inputs: Array, rank: int) -> tuple[tuple[int, ...], Array]:
    """Makes one batch axis of all axes before the ``rank`` spatial ones and the channels.

    ``[batch..., spatial..., channels] -> [batch, spatial..., channels]``

    Returns:
        The shape of the batch, ``()`` for an input without one, and the array.

    Raises:
        InputDtypeError: the input is no array.
        InputShapeError: the input has fewer than ``rank + 1`` axes.
    """
    check_array(inputs)
    shape = inputs.shape
    n_batch = len(shape) - rank - 1
    if n_batch < 0:
        raise InputShapeError(
            f'a kernel with {rank} spatial axes needs an input of at least {rank + 1} axes, '
            f'[batch..., {"spatial..., " if rank else ""}channels]; got shape {shape}',
            mend='check kernel_size, which has one entry for each spatial axis of the input',
        )
    if n_batch == 1:
        return shape[:1], inputs
    flat = (math.prod(shape[:n_batch]), *shape[n_batch:])
    return shape[:n_batch], jnp.reshape(inputs, flat)


def restore_batch(y: Array, batch: tuple[int, ...]) -> Array:
    """Undoes :func:`flatten_batch`: ``[batch, ...] -> [batch..., ...]``."""
    return y if len(batch) == 1 else jnp.reshape(y, batch + y.shape[1:])


def add_bias(y: Array, bias: Array) -> Array:
    """Adds a bias along the last axes: ``[..., *bias]`` and ``[*bias]`` give ``[..., *bias]``."""
    return y + jnp.reshape(bias, (1,) * (y.ndim - bias.ndim) + bias.shape)

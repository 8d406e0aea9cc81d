"""Which initialisers of JAX there are, and how each one brings a hash to its numbers.

A factory such as ``normal(0.02)`` returns a function that JAX gives no name to: it is known by its
code, and what it was made from stands in its closure. The arithmetic is JAX's, operation by
operation in float32, so that :mod:`linnet.core._init_table` gives the same bits.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.nn import initializers

from linnet import _compat
from linnet.core._deferred import undeferred
from linnet.core._init_table import Coefficients
from linnet.core.devices import default_device

_LONG = 8


def recognise(init_fn: Any, shape: Any, dtype: Any = None) -> tuple[tuple[int, ...], Any] | None:
    """What ``init_fn(key, shape, dtype)`` gives, if it is one of JAX's that makes float32 numbers.

    Returns:
        The shape, and the distribution or the number that fills it; None where the initialiser
        is to be called.
    """
    parse = _PARSERS.get(getattr(init_fn, '__code__', None))
    if parse is None or not _compat.knows_initialisers:
        return None
    dtype = dtype or (init_fn.__defaults__ or (None,))[0] or float
    try:
        sizes = tuple(operator.index(size) for size in shape)
        is_float32 = np.dtype(jax.dtypes.canonicalize_dtype(dtype)) == np.float32
    except TypeError:
        return None
    if not is_float32 or min(sizes, default=0) < 0 or np.prod(sizes, dtype=float) >= 2**32:
        return None
    content = parse(_Arguments(init_fn), sizes)
    if content is None or (type(content) is Coefficients and not _is_long(sizes)):
        return None
    return sizes, content


def closure_of(init_fn: Any) -> tuple[Any, ...]:
    """What an initialiser of JAX is known by: its code first; empty for any other one."""
    code = getattr(init_fn, '__code__', None)
    if code not in _PARSERS:
        return ()
    made_from = tuple(cell.cell_contents for cell in init_fn.__closure__ or ())
    return code, made_from, tuple(map(type, made_from))


def _is_long(shape: tuple[int, ...]) -> bool:
    """Tells whether the innermost loop over an array is long enough to be compiled as one.

    XLA unrolls a short one on CPUs, into operations that round in another way: among arrays of
    shape [n, 3] there are some where one number in fifty has another last bit.
    """
    return next((size for size in reversed(shape) if size != 1), _LONG) >= _LONG


class _Arguments:
    """What a factory of JAX made an initialiser from, as attributes."""

    def __init__(self, init_fn: Any) -> None:
        cells = init_fn.__closure__ or ()
        for name, cell in zip(init_fn.__code__.co_freevars, cells, strict=True):
            setattr(self, name, cell.cell_contents)

    def __getattr__(self, name: str) -> Any:
        return None


_ROOT = np.float32(np.sqrt(2))


def _number(x: Any) -> np.float32 | None:
    """A number of Python or NumPy in float32."""
    return np.float32(x) if isinstance(x, int | float | np.floating | np.integer) else None


def _uniform(made_from: Any, shape: tuple[int, ...]) -> Coefficients | None:
    scale = _number(made_from.scale)
    return None if scale is None else Coefficients(after=scale)


def _normal(made_from: Any, shape: tuple[int, ...]) -> Coefficients | None:
    stddev = _number(made_from.stddev)
    return None if stddev is None else _normal_of(stddev)


def _normal_of(stddev: np.float32) -> Coefficients:
    """A normal distribution; older versions of JAX scale in the end."""
    least = np.nextafter(np.float32(-1), np.float32(0))
    if _compat.normal_scales_first:
        return Coefficients(least, normal=True, before=_ROOT * stddev)
    return Coefficients(least, normal=True, before=_ROOT, after=stddev)


def _truncated_normal(made_from: Any, shape: tuple[int, ...]) -> Coefficients | None:
    numbers = [_number(x) for x in (made_from.lower, made_from.upper, made_from.stddev)]
    return None if None in numbers else _truncated_of(*numbers)  # type: ignore[arg-type]


def _truncated_of(lower: np.float32, upper: np.float32, stddev: np.float32) -> Coefficients:
    least = np.nextafter(lower, np.float32(np.inf))
    most = np.nextafter(upper, np.float32(-np.inf))
    return Coefficients(lower, upper, True, True, _ROOT, least, most, stddev)


def _variance_scaling(made_from: Any, shape: tuple[int, ...]) -> Coefficients | None:
    variance = _variance(made_from, shape)
    if variance is None:
        return None
    if made_from.distribution == 'truncated_normal':
        stddev = _computed(lax.div, _root(variance), np.float32(0.87962566103423978))
        return _truncated_of(np.float32(-2), np.float32(2), stddev)
    if made_from.distribution == 'normal':
        return _normal_of(_root(variance))
    if made_from.distribution == 'uniform':
        return Coefficients(low=np.float32(-1), after=_root(np.float32(3) * variance))
    return None


def _root(x: np.float32) -> np.float32:
    return _computed(lax.sqrt, x)


def _computed(operation: Callable[..., Any], *numbers: np.float32) -> np.float32:
    """What an operation gives on the device, where its last bit can be another than NumPy's."""
    device = default_device()
    if device.platform == 'cpu':
        return {lax.sqrt: np.sqrt, lax.div: np.divide}[operation](*numbers)
    return _on_device(device, operation, numbers)


@functools.lru_cache(maxsize=1024)
def _on_device(device: Any, operation: Callable[..., Any], numbers: Any) -> np.float32:
    del device  # the default one; another computes other numbers
    with undeferred():
        return np.float32(operation(*numbers))


def _variance(made_from: Any, shape: tuple[int, ...]) -> np.float32 | None:
    """The variance of the numbers; None where JAX is to decide, or to raise its error."""
    try:
        fans = _compat.compute_fans(
            shape, made_from.in_axis, made_from.out_axis, made_from.batch_axis
        )
    except (ValueError, TypeError, IndexError, ZeroDivisionError):
        return None
    denominator = {
        'fan_in': fans[0],
        'fan_out': fans[1],
        'fan_avg': (fans[0] + fans[1]) / 2,
        'fan_geo_avg': (fans[0] * fans[1]) ** 0.5,
    }.get(made_from.mode, 0)
    scale = _number(made_from.scale)
    if scale is None or scale < 0 or not denominator:
        return None
    return np.float32(made_from.scale / denominator)


def _filled(value: float) -> Callable[[Any, tuple[int, ...]], Any]:
    return lambda made_from, shape: np.float32(value)


def _constant(made_from: Any, shape: tuple[int, ...]) -> np.float32 | None:
    return _number(made_from.value)


_SAMPLES: tuple[Any, ...] = (
    initializers.zeros,
    initializers.ones,
    initializers.constant(0),
    initializers.uniform(),
    initializers.normal(),
    initializers.truncated_normal(),
    initializers.variance_scaling(1.0, 'fan_in', 'normal'),
)
_KINDS = (
    _filled(0),
    _filled(1),
    _constant,
    _uniform,
    _normal,
    _truncated_normal,
    _variance_scaling,
)
_PARSERS = {made.__code__: parse for made, parse in zip(_SAMPLES, _KINDS, strict=True)}

WITHOUT_KEY = frozenset(made.__code__ for made in _SAMPLES[:3])
"""Code of the initialisers that fill an array with a number, whatever the key."""

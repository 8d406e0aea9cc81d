"""Which dtype a computation runs in.

A layer has two dtypes. ``param_dtype`` is that of its parameters; ``dtype`` is the *computation
dtype*: inputs and parameters are cast to it before anything is computed. Where ``dtype`` is None
it is inferred: the dtype to which JAX would promote inputs and parameters together, lifted to
floating point if they are all integers.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from linnet.errors.layers import InvalidOptionError
from linnet.typing import Dtype

T = TypeVar('T')


def canonicalize_dtype(*args: Any, dtype: Dtype | None = None, inexact: bool = True) -> Dtype:
    """The dtype in which to compute with ``args``.

    >>> canonicalize_dtype(jnp.ones(2, jnp.int32), None)
    dtype('float32')

    Args:
        *args: arrays, numbers, or None for what is absent.
        dtype: the answer, where it is known; otherwise it is inferred from ``args``.
        inexact: whether the computation needs floating-point or complex numbers. Integers are
            then promoted with float32.

    Returns:
        ``dtype`` itself where it was given, else the inferred dtype.

    Raises:
        InvalidOptionError: ``dtype`` is an integer type and ``inexact`` is set, or there is
            nothing to infer a dtype from.
    """
    if dtype is None:
        dtype = _inferred(args)
        if inexact and not jnp.issubdtype(dtype, jnp.inexact):
            dtype = jnp.promote_types(jnp.float32, dtype)
    if inexact and not jnp.issubdtype(dtype, jnp.inexact):
        raise InvalidOptionError(
            f'dtype={getattr(dtype, "__name__", dtype)} cannot be computed in',
            why='the computation needs a floating-point or complex dtype',
            mend='dtype=jnp.float32',
        )
    return dtype


def promote_dtype(*args: Any, dtype: Dtype | None = None, inexact: bool = True) -> list[Any]:
    """Casts ``args`` to the one dtype in which to compute with them.

    >>> x, bias = promote_dtype(jnp.ones(2, jnp.int32), None)
    >>> x.dtype, bias
    (dtype('float32'), None)

    Args:
        *args: arrays, numbers, or None for what is absent, which stays None.
        dtype: as for :func:`canonicalize_dtype`.
        inexact: as for :func:`canonicalize_dtype`.

    Returns:
        A list as long as ``args``.

    Raises:
        InvalidOptionError: as for :func:`canonicalize_dtype`.
    """
    dtype = jnp.dtype(canonicalize_dtype(*args, dtype=dtype, inexact=inexact))
    return [None if x is None else _cast(x, dtype) for x in args]


def _inferred(args: tuple[Any, ...]) -> Dtype:
    present = [_typed(x) for x in args if x is not None]
    if not present:
        raise InvalidOptionError(
            'there is neither an array nor a dtype to infer the computation dtype from',
            mend='promote_dtype(x, dtype=jnp.float32)',
        )
    first = present[0]
    if isinstance(first, jax.Array) and all(x.dtype == first.dtype for x in present):
        return first.dtype
    return jnp.result_type(*present)


def _typed(x: T) -> T | jax.Array:
    """An array in place of a number or a list, whose dtype JAX would not know."""
    return x if hasattr(x, 'dtype') else jnp.asarray(x)


def _cast(x: Any, dtype: Any) -> Any:
    if isinstance(x, jax.Array) and x.dtype == dtype and not x.weak_type:
        return x
    return jnp.asarray(x, dtype)

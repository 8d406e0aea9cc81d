"""Arithmetic that tracing repeats: a function of arrays is traced once for each set of shapes.

While a program is traced, JAX can put the operations that a function made before into it again,
much faster than the function makes them. The program is the same, operation by operation.
Elsewhere, in eager calls and under derivatives and maps, the function runs as it is, so that its
numbers stay the same to the bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from linnet import _compat

F = TypeVar('F', bound=Callable[..., Any])


def repeated(static: int) -> Callable[[F], F]:
    """Decorates a pure function of arrays that may be repeated.

    Args:
        static: how many of its arguments, the last ones, are not arrays; they must hash, else the
            function runs as it is.

    >>> @repeated(static=1)
    ... def scaled(x, factor):
    ...     return x * factor
    >>> jax.jit(lambda x: scaled(scaled(x, 2.0), 2.0))(1.0)
    Array(4., dtype=float32, weak_type=True)
    """

    def decorate(fn: F) -> F:
        split = fn.__code__.co_argcount - static

        # The types count too: 1 is equal to 1.0, and makes another program.
        def run(options: tuple[Any, ...], _: tuple[type, ...], *arrays: Any) -> Any:
            return fn(*arrays, *options)

        run.__name__ = fn.__name__.lstrip('_')
        replay = jax.jit(run, static_argnums=(0, 1), inline=_compat.inline_early)

        @functools.wraps(fn)
        def call(*args: Any) -> Any:
            options = args[split:]
            if not _compat.is_staging() or not _hashes(options):
                return fn(*args)
            return replay(options, tuple(map(type, options)), *args[:split])

        return call  # type: ignore[return-value]

    return decorate


def _hashes(values: tuple[Any, ...]) -> bool:
    try:
        hash(values)
    except TypeError:
        return False
    return True

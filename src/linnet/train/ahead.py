"""Compiling ahead: the programs that a run will need, several at a time, before it needs them.

A program is traced by the thread that asks for it, since tracing runs the user's code, and compiled
by another. JAX keeps it where a call of the function finds it.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any


class Ahead:
    """Compiles in threads; leaving the ``with`` block waits for all of it.

    Example::

        >>> import jax, jax.numpy as jnp
        >>> double = jax.jit(lambda x: 2 * x)
        >>> with Ahead() as ahead:
        ...     for size in (3, 4):
        ...         ahead.add(double, jax.ShapeDtypeStruct((size,), jnp.float32))
        >>> double(jnp.ones(3))                             # is compiled already
        Array([2., 2., 2.], dtype=float32)
    """

    def __init__(self, threads: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads or os.cpu_count(), 'linnet-compile')
        self._tasks: list[Future[Any]] = []

    def add(self, function: Any, *args: Any) -> None:
        """Traces a function of ``jax.jit`` for arguments, or their shapes; begins to compile it."""
        self._tasks.append(self._pool.submit(function.lower(*args).compile))

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Waits; after an error for nothing, so that it is seen at once."""
        self._pool.shutdown(wait=error is None, cancel_futures=error is not None)
        if error is None:
            for task in self._tasks:
                task.result()

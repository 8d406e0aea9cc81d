"""What takes part when a program is watched: one place for each thread, empty unless it is.

A watched program runs on root scopes that see every draw, read and write below them; a function
that no module stands for tells what it was called on.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any


class Watching(threading.local):
    """What watches this thread.

    Attributes:
        make_root: makes root scopes, in place of the class :class:`~linnet.core.scope.Scope`.
        on_attention: is told the bias and the mask of each attention.
        muted: whether what is traced is only looked at, and its values are not to be watched.
        evaluates: whether a model is evaluated, where the same keys each time are meant.
    """

    make_root: Callable[..., Any] | None = None
    on_attention: Callable[[Any, Any], None] | None = None
    muted: bool = False
    evaluates: bool = False


watching = Watching()


def unwatched() -> AbstractContextManager[None]:
    """Traces a program, in the ``with`` block, that will not run as it is: watches no values."""
    return _with(muted=True)


def evaluating(is_so: bool) -> AbstractContextManager[None]:
    """Evaluates a model in the ``with`` block, or trains it."""
    return _with(evaluates=is_so)


@contextlib.contextmanager
def _with(**values: bool) -> Iterator[None]:
    outer = {name: getattr(watching, name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(outer)


def _set(values: dict[str, bool]) -> None:
    for name, value in values.items():
        setattr(watching, name, value)

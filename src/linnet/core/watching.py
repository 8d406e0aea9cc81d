"""What takes part when a program is watched: one place for each thread, empty unless it is.

A watched program runs on root scopes that see every draw, read and write below them; a function
that no module stands for tells what it was called on.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any


class Watching(threading.local):
    """What watches this thread.

    Attributes:
        make_root: makes root scopes, in place of the class :class:`~linnet.core.scope.Scope`.
        on_attention: is told the bias and the mask of each attention.
        muted: whether what is traced is only looked at, and its values are not to be watched.
    """

    make_root: Callable[..., Any] | None = None
    on_attention: Callable[[Any, Any], None] | None = None
    muted: bool = False


watching = Watching()


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """Traces a program, in the ``with`` block, that will not run as it is: watches no values."""
    outer, watching.muted = watching.muted, True
    try:
        yield
    finally:
        watching.muted = outer

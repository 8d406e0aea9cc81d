"""Room for Python's frames, so that tracing takes as long at any depth of the stack.

CPython keeps the frames of a thread in chunks of 16 kB. A chunk is given back to the system as
soon as its first frame ends, and fetched again, page by page, for the next one. A loop whose
calls cross the end of a chunk pays for that at each turn, and where chunks end depends on what
happens to stand around. Tracing a model is such a loop, of some ten thousand calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_R = TypeVar('_R')

_WORDS = 2**14  # a chunk is the least power of two that holds a frame: this one, and as much again


def with_room(fn: Callable[..., _R], /, *args: Any, **kwargs: Any) -> _R:
    """``fn(*args, **kwargs)``, with all frames below it in one chunk.

    The frame of this function asks for more than fits into any chunk that is there, so that CPython
    makes one of 256 kB: half of it, which is never touched, is this frame's, and half, some hundred
    frames of calls, is for those below. That takes 30 us: too long for one layer, nothing for a
    trace.

    >>> with_room(max, [1, 3, 2], key=lambda number: -number)
    1
    """
    return fn(*args, **kwargs)


with_room.__code__ = with_room.__code__.replace(co_stacksize=_WORDS)

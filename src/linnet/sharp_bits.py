"""What becomes of a warning about a sharp bit, and at which line it is given.

A *sharp bit* is a program that runs and probably does not do what was meant. What is found while a
program is traced is a :class:`~linnet.errors.SharpBitWarning` at the *user's line*: the innermost
frame that is neither of this library nor of JAX. The flag ``linnet_sharp_bits`` decides about all
of them, :func:`silence` and :func:`escalate` about single codes, a comment
``# linnet: allow LN251`` about one line, and Python's own filters have the last word.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import jax

from linnet.configurations import config
from linnet.errors._base import SharpBitWarning

_OURS = tuple(
    os.path.dirname(os.path.abspath(str(file))) + os.sep for file in (__file__, jax.__file__)
)
_BETWEEN = frozenset(sys.modules[name].__file__ for name in ('contextlib', 'functools'))
_ALLOW = re.compile(r'#\s*linnet:\s*allow\s+(LN\d{3}(?:[\s,]+LN\d{3})*)')

listeners: list[Callable[[SharpBitWarning, tuple[str, int]], None]] = []
"""Functions that are told of each warning that is given, and of the user's line."""

_levels: dict[str, str] = {}
_inner: dict[str, bool] = {}


class _Levels:
    """A change of what some codes do: from now on, or for the length of a ``with`` block."""

    def __init__(self, level: str, codes: tuple[str, ...]) -> None:
        self._before = dict(_levels)
        _levels.update(dict.fromkeys(codes, level))

    def __enter__(self) -> None:
        """The change is in effect already."""

    def __exit__(self, *_: Any) -> None:
        _levels.clear()
        _levels.update(self._before)


def silence(*codes: str) -> _Levels:
    """Gives no warnings of these codes: from now on, or in a ``with`` block.

    >>> with silence('LN251', 'LN351'):
    ...     pass
    """
    return _Levels('off', codes)


def escalate(*codes: str) -> _Levels:
    """Raises warnings of these codes: from now on, or in a ``with`` block.

    >>> from linnet.errors import UnreadParametersWarning
    >>> with escalate('LN251'):
    ...     warn(UnreadParametersWarning('lora is never read'))
    Traceback (most recent call last):
        ...
    linnet.errors.sharp_bits.UnreadParametersWarning: [LN251] lora is never read
    """
    return _Levels('error', codes)


def warn(warning: SharpBitWarning) -> None:
    """Gives a warning at the user's line, as the settings for its code ask.

    Python's filters show it once for each place, which is the line and the module's path.
    """
    level = _levels.get(warning.code, config.linnet_sharp_bits)
    if level == 'off':
        return
    frame, depth = user_frame()
    if frame is not None and allowed(warning.code, frame.f_code.co_filename, frame.f_lineno):
        return
    for listener in listeners:
        listener(warning, user_line())
    if level == 'error':
        raise warning
    warnings.warn(warning, stacklevel=depth)


def user_frame() -> tuple[types.FrameType | None, int]:
    """The innermost frame outside of this library and JAX, and its distance from the caller."""
    frame: types.FrameType | None = sys._getframe(1)
    depth = 1
    while frame is not None:
        code = frame.f_code
        filename = code.co_filename
        # Constructors of dataclasses stand between the user and us too. Most files are known.
        inner = _inner.get(filename) or is_inner(filename)
        if not (inner or (filename == '<string>' and code.co_name == '__init__')):
            break
        frame = frame.f_back
        depth += 1
    return frame, depth


def user_line() -> tuple[str, int]:
    """File and line of the user's program that runs."""
    frame, _ = user_frame()
    return ('', 0) if frame is None else (frame.f_code.co_filename, frame.f_lineno)


def is_inner(filename: str) -> bool:
    """Tells whether a file is of this library or of JAX, or what Python puts between."""
    inner = _inner.get(filename)
    if inner is None:
        inner = _inner[filename] = filename.startswith(_OURS) or filename in _BETWEEN
    return inner


def allowed(code: str, filename: str, line: int) -> bool:
    """Tells whether a comment in a line of a file allows what a code stands for."""
    found = _ALLOW.search(linecache.getline(filename, line))
    return found is not None and code in found.group(1)

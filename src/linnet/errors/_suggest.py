"""Near misses and listings of names, for the text of messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

SPLITTING = frozenset({'nn.vmap', 'nn.scan', 'nn.while_loop'})
"""Transforms that are told of each stream and collection; others take a filter of all of them."""

_MOST_NAMES = 8
_MOST_LETTERS = 80


def near(name: object, known: Iterable[object]) -> str | None:
    """Returns the known name that ``name`` was probably meant to be, or None.

    >>> near('dropuot', ['params', 'dropout'])
    'dropout'
    """
    names = [other for other in map(str, known) if other != str(name)]
    return next(iter(difflib.get_close_matches(str(name), names, n=1, cutoff=0.7)), None)


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Returns a question with the nearest known name, empty where none is near.

    >>> did_you_mean('kernal', ['kernel', 'bias'])
    "Did you mean 'kernel'?"
    """
    other = near(name, known)
    return f'Did you mean {other!r}?' if other else ''


def listing(names: Iterable[object]) -> str:
    """Returns names in quotes, the surplus of a long list as a count.

    >>> listing(['kernel', 'bias'])
    "'kernel', 'bias'"
    >>> listing([])
    'nothing'
    """
    quoted = [repr(str(name)) for name in names]
    surplus = len(quoted) - _MOST_NAMES
    if surplus > 0:
        quoted[_MOST_NAMES:] = [f'and {surplus} more']
    return ', '.join(quoted) or 'nothing'


def sentences(*parts: str) -> str:
    """Joins the sentences that are not empty."""
    return ' '.join(part for part in parts if part)


def brief(value: object) -> str:
    """Returns the repr of a value, without addresses, cut to a length that a message can bear."""
    text = re.sub(r' at 0x[0-9a-f]+', '', ' '.join(repr(value).split()))
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 3] + '...'


def described(value: Any) -> str:
    """Says what a value is: an array by type, shape and dtype, anything else by its repr.

    >>> described(3)
    'the int 3'
    """
    kind = type(value).__name__
    if value is None:
        return 'None'
    if hasattr(value, 'shape') and hasattr(value, 'dtype'):
        return f'an array of shape {tuple(value.shape)} and dtype {value.dtype}'
    return f'the {kind} {brief(value)}'


def class_name(cls: object) -> str:
    """Returns the name of a class, of an instance's class, or a name given as a string."""
    if isinstance(cls, str):
        return cls
    return cls.__name__ if isinstance(cls, type) else type(cls).__name__

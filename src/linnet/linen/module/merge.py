"""Options that may be given when a module is made or when it is called."""

from __future__ import annotations

from typing import TypeVar

from linnet.errors.layers import InvalidOptionError

T = TypeVar('T')


def merge_param(name: str, a: T | None, b: T | None) -> T:
    """The value of an option that may be given at construction or at the call, not at both.

    Args:
        name: the option's name, for the message.
        a: the value given to the constructor, or ``None``.
        b: the value given to the call, or ``None``.

    Raises:
        InvalidOptionError: neither was given, or both were.

    >>> merge_param('deterministic', None, True)
    True
    """
    if a is None and b is None:
        raise InvalidOptionError(
            f'{name!r} was given neither to the constructor nor to the call',
            why='it has no default',
            mend=f'module({name}=...)(x), or module()(x, {name}=...)',
        )
    if a is not None and b is not None:
        raise InvalidOptionError(
            f'{name!r} was given twice: {a!r} to the constructor, {b!r} to the call',
            why='only one of them can hold',
            mend=f'drop {name}= from the constructor or from the call',
        )
    return b if a is None else a  # type: ignore[return-value]

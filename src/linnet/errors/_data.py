"""Misuse of the immutable containers of data."""

from __future__ import annotations

from typing import ClassVar

from linnet.errors._base import LinnetError


class FrozenDictError(LinnetError, ValueError):
    """A FrozenDict was changed in place.

    Its items never change, so that it can be hashed and shared. Make a new one::

        new = frozen.copy({'name': value})  # with an item added or put in place
        rest, value = frozen.pop('name')  # without an item
        plain = frozen.unfreeze()  # nested dicts that may be changed
    """

    code: ClassVar[str] = 'LN701'


class DictTypeError(LinnetError, TypeError):
    """A function on dicts was given something else than a dict or FrozenDict.

    Pass the dict itself, as ``variables['params']``, not one of its leaves.
    """

    code: ClassVar[str] = 'LN702'

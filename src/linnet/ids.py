"""Identifiers of objects that Python's ``id`` cannot give: never used again, stable in a pickle.

A copy of an id is a new id, so that a copied object is told from its original; a pickle keeps it.
"""

from __future__ import annotations

import itertools
from typing import Any


class UUIDManager:
    """Gives ids that are different from each other, from any thread."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)  # which gives each number once, to all threads together

    def __call__(self) -> FlaxId:
        """Returns an id that this manager has not given before."""
        return FlaxId(next(self._ids))


class FlaxId:
    """A hashable id; equal to itself and to its pickles only.

    >>> uuid() == uuid()
    False
    """

    def __init__(self, rawid: Any) -> None:
        self.id = rawid

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FlaxId) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f'FlaxId({self.id})'

    def __copy__(self) -> FlaxId:
        return uuid()

    def __deepcopy__(self, memo: dict[int, Any]) -> FlaxId:
        return uuid()


uuid = UUIDManager()

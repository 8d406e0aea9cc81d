"""Variables: a handle on one value of the tree, and how values are written into it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import jax

from linnet.core import meta
from linnet.typing import MutableCollection

if TYPE_CHECKING:
    from linnet.core._scope import Scope

T = TypeVar('T')


class Variable(Generic[T]):
    """A handle on one variable: reads and writes its value in place.

    Args:
        scope: the scope that holds it.
        collection: the name of its collection.
        name: its name in the scope.
        unbox: whether :attr:`value` takes off metadata boxes, and keeps them on when written.
    """

    def __init__(self, scope: Scope, collection: str, name: str, unbox: bool) -> None:
        self._id = scope._path_key
        self.scope = scope
        self.collection = collection
        self.name = name
        self.unbox = unbox

    @property
    def value(self) -> T:
        """The value in the tree at this moment."""
        value = self.scope.get_variable(self.collection, self.name)
        return meta.unbox(value) if self.unbox else value

    @value.setter
    def value(self, value: T) -> None:
        if self.unbox:
            # Not by get_variable: whoever only writes has not read.
            boxed = self.scope._collection(self.collection).get(self.name)
            value = meta.replace_boxed(boxed, value)
        self.scope.put_variable(self.collection, self.name, value)

    def is_mutable(self) -> bool:
        """Tells whether the value can be written."""
        return self.scope.is_mutable_collection(self.collection)

    def at(self, scope: Scope) -> Self:
        """The handle on the variable of the same name in another scope."""
        variable = copy.copy(self)
        variable._id = scope._path_key
        variable.scope = scope
        return variable

    def __repr__(self) -> str:
        place = '/'.join((*self.scope.path, self.name))
        return f'Variable({self.collection!r}, {place!r})'


def merge(target: MutableCollection, name: str, value: Any) -> None:
    """Writes ``value``, keeping the identity of dicts that scopes below hold on to."""
    old = target.get(name)
    if isinstance(old, dict) and isinstance(value, Mapping):
        for key, item in value.items():
            merge(old, key, item)
    else:
        target[name] = value


def in_order(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Collections, each in the order in which JAX holds trees, whether or not JAX has seen it."""
    return {col: jax.tree_util.tree_map(lambda x: x, part) for col, part in parts.items()}

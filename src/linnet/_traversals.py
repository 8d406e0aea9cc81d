"""Traversals: names of some parts of a structure, to list them or to replace them in a copy.

Traversals are built by chaining from :data:`t_identity`, which names the structure itself; each
step names parts of the parts that are named so far.
"""

from __future__ import annotations

import abc
import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax

from linnet._frozen_dict import FrozenDict
from linnet.errors._suggest import brief, described
from linnet.errors.data import DictTypeError
from linnet.errors.layers import InvalidOptionError


class Traversal(abc.ABC):
    """Names some parts of a structure.

    Example::

        >>> first_items = t_identity.each()[0]
        >>> list(first_items.iterate([(1, 2), (3, 4)]))
        [1, 3]
        >>> first_items.update(lambda x: -x, [(1, 2), (3, 4)])
        [(-1, 2), (-3, 4)]
    """

    @abc.abstractmethod
    def update(self, fn: Callable[[Any], Any], inputs: Any) -> Any:
        """Returns a copy of ``inputs`` with ``fn`` applied to each of the parts."""

    @abc.abstractmethod
    def iterate(self, inputs: Any) -> Iterator[Any]:
        """Yields the parts."""

    def set(self, values: Any, inputs: Any) -> Any:
        """Returns a copy of ``inputs`` with the parts replaced by ``values``, in their order.

        Raises:
            InvalidOptionError: there are more or fewer values than parts.
        """
        rest = iter(values)

        def take(_: Any) -> Any:
            for value in rest:
                return value
            raise InvalidOptionError('there are fewer values than parts to be set')

        result = self.update(take, inputs)
        for value in rest:
            raise InvalidOptionError(f'there are more values than parts: {brief(value)} is left')
        return result

    def compose(self, other: Traversal) -> Traversal:
        """Names those parts of each part that ``other`` names."""
        return TraverseCompose(self, other)

    def merge(self, *traversals: Traversal) -> Traversal:
        """Names the parts of each part that any of the traversals names."""
        return self.compose(TraverseMerge(*traversals))

    def each(self) -> Traversal:
        """Names the items of each part, a list, tuple or dict."""
        return self.compose(TraverseEach())

    def tree(self) -> Traversal:
        """Names the leaves of each part, a pytree."""
        return self.compose(TraverseTree())

    def filter(self, fn: Callable[[Any], bool]) -> Traversal:
        """Names those parts for which ``fn`` is true."""
        return self.compose(TraverseFilter(fn))

    def __getattr__(self, attr: str) -> Traversal:
        if attr.startswith('__'):
            raise AttributeError(attr)
        return self.compose(TraverseAttr(attr))

    def __getitem__(self, key: Any) -> Traversal:
        return self.compose(TraverseItem(key))


class TraverseId(Traversal):
    """Names the structure itself."""

    def update(self, fn: Callable[[Any], Any], inputs: Any) -> Any:
        """See :class:`Traversal`."""
        return fn(inputs)

    def iterate(self, inputs: Any) -> Iterator[Any]:
        """See :class:`Traversal`."""
        yield inputs


t_identity = TraverseId()


class TraverseMerge(Traversal):
    """Names what any of some traversals names; see :meth:`Traversal.merge`."""

    def __init__(self, *traversals: Traversal) -> None:
        self._traversals = traversals

    def update(self, fn: Callable[[Any], Any], inputs: Any) -> Any:
        """See :class:`Traversal`."""
        for traversal in self._traversals:
            inputs = traversal.update(fn, inputs)
        return inputs

    def iterate(self, inputs: Any) -> Iterator[Any]:
        """See :class:`Traversal`."""
        for traversal in self._traversals:
            yield from traversal.iterate(inputs)


class TraverseCompose(Traversal):
    """Names with ``y`` parts of what ``x`` names; see :meth:`Traversal.compose`."""

    def __init__(self, x: Traversal, y: Traversal) -> None:
        self._x = x
        self._y = y

    def update(self, fn: Callable[[Any], Any], inputs: Any) -> Any:
        """See :class:`Traversal`."""
        return self._x.update(lambda part: self._y.update(fn, part), inputs)

    def iterate(self, inputs: Any) -> Iterator[Any]:
        """See :class:`Traversal`."""
        for part in self._x.iterate(inputs):
            yield from self._y.iterate(part)


class TraverseFilter(Traversal):
    """Names the structure if a condition holds for it; see :meth:`Traversal.filter`."""

    def __init__(self, fn: Callable[[Any], bool]) -> None:
        self._fn = fn

    def update(self, fn: Callable[[Any], Any], inputs: Any) -> Any:
        """See :class:`Traversal`."""
        return fn(inputs) if self._fn(inputs) else inputs

    def iterate(self, inputs: Any) -> Iterator[Any]:
        """See :class:`Traversal`."""
        if self._fn(inputs):
            yield inputs


class TraverseAttr(Traversal):
    """Names an attribute: of a named tuple, a dataclass, or any object that can be copied."""

    def __init__(self, attr: str) -> None:
        self._attr = attr

    def update(self, fn: Callable[[Any], Any], inputs: Any) -> Any:
        """See :class:`Traversal`."""
        value = fn(getattr(inputs, self._attr))
        if _is_named_tuple(inputs):
            return inputs._replace(**{self._attr: value})
        if dataclasses.is_dataclass(inputs) and not isinstance(inputs, type):
            return dataclasses.replace(inputs, **{self._attr: value})
        changed = copy.copy(inputs)
        setattr(changed, self._attr, value)
        return changed

    def iterate(self, inputs: Any) -> Iterator[Any]:
        """See :class:`Traversal`."""
        yield getattr(inputs, self._attr)


class TraverseItem(Traversal):
    """Names an item: of a tuple, a dict, or any object that can be copied and has items.

    A slice as key names each of its items.
    """

    def __init__(self, key: Any) -> None:
        self._key = key

    def update(self, fn: Callable[[Any], Any], inputs: Any) -> Any:
        """See :class:`Traversal`."""
        many = isinstance(self._key, slice)
        value = [fn(item) for item in inputs[self._key]] if many else fn(inputs[self._key])
        if isinstance(inputs, FrozenDict):
            return inputs.copy({self._key: value})
        changed = list(inputs) if isinstance(inputs, tuple) else copy.copy(inputs)
        changed[self._key] = value
        return _as_tuple(inputs, changed) if isinstance(inputs, tuple) else changed

    def iterate(self, inputs: Any) -> Iterator[Any]:
        """See :class:`Traversal`."""
        if isinstance(self._key, slice):
            yield from inputs[self._key]
        else:
            yield inputs[self._key]


class TraverseEach(Traversal):
    """Names each item of a list or tuple, or each value of a dict."""

    def update(self, fn: Callable[[Any], Any], inputs: Any) -> Any:
        """See :class:`Traversal`."""
        if isinstance(inputs, FrozenDict):
            return FrozenDict({key: fn(value) for key, value in inputs.items()})
        if isinstance(inputs, dict):
            changed = copy.copy(inputs)
            changed.update({key: fn(value) for key, value in inputs.items()})
            return changed
        if isinstance(inputs, tuple):
            return _as_tuple(inputs, [fn(item) for item in inputs])
        if isinstance(inputs, list):
            return [fn(item) for item in inputs]
        raise DictTypeError(f'only lists, tuples and dicts have items, got {described(inputs)}')

    def iterate(self, inputs: Any) -> Iterator[Any]:
        """See :class:`Traversal`."""
        yield from inputs.values() if isinstance(inputs, dict | FrozenDict) else inputs


class TraverseTree(Traversal):
    """Names each leaf of a pytree."""

    def update(self, fn: Callable[[Any], Any], inputs: Any) -> Any:
        """See :class:`Traversal`."""
        return jax.tree.map(fn, inputs)

    def iterate(self, inputs: Any) -> Iterator[Any]:
        """See :class:`Traversal`."""
        yield from jax.tree.leaves(inputs)


def _is_named_tuple(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, '_fields')


def _as_tuple(original: Any, items: list[Any]) -> Any:
    """Makes a tuple of the same type, named or not."""
    return type(original)(*items) if _is_named_tuple(original) else type(original)(items)

"""Edits of nested structures that never change, written as if they could.

A *cursor* stands at a place in a tree of dicts, lists, tuples, named tuples and dataclasses. Going
down, ``c['params'].layers[0]``, gives the cursor of a part; assigning to a place records an *edit*.
``build()`` returns the tree with all edits made; what has no edit below it is shared with the
original, which stays as it was. Keys are *items* (``c[key]``) or *attributes* (``c.name``): dicts
and sequences have items, dataclasses and named tuples have attributes.

Operators work on the value that a cursor stands for: ``c['step'] += 1``.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from linnet._frozen_dict import FrozenDict
from linnet.errors._suggest import described, did_you_mean, listing
from linnet.errors.data import CursorFindError, CursorPathError, TraverseTreeError

A = TypeVar('A')
Key = Any


@runtime_checkable
class Indexable(Protocol):
    """What has items."""

    def __getitem__(self, key: Key) -> Any:
        """An item."""


class AccessType(enum.Enum):
    """Whether a key is an item, ``c[key]``, or an attribute, ``c.key``."""

    ITEM = enum.auto()
    ATTR = enum.auto()


@dataclasses.dataclass
class ParentKey(Generic[A]):
    """Where a cursor hangs: below which other, and under which key."""

    parent: Cursor[A]
    key: Key
    access_type: AccessType


Path = tuple[tuple[Key, AccessType], ...]


def is_named_tuple(obj: Any) -> bool:
    """Tells whether an object is a named tuple."""
    return isinstance(obj, tuple) and hasattr(obj, '_fields')


def _is_dataclass(obj: Any) -> bool:
    return dataclasses.is_dataclass(obj) and not isinstance(obj, type)


def _keys(obj: Any) -> list[tuple[Key, AccessType]]:
    """The keys under which an object has parts; none for a leaf."""
    if isinstance(obj, (dict, FrozenDict)):
        return [(key, AccessType.ITEM) for key in obj]
    if is_named_tuple(obj):
        return [(name, AccessType.ATTR) for name in obj._fields]
    if isinstance(obj, (list, tuple)):
        return [(index, AccessType.ITEM) for index in range(len(obj))]
    if _is_dataclass(obj):
        return [(field.name, AccessType.ATTR) for field in dataclasses.fields(obj) if field.init]
    return []


def _is_editable(obj: Any) -> bool:
    return isinstance(obj, (dict, FrozenDict, list, tuple)) or _is_dataclass(obj)


def _part(obj: Any, key: Key, access: AccessType) -> Any:
    return obj[key] if access is AccessType.ITEM else getattr(obj, key)


def _replaced(obj: Any, parts: Mapping[Key, Any]) -> Any:
    """A copy of an object of which :func:`_keys` knows the parts, some of them replaced."""
    if isinstance(obj, FrozenDict):
        return FrozenDict({**obj, **parts})
    if is_named_tuple(obj):
        return obj._replace(**parts)
    if _is_dataclass(obj):
        return dataclasses.replace(obj, **parts)
    if isinstance(obj, tuple):
        return type(obj)(parts.get(index, item) for index, item in enumerate(obj))
    new = copy.copy(obj)
    for key, part in parts.items():
        new[key] = part
    return new


def _traverse_tree(
    path: Path,
    obj: Any,
    *,
    update_fn: Callable[[str, Any], Any] | None = None,
    cond_fn: Callable[[str, Any], bool] | None = None,
) -> Iterator[Any]:
    """Goes through a tree from the top, not further down where it finds something.

    Args:
        path: where the object is.
        obj: the object; it is not asked about itself.
        update_fn: from path and value to a new value; yields pairs of path and value where it
            gives another object.
        cond_fn: from path and value to whether the place is meant; yields the paths.

    Raises:
        TraverseTreeError: both functions are given, or neither.
    """
    if (update_fn is None) == (cond_fn is None):
        raise TraverseTreeError(update_fn, cond_fn)
    for key, access in _keys(obj):
        here = (*path, (key, access))
        value = _part(obj, key, access)
        text = '/'.join(str(key) for key, _ in here)
        if update_fn is not None:
            new = update_fn(text, value)
            if new is not value:
                yield here, new
                continue
        elif cond_fn is not None and cond_fn(text, value):
            yield here
            continue
        yield from _traverse_tree(here, value, update_fn=update_fn, cond_fn=cond_fn)


class Cursor(Generic[A]):
    """A place in a tree, made by :func:`cursor`."""

    _obj: A
    _parent_key: ParentKey[Any] | None
    _changes: dict[Key, Cursor[Any]]
    _is_edit: bool

    def __init__(self, obj: A, parent_key: ParentKey[Any] | None) -> None:
        vars(self).update(_obj=obj, _parent_key=parent_key, _changes={}, _is_edit=False)

    @property
    def _root(self) -> Cursor[Any]:
        return self if self._parent_key is None else self._parent_key.parent._root

    @property
    def _path(self) -> str:
        """The way from the root, as Python writes it."""
        if self._parent_key is None:
            return ''
        key, access = self._parent_key.key, self._parent_key.access_type
        step = f'[{key!r}]' if access is AccessType.ITEM else f'.{key}'
        return self._parent_key.parent._path + step

    def __getitem__(self, key: Key) -> Any:
        if isinstance(key, slice) and isinstance(self._obj, (list, tuple)):
            return [self[index] for index in range(len(self._obj))[key]]
        return self._child(*self._known(key, AccessType.ITEM))

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or '_obj' not in vars(self):
            raise AttributeError(name)  # asked by copy, pickle and the like
        return self._child(*self._known(name, AccessType.ATTR))

    def __setitem__(self, key: Key, value: Any) -> None:
        if isinstance(self._obj, (dict, FrozenDict)):
            self._edit(key, AccessType.ITEM, value)  # dicts take new keys
        elif isinstance(key, slice) and isinstance(self._obj, (list, tuple)):
            for index, part in zip(range(len(self._obj))[key], value, strict=True):
                self[index] = part
        else:
            self._edit(*self._known(key, AccessType.ITEM, editing=True), value)

    def __setattr__(self, name: str, value: Any) -> None:
        self._edit(*self._known(name, AccessType.ATTR, editing=True), value)

    def _known(self, key: Key, access: AccessType, editing: bool = False) -> tuple[Key, AccessType]:
        """The one form of a key under which the part is known.

        Raises:
            CursorPathError: there is no such part, or it cannot be edited.
        """
        obj: Any = self._obj
        keys = _keys(obj)
        if isinstance(obj, (list, tuple)) and access is AccessType.ITEM:
            index = operator.index(key) if hasattr(key, '__index__') else len(keys)
            if -len(keys) <= index < len(keys):
                return keys[index]
        elif (key, access) in keys or key in self._changes:
            return key, access
        elif not editing and not _is_editable(obj):
            try:
                _part(obj, key, access)  # a part of a leaf: to be looked at only
            except (AttributeError, KeyError, IndexError, TypeError):
                pass
            else:
                return key, access
        raise self._no_such_part(key, access)

    def _no_such_part(self, key: Key, access: AccessType) -> CursorPathError:
        keys = _keys(self._obj)
        names = [str(name) for name, _ in keys]
        place = f'the cursor at {self._path}' if self._path else 'the cursor'
        step = f'[{key!r}]' if access is AccessType.ITEM else f'.{key}'
        why, mend = f'it has {listing(names)}' if keys else '', did_you_mean(key, names)
        if (key, AccessType.ITEM) in keys:
            mend = f'[{key!r}], since it is an item'
        elif (key, AccessType.ATTR) in keys:
            mend = f'.{key}, since it is an attribute'
        elif not _is_editable(self._obj):
            why, mend = 'an array or another leaf is replaced as a whole', 'cursor.set(value)'
        return CursorPathError(
            f'{place} stands at {described(self._obj)}, which has no part {step}',
            why=why,
            mend=mend,
        )

    def _child(self, key: Key, access: AccessType) -> Cursor[Any]:
        if key not in self._changes:
            part = _part(self._obj, key, access)
            self._changes[key] = Cursor(part, ParentKey(self, key, access))
        return self._changes[key]

    def _edit(self, key: Key, access: AccessType, value: Any) -> None:
        value = value.build() if isinstance(value, Cursor) else value
        child = self._changes[key] = Cursor(value, ParentKey(self, key, access))
        vars(child)['_is_edit'] = True

    def build(self) -> A:
        """The value here with all edits made; what has none is the original object."""
        parts = {}
        for key, child in self._changes.items():
            part = child.build()
            if child._is_edit or part is not child._obj:
                if not _is_editable(self._obj) and child._parent_key:
                    raise self._no_such_part(key, child._parent_key.access_type)
                parts[key] = part
        return _replaced(self._obj, parts) if parts else self._obj

    def set(self, value: Any) -> Any:
        """Replaces the value here, and returns the whole tree with all edits made.

        >>> cursor({'a': [1, 2]})['a'][0].set(5)
        {'a': [5, 2]}
        """
        if self._parent_key is None:
            return value
        self._parent_key.parent._edit(self._parent_key.key, self._parent_key.access_type, value)
        return self._root.build()

    def apply_update(self, update_fn: Callable[[str, Any], Any]) -> Cursor[A]:
        """Replaces, from the top, each value for which a function gives another object.

        The function sees the edits made before. What it replaces is not gone into.

        Args:
            update_fn: from a path such as ``'params/Dense_0/kernel'`` and the value there to the
                new value, or the same.

        Returns:
            This cursor.

        >>> params = {'a': {'kernel': 1, 'bias': 2}, 'b': {'kernel': 3}}
        >>> cursor(params).apply_update(
        ...     lambda path, value: value * 10 if path.endswith('kernel') else value
        ... ).build()
        {'a': {'kernel': 10, 'bias': 2}, 'b': {'kernel': 30}}
        """
        for path, value in list(_traverse_tree((), self.build(), update_fn=update_fn)):
            *above, (key, access) = path
            self._descend(tuple(above))._edit(key, access, value)
        return self

    def find(self, cond_fn: Callable[[str, Any], bool]) -> Cursor[Any]:
        """The cursor of the one place for which a condition holds.

        Args:
            cond_fn: from a path such as ``'params/Dense_0/kernel'`` and the value there.

        Raises:
            CursorFindError: it holds nowhere, or at several places.

        >>> params = {'a': {'kernel': 1}, 'b': {'kernel': 3}}
        >>> cursor(params).find(lambda path, value: path == 'b/kernel').set(4)
        {'a': {'kernel': 1}, 'b': {'kernel': 4}}
        """
        found = self.find_all(cond_fn)
        first = next(found, None)
        second = next(found, None)
        if first is None or second is not None:
            raise CursorFindError(first, second)
        return first

    def find_all(self, cond_fn: Callable[[str, Any], bool]) -> Iterator[Cursor[Any]]:
        """The cursors of all places for which a condition holds, from the top.

        A place for which it holds is not gone into.

        Args:
            cond_fn: from a path such as ``'params/Dense_0/kernel'`` and the value there.
        """
        for path in _traverse_tree((), self.build(), cond_fn=cond_fn):
            yield self._descend(path)

    def _descend(self, path: Path) -> Cursor[Any]:
        place: Cursor[Any] = self
        for key, access in path:
            place = place._child(key, access)
        return place

    def __iter__(self) -> Iterator[Any]:
        if not isinstance(self._obj, (list, tuple)):
            raise NotImplementedError(
                f'a cursor goes over lists and tuples, and stands at {described(self._obj)}; '
                'use .build(), or .find_all(cond_fn)'
            )
        return (self._child(*key) for key in _keys(self._obj))

    def __reversed__(self) -> Iterator[Any]:
        return reversed(list(self))

    def __len__(self) -> int:
        return len(self.build())  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        return bool(self.build())

    def __str__(self) -> str:
        return str(self.build())

    def __repr__(self) -> str:
        place = f', at {self._path}' if self._path else ''
        return f'Cursor({self.build()!r}{place})'

    __hash__ = None  # type: ignore[assignment]


def _on_values(apply: Callable[..., Any], swapped: bool = False) -> Callable[..., Any]:
    """An operator of cursors: that of the values they stand for."""

    def method(self: Cursor[Any], *others: Any) -> Any:
        values = [x.build() if isinstance(x, Cursor) else x for x in (self, *others)]
        return apply(*(reversed(values) if swapped else values))

    return method


_BINARY = 'add sub mul matmul truediv floordiv mod pow lshift rshift and or xor'.split()
for _name in _BINARY:
    _operator = getattr(operator, f'__{_name}__')
    setattr(Cursor, f'__{_name}__', _on_values(_operator))
    setattr(Cursor, f'__r{_name}__', _on_values(_operator, swapped=True))
for _name in 'eq ne lt le gt ge neg pos abs invert'.split():
    setattr(Cursor, f'__{_name}__', _on_values(getattr(operator, f'__{_name}__')))
for _name, _function in (('divmod', divmod), ('round', round), ('int', int), ('float', float)):
    setattr(Cursor, f'__{_name}__', _on_values(_function))
Cursor.__rdivmod__ = _on_values(divmod, swapped=True)  # type: ignore[attr-defined]


def cursor(obj: A) -> Cursor[A]:
    """A cursor at the top of a tree.

    Args:
        obj: a tree of dicts, frozen dicts, lists, tuples, named tuples and dataclasses, such as a
            :class:`~linnet.training.train_state.TrainState`.

    >>> from linnet.core import freeze
    >>> c = cursor(freeze({'layers': [1, (2, 3)], 'step': 0}))
    >>> c['layers'][1][0] = 20
    >>> c['step'] += 1
    >>> c.build()
    FrozenDict({
        layers: [1, (20, 3)],
        step: 1,
    })
    """
    return Cursor(obj, None)

"""An immutable dict that JAX knows, and functions that work alike on it and on a plain dict.

Words: to *freeze* is to copy nested dicts into one :class:`FrozenDict`; to *unfreeze* is to copy
it out into plain nested dicts. Inside, a frozen dict holds plain nested dicts, so that freezing
is one copy and flattening costs no more than for a dict; a nested dict is wrapped anew each time
it is read. Lists and arrays inside are held as they are: only the dicts are protected.

As a pytree it has its keys in sorted order, as a dict has, with the same key paths.
"""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Iterable, Iterator, KeysView, Mapping, ValuesView
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar, overload

import jax

from linnet.errors._suggest import described
from linnet.errors.data import DictTypeError, FrozenDictError

K = TypeVar('K')
V = TypeVar('V')
D = TypeVar('D', bound=Mapping[Any, Any])


class FrozenKeysView(KeysView[K]):
    """The keys of a :class:`FrozenDict`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f'frozen_dict_keys({list(self)})'


class FrozenValuesView(ValuesView[V]):
    """The values of a :class:`FrozenDict`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f'frozen_dict_values({list(self)})'


def _frozen(value: Any) -> Any:
    """Wraps a nested dict as it is read."""
    return FrozenDict._view(value) if isinstance(value, dict) else value


def _plain(items: dict[Any, Any]) -> dict[Any, Any]:
    """Copies dicts and the frozen dicts in them into plain nested dicts, in the same order."""
    plain = {}
    for key, value in items.items():
        if isinstance(value, dict):
            value = _plain(value)
        elif FrozenDict in type(value).__mro__:  # an ABC is slow to ask with isinstance
            value = _plain(value._dict)
        plain[key] = value
    return plain


class FrozenDict(Mapping[K, V]):
    """An immutable dict, which is a pytree and, where its leaves are hashable, can be hashed.

    Takes what ``dict`` takes, and copies the dicts nested in it. It equals any mapping of the
    same keys and values.

    Args:
        *args: a mapping or pairs, as for ``dict``.
        __unsafe_skip_copy__: share the nested dicts with the caller, who promises not to change
            them.
        **kwargs: more items.

    Example::

        >>> params = FrozenDict({'dense': {'bias': 0, 'kernel': 1}})
        >>> params['dense']
        FrozenDict({
            bias: 0,
            kernel: 1,
        })
        >>> params.copy({'scale': 2}).unfreeze()
        {'dense': {'bias': 0, 'kernel': 1}, 'scale': 2}
        >>> jax.tree.map(lambda leaf: leaf + 1, params) == {'dense': {'bias': 1, 'kernel': 2}}
        True
    """

    __slots__ = ('_dict', '_hash')

    _dict: dict[K, V]
    _hash: int | None

    def __init__(self, *args: Any, __unsafe_skip_copy__: bool = False, **kwargs: Any) -> None:
        items: dict[Any, Any] = dict(*args, **kwargs)
        self._dict = items if __unsafe_skip_copy__ else _plain(items)
        self._hash = None

    @classmethod
    def _view(cls, items: dict[Any, Any]) -> FrozenDict[Any, Any]:
        """Wraps a dict that nobody will change."""
        view = cls.__new__(cls)
        view._dict = items
        view._hash = None
        return view

    def __getitem__(self, key: K) -> V:
        return _frozen(self._dict[key])

    def __iter__(self) -> Iterator[K]:
        return iter(self._dict)

    def __len__(self) -> int:
        return len(self._dict)

    def __contains__(self, key: object) -> bool:
        return key in self._dict

    def __setitem__(self, key: K, value: V) -> NoReturn:
        raise FrozenDictError(
            f'the item {key!r} of a FrozenDict was assigned to',
            why='a FrozenDict is immutable',
            mend=f'new = frozen.copy({{{key!r}: value}}), or edit frozen.unfreeze()',
        )

    def __delitem__(self, key: K) -> NoReturn:
        raise FrozenDictError(
            f'the item {key!r} of a FrozenDict was deleted',
            why='a FrozenDict is immutable',
            mend=f'rest, value = frozen.pop({key!r}), or edit frozen.unfreeze()',
        )

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenDict):
            return self._dict == other._dict
        if isinstance(other, Mapping):
            return self._dict == dict(other)
        return NotImplemented

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self.items()))
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.unfreeze(),)

    def __repr__(self) -> str:
        return self.pretty_repr()

    def keys(self) -> FrozenKeysView[K]:
        """Returns a view of the keys, in order of insertion."""
        return FrozenKeysView(self)

    def values(self) -> FrozenValuesView[V]:
        """Returns a view of the values; nested dicts come frozen."""
        return FrozenValuesView(self)

    def copy(self, add_or_replace: Mapping[K, V] = MappingProxyType({})) -> FrozenDict[K, V]:
        """Returns a frozen dict with the items of ``add_or_replace`` added or put in place."""
        return self._view({**self._dict, **_plain(dict(unfreeze(add_or_replace)))})

    def pop(self, key: K) -> tuple[FrozenDict[K, V], V]:
        """Returns the frozen dict without ``key``, and the value that was there.

        Raises:
            KeyError: there is no such key.
        """
        rest = dict(self._dict)
        value = rest.pop(key)
        return self._view(rest), _frozen(value)

    def unfreeze(self) -> dict[K, V]:
        """Returns plain nested dicts that may be changed."""
        return unfreeze(self)

    def pretty_repr(self, num_spaces: int = 4) -> str:
        """Returns the text of ``repr``, each level indented by ``num_spaces``."""
        return pretty_repr(self, num_spaces)

    def tree_flatten_with_keys(self) -> tuple[tuple[Any, ...], Hashable]:
        """Returns pairs of key-path entry and child, sorted by key, and the keys: for JAX."""
        keys = tuple(sorted(self._dict))  # type: ignore[type-var]
        return tuple((jax.tree_util.DictKey(key), self._dict[key]) for key in keys), keys

    def _tree_flatten(self) -> tuple[tuple[Any, ...], Hashable]:
        keys = tuple(sorted(self._dict))  # type: ignore[type-var]
        return tuple(self._dict[key] for key in keys), keys

    @classmethod
    def tree_unflatten(cls, keys: Any, values: Iterable[Any]) -> FrozenDict[Any, Any]:
        """Builds a frozen dict from keys and children: for JAX."""
        return cls._view(dict(zip(keys, values, strict=False)))


jax.tree_util.register_pytree_with_keys(
    FrozenDict,
    FrozenDict.tree_flatten_with_keys,
    FrozenDict.tree_unflatten,
    FrozenDict._tree_flatten,
)


def freeze(xs: Mapping[Any, Any]) -> FrozenDict[Any, Any]:
    """Copies nested dicts into a :class:`FrozenDict`.

    Example::

        >>> freeze({'a': {'b': 1}}).pop('a')
        (FrozenDict({}), FrozenDict({
            b: 1,
        }))
    """
    return FrozenDict(xs)


@overload
def unfreeze(x: FrozenDict[K, V] | dict[K, V]) -> dict[K, V]: ...
@overload
def unfreeze(x: V) -> V: ...
def unfreeze(x: Any) -> Any:
    """Copies a frozen dict, or dicts that hold frozen dicts, into plain nested dicts.

    The copy of a frozen dict has its keys sorted, as JAX leaves them. What is no dict comes back
    as it is.

    Example::

        >>> unfreeze({'a': FrozenDict({'b': 1})})
        {'a': {'b': 1}}
    """
    if isinstance(x, FrozenDict):
        return _copy_tree(_plain(x._dict))
    if isinstance(x, dict):
        return {key: unfreeze(value) for key, value in x.items()}
    return x


def copy(x: D, add_or_replace: Mapping[Any, Any] = FrozenDict({})) -> D:
    """Returns a copy of a dict or frozen dict with items added or put in place.

    Raises:
        DictTypeError: ``x`` is neither.

    Example::

        >>> copy({'a': 1, 'b': 2}, {'b': 3})
        {'a': 1, 'b': 3}
    """
    result: Any
    if isinstance(x, FrozenDict):
        result = x.copy(add_or_replace)
    else:
        result = _copy_tree(_checked(x, 'copy'))
        result.update(add_or_replace)
    return result


def pop(x: D, key: Any) -> tuple[D, Any]:
    """Returns a copy of a dict or frozen dict without ``key``, and the value that was there.

    Raises:
        DictTypeError: ``x`` is neither.
        KeyError: there is no such key.

    Example::

        >>> pop({'a': 1, 'b': 2}, 'a')
        ({'b': 2}, 1)
    """
    rest: Any
    if isinstance(x, FrozenDict):
        rest, value = x.pop(key)
    else:
        rest = _copy_tree(_checked(x, 'pop'))
        value = rest.pop(key)
    return rest, value


def pretty_repr(x: Any, num_spaces: int = 4) -> str:
    """Returns the text of nested dicts with one item a line; of what is no dict, its ``repr``.

    Example::

        >>> print(pretty_repr({'a': {'b': 1}}, num_spaces=2))
        {
          a: {
            b: 1,
          },
        }
    """
    if isinstance(x, FrozenDict):
        return f'FrozenDict({pretty_repr(x._dict, num_spaces)})'
    if not isinstance(x, dict):
        return repr(x)
    if not x:
        return '{}'
    lines = ''.join(f'{key}: {pretty_repr(value, num_spaces)},\n' for key, value in x.items())
    return f'{{\n{textwrap.indent(lines, " " * num_spaces)}}}'


def _copy_tree(tree: dict[Any, Any]) -> dict[Any, Any]:
    """Copies every container of a tree; dicts come out with sorted keys where they can be."""
    try:
        return jax.tree.map(lambda leaf: leaf, tree)
    except ValueError:  # the keys of one dict do not compare, as 1 and 'a'
        return {key: unfreeze(value) for key, value in tree.items()}


def _checked(x: Any, function: str) -> dict[Any, Any]:
    if isinstance(x, dict):
        return x
    raise DictTypeError(f'{function}() takes a dict or a FrozenDict, got {described(x)}')

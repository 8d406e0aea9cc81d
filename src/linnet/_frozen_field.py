"""A frozen dict that is also a dict: what a module makes of a dict in one of its fields.

``isinstance(self.config, dict)`` holds inside the module as it does outside, and code that takes
dicts, such as ``json.dumps``, takes it. It counts as a :class:`FrozenDict` too.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

import jax

from linnet._frozen_dict import FrozenDict, pretty_repr, unfreeze
from linnet.errors.data import FrozenDictError


class FrozenField(dict[Any, Any]):
    """A dict that cannot be changed, hashes where its values do, and copies as FrozenDict does.

    >>> field = FrozenField(width=64)
    >>> isinstance(field, dict), isinstance(field, FrozenDict), field == {'width': 64}
    (True, True, True)
    """

    __slots__ = ()

    @property
    def _dict(self) -> dict[Any, Any]:
        return dict(self)

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __eq__(self, other: object) -> bool:
        return dict.__eq__(self, other._dict if isinstance(other, FrozenDict) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def __repr__(self) -> str:
        return self.pretty_repr()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise FrozenDictError(
            'a dict in a field of a module was changed',
            why='modules are frozen dataclasses, with what they hold',
            mend='new = frozen.copy({key: value}), or edit frozen.unfreeze()',
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = popitem = setdefault = update = _refuse

    def copy(self, add_or_replace: Mapping[Any, Any] = MappingProxyType({})) -> Any:
        """A frozen dict with the items of ``add_or_replace`` added or put in place."""
        return type(self)({**self, **add_or_replace})

    def pop(self, key: Any) -> Any:  # type: ignore[override]
        """The frozen dict without ``key``, and the value that was there.

        Raises:
            KeyError: there is no such key.
        """
        rest = dict(self)
        value = rest.pop(key)
        return type(self)(rest), value

    def unfreeze(self) -> dict[Any, Any]:
        """Plain nested dicts that may be changed."""
        return unfreeze(FrozenDict(self))

    def pretty_repr(self, num_spaces: int = 4) -> str:
        """The text of ``repr``, each level indented by ``num_spaces``."""
        return pretty_repr(FrozenDict(self), num_spaces)


def _flatten_with_keys(field: FrozenField) -> tuple[tuple[Any, ...], Hashable]:
    keys = tuple(sorted(field))
    return tuple((jax.tree_util.DictKey(key), field[key]) for key in keys), keys


def _flatten(field: FrozenField) -> tuple[tuple[Any, ...], Hashable]:
    keys = tuple(sorted(field))
    return tuple(field[key] for key in keys), keys


def _unflatten(keys: Any, values: Iterable[Any]) -> FrozenField:
    return FrozenField(zip(keys, values, strict=True))


FrozenDict.register(FrozenField)
jax.tree_util.register_pytree_with_keys(FrozenField, _flatten_with_keys, _unflatten, _flatten)

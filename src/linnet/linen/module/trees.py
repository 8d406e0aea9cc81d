"""Modules inside the values of attributes: lists, tuples, dicts, and dataclasses of them."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from linnet import serialization
from linnet._frozen_dict import FrozenDict
from linnet._frozen_field import FrozenField
from linnet.linen.module.state import ModuleBase

_ATOMS = frozenset(
    {
        bool,
        bytes,
        complex,
        float,
        functools.partial,
        int,
        np.dtype,
        np.ndarray,
        str,
        type,
        type(None),
        type(jax.numpy.float32),
        types.BuiltinFunctionType,
        types.FunctionType,
        types.MethodType,
    }
)
_CONTAINERS = (ModuleBase, dict, FrozenDict, list, tuple)


def is_atom(value: Any) -> bool:
    """Tells, by types alone, that a value holds no module and needs no freezing."""
    kind = type(value)
    if kind is tuple:
        return all(map(is_atom, value))
    return kind in _ATOMS or not (
        issubclass(kind, _CONTAINERS) or kind in serialization._STATE_DICT_REGISTRY
    )


def freeze_attribute(value: Any) -> Any:
    """Lists as tuples and dicts as :class:`FrozenField`, so that a module's fields hash."""
    if isinstance(value, (dict, FrozenDict)):
        if isinstance(value, dict) and type(value) not in (dict, FrozenField):
            value = _sorted(value)  # as Flax orders an OrderedDict, and what is in it
        return FrozenField({key: freeze_attribute(item) for key, item in value.items()})
    if isinstance(value, tuple):
        items = [freeze_attribute(item) for item in value]
        return type(value)(*items) if hasattr(value, '_fields') else tuple(items)
    if isinstance(value, list):
        return tuple(freeze_attribute(item) for item in value)
    return value


def _sorted(value: Any) -> Any:
    """Dicts in the order of their keys, all the way down, where their keys have one."""
    if not isinstance(value, (dict, FrozenDict)):
        return value
    try:
        keys = sorted(value)
    except TypeError:
        keys = list(value)
    return {key: _sorted(value[key]) for key in keys}


def modules_in(value: Any) -> Iterator[ModuleBase]:
    """The modules inside a value, in order."""
    for _, leaf in suffixed_leaves(value):
        if isinstance(leaf, ModuleBase):
            yield leaf


def suffixed_leaves(value: Any) -> list[tuple[str, Any]]:
    """The leaves of a value, each with what its place adds to a name: ``('_1_key', leaf)``."""
    if is_atom(value):
        return [('', value)]
    children = _children(value)
    if not children:
        return [('', value)]
    return [
        (f'_{key}{suffix}', leaf)
        for key, child in children.items()
        for suffix, leaf in suffixed_leaves(child)
    ]


def map_modules(fn: Callable[[str, Any], Any], value: Any, suffix: str = '') -> Any:
    """Replaces the modules inside a value.

    Args:
        fn: called with what the place adds to a name and the module; returns the replacement.
        value: a module, or lists, tuples, dicts and state-dict dataclasses around modules.
        suffix: what the place of ``value`` itself adds to a name.

    Returns:
        The value with its modules replaced; the same object where there are none.
    """
    if isinstance(value, ModuleBase):
        return fn(suffix, value)
    if is_atom(value):
        return value
    children = _children(value)
    if not children:
        return value
    mapped = {key: map_modules(fn, child, f'{suffix}_{key}') for key, child in children.items()}
    if all(mapped[key] is child for key, child in children.items()):
        return value
    if isinstance(value, (FrozenDict, dict)):
        return type(value)(mapped) if type(value) in (FrozenDict, FrozenField) else mapped
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*mapped.values())
    if isinstance(value, (list, tuple)):
        return type(value)(mapped.values())
    return serialization.from_state_dict(value, mapped)


def _children(value: Any) -> Mapping[Any, Any] | None:
    """The parts of a container by key; ``None`` for what is a leaf here."""
    if isinstance(value, (dict, FrozenDict)):
        return value
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return dict(zip(value._fields, value, strict=True))
    if isinstance(value, (list, tuple)):
        return dict(enumerate(value))
    if type(value) in serialization._STATE_DICT_REGISTRY:
        parts = serialization.to_state_dict(value)
        return parts if isinstance(parts, dict) else None
    return None


class _Same:
    """A value that does not hash, told from others by identity."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other._value is self._value

    def __hash__(self) -> int:
        return id(self._value)


def hashable(value: Any) -> Any:
    """A value that hashes, equal for equal values of one type, or for the same unhashable one."""
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return type(value), value

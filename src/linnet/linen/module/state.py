"""What a module instance remembers between calls, and the marker by which modules are known."""

from __future__ import annotations

import dataclasses
import enum
import weakref
from typing import Any

from typing_extensions import dataclass_transform


def module_field(*, kw_only: bool = False, default: Any = ...) -> Any:
    """A field of a module as type checkers see it; at run time, :func:`dataclasses.field`."""
    return dataclasses.field(kw_only=kw_only, default=default)


@dataclass_transform(field_specifiers=(module_field, dataclasses.field))
class ModuleBase:
    """Marks modules, for code below :class:`~linnet.linen.module.base.Module`."""

    scope: Any
    _state: ModuleState
    _plan: Any
    _id: Any


class SetupState(enum.IntEnum):
    """How far ``setup`` has come."""

    NEW = 0
    TRANSFORMED = 1  # done outside of a lifted transform, whose names may be met again
    DONE = 2


class ModuleState:
    """The bookkeeping of one instance.

    Attributes:
        in_compact_method: a compact method runs.
        in_setup: ``setup`` runs.
        setup_called: how far ``setup`` has come.
        is_initialized: the constructor has ended; from here on attributes are frozen.
        autoname_cursor: for each prefix, the number of the next automatic name.
        children: by name, the submodule, or the collection of the variable.
        adopted: at the root of a tree of modules, the copies of modules that were made outside,
            by the id of the original; so a module that is passed in twice is shared.
    """

    __slots__ = (
        'adopted',
        'autoname_cursor',
        'children',
        'in_compact_method',
        'in_setup',
        'is_initialized',
        'setup_called',
    )

    def __init__(self) -> None:
        self.in_compact_method = False
        self.in_setup = False
        self.setup_called = SetupState.NEW
        self.is_initialized = False
        self.autoname_cursor: dict[str, int] = {}
        self.children: dict[str, Any] = {}
        self.adopted: dict[Any, ModuleBase] = {}

    def reset(self) -> None:
        """Ends a compact method or ``setup``: automatic names start again."""
        self.in_compact_method = False
        self.in_setup = False
        self.autoname_cursor = {}

    def fingerprint(self) -> tuple[Any, ...]:
        """What a method's program may depend on, hashable."""
        cursor = tuple(sorted(self.autoname_cursor.items()))
        return self.in_compact_method, self.in_setup, self.setup_called, cursor


UNCONSTRUCTED = ModuleState()
"""The state of an instance whose ``__post_init__`` has not run."""


class _Unspecified:
    """Stands for a parent that was not given: the module whose method runs."""

    def __repr__(self) -> str:
        return '<the running module>'

    def __reduce__(self) -> str:
        return 'UNSPECIFIED'


UNSPECIFIED = _Unspecified()


class ParentDescriptor:
    """Holds a parent module weakly: children die with the parent, without a cycle to collect."""

    def __get__(self, obj: Any, objtype: Any = None) -> Any:
        """The parent, or ``None`` when it is gone."""
        if obj is None:
            return self
        parent = obj.__dict__.get('_parent_ref')
        return parent() if type(parent) is weakref.ref else parent

    def __set__(self, obj: Any, value: Any) -> None:
        """Sets the parent."""
        obj.__dict__['_parent_ref'] = weakref.ref(value) if isinstance(value, ModuleBase) else value

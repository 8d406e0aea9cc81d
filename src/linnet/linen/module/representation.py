"""How a module is shown: as the call that makes it, with its submodules below.

Options that have their default are left out, so that what a reader sees is what was chosen::

    MLP(
      width=8,
      (Dense_0): Dense(features=8),
      (Dense_1): Dense(features=1),
    )
"""

from __future__ import annotations

import dataclasses
import textwrap
from typing import Any

import jax
import numpy as np

from linnet._frozen_dict import FrozenDict
from linnet.linen.module.state import ModuleBase
from linnet.linen.module.trees import modules_in


def module_repr(module: Any) -> str:
    """The text for a module and those below it."""
    cls = type(module)
    parts = [
        f'{field.name}={value_repr(getattr(module, field.name))}'
        for field in dataclasses.fields(cls)
        if field.repr and _is_chosen(module, field)
    ]
    in_fields = {id(sub) for name in cls._plan.fields for sub in modules_in(getattr(module, name))}
    children = [
        f'({name}): {child!r}'
        for name, child in module._state.children.items()
        if isinstance(child, ModuleBase) and id(child) not in in_fields
    ]
    if not children and sum(map(len, parts)) < 60 and not any('\n' in part for part in parts):
        return f'{cls.__name__}({", ".join(parts)})'
    lines = textwrap.indent('\n'.join(f'{part},' for part in parts + children), '  ')
    return f'{cls.__name__}(\n{lines}\n)'


def _is_chosen(module: Any, field: dataclasses.Field[Any]) -> bool:
    """Tells whether a field differs from its default."""
    if field.name == 'name' and module.scope is not None:
        return False  # the place above shows it
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    value = module.__dict__.get(field.name, default)
    if value is default:
        return False
    try:
        return not bool(value == default)
    except Exception:  # arrays, and whatever cannot be compared
        return True


def value_repr(value: Any) -> str:
    """A short text for the value of a field; containers item by item."""
    if isinstance(value, (FrozenDict, dict)):
        items = ', '.join(f'{key!r}: {value_repr(item)}' for key, item in value.items())
        return f'{{{items}}}'
    if type(value) in (list, tuple):
        items = ', '.join(map(value_repr, value))
        return f'[{items}]' if isinstance(value, list) else f'({items}{"," * (len(value) == 1)})'
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, (jax.Array, np.ndarray, jax.ShapeDtypeStruct)) and value.shape:
        return f'{value.dtype}{list(value.shape)}'
    if callable(value) and not isinstance(value, ModuleBase):
        return getattr(value, '__name__', type(value).__name__)
    return repr(value)

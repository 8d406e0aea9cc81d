"""The text of a table of a model: what values look like, and how rows are drawn.

A tree of arguments is shown as an indented outline, one line for a leaf: an array by dtype and
shape, anything else by its ``str``.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from linnet.core import meta
from linnet.linen.module.state import ModuleBase
from linnet.typing import SizeBytes


@dataclasses.dataclass
class ArrayRepresentation:
    """Stands for an array: its shape and dtype."""

    shape: tuple[int, ...]
    dtype: Any

    def __str__(self) -> str:
        return f'{np.dtype(self.dtype).name}[{",".join(map(str, self.shape))}]'


@dataclasses.dataclass
class PartitionedArrayRepresentation(ArrayRepresentation):
    """Stands for an array in a box: also the names of its axes."""

    names: tuple[Any, ...]

    def __str__(self) -> str:
        names = ', '.join(map(str, self.names)) + ',' * (len(self.names) == 1)
        return f'{super().__str__()} P({names})'


@dataclasses.dataclass
class ObjectRepresentation:
    """Stands for anything else."""

    obj: Any

    def __str__(self) -> str:
        return str(self.obj)


_SHOWN_WHOLE = (type, meta.AxisMetadata, ModuleBase)


def represent(tree: Any) -> Any:
    """A tree with a representation in place of each leaf."""
    if dataclasses.is_dataclass(tree) and not isinstance(tree, _SHOWN_WHOLE):
        tree = {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
    if isinstance(tree, Mapping):
        return {str(key): represent(value) for key, value in _sorted(tree)}
    if isinstance(tree, (list, tuple)):
        return (
            type(tree)(*map(represent, tree))
            if hasattr(tree, '_fields')
            else type(tree)(map(represent, tree))
        )
    return _leaf(tree)


def _sorted(tree: Mapping[Any, Any]) -> Sequence[tuple[Any, Any]]:
    """The items of a mapping in the order in which JAX takes them, where its keys have one."""
    try:
        return sorted(tree.items(), key=lambda item: item[0])
    except TypeError:
        return list(tree.items())


def _leaf(x: Any) -> Any:
    names = getattr(x, 'names', None)
    if isinstance(x, meta.AxisMetadata):
        inner = _leaf(x.replace_boxed(None) if names is None else x.value)  # type: ignore[attr-defined]
        if names is None or not isinstance(inner, ArrayRepresentation):
            return inner
        return PartitionedArrayRepresentation(inner.shape, inner.dtype, tuple(names))
    if isinstance(x, (bool, str)) or x is None:
        return ObjectRepresentation(x)
    if hasattr(x, 'shape') and hasattr(x, 'dtype') and not callable(x):
        return ArrayRepresentation(tuple(x.shape), x.dtype)
    return ObjectRepresentation(x)


def outline(tree: Any) -> str:
    """A tree of representations as text.

    >>> print(outline({'a': 1, 'b': [2, {'c': 3}]}))
    a: 1
    b:
    - 2
    - c: 3
    """
    if isinstance(tree, Mapping):
        return '\n'.join(_entry(f'{key}:', value) for key, value in tree.items()) or '{}'
    if isinstance(tree, (list, tuple)):
        return '\n'.join(_item(value) for value in tree) or '[]'
    return str(tree)


def _entry(key: str, value: Any) -> str:
    text = outline(value)
    if isinstance(value, (Mapping, list, tuple)) and value:
        indent = '  ' if isinstance(value, Mapping) else ''
        return f'{key}\n' + '\n'.join(indent + line for line in text.splitlines())
    return f'{key} {text}'


def _item(value: Any) -> str:
    first, *rest = outline(value).splitlines() or ['']
    return '\n'.join([f'- {first}', *(f'  {line}' for line in rest)])


def size_text(tree: Any) -> str:
    """Number of elements and of bytes of a tree: ``16 (64 B)``; empty for nothing."""
    size = sum_sizes(tree)
    return f'{size.size:,} {_bytes_text(size.bytes)}' if size else ''


def sum_sizes(tree: Any) -> SizeBytes:
    """Number of elements and of bytes of all arrays in a tree."""
    total = SizeBytes(0, 0)
    for leaf in jax.tree_util.tree_leaves(tree):
        total += SizeBytes.from_any(leaf)
    return total


def _bytes_text(count: int) -> str:
    value, units = float(count), ['B', 'KB', 'MB', 'GB', 'TB']
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f'({count} B)' if units[0] == 'B' else f'({value:,.1f} {units[0]})'


def render(
    table: Any,
    costs: Sequence[str],
    console_kwargs: Mapping[str, Any] | None,
    table_kwargs: Mapping[str, Any],
    column_kwargs: Mapping[str, Any],
) -> str:
    """Draws a table with rich.

    Args:
        table: the rows.
        costs: the columns of costs: ``flops``, ``vjp_flops``, or none.
        console_kwargs: arguments of the console.
        table_kwargs: arguments of the drawn table.
        column_kwargs: arguments of each column.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as Drawn
    from rich.text import Text

    counted = [row.counted_variables for row in table]
    totals = {col: [c.get(col, {}) for c in counted] for col in table.collections}
    drawn = Drawn(
        show_header=True,
        show_lines=True,
        show_footer=True,
        title=f'{type(table.module).__name__} Summary',
        **table_kwargs,
    )
    for name in ('path', 'module', 'inputs', 'outputs', *costs, *table.collections):
        drawn.add_column(name, **{'overflow': 'fold', **column_kwargs})
    for row in table:
        drawn.add_row(*map(escape, _cells(row, costs, table.collections)))
    *_, last = [column for column in drawn.columns if column.header not in table.collections]
    last.footer = Text('Total', style='bold', justify='right')
    for column in drawn.columns:
        if column.header in totals:
            column.footer = size_text(totals[str(column.header)])
    drawn.caption = f'\nTotal Parameters: {size_text(list(totals.values()))}'
    drawn.caption_style = 'bold'
    console = Console(
        **{
            'force_terminal': True,
            'force_jupyter': False,
            **(console_kwargs or {}),
            'file': io.StringIO(),
        }
    )
    console.print(drawn)
    return f'\n{console.file.getvalue()}\n'  # type: ignore[attr-defined]


def _cells(row: Any, costs: Sequence[str], collections: Sequence[str]) -> list[str]:
    method = '' if row.method == '__call__' else f' ({row.method})'
    cells = [
        '/'.join(row.path),
        type(row.module_copy).__name__ + method,
        outline(row.inputs),
        outline(row.outputs),
        *(f'{getattr(row, cost):,}' for cost in costs),
    ]
    for col in collections:
        own = represent(row.module_variables.get(col, {}))
        parts = [outline(dict(sorted(own.items()))) if own else '']
        parts.append(size_text(row.counted_variables.get(col, {})))
        cells.append('\n\n'.join(part for part in parts if part))
    return cells

"""Records of the logical names of a variable's axes, which lie in a collection of their own.

The *record* of the variable ``kernel`` in ``params`` is an :class:`AxisMetadata` that lies at the
same path in ``params_axes``, as ``kernel_axes``. Records are pytrees without leaves, so they go
through any transform; one that adds an axis to the variable is told to name it in the record.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
from jax.sharding import PartitionSpec

from linnet import struct
from linnet.errors._suggest import brief
from linnet.errors.layers import InvalidOptionError
from linnet.linen.spmd import is_logical_spec
from linnet.linen.transforms.variables import map_variables
from linnet.typing import In, LogicalPartitionSpecPytree, Out


@struct.dataclass
class AxisMetadata:
    """The record of the logical names of a variable's axes; as a pytree it has no leaves.

    Attributes:
        names: the name of each axis, in a tuple or a ``PartitionSpec``; or a tree of them, for a
            variable that is a tree.
    """

    names: LogicalPartitionSpecPytree = struct.field(pytree_node=False)


def checked_axes(axes: Any) -> Any:
    if isinstance(axes, str):
        raise InvalidOptionError(
            f'axes is the string {axes!r}',
            why='each letter would be a name',
            mend=f'axes=({axes!r},)',
        )
    return tuple(axes) if isinstance(axes, list) else axes


def record(module: Any, collection: str, name: str, axes: Any) -> None:
    """Stores the names of a variable's axes, where the collection for them is mutable."""

    def keep(stored: AxisMetadata | None, new: AxisMetadata) -> AxisMetadata:
        if stored is not None and stored != new:
            raise InvalidOptionError(
                f'the axes of {name!r} in {collection!r} are {axes}, and {brief(stored)} is '
                f"stored in '{collection}_axes'",
                why='the names of the axes of a variable do not change',
                mend=f"leave '{collection}_axes' out of mutable= or of the variables, to keep "
                'or to make it anew',
            )
        return new

    module.sow(
        f'{collection}_axes', f'{name}_axes', AxisMetadata(axes), reduce_fn=keep, init_fn=_nothing
    )


def _nothing() -> None:
    """What is stored before the first record."""


def names_below(tree: Mapping[str, Any]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for name, entry in tree.items():
        if isinstance(entry, AxisMetadata):
            spec = jax.tree.map(_as_spec, entry.names, is_leaf=is_logical_spec)
            names[name.removesuffix('_axes')] = spec
        elif not isinstance(entry, Mapping):
            raise InvalidOptionError(
                f'the entry {name!r} is {brief(entry)}, and no AxisMetadata',
                mend="partitioning.get_axis_names(variables['params_axes'])",
            )
        elif below := names_below(entry):
            names[name] = below
    return names


def _as_spec(names: Any) -> PartitionSpec | None:
    return None if names is None else PartitionSpec(*names)


def records_of(collections: Iterable[Any]) -> dict[Any, int]:
    """The collections of records, with an axis that does not matter: records have no leaves."""
    return {f'{collection}_axes': 0 for collection in collections}


def name_axes(target: Any, axes: Mapping[Any, Any], names: Mapping[Any, str], methods: Any) -> Any:
    """Lets a lifted target see records of names without the axis that it adds."""
    for collection, name in names.items():
        if collection not in axes:
            continue
        axis = axes[collection]
        axis = axis.axis if isinstance(axis, (In, Out)) else axis
        if axis is None:
            raise InvalidOptionError(
                f'the axis of {collection!r} is named {name!r}, and its axis is None',
                mend=f'variable_axes={{{collection!r}: 0}}, or leave out the name',
            )
        target = map_variables(
            target,
            f'{collection}_axes',
            functools.partial(_relabel, change=_removed, axis=axis, name=name),
            functools.partial(_relabel, change=_added, axis=axis, name=name),
            mutable=True,
            methods=methods if methods is None or isinstance(methods, str) else tuple(methods),
        )
    return target


def _relabel(tree: Any, change: Callable[..., Any], axis: int, name: str) -> Any:
    """A collection of records whose names were told of an axis that comes or goes."""

    def relabel(entry: Any) -> Any:
        if not isinstance(entry, AxisMetadata):
            return entry
        return entry.replace(names=changed(entry.names))  # type: ignore[attr-defined]

    def changed(names: Any) -> Any:
        if isinstance(names, Mapping):
            return {key: changed(part) for key, part in names.items()}
        return None if names is None else change(tuple(names), axis, name)

    return jax.tree.map(relabel, tree, is_leaf=lambda x: isinstance(x, AxisMetadata))


def _added(names: tuple[Any, ...], axis: int, name: str) -> tuple[Any, ...]:
    position = axis if axis >= 0 else axis + len(names) + 1
    if not 0 <= position <= len(names):
        raise InvalidOptionError(
            f'a lifted transform adds axis {axis}, {name!r}, to a variable whose axes are {names}',
            why='the variable has too few axes, or too few names',
            mend='axes=(...) with one name for each axis of the variable',
        )
    return (*names[:position], name, *names[position:])


def _removed(names: tuple[Any, ...], axis: int, name: str) -> tuple[Any, ...]:
    position = axis if axis >= 0 else axis + len(names)
    if not 0 <= position < len(names) or names[position] != name:
        raise InvalidOptionError(
            f'a lifted transform takes away axis {axis}, {name!r}, and the axes of a variable '
            f'are {names}',
            why='the name or the axis was another one when the variables were made',
            mend='the axis_name and variable_axes that were used at init',
        )
    return (*names[:position], *names[position + 1 :])

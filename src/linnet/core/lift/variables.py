"""Lifted transforms that change how a function sees variables or keys, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from linnet.core.filters import CollectionFilter, PRNGSequenceFilter, subtract_filters
from linnet.core.lift.boundary import Boundary, Groups
from linnet.core.variables import in_order


def id_fn(x: Any) -> Any:
    """Returns its argument."""
    return x


def map_variables(
    fn: Callable[..., Any],
    mapped_collections: CollectionFilter,
    map_in_fn: Callable[..., Any] = id_fn,
    map_out_fn: Callable[..., Any] = id_fn,
    init: bool = False,
    mutable: bool = False,
    rngs: PRNGSequenceFilter = True,
    variables: CollectionFilter = True,
) -> Callable[..., Any]:
    """Lets a function see some collections through a map.

    The arguments are explained at :func:`linnet.linen.map_variables`.
    """
    others = subtract_filters(variables, mapped_collections)
    written = init or mutable

    def wrapper(scopes: Any, /, *args: Any, **kwargs: Any) -> Any:
        groups = (mapped_collections, others)
        out = groups if written else (False, others)
        edge = Boundary(scopes, groups, out, (rngs,), name='nn.map_variables')
        edge.reads_all()
        target, rest = tuple(map(in_order, edge.variables[0])), edge.variables[1]
        if init and edge.may_write():
            _, constant = edge.by_mutability(target)
            made = edge.enter((target, rest), edge.rngs)
            fn(edge.arranged(made), *args, **kwargs)
            changed = map(map_out_fn, edge.leave(made)[0])
            target = tuple({**a, **b} for a, b in zip(constant, changed, strict=True))
        inner = edge.enter((tuple(map(map_in_fn, target)), rest), edge.rngs)
        y = fn(edge.arranged(inner), *args, **kwargs)
        target, rest = edge.leave(inner)
        edge.publish((tuple(map(map_out_fn, target)) if written else target, rest))
        return y

    return wrapper


def swap_collection(fn: Callable[..., Any], col_a: str, col_b: str) -> Callable[..., Any]:
    """Lets a function see the variables of two collections exchanged."""

    def swap(parts: Mapping[str, Any]) -> dict[str, Any]:
        names = {col_a: col_b, col_b: col_a}
        return {names.get(col, col): part for col, part in parts.items()}

    return map_variables(fn, (col_a, col_b), swap, swap, mutable=True)


def relabelled(
    change: Callable[..., Any], groups: Groups, axes: tuple[Any, ...], params: dict[Any, Any]
) -> Groups:
    """Groups of variables whose boxes were told of an axis that comes or goes."""
    return tuple(
        change(group, axis, params) if isinstance(axis, int) else group
        for group, axis in zip(groups, axes, strict=True)
    )


def cleared(groups: Groups) -> Groups:
    """Keys as if the scopes were where their streams begin.

    So what is inside a compiled function depends on no path outside of it.
    """
    return tuple(
        tuple({stream: rng.clear_suffix() for stream, rng in rngs.items()} for rngs in group)
        for group in groups
    )


def fold_rngs(
    fn: Callable[..., Any],
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
) -> Callable[..., Any]:
    """Lets a function draw keys as if its scope were where the streams begin.

    The arguments are explained at :func:`linnet.linen.fold_rngs`.
    """

    def wrapper(scopes: Any, /, *args: Any, **kwargs: Any) -> Any:
        edge = Boundary(scopes, (variables,), (variables,), (rngs,), name='nn.fold_rngs')
        y, out = edge.pure(fn)(edge.variables, cleared(edge.rngs), *args, **kwargs)
        edge.publish(out)
        return y

    return wrapper

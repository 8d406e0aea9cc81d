"""Checks on transforms that give each slice of an axis variables and keys of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax

from linnet.core.filters import Filter, in_filter
from linnet.core.lift.boundary import Boundary
from linnet.errors.sharp_bits import EqualMembersWarning, SharedWriteWarning
from linnet.sharp_bits import warn


def sliced(axes: Mapping[Any, Any], splits: Mapping[Any, bool]) -> tuple[Filter, ...]:
    """The filters of what each slice has of its own, by the axes and splits that were asked for."""
    collections = [filter_like for filter_like, axis in axes.items() if isinstance(axis, int)]
    return (*collections, *(filter_like for filter_like, split in splits.items() if split))


def checker_of_members(
    axes: Mapping[Any, Any], splits: Mapping[Any, bool]
) -> Callable[[Boundary], Any]:
    """A ``with`` block around a transform, which warns where new parameters are equal slices."""
    collection = _first(axes, 'params')
    alike = isinstance(collection, int) and _first(splits, 'params') is False

    @contextmanager
    def check(edge: Boundary) -> Iterator[None]:
        made = [scope for scope in edge.outer if alike and _is_new(scope)]
        yield
        for scope in made:
            if any(map(_is_drawn, jax.tree_util.tree_leaves(scope.all_parts('params')))):
                warn(
                    EqualMembersWarning(
                        f"{edge.name} makes 'params' for each slice of axis {collection} and gives "
                        'all slices one key, so that they start equal',
                        mend=f"{edge.name}(..., split_rngs={{'params': True}})",
                        where=scope.path_text,
                    )
                )

    return check


def check_shared_writes(before: tuple[Any, ...], after: tuple[Any, ...], transform: str) -> None:
    """Warns of variables that all iterations of a loop share, and that it changes."""
    names = {
        '/'.join(str(getattr(key, 'key', key)) for key in path)
        for old, new in zip(before, after, strict=True)
        for path, value in _leaves(new).items()
        if _leaves(old).get(path, value) is not value
    }
    if names:
        listed = ', '.join(sorted(names))
        warn(
            SharedWriteWarning(
                f'{listed} is broadcast by {transform} and changed in the loop, so that all '
                'iterations see one change',
                why='a broadcast variable is computed once, before the loop',
                mend=f"{transform}(..., variable_carry='{listed.partition('/')[0]}')",
            )
        )


def _leaves(tree: Any) -> dict[Any, Any]:
    return dict(jax.tree_util.tree_flatten_with_path(tree)[0])


def _first(filters: Mapping[Any, Any], name: str) -> Any:
    """What the first filter that takes a name stands for."""
    return next(
        (value for filter_like, value in filters.items() if in_filter(filter_like, name)), None
    )


def _is_new(scope: Any) -> bool:
    return scope.get_flag('initializing', False) and not scope.all_parts('params')


def _is_drawn(value: Any) -> bool:
    """Tells a kernel from a bias or scale, which is the same number throughout, by its axes."""
    return len(getattr(value, 'shape', ())) > 2

"""Checks on functions that run once for each slice of an axis, as under ``vmap`` and ``scan``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax

from linnet.core.filters import Filter, in_filter
from linnet.errors.sharp_bits import (
    EqualMembersWarning,
    IgnoredKeywordsWarning,
    SharedWriteWarning,
)
from linnet.errors.transforms import ScanError
from linnet.sharp_bits import warn


def sliced(axes: Mapping[Any, Any], splits: Mapping[Any, bool]) -> tuple[Filter, ...]:
    """The filters of what each slice has of its own, by the axes and splits that were asked for."""
    collections = [filter_like for filter_like, axis in axes.items() if isinstance(axis, int)]
    return (*collections, *(filter_like for filter_like, split in splits.items() if split))


def checker_of_members(axes: Mapping[Any, Any], splits: Mapping[Any, bool]) -> Callable[[Any], Any]:
    """A ``with`` block around a transform, which warns where new parameters are equal slices."""
    collection = _first(axes, 'params')
    alike = isinstance(collection, int) and _first(splits, 'params') is False

    @contextmanager
    def check(edge: Any) -> Iterator[None]:
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


def drop_keywords(transform: str, names: Iterable[str]) -> None:
    """Warns of keyword arguments, for which there is no axis."""
    if names:
        warn(
            IgnoredKeywordsWarning(
                f'{transform} knows no axis for the keyword arguments {", ".join(sorted(names))} '
                'and leaves them out',
                mend='pass them by position, with in_axes',
            )
        )


def carry_and_output(y: Any, fn: Callable[..., Any]) -> tuple[Any, Any]:
    """The two values that the body of a loop returns."""
    if isinstance(y, (tuple, list)) and len(y) == 2:
        return y[0], y[1]
    got = f'{len(y)} values' if isinstance(y, (tuple, list)) else f'one {type(y).__name__}'
    name = getattr(fn, '__name__', 'the body')
    raise ScanError(
        f'the body {name!r} of nn.scan must return two values, (carry, output); it returned {got}',
        why='the carry goes to the next iteration, the outputs are stacked',
        mend='return carry, y    # or: return carry, None',
    )


def check_carry(before: Any, after: Any) -> None:
    """Says which part of a carry an iteration has changed in structure, shape or dtype."""
    flatten: Any = jax.tree_util.tree_flatten_with_path
    paths_in, tree_in = flatten(before)
    paths_out, tree_out = flatten(after)
    names_in = {_carry_name(path): leaf for path, leaf in paths_in}
    names_out = {_carry_name(path): leaf for path, leaf in paths_out}
    changes = [
        f'{name} is made in the loop' if name not in names_in else f'{name} is lost in the loop'
        for name in sorted(names_in.keys() ^ names_out.keys())
    ]
    for name in names_in.keys() & names_out.keys():
        was, now = jax.typeof(names_in[name]), jax.typeof(names_out[name])
        weak = getattr(was, 'weak_type', False)
        if was.shape != now.shape or (was.dtype != now.dtype and not weak):
            changes.append(f'{name} goes from {was.str_short()} to {now.str_short()}')
    if not changes and tree_in != tree_out:
        changes.append(f'its structure goes from {tree_in} to {tree_out}')
    if changes:
        raise ScanError(
            f'an iteration changes the carry of nn.scan: {"; ".join(changes)}',
            why='the carry has the same structure, shapes and dtypes in every iteration',
            mend='carry = y.astype(carry.dtype), or make variables of variable_carry before the '
            'loop',
        )


def check_none_made(before: Any, after: Any) -> None:
    """Refuses broadcast variables made in a loop that has no first pass to find their values."""
    known = {path for path, _ in jax.tree_util.tree_flatten_with_path(before)[0]}
    for path, _ in jax.tree_util.tree_flatten_with_path(after)[0]:
        if path not in known:
            name = '/'.join(str(getattr(k, 'key', k)) for k in path[1:])
            raise ScanError(
                f'the broadcast variable {name} is made in the loop of nn.scan',
                why='check_constancy_invariants=False leaves out the pass that finds its value',
                mend='check_constancy_invariants=self.is_initializing()',
            )


def _carry_name(path: tuple[Any, ...]) -> str:
    """What a user calls a leaf of ``(carried variables, carry)``."""
    if path[0].idx == 0:
        return 'variable ' + '/'.join(str(getattr(k, 'key', k)) for k in path[2:])
    return f'carry{jax.tree_util.keystr(path[1:])}'

"""Checks on functions that run once for each slice of an axis, as under ``vmap`` and ``scan``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax

from linnet.core.filters import Filter, in_filter
from linnet.errors._suggest import described
from linnet.errors.layers import InvalidOptionError
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


def check_shared_writes(edge: Any, before: tuple[Any, ...], since: int) -> None:
    """Warns of variables that all iterations of a loop share, and that its body writes.

    Args:
        edge: the boundary of the loop.
        before: the shared variables of each of its scopes, as they were before.
        since: how many writes the ledger had noted before.
    """
    writes = edge.outer[0].counts.ledger.writes[since:] if edge.outer else ()
    names = {
        '/'.join((col, *path[len(scope.path) :], name))
        for scope, shared in zip(edge.outer, before, strict=True)
        for col, path, name in writes
        if path[: len(scope.path)] == scope.path
        and _holds(shared, (col, *path[len(scope.path) :], name))
    }
    if names:
        listed = ', '.join(sorted(names))
        warn(
            SharedWriteWarning(
                f'{listed} is broadcast by {edge.name} and changed in the loop, so that all '
                'iterations see one change',
                why='a broadcast variable is computed once, before the loop',
                mend=f"{edge.name}(..., variable_carry='{listed.partition('/')[0]}')",
            )
        )


def _holds(tree: Any, path: tuple[str, ...]) -> bool:
    for name in path:
        if not isinstance(tree, Mapping) or name not in tree:
            return False
        tree = tree[name]
    return True


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


def check_carry(before: Any, after: Any, transform: str = 'nn.scan') -> None:
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
        kept = 'variable_carry' if transform == 'nn.scan' else 'carry_variables'
        raise ScanError(
            f'an iteration changes the carry of {transform}: {"; ".join(changes)}',
            why='the carry has the same structure, shapes and dtypes in every iteration',
            mend=f'carry = y.astype(carry.dtype), or make variables of {kept} before the loop',
        )


def check_condition(go_on: Any) -> None:
    """Refuses what does not tell whether a loop goes on."""
    if jax.numpy.shape(go_on) != () or jax.numpy.result_type(go_on).kind != 'b':
        raise ScanError(
            f'the condition of nn.while_loop returned {described(go_on)}, not one boolean',
            mend='return (x < 9).all()',
        )


def check_given(static: tuple[int, ...], args: Any, kwargs: Any) -> None:
    """Refuses a static argument of ``nn.remat`` that was not given by position."""
    missing = [n for n in static if n > len(args)]
    if missing:
        raise InvalidOptionError(
            f'static_argnums={static} of nn.remat names argument {missing[0]}, counted from self, '
            f'and {len(args)} were given by position',
            why=f'the keywords {", ".join(kwargs)} are traced' if kwargs else '',
            mend='give a static argument by position',
        )


@contextmanager
def checking_sizes(
    transform: str,
    axes: Any,
    values: Any,
    option: str,
    size: int | None,
    given: int | None,
    first: int = 1,
) -> Iterator[None]:
    """A ``with`` block around a transform, in which JAX's errors about sizes say what has which.

    Args:
        transform: its name.
        axes: the axis of each part of ``values``, as JAX takes them.
        values: groups of variables, and arguments.
        option: the argument that would tell the size.
        size: the size, where it is known.
        given: the size that ``option`` tells.
        first: the number of the first argument.

    Raises:
        ScanError: nothing has the axis, or not all have one size along it.
    """
    about = (transform, axes, values, option, given, first)
    if size is None:
        wrong = _sizes_error(*about)
        if wrong is not None:
            raise wrong
    try:
        yield
    except ValueError as error:
        raise _sizes_error(*about) or error from None


def _sizes_error(
    transform: str, axes: Any, values: Any, option: str, given: int | None, first: int
) -> ScanError | None:
    """Says which parts have which size along the axis; ``None`` where all have one."""
    sizes: dict[int, str] = {given: f'{option}='} if given else {}
    beyond: list[str] = []

    def note(path: Any, axis: Any, part: Any) -> None:
        for below, leaf in jax.tree_util.tree_flatten_with_path(part)[0]:
            shape = getattr(leaf, 'shape', ())
            if isinstance(axis, int) and -len(shape) <= axis < len(shape):
                sizes.setdefault(shape[axis], f'{_part_name((*path, *below), first)} has ')
            elif isinstance(axis, int):
                part_name = _part_name((*path, *below), first)
                beyond.append(f'axis {axis} of {part_name}, whose shape is {shape}')

    jax.tree_util.tree_map_with_path(note, axes, values, is_leaf=lambda x: x is None)
    shared = 'nn.broadcast' if transform == 'nn.scan' else 'None'
    if beyond:
        return ScanError(
            f'{transform} is to go over {beyond[0]}',
            mend=f'in_axes={shared} for a value that is the same for all slices',
        )
    if not sizes:
        return ScanError(
            f'nothing tells {transform} the size of its axis',
            why='no argument and no variable has it',
            mend=f'{transform}(..., {option}=n)',
        )
    if len(sizes) > 1:
        return ScanError(
            f'{transform} has parts of several sizes along its axis: '
            f'{", ".join(f"{what}{size}" for size, what in sizes.items())}',
            why='all that is sliced has as many slices',
            mend=f'in_axes={shared} for what all share, or variables of that many slices',
        )
    return None


def _variable_name(path: tuple[Any, ...]) -> str:
    """Collection, path and name of a leaf of collections."""
    return '/'.join(str(getattr(key, 'key', key)) for key in path)


def _part_name(path: tuple[Any, ...], first: int) -> str:
    """What a user calls a leaf of ``(groups of variables, arguments)``."""
    if path[0].idx == 0:
        return _variable_name(path[3:])
    return f'argument {path[1].idx + first}{jax.tree_util.keystr(path[2:])}'


def branches_error(
    transform: str, branches: Sequence[Callable[..., Any]], operands: tuple[Any, ...]
) -> ScanError | None:
    """How the branches of a choice differ in what they return and leave as variables.

    Args:
        transform: its name.
        branches: functions that return a pair, the result and the groups of variables.
        operands: their arguments.

    Returns:
        An error to raise; ``None`` where they are alike, or one of them raises what the choice has
        raised already.
    """
    try:
        outs = [jax.eval_shape(branch, *operands) for branch in branches]
    except TypeError:
        return None
    first, *others = [_named_parts(out) for out in outs]
    for number, other in enumerate(others, 1):
        changes = [
            f'{name} is {first.get(name, "missing")} in branch 0 and '
            f'{other.get(name, "missing")} in branch {number}'
            for name in dict.fromkeys((*first, *other))
            if first.get(name) != other.get(name)
        ]
        if changes:
            return ScanError(
                f'the branches of {transform} differ: {"; ".join(changes[:4])}',
                why='all must return, and leave as variables, the same shapes and dtypes',
                mend='call all of them while self.is_initializing(), so that all variables exist',
            )
    return None


def _named_parts(out: Any) -> dict[str, str]:
    parts = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(out)[0]:
        name = f'result{jax.tree_util.keystr(path[1:])}'
        if path[0].idx == 1:
            name = _variable_name(path[3:])
        parts[name] = f'{leaf.dtype}[{",".join(map(str, leaf.shape))}]'
    return parts


def check_none_made(before: Any, after: Any) -> None:
    """Refuses broadcast variables made in a loop that has no first pass to find their values."""
    known = {path for path, _ in jax.tree_util.tree_flatten_with_path(before)[0]}
    for path, _ in jax.tree_util.tree_flatten_with_path(after)[0]:
        if path not in known:
            name = _variable_name(path[1:])
            raise ScanError(
                f'the broadcast variable {name} is made in the loop of nn.scan',
                why='check_constancy_invariants=False leaves out the pass that finds its value',
                mend='check_constancy_invariants=self.is_initializing()',
            )


def _carry_name(path: tuple[Any, ...]) -> str:
    """What a user calls a leaf of ``(carried variables, carry)``."""
    if path[0].idx == 0:
        return 'variable ' + _variable_name(path[2:])
    return f'carry{jax.tree_util.keystr(path[1:])}'

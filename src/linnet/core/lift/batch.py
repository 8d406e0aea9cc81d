"""Lifted transforms over an axis: ``vmap`` and ``scan``, and ``remat_scan`` made of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from linnet.core import axes_scan, meta
from linnet.core.axes_scan import broadcast
from linnet.core.filters import CollectionFilter, PRNGSequenceFilter
from linnet.core.lift.boundary import Boundary, Groups, lazy_keys
from linnet.core.lift.staging import checkpoint
from linnet.core.lift.variables import relabelled
from linnet.core.loop_checks import (
    carry_and_output,
    check_carry,
    check_none_made,
    check_shared_writes,
    checker_of_members,
    checking_sizes,
    drop_keywords,
    sliced,
)
from linnet.typing import In, InOutAxis, InOutScanAxis, Out


def vmap(
    fn: Callable[..., Any],
    variable_axes: Mapping[CollectionFilter, InOutAxis],
    split_rngs: Mapping[PRNGSequenceFilter, bool],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_size: int | None = None,
    axis_name: str | None = None,
    spmd_axis_name: str | None = None,
    metadata_params: dict[Any, Any] = {},  # noqa: B006  the oracle's default; never written
) -> Callable[..., Any]:
    """``jax.vmap`` of a function of scopes.

    The arguments are explained at :func:`linnet.linen.vmap`.
    """
    axes_in, axes_out = _split_in_out(variable_axes)
    rng_axes = tuple(0 if split else None for split in split_rngs.values())

    in_groups, out_groups = tuple(axes_in.values()), tuple(axes_out.values())
    own, check_members = sliced(axes_out, split_rngs), checker_of_members(axes_out, split_rngs)

    def wrapper(scopes: Any, /, *args: Any, **kwargs: Any) -> Any:
        drop_keywords('nn.vmap', kwargs)
        edge = Boundary(scopes, tuple(axes_in), tuple(axes_out), tuple(split_rngs), 'nn.vmap', own)
        known = (in_groups, in_axes), (edge.variables, args)
        size = axis_size or _axis_size(*known)
        pure = edge.pure(fn)
        run = jax.vmap(
            lambda variables, rngs, args: pure(variables, rngs, *args),
            in_axes=(in_groups, rng_axes, in_axes),
            out_axes=(out_axes, out_groups),
            axis_size=size,
            axis_name=axis_name,
            spmd_axis_name=spmd_axis_name,
        )
        with checking_sizes('nn.vmap', *known, 'axis_size', size, axis_size):
            variables = relabelled(meta.remove_axis, edge.variables, in_groups, metadata_params)
            y, out = run(variables, _split_keys(edge.rngs, split_rngs, size), args)
        with check_members(edge):
            edge.publish(relabelled(meta.add_axis, out, out_groups, metadata_params))
        return y

    return wrapper


def scan(
    fn: Callable[..., Any],
    variable_axes: Mapping[CollectionFilter, InOutScanAxis] = {},
    variable_broadcast: CollectionFilter = False,
    variable_carry: CollectionFilter = False,
    split_rngs: Mapping[PRNGSequenceFilter, bool] = {},
    in_axes: Any = 0,
    out_axes: Any = 0,
    length: int | None = None,
    reverse: bool = False,
    unroll: int = 1,
    _split_transpose: bool = False,
    data_transform: Callable[..., Any] | None = None,
    metadata_params: dict[Any, Any] = {},  # noqa: B006
    check_constancy_invariants: bool = True,
    *,
    loop: Callable[..., Any] = jax.lax.scan,
) -> Callable[..., Any]:
    """``jax.lax.scan``, or another ``loop`` like it, of a function of scopes, over any axis.

    The arguments are explained at :func:`linnet.linen.scan`.
    """
    axes_in, axes_out = _split_in_out(variable_axes)
    filters_in = (variable_broadcast, variable_carry, *axes_in)
    filters_out = (variable_broadcast, variable_carry, *axes_out)
    in_groups, out_groups = tuple(axes_in.values()), tuple(axes_out.values())
    rng_axes = tuple(0 if split else broadcast for split in split_rngs.values())
    own, check_members = sliced(axes_out, split_rngs), checker_of_members(axes_out, split_rngs)

    def wrapper(scopes: Any, init: Any, /, *args: Any, **kwargs: Any) -> Any:
        drop_keywords('nn.scan', kwargs)
        edge = Boundary(scopes, filters_in, filters_out, tuple(split_rngs), 'nn.scan', own)
        shared, carried, *rest = edge.variables
        carried, constant = edge.by_mutability(carried)
        known = (in_groups, in_axes), (tuple(rest), args)
        size = length or _axis_size(*known)
        mapped = relabelled(meta.remove_axis, tuple(rest), in_groups, metadata_params)
        # The counts of keys go on from a first pass, so it is left out only where none is drawn.
        finds = edge.may_write(variable_broadcast) or broadcast in jax.tree.leaves(out_axes)
        first_pass = check_constancy_invariants and (finds or bool(lazy_keys(edge.rngs)))
        run = axes_scan.scan(
            _loop_body(edge, fn, constant, data_transform, check_constancy_invariants),
            in_axes=(in_groups, rng_axes, in_axes),
            out_axes=(out_axes, out_groups),
            length=size,
            reverse=reverse,
            unroll=unroll,
            _split_transpose=_split_transpose,
            check_constancy_invariants=first_pass,
            loop=loop,
        )
        with checking_sizes('nn.scan', *known, 'length', size, length, first=2):
            rngs = _split_keys(edge.rngs, split_rngs, size)
            out = run(shared, (carried, init), mapped, rngs, args)
        shared, (carried_out, c), (ys, mapped_out) = out
        mapped_out = relabelled(meta.add_axis, mapped_out, out_groups, metadata_params)
        with check_members(edge):
            edge.publish((edge.by_mutability(shared)[0], carried_out, *mapped_out))
        return c, ys

    return wrapper


def _loop_body(
    edge: Boundary,
    fn: Callable[..., Any],
    constant: Any,
    data_transform: Callable[..., Any] | None,
    may_make_shared: bool,
) -> Callable[..., Any]:
    """The body of a scan as a pure function of variables, keys and arguments."""
    pure = edge.pure(fn)

    def body(shared: Any, carry: Any, mapped: Groups, rngs: Groups, args: Any) -> Any:
        carried, c = carry
        variables = (shared, carried, *mapped, constant)
        if data_transform is not None:
            variables, rngs = data_transform(variables, rngs)
        since = len(edge.outer[0].counts.ledger.writes) if edge.outer else 0
        y, (shared_out, carried_out, *mapped_out) = pure(variables, rngs, c, *args)
        check_shared_writes(edge, shared, since)
        if not may_make_shared:
            check_none_made(shared, shared_out)
        shared = tuple(
            {**before, **after} for before, after in zip(shared, shared_out, strict=True)
        )
        c_out, ys = carry_and_output(y, fn)
        check_carry((carried, c), (carried_out, c_out))
        return shared, (carried_out, c_out), (ys, tuple(mapped_out))

    return body


def remat_scan(
    body_fn: Callable[..., Any],
    lengths: Sequence[int],
    policy: Callable[..., bool] | None = None,
    variable_broadcast: CollectionFilter = False,
    variable_carry: CollectionFilter = False,
    variable_axes: Mapping[CollectionFilter, InOutScanAxis] = {True: 0},
    split_rngs: Mapping[PRNGSequenceFilter, bool] = {True: True},
) -> Callable[..., Any]:
    """Applies a function many times, in nested loops that recompute what is inside.

    With lengths ``(n, m)`` the backward pass keeps ``n + m`` values in place of ``n * m``.

    The arguments are explained at :func:`linnet.linen.remat_scan`.
    """
    loop = functools.partial(
        scan,
        variable_broadcast=variable_broadcast,
        variable_carry=variable_carry,
        variable_axes=variable_axes,
        split_rngs=split_rngs,
    )

    def repeated(fn: Callable[..., Any], length: int) -> Callable[..., Any]:
        def body(scopes: Any, carry: Any) -> tuple[Any, tuple[()]]:
            return fn(scopes, carry), ()

        run = loop(checkpoint(body, policy=policy, prevent_cse=False), length=length)
        return lambda scopes, carry: run(scopes, carry)[0]

    return functools.reduce(repeated, reversed(lengths), body_fn)


def _split_in_out(axes: Mapping[Any, Any]) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The axes of what goes in, and of what comes out."""
    into = {k: v.axis if isinstance(v, In) else v for k, v in axes.items() if type(v) is not Out}
    out = {k: v.axis if isinstance(v, Out) else v for k, v in axes.items() if type(v) is not In}
    return into, out


def _axis_size(axes: Any, values: Any) -> int | None:
    """The size of the mapped axis, from the first value that has one; ``None`` if none has."""
    sizes: list[int] = []

    def note(axis: Any, part: Any) -> None:
        if isinstance(axis, int):
            sizes.extend(jax.numpy.shape(x)[axis] for x in jax.tree_util.tree_leaves(part)[:1])

    try:
        jax.tree_util.tree_map(note, axes, values, is_leaf=lambda x: x is None)
    except (ValueError, IndexError):  # the transform itself has the better words for it
        return None
    return sizes[0] if sizes else None


def _split_keys(groups: Groups, splits: Mapping[Any, bool], size: Any) -> Groups:
    """Groups of keys, split where every slice shall have a key of its own."""
    split = functools.partial(jax.random.split, num=size)
    return tuple(
        jax.tree_util.tree_map(split, group) if do_split and lazy_keys(group) else group
        for group, do_split in zip(groups, splits.values(), strict=True)
    )

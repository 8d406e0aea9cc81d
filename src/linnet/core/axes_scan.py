"""``lax.scan`` over any axis, with values that do not change from one iteration to the next.

The body sees three kinds of values: *broadcast* ones, which all iterations share; the *carry*,
handed from one to the next; and *scanned* ones, of which each iteration has a slice. A body may
also make broadcast values: then they must not depend on the carry or on a slice, which a first
pass over the body finds out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from linnet import _compat
from linnet.core.watching import unwatched
from linnet.errors.transforms import ScanError

ScanAxis = int | None


class _Broadcast:
    """In place of an axis: the value is the same in all iterations."""

    def __repr__(self) -> str:
        return 'broadcast'

    def __reduce__(self) -> str:
        return 'broadcast'


broadcast = _Broadcast()


def scan(
    fn: Callable[..., Any],
    in_axes: Any,
    out_axes: Any,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    _split_transpose: bool = False,
    check_constancy_invariants: bool = True,
    loop: Callable[..., Any] = lax.scan,
) -> Callable[..., Any]:
    """Loops a function over an axis of its arguments.

    Args:
        fn: the body, ``fn(broadcast_in, carry, *args) -> (broadcast_out, carry, ys)``. What the
            first pass returns as ``broadcast_out`` is ``broadcast_in`` of all iterations.
        in_axes: for each of ``args`` an axis, or ``broadcast``, or a tree of them.
        out_axes: the axis of ``ys`` along which iterations are stacked, or a tree of them;
            ``broadcast`` for what is the same in all.
        length: the number of iterations, where no scanned value tells it.
        reverse: whether to begin with the last slice.
        unroll: how many iterations are compiled in a row.
        check_constancy_invariants: whether a first pass finds the values of ``broadcast_out``;
            without it, they are those of ``broadcast_in``.
        loop: what loops, with the arguments of ``lax.scan``.

    Returns:
        A function ``(broadcast_in, init, *args) -> (broadcast_out, carry, ys)``.
    """

    def scan_fn(broadcast_in: Any, init: Any, *args: Any) -> Any:
        inputs = _Dealt(in_axes, args, 'in_axes')
        scanned = [_to_front(axis, x) for axis, x in inputs.moving]
        outputs: list[_Dealt] = []

        def body(shared: Any, carry: Any, slices: Any) -> Any:
            args = inputs.joined(slices, inputs.still)
            broadcast_out, carry, ys = fn(shared, carry, *args)
            outputs[:] = [_Dealt(out_axes, ys, 'out_axes')]
            return (broadcast_out, outputs[0].still), carry, [y for _, y in outputs[0].moving]

        broadcast_out, still = broadcast_in, []
        if check_constancy_invariants:
            first = functools.partial(body, broadcast_in)
            broadcast_out, still = _loop_constants(first, init, scanned)
        carry, moving = loop(
            lambda c, xs: body(broadcast_out, c, xs)[1:],
            init,
            scanned,
            length=length,
            reverse=reverse,
            unroll=unroll,
            _split_transpose=_split_transpose,
        )
        if outputs[0].still and not check_constancy_invariants:
            raise ScanError(
                'an output has the axis nn.broadcast, and no pass was made to find its value',
                mend='check_constancy_invariants=True',
            )
        stacked = [_from_front(axis, y) for (axis, _), y in zip(outputs[0].moving, moving)]  # noqa: B905
        return broadcast_out, carry, outputs[0].joined(stacked, still)

    return scan_fn


class _Dealt:
    """A tree as two lists: leaves that have an axis to move along, and leaves that stay."""

    def __init__(self, axes: Any, tree: Any, name: str) -> None:
        leaves, self._treedef = jax.tree_util.tree_flatten(tree)
        self._axes = _spread(axes, tree, name)
        pairs = list(zip(self._axes, leaves, strict=True))
        self.moving = [(axis, x) for axis, x in pairs if axis is not broadcast]
        self.still = [x for axis, x in pairs if axis is broadcast]

    def joined(self, moving: Any, still: Any) -> Any:
        """The tree with other leaves in place of its own."""
        moving, still = iter(moving), iter(still)
        leaves = [next(still if axis is broadcast else moving) for axis in self._axes]
        return jax.tree_util.tree_unflatten(self._treedef, leaves)


def _loop_constants(body: Callable[..., Any], init: Any, scanned: list[Any]) -> Any:
    """The values of the body's constant outputs, which may not depend on carry or slices."""
    shapes: list[Any] = []

    def constants(carry: Any, slices: Any) -> Any:
        shapes[:] = [body(carry, slices)[0]]
        return jax.tree_util.tree_leaves(shapes[0])

    slices = [build_shaped_array(x, batch_dim=True) for x in scanned]
    with unwatched():
        closed = jax.make_jaxpr(constants)(init, slices)
    jaxpr, used = _compat.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    if any(used):
        raise ScanError(
            'a value that is the same in all iterations depends on the carry or on a slice',
            why='a broadcast variable, or an output with the axis nn.broadcast, is computed once, '
            'before the loop',
            mend="variable_axes={'params': 0} for one parameter per iteration, "
            "or variable_carry='batch_stats' for state that changes",
        )
    values = _compat.eval_jaxpr(jaxpr, closed.consts, [])
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(shapes[0]), values)


def build_shaped_array(x: Any, batch_dim: bool = False) -> jax.ShapeDtypeStruct:
    """The shape and dtype of a value, or of a slice along its first axis."""
    aval = jax.typeof(x)
    shape = aval.shape[1:] if batch_dim else aval.shape
    return jax.ShapeDtypeStruct(shape, aval.dtype, weak_type=getattr(aval, 'weak_type', False))


def _spread(axes: Any, tree: Any, name: str) -> list[Any]:
    """One axis for each leaf of a tree, from a prefix of it."""
    out: list[Any] = []
    try:
        jax.tree_util.tree_map(
            lambda axis, part: out.extend([axis] * len(jax.tree_util.tree_leaves(part))),
            axes,
            tree,
            is_leaf=lambda x: x is None,
        )
    except ValueError as error:
        raise ScanError(
            f'{name}={axes!r} does not fit the structure of what it is for: {error}',
            why='it is an axis, or a tree of axes that is a prefix of the values',
            mend=f'{name}=0, or one axis for each value',
        ) from None
    return out


def _to_front(axis: Any, x: Any) -> Any:
    ndim = jnp.ndim(x)
    if not (isinstance(axis, int) and -ndim <= axis < ndim):
        raise ScanError(
            f'axis {axis} is out of range for a value of shape {jnp.shape(x)}',
            why='every scanned value has the axis that is looped over',
            mend='in_axes=nn.broadcast for a value that is the same in all iterations',
        )
    return x if axis % ndim == 0 else jnp.moveaxis(x, axis, 0)


def _from_front(axis: int, x: Any) -> Any:
    return x if axis % jnp.ndim(x) == 0 else jnp.moveaxis(x, 0, axis)

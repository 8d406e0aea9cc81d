"""``lax.scan`` whose products of inputs and parameters are taken before the loop, all at once.

A recurrent step multiplies its input and its carry, each by a kernel. The product of the input
does not wait for the step before, so one large product can stand for those of all steps. On GPUs a
step's small kernels cost more to start than to run, so the loop gets faster with each that leaves.
Numbers are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax

from linnet import _compat
from linnet.core.axes_scan import build_shaped_array

_PRODUCTS = frozenset({'dot_general', 'conv_general_dilated'})


def scan(body: Callable[..., Any], init: Any, xs: Any, **options: Any) -> tuple[Any, Any]:
    """``lax.scan(body, init, xs, **options)``, with the products of slices before the loop.

    What depends on the carry, has effects, or handles keys stays in the loop; so does everything
    where the type of the carry is open, inside of named axes, and where a mesh is set.

    >>> import jax.numpy as jnp
    >>> x, w = jnp.ones((5, 2, 3)), jnp.ones((3, 4))
    >>> step = lambda carry, x: (jnp.tanh(carry + x @ w), carry.sum())
    >>> carry, sums = scan(step, jnp.zeros((2, 4)), x)
    >>> carry.shape, sums.shape
    ((2, 4), (5,))
    """
    carry, structure = jax.tree_util.tree_flatten(init)
    inputs, of_inputs = jax.tree_util.tree_flatten(xs)
    is_open = any(getattr(jax.typeof(x), 'weak_type', False) for x in carry)
    if is_open or _compat.axis_names() or not _compat.outside_of_meshes():
        return lax.scan(body, init, xs, **options)
    slices = [build_shaped_array(x, batch_dim=True) for x in inputs]
    closed, result = jax.make_jaxpr(body, return_shape=True)(
        init, jax.tree_util.tree_unflatten(of_inputs, slices)
    )
    before, inside = _split(closed.jaxpr, len(carry))

    def run(part: _Part, *args: Any) -> list[Any]:
        return _compat.eval_jaxpr(
            part.jaxpr, closed.consts, [x for x, used in zip(args, part.used, strict=True) if used]
        )

    products: list[Any] = []
    if before.jaxpr.outvars:  # else there may be effects alone, which the loop has
        products = jax.vmap(lambda *xs: run(before, *carry, *xs))(*inputs)

    def step(carry: list[Any], slices: tuple[list[Any], list[Any]]) -> tuple[Any, Any]:
        out = run(inside, *carry, *slices[0], *slices[1])
        return out[: len(carry)], out[len(carry) :]

    last, ys = lax.scan(step, carry, (inputs, products), **options)
    return (
        jax.tree_util.tree_unflatten(structure, last),
        jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(result[1]), ys),
    )


class _Part:
    """A part of a program.

    Args:
        jaxpr: the program, with operations that its results do not need.

    Attributes:
        jaxpr: without them.
        used: which inputs it has kept.
    """

    def __init__(self, jaxpr: Any) -> None:
        self.jaxpr, self.used = _compat.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))


def _split(jaxpr: Any, n_carry: int) -> tuple[_Part, _Part]:
    """A body as two programs: of carry and slices to products, and of these three to its results.

    The first one does not look at the carry.
    """
    products = _products(jaxpr, n_carry)
    taken = {id(operation) for operation in products}
    made = [operation.outvars[0] for operation in products]
    unnamed = jaxpr.debug_info.with_unknown_names()
    rest = jaxpr.replace(
        invars=[*jaxpr.invars, *made],
        eqns=[operation for operation in jaxpr.eqns if id(operation) not in taken],
        debug_info=unnamed,
    )
    n_inputs = len(jaxpr.invars)
    used = _Part(rest).used[n_inputs:]
    kept = [var for var, is_used in zip(made, used, strict=True) if is_used]
    inside = _Part(rest.replace(invars=[*jaxpr.invars, *kept]))
    return _Part(jaxpr.replace(outvars=kept, debug_info=unnamed)), inside


def _products(jaxpr: Any, n_carry: int) -> list[Any]:
    """The products that depend on slices, and on nothing that has to stay in the loop."""
    if jaxpr.effects:
        return []
    staying = {id(var) for var in jaxpr.invars[:n_carry]}
    sliced = {id(var) for var in jaxpr.invars[n_carry:]}
    found = []
    for operation in jaxpr.eqns:
        inputs = {id(var) for var in operation.invars}
        if inputs & staying or _handles_keys(operation):
            staying.update(id(var) for var in operation.outvars)
        elif inputs & sliced:
            sliced.update(id(var) for var in operation.outvars)
            if operation.primitive.name in _PRODUCTS:
                found.append(operation)
    return found


def _handles_keys(operation: Any) -> bool:
    """Tells whether keys go in or out: generators may give others when many are drawn at once."""
    vars: Sequence[Any] = [*operation.invars, *operation.outvars]
    return any(jax.dtypes.issubdtype(var.aval.dtype, jax.dtypes.extended) for var in vars)

"""Lifted derivatives: ``vjp``, ``value_and_grad``, ``jvp`` and ``custom_vjp``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linnet.core.filters import CollectionFilter, PRNGSequenceFilter, subtract_filters
from linnet.core.lift.boundary import Boundary
from linnet.errors.layers import InputShapeError


def vjp(
    fn: Callable[..., Any],
    scope: Any,
    *primals: Any,
    has_aux: bool = False,
    reduce_axes: Sequence[str] = (),
    vjp_variables: CollectionFilter = 'params',
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
) -> Any:
    """``jax.vjp`` of a function of scopes, with derivatives by variables too.

    The arguments are explained at :func:`linnet.linen.vjp`.
    """
    del reduce_axes
    others = subtract_filters(variables, vjp_variables)
    edge = Boundary(scope, (vjp_variables, others), (variables,), (rngs,), 'nn.vjp')
    target, rest = edge.variables

    def run(target: Any, *primals: Any) -> Any:
        groups = (edge.grouped(target), rest)
        y, out = edge.pure(fn)(groups, edge.rngs, *primals)
        y, aux = y if has_aux else (y, None)
        return y, (aux, out)

    y, backward, (aux, out) = jax.vjp(run, edge.single(target), *primals, has_aux=True)
    edge.publish(out)
    return (y, backward, aux) if has_aux else (y, backward)


def value_and_grad(
    fn: Callable[..., Any],
    scope: Any,
    *primals: Any,
    has_aux: bool = False,
    reduce_axes: Sequence[str] = (),
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
) -> Any:
    """The value of a function of scopes and its gradient by the primals, not by variables.

    The arguments are explained at :func:`linnet.linen.value_and_grad`. With ``has_aux`` it
    returns ``(y, aux, gradients)``.
    """
    y, backward, *aux = vjp(
        fn,
        scope,
        *primals,
        has_aux=has_aux,
        reduce_axes=reduce_axes,
        vjp_variables=False,
        variables=variables,
        rngs=rngs,
    )
    if jnp.shape(y) != ():
        raise InputShapeError(
            f'only a scalar has a gradient; the function returned shape {jnp.shape(y)}',
            mend='return y.sum(), or use nn.vjp',
        )
    _, *gradients = backward(jnp.ones_like(y))
    return (y, *aux, tuple(gradients))


def jvp(
    fn: Callable[..., Any],
    scope: Any,
    primals: Sequence[Any],
    tangents: Sequence[Any],
    variable_tangents: Any,
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
) -> tuple[Any, Any]:
    """``jax.jvp`` of a function of scopes, along a direction of variables too.

    The arguments are explained at :func:`linnet.linen.jvp`.
    """
    lone = isinstance(variable_tangents, Mapping)
    directions = tuple(map(dict, [variable_tangents] if lone else variable_tangents))
    moved = {col for direction in directions for col in direction}
    others = subtract_filters(variables, moved)
    edge = Boundary(scope, (moved, others), (moved, others), (rngs,), 'nn.jvp')
    target, rest = edge.variables

    def run(target: Any, *primals: Any) -> Any:
        return edge.pure(fn)((target, rest), edge.rngs, *primals)

    y, y_dot, out = jax.jvp(run, (target, *primals), (directions, *tangents), has_aux=True)
    edge.publish(out)
    return y, y_dot


def custom_vjp(
    fn: Callable[..., Any],
    forward_fn: Callable[..., Any],
    backward_fn: Callable[..., Any],
    grad_vars: CollectionFilter = 'params',
    nondiff_argnums: int | Sequence[int] = (),
) -> Callable[..., Any]:
    """``jax.custom_vjp`` of a function of scopes.

    The arguments are explained at :func:`linnet.linen.custom_vjp`.
    """
    static = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)

    def wrapper(scopes: Any, *args: Any) -> Any:
        filters = (grad_vars, subtract_filters(True, grad_vars))
        edge = Boundary(scopes, filters, filters, (True,), 'nn.custom_vjp')

        def call(target: Any, rest: Any, rngs: Any, *args: Any) -> Any:
            return edge.pure(fn)((edge.grouped(target), rest), rngs, *args)

        def forward(target: Any, rest: Any, rngs: Any, *args: Any) -> Any:
            groups = (edge.grouped(target), rest)
            (y, residuals), out = edge.pure(forward_fn)(groups, rngs, *args)
            return (y, out), (residuals, rest, rngs)

        def backward(*args: Any) -> Any:
            *given, (residuals, rest, rngs), (y_bar, _) = args
            target_bar, *args_bar = backward_fn(*given, residuals, y_bar)
            target_bar = _of_those_given(target_bar, differentiated)
            return target_bar, *jax.tree.map(_zero, (rest, rngs)), *args_bar

        run = jax.custom_vjp(call, nondiff_argnums=tuple(n + 2 for n in static))
        run.defvjp(forward, backward)
        target, rest = edge.variables
        differentiated = edge.single(target)
        y, out = run(differentiated, rest, edge.rngs, *args)
        edge.publish(out)
        return y

    return wrapper


def _of_those_given(cotangents: Any, variables: Any) -> Any:
    """Cotangents without those of variables that the call itself made, as in an ``init``."""
    if isinstance(variables, Mapping) and isinstance(cotangents, Mapping):
        return {
            name: _of_those_given(cotangents[name], variables[name])
            for name in cotangents
            if name in variables
        }
    if isinstance(variables, list) and isinstance(cotangents, list | tuple):
        return [_of_those_given(c, v) for c, v in zip(cotangents, variables, strict=True)]
    return cotangents


def _zero(x: Any) -> Any:
    """A zero cotangent, of the type that JAX wants for a leaf."""
    dtype = jax.typeof(x).dtype
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.zeros_like(x)
    return np.zeros(jnp.shape(x), jax.dtypes.float0)

"""Lifted derivatives: ``vjp``, ``grad``, ``value_and_grad``, ``jvp`` and ``custom_vjp``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import linnet.core.lift.autodiff as lift
from linnet.core.filters import CollectionFilter, PRNGSequenceFilter
from linnet.linen.transforms.methods import Call


def vjp(
    fn: Callable[..., Any],
    mdl: Any,
    *primals: Any,
    has_aux: bool = False,
    reduce_axes: Sequence[str] = (),
    vjp_variables: CollectionFilter = 'params',
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
    multi_scope: bool = False,
) -> Any:
    """``jax.vjp`` of a function of a module, with derivatives by its variables too.

    Args:
        fn: ``fn(mdl, *primals)``; where ``has_aux``, a pair of what is differentiated and what
            is not.
        mdl: the module.
        *primals: where to differentiate.
        has_aux: whether ``fn`` returns a pair.
        reduce_axes: kept for compatibility.
        vjp_variables: the collections by which to differentiate.
        variables: the collections that ``fn`` sees.
        rngs: the streams that it sees.
        multi_scope: whether variables of modules outside of ``mdl``, in its fields, take part;
            then the derivatives by variables are a list.

    Returns:
        ``(y, bwd)`` or ``(y, bwd, aux)``; ``bwd(cotangent)`` returns the derivatives by the
        variables and by each primal.
    """
    call = Call(mdl, primals, {}, multi_scope, name='nn.vjp')
    return lift.vjp(
        call.on_scopes(fn),
        call.scopes,
        *call.args,
        has_aux=has_aux,
        reduce_axes=reduce_axes,
        vjp_variables=vjp_variables,
        variables=variables,
        rngs=rngs,
    )


def value_and_grad(
    fn: Callable[..., Any],
    mdl: Any,
    *primals: Any,
    has_aux: bool = False,
    reduce_axes: Sequence[str] = (),
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
) -> Any:
    """The value of a function of a module and its gradient by the primals, not by variables.

    Args:
        fn: ``fn(mdl, *primals)``, a scalar; where ``has_aux``, a pair of it and anything.
        mdl: the module.
        *primals: where to differentiate.
        has_aux: whether ``fn`` returns a pair.
        reduce_axes: kept for compatibility.
        variables: the collections that ``fn`` sees.
        rngs: the streams that it sees.

    Returns:
        ``(y, gradients)`` or ``((y, aux), gradients)``; one gradient for each primal, in a tuple.
    """
    options = dict(has_aux=has_aux, reduce_axes=reduce_axes, variables=variables, rngs=rngs)
    return _value_and_grad('nn.value_and_grad', fn, mdl, primals, options)


def grad(
    fn: Callable[..., Any],
    mdl: Any,
    *primals: Any,
    has_aux: bool = False,
    reduce_axes: Sequence[str] = (),
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
) -> Any:
    """The gradient of a function of a module by the primals; see :func:`value_and_grad`.

    Args:
        fn: ``fn(mdl, *primals)``.
        mdl: the module.
        *primals: where to differentiate.
        has_aux: whether ``fn`` returns a pair.
        reduce_axes: kept for compatibility.
        variables: the collections that ``fn`` sees.
        rngs: the streams that it sees.

    Returns:
        ``gradients`` or ``(gradients, aux)``; one gradient for each primal, in a tuple.
    """
    options = dict(has_aux=has_aux, reduce_axes=reduce_axes, variables=variables, rngs=rngs)
    y, gradients = _value_and_grad('nn.grad', fn, mdl, primals, options)
    return (gradients, y[1]) if has_aux else gradients


def _value_and_grad(
    name: str, fn: Callable[..., Any], mdl: Any, primals: Any, options: dict[str, Any]
) -> Any:
    call = Call(mdl, primals, {}, name=name)
    y, *aux, gradients = lift.value_and_grad(call.on_scopes(fn), call.scopes, *call.args, **options)
    return ((y, *aux) if aux else y), gradients


def jvp(
    fn: Callable[..., Any],
    mdl: Any,
    primals: Sequence[Any],
    tangents: Sequence[Any],
    variable_tangents: Any,
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
) -> tuple[Any, Any]:
    """``jax.jvp`` of a function of a module, along a direction of its variables too.

    Args:
        fn: ``fn(mdl, *primals)``.
        mdl: the module.
        primals: where to differentiate.
        tangents: the direction, as ``primals``.
        variable_tangents: the direction of the variables, ``{collection: tree}``; collections
            that are absent stay as they are.
        variables: the collections that ``fn`` sees.
        rngs: the streams that it sees.

    Returns:
        ``fn``'s result and its derivative.
    """
    call = Call(mdl, tuple(primals), {}, multi_scope=False, name='nn.jvp')
    return lift.jvp(
        call.on_scopes(fn),
        call.scopes,
        call.args,
        tuple(tangents),
        variable_tangents,
        variables=variables,
        rngs=rngs,
    )


def custom_vjp(
    fn: Callable[..., Any],
    forward_fn: Callable[..., Any],
    backward_fn: Callable[..., Any],
    grad_vars: CollectionFilter = 'params',
    nondiff_argnums: int | Sequence[int] = (),
) -> Callable[..., Any]:
    """``jax.custom_vjp`` of a function of a module.

    Args:
        fn: ``fn(mdl, *args)``.
        forward_fn: ``forward_fn(mdl, *args)``, a pair of the result and residuals.
        backward_fn: ``backward_fn(*nondiff_args, residuals, cotangent)``, the derivatives by the
            variables and by each other argument.
        grad_vars: the collections that have derivatives.
        nondiff_argnums: arguments without derivatives; ``mdl`` is argument 0.

    Returns:
        A function ``(mdl, *args)``.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> class SignDense(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x):
    ...         f = lambda mdl, x: mdl(x)
    ...         def backward(vjp_fn, y_bar):
    ...             params_bar, *rest = vjp_fn(y_bar)
    ...             return jax.tree.map(jnp.sign, params_bar), *rest
    ...         return nn.custom_vjp(f, lambda mdl, x: nn.vjp(f, mdl, x), backward)(nn.Dense(1), x)
    >>> variables = SignDense().init(jax.random.key(0), jnp.ones((1, 2)))
    >>> g = jax.grad(lambda v: SignDense().apply(v, 7 * jnp.ones((1, 2))).sum())(variables)
    >>> g['params']['Dense_0']['kernel'].ravel()
    Array([1., 1.], dtype=float32)
    """

    @functools.wraps(fn)
    def lifted(mdl: Any, *args: Any) -> Any:
        call = Call(mdl, args, {}, multi_scope=False, name='nn.custom_vjp')
        run = lift.custom_vjp(
            call.on_scopes(fn),
            call.on_scopes(forward_fn),
            backward_fn,
            grad_vars,
            nondiff_argnums,
        )
        return run(call.scopes, *call.args)

    return lifted

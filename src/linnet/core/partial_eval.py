"""Evaluating what can be computed when some arguments are only shapes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, primitives

from linnet import _compat
from linnet.core.watching import unwatched
from linnet.errors.variables import LazyInitError


def lazy_init(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Lets ``fn(rngs, *args, **kwargs)`` run on arguments of which only the shape is known.

    The function is traced; then only the part of the trace that its results need is evaluated,
    operation by operation, so the numbers are those of an ordinary call.

    Args:
        fn: a function whose results do not depend on the values of the unknown arguments.

    Returns:
        The function; every leaf of ``args`` and ``kwargs`` may be a
        :class:`jax.ShapeDtypeStruct`.

    Raises:
        LazyInitError: a result depends on an argument of which only the shape is known.
    """

    @functools.wraps(fn)
    def wrapper(rngs: Any, *args: Any, **kwargs: Any) -> Any:
        leaves, treedef = jax.tree_util.tree_flatten((rngs, args, kwargs))
        made: list[Any] = []
        traced = [isinstance(leaf, (jax.ShapeDtypeStruct, jax.Array)) for leaf in leaves]

        def flat(*inputs: Any) -> Any:
            given = iter(inputs)
            full = [next(given) if t else x for t, x in zip(traced, leaves, strict=True)]
            rngs, args, kwargs = jax.tree_util.tree_unflatten(treedef, full)
            made[:] = [fn(rngs, *args, **kwargs)]
            return jax.tree_util.tree_leaves(made[0])

        inputs = [x for t, x in zip(traced, leaves, strict=True) if t]
        with unwatched():
            program = jax.make_jaxpr(flat)(*inputs)
        values = _evaluate(program, inputs)
        structure = jax.tree_util.tree_structure(made[0])
        return _in_order_of(made[0], jax.tree_util.tree_unflatten(structure, values))

    return wrapper


def _in_order_of(like: Any, tree: Any) -> Any:
    """The tree with its dicts in the order of another; JAX sorts the keys of dicts."""
    if type(like) is not dict:
        return tree
    return {key: _in_order_of(like[key], tree[key]) for key in like}


def _evaluate(closed: Any, inputs: list[Any]) -> list[Any]:
    """Runs the part of a traced program that its outputs need."""
    program = _underived(closed.jaxpr)
    jaxpr, used = _compat.dce_jaxpr(program, [True] * len(program.outvars))
    needed = [x for use, x in zip(used, inputs, strict=True) if use]
    unknown = [x for x in needed if isinstance(x, jax.ShapeDtypeStruct)]
    if unknown:
        raise LazyInitError(unknown[0])
    return [jnp.asarray(x) for x in _compat.eval_jaxpr(jaxpr, closed.consts, needed)]


def _underived(jaxpr: Any) -> Any:
    """A program whose functions with derivatives of their own are plain calls.

    Of a plain call the part that nothing needs can be left out.
    """
    return jaxpr.replace(eqns=[_called(operation) for operation in jaxpr.eqns])


def _called(operation: Any) -> Any:
    params = {name: _below(value) for name, value in operation.params.items()}
    if operation.primitive is primitives.custom_vjp_call_p:
        call = {'call_jaxpr': params['call_jaxpr']}
        return operation.replace(primitive=primitives.closed_call_p, params=call)
    return operation.replace(params=params)


def _below(value: Any) -> Any:
    """A parameter of an operation, with :func:`_underived` programs in it."""
    if isinstance(value, ClosedJaxpr):
        return value.replace(jaxpr=_underived(value.jaxpr))
    if isinstance(value, Jaxpr):
        return _underived(value)
    return tuple(map(_below, value)) if type(value) is tuple else value

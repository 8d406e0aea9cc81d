"""Lifted control flow: ``cond``, ``switch`` and ``while_loop``.

Variables and keys are closed over, not passed as operands, so that values which are static in
Python stay static in the branches.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from linnet.core.filters import CollectionFilter, PRNGSequenceFilter
from linnet.core.lift.boundary import Boundary, Groups
from linnet.core.loop_checks import branches_error, check_carry, check_condition


def cond(
    pred: Any,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    scope: Any,
    *operands: Any,
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
) -> Any:
    """``jax.lax.cond`` of functions of scopes.

    The arguments are explained at :func:`linnet.linen.cond`.
    """
    edge = Boundary(scope, (variables,), (variables,), (rngs,), 'nn.cond')
    branches = (true_fun, false_fun)
    return _choose(lambda *pure: lax.cond(pred, *pure, *operands), edge, branches, operands)


def switch(
    index: Any,
    branches: Sequence[Callable[..., Any]],
    scope: Any,
    *operands: Any,
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
) -> Any:
    """``jax.lax.switch`` of functions of scopes.

    The arguments are explained at :func:`linnet.linen.switch`.
    """
    edge = Boundary(scope, (variables,), (variables,), (rngs,), 'nn.switch')
    return _choose(lambda *pure: lax.switch(index, pure, *operands), edge, branches, operands)


def _choose(
    choose: Callable[..., Any],
    edge: Boundary,
    branches: Sequence[Callable[..., Any]],
    operands: tuple[Any, ...],
) -> Any:
    """Runs one of several functions, all of the same variables and keys."""
    pure = [functools.partial(edge.pure(f), edge.variables, edge.rngs) for f in branches]
    try:
        y, out = choose(*pure)
    except TypeError as error:
        raise branches_error(edge.name, pure, operands) or error from None
    edge.publish(out)
    return y


def while_loop(
    cond_fn: Callable[..., Any],
    body_fn: Callable[..., Any],
    scope: Any,
    init: Any,
    carry_variables: CollectionFilter = False,
    broadcast_variables: CollectionFilter = True,
    split_rngs: Mapping[PRNGSequenceFilter, bool] = {},
) -> Any:
    """``jax.lax.while_loop`` of functions of scopes.

    The arguments are explained at :func:`linnet.linen.while_loop`.
    """
    filters = (carry_variables, broadcast_variables)
    edge = Boundary(scope, filters, (carry_variables,), tuple(split_rngs), 'nn.while_loop')
    carried, shared = edge.variables
    carried, constant = edge.by_mutability(carried)

    def keys(i: Any) -> Groups:
        return tuple(
            jax.tree_util.tree_map(lambda k: jax.random.fold_in(k, i), group) if split else group
            for group, split in zip(edge.rngs, split_rngs.values(), strict=True)
        )

    def test(state: Any) -> Any:
        i, carried, carry = state
        groups = (carried, constant, shared)
        inner = edge.enter(groups, keys(i), mutable=[False] * len(edge.outer))
        edge.asking = True
        go_on = cond_fn(edge.arranged(inner), carry)
        edge.asking = False
        check_condition(go_on)
        return go_on

    def step(state: Any) -> Any:
        i, *before = state
        carried, carry = before
        carry, (carried,) = edge.pure(body_fn)((carried, constant, shared), keys(i), carry)
        check_carry(tuple(before), (carried, carry), 'nn.while_loop')
        return i + 1, carried, carry

    _, carried, carry = lax.while_loop(test, step, (jnp.int32(0), carried, init))
    edge.publish((carried,))
    return carry

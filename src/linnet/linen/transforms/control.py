"""Lifted control flow: ``cond``, ``switch`` and ``while_loop``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import linnet.core.lift.control as lift
from linnet.core.filters import CollectionFilter, PRNGSequenceFilter
from linnet.linen.transforms.methods import Call


def cond(
    pred: Any,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    mdl: Any,
    *operands: Any,
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
) -> Any:
    """``jax.lax.cond`` of functions of a module.

    Both branches must return, and leave as variables, the same shapes: make variables that only
    one of them uses in ``init`` by calling both.

    Args:
        pred: a boolean scalar.
        true_fun: called as ``true_fun(mdl, *operands)`` where ``pred`` holds.
        false_fun: called where not.
        mdl: the module.
        *operands: arguments of both.
        variables: the collections that the functions see.
        rngs: the streams that they see.
    """
    call = Call(mdl, operands, {}, name='nn.cond')
    branches = call.on_scopes(true_fun), call.on_scopes(false_fun)
    return lift.cond(pred, *branches, call.scopes, *call.args, variables=variables, rngs=rngs)


def switch(
    index: Any,
    branches: Sequence[Callable[..., Any]],
    mdl: Any,
    *operands: Any,
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
) -> Any:
    """``jax.lax.switch`` of functions of a module.

    Args:
        index: an integer scalar; out of range it is clamped.
        branches: functions, called as ``branch(mdl, *operands)``.
        mdl: the module.
        *operands: arguments of all branches.
        variables: the collections that the functions see.
        rngs: the streams that they see.
    """
    call = Call(mdl, operands, {}, name='nn.switch')
    lifted = [call.on_scopes(branch) for branch in branches]
    return lift.switch(index, lifted, call.scopes, *call.args, variables=variables, rngs=rngs)


def while_loop(
    cond_fn: Callable[..., Any],
    body_fn: Callable[..., Any],
    mdl: Any,
    init: Any,
    carry_variables: CollectionFilter = False,
    broadcast_variables: CollectionFilter = True,
    split_rngs: Mapping[PRNGSequenceFilter, bool] = {},
) -> Any:
    """``jax.lax.while_loop`` of functions of a module.

    Variables cannot be made in the loop: call the module once before it in ``init``.

    Args:
        cond_fn: ``cond_fn(mdl, carry)``, whether to go on; it cannot change variables.
        body_fn: ``body_fn(mdl, carry) -> carry``.
        mdl: the module.
        init: the first carry.
        carry_variables: the collections that an iteration hands to the next.
        broadcast_variables: the other collections that the functions see.
        split_rngs: by stream, whether every iteration gets a key of its own. A stream that is not
            named is not seen.
    """
    call = Call(mdl, (init,), {}, name='nn.while_loop')
    (init,) = call.args
    return lift.while_loop(
        call.on_scopes(cond_fn),
        call.on_scopes(body_fn),
        call.scopes,
        init,
        carry_variables=carry_variables,
        broadcast_variables=broadcast_variables,
        split_rngs=split_rngs,
    )

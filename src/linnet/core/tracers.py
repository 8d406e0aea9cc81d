"""The current trace of JAX, to tell code inside a transform from code outside."""

from __future__ import annotations

from typing import Any

import jax

from linnet import _compat
from linnet.core._deferred import DeferredArray
from linnet.core._deferred import known as known
from linnet.core.ledger import crossed
from linnet.errors.transforms import JaxTransformError


def current_trace() -> Any:
    """The trace in which JAX evaluates at this moment."""
    return _compat.current_trace()


def is_traced(value: Any) -> bool:
    """Tells whether a value is an array of which the numbers cannot be known yet."""
    return isinstance(value, jax.core.Tracer) and not isinstance(value, DeferredArray)


def check_trace_level(base_level: Any) -> None:
    """Raises when the current trace is not ``base_level``.

    Raises:
        JaxTransformError: a transform of JAX was entered or left since ``base_level``.
    """
    if current_trace() is not base_level:
        raise JaxTransformError()


def check_not_leaking(value: Any, scope: Any, name: str) -> None:
    """Refuses to store a value of a transform that was entered after the scope was made.

    Args:
        value: what is to be stored.
        scope: the scope that is to hold it.
        name: the variable, for the message.

    Raises:
        JaxTransformError: the value belongs to another trace than the scope's.
    """
    trace = scope.root._trace
    for leaf in jax.tree_util.tree_leaves(value):
        if is_traced(leaf) and _compat.trace_of(leaf) is not trace:
            boundary = crossed(scope)
            if boundary is not None:
                raise JaxTransformError.closed_over(boundary.name, name, where=scope.path_text)
            raise JaxTransformError(
                transform=_compat.transform_name(current_trace()),
                subject=name,
                where=scope.path_text,
            )

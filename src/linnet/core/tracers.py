"""The current trace of JAX, to tell code inside a transform from code outside."""

from __future__ import annotations

from typing import Any

from linnet import _compat
from linnet.errors.transforms import JaxTransformError


def current_trace() -> Any:
    """The trace in which JAX evaluates at this moment."""
    return _compat.current_trace()


def check_trace_level(base_level: Any) -> None:
    """Raises when the current trace is not ``base_level``.

    Raises:
        JaxTransformError: a transform of JAX was entered or left since ``base_level``.
    """
    if current_trace() is not base_level:
        raise JaxTransformError()

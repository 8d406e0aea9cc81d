"""Dropout as a function of a scope."""

from __future__ import annotations

from typing import Any

from linnet.core.scope import Scope
from linnet.linen.stochastic import Dropout
from linnet.typing import Array


def dropout(
    scope: Scope, inputs: Array, rate: float, deterministic: bool = False, rng: Any = None
) -> Array:
    """Sets values to zero at random and scales up the rest, ``[...] -> [...]``.

    Args:
        scope: its stream ``dropout`` gives the key.
        inputs: the values.
        rate: the share that is dropped.
        deterministic: whether the values pass as they are.
        rng: a key in place of the scope's.
    """
    return Dropout(rate, deterministic=deterministic, parent=scope)(inputs, rng=rng)

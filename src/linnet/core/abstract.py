"""What an initialiser would give: shapes, without running it.

A parameter that exists is compared with what its initialiser would make. That is the same for
every call with the same arguments, so it is traced once and remembered: by the initialiser,
which is held weakly, and then by the arguments.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

_Shapes = tuple[tuple[int, ...], ...]
_known: weakref.WeakKeyDictionary[Callable[..., Any], dict[Any, _Shapes]] = (
    weakref.WeakKeyDictionary()
)


def initial_shapes(
    init_fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], fresh: bool = False
) -> _Shapes:
    """Shapes of the leaves that ``init_fn(key, *args, **kwargs)`` returns.

    Args:
        init_fn: the initialiser.
        args: what follows the key.
        kwargs: keyword arguments.
        fresh: trace even if the answer is known, for an initialiser that is not pure.
    """
    try:
        memo = _known.get(init_fn)
        if memo is None:
            memo = _known[init_fn] = {}
        key = (args, tuple(kwargs.items())) if kwargs else args
        if not fresh:
            shapes = memo.get(key)
            if shapes is not None:
                return shapes
    except TypeError:  # no weak reference to it, or arguments that do not hash
        return _trace(init_fn, args, kwargs)
    shapes = memo[key] = _trace(init_fn, args, kwargs)
    return shapes


def leaf_shapes(value: Any) -> _Shapes:
    """Shapes of the leaves of a value: arrays, abstract arrays, numbers, or trees of them."""
    shape = getattr(value, 'shape', None)
    if type(shape) is tuple:
        return (shape,)
    return tuple(
        tuple(leaf.shape) if hasattr(leaf, 'shape') else np.shape(leaf)
        for leaf in jax.tree_util.tree_leaves(value)
    )


def _trace(init_fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Shapes:
    out = jax.eval_shape(lambda: init_fn(jax.random.key(0), *args, **kwargs))
    return leaf_shapes(out)

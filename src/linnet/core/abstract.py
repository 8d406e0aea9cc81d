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

from linnet.errors.variables import ScopeParamShapeError

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
        owner, static = _identity(init_fn)
        memo = _known.get(owner)
        if memo is None:
            memo = _known[owner] = {}
        key = (static, args, tuple(kwargs.items())) if kwargs else (static, args)
        if not fresh:
            shapes = memo.get(key)
            if shapes is not None:
                return shapes
    except TypeError:  # no weak reference to it, or arguments that do not hash
        return _trace(init_fn, args, kwargs)
    shapes = memo[key] = _trace(init_fn, args, kwargs)
    return shapes


def _identity(init_fn: Any) -> tuple[Any, tuple[Any, ...]]:
    """What an initialiser is known by: an object that lives on, and what it was made from.

    A wrapper that declares what it wraps and its own arguments is known by them; a function that
    a factory of JAX returns, by its code and the arguments of the factory. So one that is made
    anew in each call is recognised.
    """
    static: tuple[Any, ...] = ()
    while hasattr(init_fn, 'static_arguments'):
        static = (*static, type(init_fn), init_fn.static_arguments)
        init_fn = init_fn.__wrapped__
    closure = getattr(init_fn, '__closure__', None)
    if closure and init_fn.__module__.startswith('jax.'):
        static = (*static, *[cell.cell_contents for cell in closure])
        init_fn = init_fn.__code__
    return init_fn, static


def check_shapes(
    name: str,
    where: str,
    value: Any,
    init_fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Refuses a parameter of another shape than its initialiser would give.

    Args:
        name: of the parameter, for the message.
        where: path of its scope, for the message.
        value: the parameter.
        init_fn: its initialiser.
        args: what follows the key.
        kwargs: keyword arguments.

    Raises:
        ScopeParamShapeError: the shapes differ, also when the initialiser is traced anew.
    """
    shapes = leaf_shapes(value)
    if shapes == initial_shapes(init_fn, args, kwargs):
        return
    for got, wanted in zip(shapes, initial_shapes(init_fn, args, kwargs, fresh=True)):  # noqa: B905
        if got != wanted:
            raise ScopeParamShapeError(name, where, got, wanted)


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

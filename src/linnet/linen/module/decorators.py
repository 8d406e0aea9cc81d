"""Marks on methods, which the creation of the class and each call heed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar('F', bound=Callable[..., Any])


def compact(fun: F) -> F:
    """Lets a method create the submodules and parameters that it uses, where it uses them.

    Submodules without a name are called by their class and
    a number, ``Dense_0``, ``Dense_1``, in the order in which they are made.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> class MLP(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x):
    ...         x = nn.relu(nn.Dense(8)(x))
    ...         return nn.Dense(2)(x)
    >>> list(MLP().init(jax.random.key(0), jnp.ones((1, 3)))['params'])
    ['Dense_0', 'Dense_1']

    Of several compact methods of a class each begins at number 0 again, so that layers without a
    name are shared between them; give them names, or see :func:`compact_name_scope`.
    """
    fun.compact = True  # type: ignore[attr-defined]
    return fun


def nowrap(fun: F) -> F:
    """Leaves a method as it is: calling it does not run ``setup`` or enter the module.

    For helpers that only compute, or that build modules for the caller's own scope.

    >>> import linnet.linen as nn
    >>> class Net(nn.Module):
    ...     width: int
    ...     @nn.nowrap
    ...     def make_layer(self):
    ...         return nn.Dense(self.width)
    >>> Net(3).make_layer().features
    3
    """
    fun.nowrap = True  # type: ignore[attr-defined]
    return fun

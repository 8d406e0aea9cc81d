"""Compact methods that have a scope of their own, so that a class may have several."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from linnet.errors.calls import CallCompactUnboundModuleError
from linnet.linen.module.base import Module
from linnet.linen.module.decorators import compact, nowrap

F = TypeVar('F', bound=Callable[..., Any])


class CompactNameScope(Module):
    """The scope of one such method: submodules that the method makes are its children.

    Attributes:
        fn: the method.
        module_fn: returns the module whose method it is.
    """

    fn: Callable[..., Any]
    module_fn: Callable[[], Module]

    @compact
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the method."""
        return self.fn(self.module_fn(), *args, **kwargs)


def compact_name_scope(fun: F) -> F:
    """Lets a method create submodules in a scope named after the method.

    Unlike of compact methods, a class may have any number of these.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> class Net(nn.Module):
    ...     @nn.compact_name_scope
    ...     def up(self, x):
    ...         return nn.Dense(3)(x)
    ...     @nn.compact_name_scope
    ...     def down(self, x):
    ...         return nn.Dense(3)(x)
    ...     def __call__(self, x):
    ...         return self.up(x) + self.down(x)
    >>> params = Net().init(jax.random.key(0), jnp.ones((1, 2)))['params']
    >>> jax.tree.map(jnp.shape, params['up'])
    {'Dense_0': {'bias': (3,), 'kernel': (2, 3)}}
    """

    @nowrap  # the call of the scope is what is watched
    @functools.wraps(fun)
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return _scope_of(self, fun)(*args, **kwargs)

    method.compact_name_scope = True  # type: ignore[attr-defined]
    method.inner_fun = fun  # type: ignore[attr-defined]
    return method  # type: ignore[return-value]


def _scope_of(module: Any, fun: Callable[..., Any]) -> CompactNameScope:
    """The scope module of a method: made when the method is first called."""
    name = fun.__name__
    if module.scope is None:
        raise CallCompactUnboundModuleError(module_cls=type(module), method=name)
    scope_module = module._state.children.get(name)
    if not isinstance(scope_module, CompactNameScope):
        scope_module = CompactNameScope(fun, lambda: module, parent=None, name=name)
        object.__setattr__(scope_module, 'parent', module)
        object.__setattr__(scope_module, 'scope', module.scope.push(name, reuse=True))
        module._state.children[name] = scope_module
    return scope_module

"""What is going on in this thread: which module runs, and who watches.

The *module stack* holds the modules whose methods run, innermost last; it begins with ``None``,
the outside. *Interceptors* may replace a method's call; *observers* only see it begin and end.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from linnet.configurations import config
from linnet.linen.module.state import ModuleBase

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
NextGetter = Callable[..., Any]
Interceptor = Callable[[NextGetter, Args, Kwargs, Any], Any]
"""What :func:`intercept_methods` takes."""


class Observer(Protocol):
    """Sees every call of a module's method.

    An observer whose ``follows_apply`` is true also sees calls in an ``apply`` inside the one it
    was made for.
    """

    follows_apply: bool

    def enter(
        self, module: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """A method begins."""

    def exit(self, module: Any, method: str, output: Any) -> None:
        """A method ended and returned ``output``."""


class Context(threading.local):
    """The state of one thread."""

    def __init__(self) -> None:
        self.module_stack: list[ModuleBase | None] = [None]
        self.interceptors: list[Interceptor] = []
        self.observers: list[Observer] = []


context = Context()


@contextlib.contextmanager
def observing(*observers: Observer) -> Iterator[None]:
    """Lets observers watch the calls in the ``with`` block, and hides those of an outer apply."""
    outer = context.observers
    context.observers = [o for o in outer if o.follows_apply] + list(observers)
    try:
        yield
    finally:
        context.observers = outer


@contextlib.contextmanager
def intercept_methods(interceptor: Interceptor) -> Iterator[None]:
    """Passes every call of a module's method through ``interceptor`` in the ``with`` block.

    Args:
        interceptor: called as ``interceptor(next_fun, args, kwargs, context)``, where ``args``
            and ``kwargs`` are those of the method without the module, and ``context`` is an
            :class:`~linnet.linen.module.calls.InterceptorContext`. What it returns is the
            method's result; ``next_fun(*args, **kwargs)`` goes on with the call. Of several,
            the outermost runs first.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> def double(next_fun, args, kwargs, context):
    ...     return 2 * next_fun(*args, **kwargs)
    >>> layer = nn.Dense(1, use_bias=False, kernel_init=nn.initializers.ones)
    >>> with nn.intercept_methods(double):
    ...     y, _ = layer.init_with_output(jax.random.key(0), jnp.ones((1, 3)))
    >>> y
    Array([[6.]], dtype=float32)
    """
    context.interceptors.append(interceptor)
    try:
        yield
    finally:
        context.interceptors.pop()


class _NamedCalls:
    """Whether the compiled program shows the names of modules."""

    enabled: bool = config.flax_profile


_named_calls = _NamedCalls()


def named_calls_enabled() -> bool:
    """Tells whether the compiled program shows the names of modules."""
    return _named_calls.enabled


def profiling_name(module: Any, method: str) -> str:
    """What the compiled program, and so a profile, calls a method of a module."""
    name = module.name or type(module).__name__
    return name if method == '__call__' else f'{name}.{method}'


def enable_named_call() -> None:
    """Shows the names of modules in compiled programs, and so in profiles."""
    _named_calls.enabled = True


def disable_named_call() -> None:
    """Leaves the names of modules out of compiled programs."""
    _named_calls.enabled = False


@contextlib.contextmanager
def override_named_call(enable: bool = True) -> Iterator[None]:
    """Shows names of modules, or leaves them out, in the ``with`` block.

    Args:
        enable: whether names are shown.
    """
    outer = _named_calls.enabled
    _named_calls.enabled = enable
    try:
        yield
    finally:
        _named_calls.enabled = outer

"""The ways in: running a method of a module on variables, or to make them.

``Module.apply`` and ``Module.init`` are these functions on a method; each makes a root scope,
clones the module onto it, and calls the method.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax

from linnet.core import materialize
from linnet.core import scope as core
from linnet.core.filters import CollectionFilter, DenyList, union_filters
from linnet.errors.calls import IncorrectPostInitOverrideError, InvalidInstanceModuleError
from linnet.errors.modules import ApplyModuleInvalidMethodError
from linnet.linen.module import binding, checks
from linnet.linen.module.context import observing
from linnet.linen.module.state import UNCONSTRUCTED, ModuleBase

CaptureFilter = bool | Callable[[Any, str], bool]
_no_intermediates = DenyList('intermediates')


class _Capture:
    """Stores what methods return in the collection ``intermediates``."""

    follows_apply = False

    def __init__(self, wanted: Callable[[Any, str], bool]) -> None:
        self.wanted = wanted

    def enter(
        self, module: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Waits for the result."""

    def exit(self, module: Any, method: str, output: Any) -> None:
        """Stores the result under the name of the method."""
        if self.wanted(module, method):
            module.sow('intermediates', method, output)


class _Paths:
    """Collects the modules that run in one ``init``, by path."""

    follows_apply = True

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._tree: Any = None  # the counts that all scopes of the first root share

    def enter(
        self, module: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Records an unbound copy of a module that runs for the first time."""
        scope = module.scope
        if self._tree is None and scope is not None:
            self._tree = scope.counts
        if scope is None or scope.counts is not self._tree:
            return  # of an apply inside this one
        path = '/'.join(scope.path)
        if path not in self.found:
            self.found[path] = binding.clone(module, _deep_clone=True, _reset_names=True, name=None)

    def exit(self, module: Any, method: str, output: Any) -> None:
        """Does nothing: the module was recorded when it began."""


def capture_call_intermediates(_: Any, method_name: str) -> bool:
    """The filter that captures the results of ``__call__`` methods."""
    return method_name == '__call__'


def apply(
    fn: Callable[..., Any],
    module: Any,
    mutable: CollectionFilter = False,
    capture_intermediates: CaptureFilter = False,
) -> Callable[..., Any]:
    """A pure function of variables that calls ``fn`` on the module, bound to them.

    Args:
        fn: called as ``fn(bound_module, *args, **kwargs)``.
        module: the module.
        mutable: the collections that may change; if any, they are returned beside the result.
        capture_intermediates: whether results of submodules are stored in ``intermediates``: of
            every ``__call__``, or of what a function ``(module, method_name)`` takes.

    Returns:
        A function ``(variables, *args, rngs=None, **kwargs)``.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> layer = nn.Dense(2, kernel_init=nn.initializers.ones)
    >>> variables = layer.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> nn.apply(lambda m, x: m(2 * x), layer)(variables, jnp.ones((1, 3)))
    Array([[6., 6.]], dtype=float32)
    """
    mutable, run = _on_scope(fn, module, mutable, capture_intermediates)
    return core.apply(run, mutable=mutable)


def init_with_output(
    fn: Callable[..., Any],
    module: Any,
    mutable: CollectionFilter = _no_intermediates,
    capture_intermediates: CaptureFilter = False,
) -> Callable[..., Any]:
    """A function of keys that makes the variables which ``fn`` on the module needs.

    Args:
        fn: called as ``fn(bound_module, *args, **kwargs)``.
        module: the module.
        mutable: the collections to make.
        capture_intermediates: as in :func:`apply`.

    Returns:
        A function ``(rngs, *args, **kwargs)`` that returns a pair of ``fn``'s result and the
        variables; ``rngs`` is one key for ``params``, or a dict of keys by stream.
    """
    mutable, run = _on_scope(fn, module, mutable, capture_intermediates)
    make = core.init(run, mutable=mutable)

    @functools.wraps(fn)
    def wrapper(rngs: Any, *args: Any, **kwargs: Any) -> Any:
        return make(rngs, *args, **kwargs)

    return wrapper


def init(
    fn: Callable[..., Any],
    module: Any,
    mutable: CollectionFilter = _no_intermediates,
    capture_intermediates: CaptureFilter = False,
) -> Callable[..., Any]:
    """Like :func:`init_with_output`; the returned function returns the variables alone.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> twice = lambda m, x: m(m(x))
    >>> variables = nn.init(twice, nn.Dense(3))(jax.random.key(0), jnp.ones((1, 3)))
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'bias': (3,), 'kernel': (3, 3)}}
    """
    make = init_with_output(fn, module, mutable, capture_intermediates)

    def variables(*args: Any, **kwargs: Any) -> Any:
        return make(*args, **kwargs)[1]

    @functools.wraps(fn)
    def wrapper(rngs: Any, *args: Any, **kwargs: Any) -> Any:
        return materialize.run(variables, rngs, *args, **kwargs)

    return wrapper


def lazy_init(
    fn: Callable[..., Any], module: Any, mutable: CollectionFilter = _no_intermediates
) -> Callable[..., Any]:
    """Like :func:`init`, for arguments of which only shape and dtype are known."""
    return core.lazy_init(_on_scope(fn, module, mutable, False)[1], mutable=mutable)


def _on_scope(
    fn: Callable[..., Any],
    module: Any,
    mutable: CollectionFilter,
    capture_intermediates: CaptureFilter,
) -> tuple[CollectionFilter, Callable[..., Any]]:
    """``fn`` as a function of a scope, with what it must be able to write."""
    observers = []
    if capture_intermediates:
        if capture_intermediates is True:
            capture_intermediates = capture_call_intermediates
        observers.append(_Capture(capture_intermediates))
        mutable = union_filters(mutable, 'intermediates')

    @functools.wraps(fn)
    def run(scope: core.Scope, /, *args: Any, **kwargs: Any) -> Any:
        checks.begin(module, scope, args)
        with observing(*observers):
            y = fn(module.clone(parent=scope, _deep_clone=True), *args, **kwargs)
        checks.end(module, scope, fn, y)
        return y

    return mutable, run


def method_of(module: Any, method: Callable[..., Any] | str | None) -> Callable[..., Any]:
    """The function behind what a user named as ``method``.

    Args:
        module: the module.
        method: a method's or submodule's name, a method, a function whose first argument is the
            module, or ``None`` for ``__call__``.

    Raises:
        ApplyModuleInvalidMethodError: there is no such method, or it cannot be called.
    """
    if method is None:
        method = '__call__'
    if isinstance(method, str):
        return _named_method(module, method)
    if inspect.ismethod(method):
        return method.__func__
    if not callable(method) or not _takes_a_module(method):
        raise _invalid(module, method)
    return method


def _named_method(module: Any, name: str) -> Callable[..., Any]:
    method = inspect.getattr_static(type(module), name, None)
    if inspect.isfunction(method):
        return method
    known = hasattr(module, name)
    if not known and not module._plan.has_setup:
        raise _invalid(module, name)
    if known and not callable(getattr(module, name)):
        raise _invalid(module, name)

    def call_attribute(bound: Any, /, *args: Any, **kwargs: Any) -> Any:
        attribute = getattr(bound, name, None)  # setup may have made it
        if not callable(attribute):
            raise _invalid(bound, name)
        return attribute(*args, **kwargs)

    return call_attribute


def _takes_a_module(method: Callable[..., Any]) -> bool:
    try:
        return bool(inspect.signature(method).parameters)
    except ValueError:  # a builtin that does not tell
        return True


def _invalid(module: Any, method: Any) -> ApplyModuleInvalidMethodError:
    methods = [
        name
        for name, value in inspect.getmembers_static(type(module), inspect.isfunction)
        if not name.startswith('_') and 'linnet.linen.module' not in value.__module__
    ]
    return ApplyModuleInvalidMethodError(method, module_cls=type(module), known=methods)


def check_constructed(module: Any, method: str) -> None:
    """Refuses a class in place of an instance, and an instance that was not constructed whole.

    Raises:
        InvalidInstanceModuleError: ``module`` is no instance.
        IncorrectPostInitOverrideError: its ``__post_init__`` did not call the base's.
    """
    if not isinstance(module, ModuleBase):
        raise InvalidInstanceModuleError(method=method)
    if module._state is UNCONSTRUCTED:
        raise IncorrectPostInitOverrideError(module_cls=type(module))


def module_paths(make: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """The modules that run in ``make(*args, **kwargs)``, by path, without computing anything."""
    paths = _Paths()
    with observing(paths):
        jax.eval_shape(lambda: make(*args, **kwargs))
    return paths.found

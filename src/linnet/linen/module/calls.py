"""The one path of every method call of a module.

A call runs ``setup`` if it has not run yet, puts the module on the stack, so that submodules made
by the method find their parent, lets interceptors and observers take part, names the operations in
the compiled program, and says in which module an error arose.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from linnet.errors._base import LinnetError
from linnet.errors.calls import (
    CallCompactUnboundModuleError,
    CallSetupUnboundModuleError,
    DescriptorAttributeError,
    IncorrectPostInitOverrideError,
)
from linnet.linen.module import binding
from linnet.linen.module.context import context, named_calls_enabled, profiling_name
from linnet.linen.module.mistakes import improved
from linnet.linen.module.reuse import may_reuse, run_or_reuse
from linnet.linen.module.state import UNCONSTRUCTED, ModuleBase
from linnet.traceback_util import api_boundary

F = TypeVar('F', bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class InterceptorContext:
    """What an interceptor knows of a call.

    Attributes:
        module: the module, bound if the call is inside ``init`` or ``apply``.
        method_name: the name of the method.
        orig_method: the method without interceptors, bound to the module.
    """

    module: Any
    method_name: str
    orig_method: Callable[..., Any]


def wrap_method_once(fun: F) -> F:
    """A method whose calls go through this file; a function that is wrapped stays as it is."""
    if hasattr(fun, 'method_handler_wrapped'):
        return fun

    @api_boundary
    @functools.wraps(fun)
    def method(*args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], ModuleBase):
            return call_method(fun, args[0], args[1:], kwargs)
        return fun(*args, **kwargs)

    method.method_handler_wrapped = True  # type: ignore[attr-defined]
    return method  # type: ignore[return-value]


def call_method(
    fun: Callable[..., Any], module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Calls ``fun(module, *args, **kwargs)`` as a method of the module."""
    name = getattr(fun, '__name__', 'unnamed')
    if name == '__call__' and may_reuse():
        return run_or_reuse(
            fun,
            module,
            args,
            kwargs,
            lambda: _enter(_guarded, fun, module, name, args, kwargs),
            lambda clone, args, kwargs: _enter(_bare, fun, clone, name, args, kwargs),
        )
    return _enter(_guarded, fun, module, name, args, kwargs)


def _enter(
    run: Callable[..., Any],
    fun: Callable[..., Any],
    module: Any,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Runs a method as the innermost one; ``run(fun, module, name, args, kwargs)`` calls it."""
    state = module._state
    opens_compact = False
    if name == 'setup':
        if module.scope is None:
            raise CallSetupUnboundModuleError(module_cls=type(module))
        run = _guarded_setup
    else:
        binding.try_setup(module)
        if hasattr(fun, 'compact'):
            if module.scope is None:
                raise _unbound(module, name)
            # A compact method may call itself, as through super(); the outermost call ends it.
            opens_compact = not state.in_compact_method
            state.in_compact_method = True
    context.module_stack.append(module)
    try:
        return run(fun, module, name, args, kwargs)
    finally:
        context.module_stack.pop()
        if hasattr(fun, 'compact'):
            module.scope.rewind()
            if opens_compact:
                state.reset()


def _bare(
    fun: Callable[..., Any], module: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Runs a method that nobody watches, and that an outer call names."""
    del name
    return fun(module, *args, **kwargs)


def _unbound(module: Any, method: str) -> LinnetError:
    """Why a compact method cannot be called."""
    if module._state is UNCONSTRUCTED:
        return IncorrectPostInitOverrideError(module_cls=type(module))
    return CallCompactUnboundModuleError(module_cls=type(module), method=method)


def _guarded(
    fun: Callable[..., Any], module: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Runs a method, watched and named; an error on its way out learns where it arose."""
    observers = context.observers
    for observer in observers:
        observer.enter(module, name, args, kwargs)
    try:
        if named_calls_enabled():
            with jax.named_scope(profiling_name(module, name)):
                y = _through_interceptors(fun, module, args, kwargs)
        else:
            y = _through_interceptors(fun, module, args, kwargs)
    except Exception as error:
        better = improved(error, fun, module, args, kwargs)
        locate(better or error, module, args)
        if better is not None:
            raise better.with_traceback(error.__traceback__) from None
        raise
    for observer in observers:
        observer.exit(module, name, y)
    return y


def _guarded_setup(
    fun: Callable[..., Any], module: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Runs a user's ``setup``, which is no call that observers wait for."""
    state = module._state
    outer, state.in_setup = state.in_setup, True
    try:
        return _through_interceptors(fun, module, args, kwargs)
    except Exception as error:
        better = improved(error, fun, module, args, kwargs)
        locate(better or error, module, args)
        if better is not None:
            raise better.with_traceback(error.__traceback__) from None
        raise
    finally:
        if not outer:
            state.reset()


def run_interceptors(
    orig_method: Callable[..., Any], module: Any, *args: Any, **kwargs: Any
) -> Any:
    """Calls a method through the interceptors in effect, the outermost first."""
    return _through_interceptors(orig_method, module, args, kwargs)


def _through_interceptors(
    method: Callable[..., Any], module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Calls a method, whose arguments may have any names."""
    interceptors = context.interceptors
    if not interceptors:
        return method(module, *args, **kwargs)
    bound = functools.partial(method, module)
    about = InterceptorContext(module, getattr(method, '__name__', 'unnamed'), bound)
    run: Callable[..., Any] = bound
    for interceptor in reversed(interceptors):
        run = _intercepted(interceptor, run, about)
    return run(*args, **kwargs)


def _intercepted(
    interceptor: Callable[..., Any], run: Callable[..., Any], about: InterceptorContext
) -> Callable[..., Any]:
    return lambda *args, **kwargs: interceptor(run, args, kwargs, about)


def locate(error: Exception, module: Any, args: tuple[Any, ...]) -> None:
    """Tells an error in which module it arose: the innermost that it leaves."""
    scope, cls = module.scope, type(module).__name__
    path = f'unbound {cls}' if scope is None else f'{scope.path_text}'
    if isinstance(error, LinnetError):
        error.locate(path, '' if scope is None else cls)
    elif not hasattr(error, '_linnet_located'):
        with contextlib.suppress(AttributeError):  # an exception without a __dict__
            error._linnet_located = True  # type: ignore[attr-defined]
        given = ', '.join(_shown(arg) for arg in args)
        error.add_note(f'This happened in {path} ({cls}), called with ({given}).')


def _shown(arg: Any) -> str:
    dtype, shape = getattr(arg, 'dtype', None), getattr(arg, 'shape', None)
    if dtype is None or shape is None:
        return type(arg).__name__
    return f'{dtype}[{",".join(map(str, shape))}]'


class DescriptorWrapper:
    """A property, or another descriptor, whose body runs as a method of the module."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        self.__doc__ = getattr(wrapped, '__doc__', None)

    def __get__(self, obj: Any, objtype: Any = None) -> Any:
        """The descriptor's value for a module.

        Raises:
            DescriptorAttributeError: the body read an attribute that does not exist. Python
                would take that for the property itself to be missing.
        """
        if not isinstance(obj, ModuleBase):
            return self.wrapped.__get__(obj, objtype)
        binding.try_setup(obj)
        context.module_stack.append(obj)
        try:
            return self.wrapped.__get__(obj, objtype)
        except AttributeError as error:
            raise DescriptorAttributeError(
                module_cls=type(obj),
                descriptor=self._name,
                missing=error.name or str(error),
                known=dir(obj),
            ) from error
        finally:
            context.module_stack.pop()

    @property
    def _name(self) -> str:
        getter = getattr(self.wrapped, 'fget', None) or getattr(self.wrapped, 'func', self.wrapped)
        return getattr(getter, '__name__', type(self.wrapped).__name__)

    def __getattr__(self, name: str) -> Any:
        if name == 'wrapped':  # while it is being copied or unpickled
            raise AttributeError(name)
        return getattr(self.wrapped, name)


class _DataDescriptorWrapper(DescriptorWrapper):
    """One that also can be set, so that it comes before an instance's own attributes."""

    def __set__(self, obj: Any, value: Any) -> None:
        self.wrapped.__set__(obj, value)

    def __delete__(self, obj: Any) -> None:
        self.wrapped.__delete__(obj)


def create_descriptor_wrapper(descriptor: Any) -> DescriptorWrapper:
    """Wraps a descriptor, keeping whether it can be set."""
    settable = hasattr(type(descriptor), '__set__')
    return (_DataDescriptorWrapper if settable else DescriptorWrapper)(descriptor)


def wrap_descriptor_once(descriptor: Any) -> DescriptorWrapper:
    """Wraps a descriptor, unless it is wrapped already."""
    if isinstance(descriptor, DescriptorWrapper):
        return descriptor
    return create_descriptor_wrapper(descriptor)

"""Lifting a transform of functions of scopes to modules: one way for classes, methods, functions.

The modules and variables that a call involves, in ``self``, in its fields and in the arguments,
are *captured*: their scopes go through the transform's boundary, and each is replaced by a static
handle. Inside, the handles become clones on the inner scopes; one clone for each module, so that
what was shared outside is shared inside.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax

from linnet.core.rng import LazyRng
from linnet.core.scope import Scope, Variable
from linnet.errors.calls import CallCompactUnboundModuleError
from linnet.errors.modules import ApplyModuleInvalidMethodError
from linnet.errors.transforms import TransformedMethodReturnValueError, TransformTargetError
from linnet.linen.module import binding
from linnet.linen.module.base import Module
from linnet.linen.module.calls import wrap_method_once
from linnet.linen.module.plan import local_method_names
from linnet.linen.module.state import ModuleBase, ModuleState, SetupState
from linnet.linen.module.trees import hashable, is_atom, map_modules, modules_in


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Handle:
    """Stands for a captured module or variable, as part of a tree's structure."""

    index: int


class Capture:
    """The modules and variables of one call, and their scopes."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.originals: list[Any] = []
        self.known: dict[int, Handle] = {}
        self.classes: dict[int, Any] = {}  # of clones, where it may be a base of their class

    def seal(self, tree: Any) -> Any:
        """A tree of arguments with handles in place of modules and variables."""
        return _map_kinds(self.handle, (ModuleBase, Variable), tree)

    def handle(self, original: Any) -> Handle:
        """The handle of a module or variable; modules in its fields are captured with it."""
        known = self.known.get(id(original))
        if known is not None:
            return known
        if isinstance(original, ModuleBase):
            for value in _held(original).values():
                for sub in modules_in(value):
                    self.handle(sub)
        handle = self.known[id(original)] = Handle(len(self.originals))
        self.originals.append(original)
        if original.scope is not None:
            self.scopes.append(original.scope)
        return handle

    def fingerprint(self) -> Any:
        """All that a program depends on in the captured modules, hashable."""
        return tuple(
            (type(o), getattr(o, 'name', None), self._fields_of(o)) for o in self.originals
        )

    def _fields_of(self, original: Any) -> Any:
        if not isinstance(original, ModuleBase):
            return original.collection, original.unbox
        values = (original.__dict__.get(name) for name in original._plan.fields)
        return tuple(hashable(map_modules(lambda _, sub: self.handle(sub), v)) for v in values)

    def open(self, scopes: Iterable[Scope], tree: Any) -> Any:
        """A sealed tree with clones, on these inner scopes, in place of handles."""
        opened = _Opened(self, iter(scopes))
        return _map_kinds(lambda handle: opened[handle.index], (Handle,), tree)


def _map_kinds(fn: Callable[[Any], Any], kinds: tuple[type, ...], tree: Any) -> Any:
    """A tree in which what is of these kinds is mapped."""
    return jax.tree_util.tree_map(
        lambda x: fn(x) if isinstance(x, kinds) else x, tree, is_leaf=lambda x: isinstance(x, kinds)
    )


def _held(module: Any) -> dict[str, Any]:
    """The fields of a module that may hold others."""
    values = {name: module.__dict__.get(name) for name in module._plan.fields}
    return {name: value for name, value in values.items() if not is_atom(value)}


class _Opened:
    """Clones of captured modules, made when they are first asked for."""

    def __init__(self, capture: Capture, scopes: Iterator[Scope]) -> None:
        self._of = capture
        self._scopes = [next(scopes) if o.scope is not None else None for o in capture.originals]
        self._clones: dict[int, Any] = {}

    def __getitem__(self, index: int) -> Any:
        if index not in self._clones:
            original, scope = self._of.originals[index], self._scopes[index]
            if scope is None:
                clone = original
            elif isinstance(original, Variable):
                clone = original.at(scope)
            else:
                clone = self._module(original, scope, self._of.classes.get(index, type(original)))
            self._clones[index] = clone
        return self._clones[index]

    def _module(self, original: Any, scope: Scope, cls: Any) -> Any:
        fields = {
            name: map_modules(lambda _, sub: self[self._of.known[id(sub)].index], value)
            for name, value in _held(original).items()
            if name in cls._plan.fields
        }
        return binding.clone(original, parent=scope, _class=cls, **fields)


class Call:
    """One call of a lifted function: what it captured, and how to run inside the transform.

    Args:
        module: the module whose method, or function, is lifted.
        args: arguments.
        kwargs: keyword arguments.
        multi_scope: whether the transform takes a list of scopes, or the one of the module.
        name: of the transform, for messages.
        cls: of the module inside, where its own class is the lifted one.
    """

    def __init__(
        self,
        module: Any,
        args: Any,
        kwargs: Any,
        multi_scope: bool = True,
        name: str = '',
        cls: Any = None,
    ) -> None:
        if not isinstance(module, ModuleBase):
            raise TransformTargetError(module, transform=name)
        if module.scope is None:
            raise CallCompactUnboundModuleError.under(name, module)
        self._capture = Capture()
        self._module = module
        self.args, self.kwargs = self._capture.seal((args, kwargs))
        self._handle = self._capture.handle(module)
        self._capture.classes[self._handle.index] = cls or type(module)
        self._multi_scope = multi_scope
        self._state = _exported(module._state)
        self.scopes: Any = self._capture.scopes
        if not multi_scope:
            if len(set(self.scopes)) > 1:
                raise TransformTargetError(module, transform=name)
            self.scopes = module.scope

    def on_scopes(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """``fn(module, *args)`` as a function of scopes, with the module as the running one."""
        fn = wrap_method_once(fn)

        @functools.wraps(fn, updated=())
        def core_fn(scopes: Any, /, *args: Any, **kwargs: Any) -> Any:
            scopes = scopes if self._multi_scope else [scopes] * len(self._capture.scopes)
            clone, args, kwargs = self._capture.open(scopes, (self._handle, args, kwargs))
            object.__setattr__(clone, '_state', _exported(self._state))
            y = fn(clone, *args, **kwargs)
            self._module._state.autoname_cursor = clone._state.autoname_cursor
            _check_result(y, getattr(fn, '__name__', 'function'))
            return y

        return core_fn

    def key(self) -> Any:
        """All that the program depends on beside scopes and arguments, hashable."""
        return self._capture.fingerprint(), self._state.fingerprint()

    def effects(self) -> Any:
        """What running the function did to the module, to be done again without running."""
        return dict(self._module._state.autoname_cursor)

    def replay(self, effects: Any) -> None:
        """Does to the module what an earlier run did."""
        self._module._state.autoname_cursor = dict(effects)


def _exported(state: ModuleState) -> ModuleState:
    """The state that a clone begins with: that of the module, without its children."""
    clone = ModuleState()
    clone.in_compact_method = state.in_compact_method
    clone.in_setup = state.in_setup
    clone.is_initialized = state.is_initialized
    clone.autoname_cursor = dict(state.autoname_cursor)
    if state.setup_called != SetupState.NEW:
        clone.setup_called = SetupState.TRANSFORMED
    return clone


def _check_result(y: Any, name: str) -> None:
    for leaf in jax.tree_util.tree_leaves(y):
        if isinstance(leaf, (ModuleBase, Variable)):
            raise TransformedMethodReturnValueError(name, kind=f'a {type(leaf).__name__}')


def lift_function(
    transform: Callable[..., Any],
    fn: Callable[..., Any],
    *trafo_args: Any,
    forks: bool = False,
    cls: Any = None,
    **trafo_kwargs: Any,
) -> Callable[..., Any]:
    """Lifts a method, or a function whose first argument is a module.

    Args:
        transform: of :mod:`linnet.core.lift`: from a function of scopes to another.
        fn: the function.
        *trafo_args: arguments of the transform after the function.
        forks: whether the module gets keys of its own for the call.
        cls: the class that is lifted, where ``fn`` is its method. Inside, the module is of this
            class, so that its methods call each other as they are.
        **trafo_kwargs: keyword arguments of the transform.
    """

    def prepare(core_fn: Callable[..., Any], _: Call) -> Callable[..., Any]:
        return transform(core_fn, *trafo_args, **trafo_kwargs)

    return _lifted(prepare, fn, forks, cls, f'nn.{transform.__name__}')


def lift_jit(
    transform: Callable[..., Any], fn: Callable[..., Any], cls: Any = None, **jit_kwargs: Any
) -> Callable[..., Any]:
    """Like :func:`lift_function` for ``jit``, whose compiled programs outlive a call."""
    return _lifted(transform(**jit_kwargs), fn, True, cls, 'nn.jit')


def _lifted(
    prepare: Callable[..., Any], fn: Callable[..., Any], forks: bool, cls: Any, name: str
) -> Callable[..., Any]:
    """The lifted function; ``prepare`` makes of a function of scopes, and the call, another."""
    method = wrap_method_once(fn)

    @functools.wraps(method)
    def lifted(module: Any, /, *args: Any, **kwargs: Any) -> Any:
        if hasattr(lifted, 'compact') and not hasattr(fn, 'compact'):
            fn.compact = True  # type: ignore[attr-defined]  # a mark above counts for fn
        with fork_rngs(module) if forks else contextlib.nullcontext():
            call = Call(module, args, kwargs, name=name, cls=cls)
            run = prepare(call.on_scopes(method), call)
            return run(call.scopes, *call.args, **call.kwargs)

    vars(lifted)['has_axes'] = 'vmap' in name or 'scan' in name or getattr(fn, 'has_axes', False)
    return lifted


@contextlib.contextmanager
def fork_rngs(module: Any) -> Iterator[None]:
    """Gives a bound module, for a while, keys of its own: one drawn from each stream.

    Its ``setup`` runs with them, and what it makes is there before it runs again inside.
    """
    scope = getattr(module, 'scope', None)
    if scope is None:
        yield  # the call will be refused
        return
    outer = scope.rngs
    scope.rngs = {stream: LazyRng.create(scope.make_rng(stream)) for stream in outer}
    try:
        if not getattr(module, '_has_axes', False):  # else it runs inside of them alone
            binding.try_setup(module)
        yield
    finally:
        scope.rngs = outer


def _check_methods(name: str, target: Any, methods: Iterable[str]) -> None:
    for method in methods:
        if not callable(getattr(target, str(method), None)):
            known = local_method_names(target, exclude=target.__dataclass_fields__)
            raise ApplyModuleInvalidMethodError(
                method, module_cls=target, known=known, transform=name
            )


Methods = str | Iterable[str] | Mapping[str, Mapping[str, Any]] | None


def lift(
    name: str,
    lifting: Callable[..., Callable[..., Any]],
    target: Any,
    methods: Methods,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Lifts a class or a function.

    Args:
        name: of the transform; it begins the name of a lifted class.
        lifting: ``lifting(fn, *args, **kwargs)`` lifts one function.
        target: a module class, a partial of one, a method, or a function of a module first.
        methods: of a class, those to lift, ``__call__`` alone where ``None``; or a mapping from
            their names to the arguments of the transform for each.
        *args: arguments of ``lifting``.
        **kwargs: keyword arguments of ``lifting``.

    Returns:
        A subclass called ``NameTarget`` whose methods are lifted, a partial of it, or a function.

    Raises:
        TransformTargetError: the target is neither.
    """
    if isinstance(target, functools.partial) and inspect.isclass(target.func):
        lifted = lift(name, lifting, target.func, methods, *args, **kwargs)
        return functools.partial(lifted, *target.args, **target.keywords)
    if not (inspect.isclass(target) and issubclass(target, Module)):
        if not callable(target) or isinstance(target, ModuleBase) or inspect.isclass(target):
            raise TransformTargetError(target, transform=f'nn.{name}')
        return lifting(target, *args, **kwargs)
    if methods is None or isinstance(methods, str):
        methods = (methods or '__call__',)
    elif not isinstance(methods, Iterable):
        raise ApplyModuleInvalidMethodError(methods, module_cls=target, transform=f'nn.{name}')
    _check_methods(f'nn.{name}', target, methods)
    lifting = functools.partial(lifting, cls=target)
    args = () if isinstance(methods, Mapping) else args
    methods = methods if isinstance(methods, Mapping) else dict.fromkeys(methods, kwargs)
    before = {method: getattr(target, method) for method in methods}
    return type(
        f'{name.capitalize()}{target.__name__}',
        (target,),
        {method: lifting(before[method], *args, **kw) for method, kw in methods.items()}
        | {'__module__': target.__module__, '__doc__': target.__doc__}
        | {'_has_axes': any(getattr(fn, 'has_axes', False) for fn in before.values())},
    )

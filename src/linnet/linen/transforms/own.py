"""Lifting a transform of one's own: one that is a function of functions of scopes.

A *core transform* takes a function ``fn(scopes, *args)``, and arguments, to another such function,
as those of :mod:`linnet.core.lift` do. What is here lifts it to module classes, to methods, and to
functions that are called at once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import linnet.core.lift.staging as core
from linnet.linen.module.base import Module
from linnet.linen.module.calls import wrap_method_once
from linnet.linen.transforms.methods import Call, Capture, Methods, lift, lift_function
from linnet.linen.transforms.staging import jit

TransformTarget = type[Module] | Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class HashableProxy:
    """A module as a static argument of ``jax.jit``: equal where the same program comes of it."""

    fingerprint: Any
    module: Any = dataclasses.field(compare=False)

    @classmethod
    def from_module(cls, module: Any) -> HashableProxy:
        """The proxy of a module, bound or not."""
        capture = Capture()
        capture.handle(module)
        return cls(capture.fingerprint(), module)


def lift_transform(
    transform: Callable[..., Any],
    target: Any,
    *trafo_args: Any,
    methods: Methods = None,
    **trafo_kwargs: Any,
) -> Any:
    """Lifts a core transform to a module class, a method, or a function of a module.

    Args:
        transform: the core transform, called as ``transform(fn, *trafo_args, **trafo_kwargs)``.
        target: the class, or the function whose first argument is a module.
        *trafo_args: arguments of the transform after the function.
        methods: of a class, the methods to lift; ``__call__`` by default.
        **trafo_kwargs: keyword arguments of the transform.

    Raises:
        TransformTargetError: the target is none of these.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> from linnet.core import lift
    >>> Layers = lift_transform(lift.vmap, nn.Dense, {'params': 0}, {'params': True}, axis_size=2)
    >>> Layers(3).init(jax.random.key(0), jnp.ones((2, 4)))['params']['kernel'].shape
    (2, 4, 3)
    """
    lifting = functools.partial(lift_function, transform)
    return lift(transform.__name__, lifting, target, methods, *trafo_args, **trafo_kwargs)


def lift_transform_cached(
    transform: Callable[..., Any],
    target: Any,
    *trafo_args: Any,
    methods: Methods = None,
    **trafo_kwargs: Any,
) -> Any:
    """Like :func:`lift_transform`, with keys of the module's own, drawn from those outside.

    So the program does not depend on how many keys were drawn before, and ``lift.jit`` keeps it.
    """
    if transform is core.jit:
        return functools.partial(jit, methods=methods)(target, *trafo_args, **trafo_kwargs)
    lifting = functools.partial(lift_function, transform, forks=True)
    return lift(transform.__name__, lifting, target, methods, *trafo_args, **trafo_kwargs)


def module_class_lift_transform(
    transform: Callable[..., Any],
    module_class: Any,
    *trafo_args: Any,
    methods: Methods = None,
    **trafo_kwargs: Any,
) -> Any:
    """:func:`lift_transform` of a class."""
    return lift_transform(transform, module_class, *trafo_args, methods=methods, **trafo_kwargs)


def module_class_lift_transform_cached(
    transform: Callable[..., Any],
    module_class: Any,
    methods: Methods = None,
    **trafo_kwargs: Any,
) -> Any:
    """:func:`lift_transform_cached` of a class."""
    return lift_transform_cached(transform, module_class, methods=methods, **trafo_kwargs)


def decorator_lift_transform(
    transform: Callable[..., Any],
    class_fn: Callable[..., Any] | tuple[Callable[..., Any], ...],
    *trafo_args: Any,
    multi_scope: bool = True,
    **trafo_kwargs: Any,
) -> Callable[..., Any]:
    """Lifts a core transform to functions whose first argument is a module.

    Args:
        transform: the core transform, called as ``transform(*fns, *trafo_args, **trafo_kwargs)``.
        class_fn: the function, or several of the same module.
        *trafo_args: arguments of the transform after the functions.
        multi_scope: whether the functions that it gets take a list of scopes, those of the module
            and of the modules in its fields and arguments, or only the one of the module.
        **trafo_kwargs: keyword arguments of the transform.

    Returns:
        A function of the module and the arguments that the transformed function takes.
    """
    fns = class_fn if isinstance(class_fn, tuple) else (class_fn,)

    @functools.wraps(wrap_method_once(fns[0]))
    def lifted(module: Any, /, *args: Any, **kwargs: Any) -> Any:
        call = Call(module, args, kwargs, multi_scope)
        run = transform(*map(call.on_scopes, fns), *trafo_args, **trafo_kwargs)
        return run(call.scopes, *call.args, **call.kwargs)

    return lifted


def decorator_lift_transform_cached(
    transform: Callable[..., Any], class_fn: Callable[..., Any], **trafo_kwargs: Any
) -> Callable[..., Any]:
    """:func:`lift_transform_cached` of a function."""
    return lift_transform_cached(transform, class_fn, **trafo_kwargs)


def lift_direct_transform(
    transform: Callable[..., Any],
    targets: tuple[Callable[..., Any], ...],
    mdl: Any,
    *args: Any,
    multi_scope: bool = True,
    **kwargs: Any,
) -> Any:
    """Calls a core transform that runs functions at once, as ``lift.vjp`` and ``lift.cond`` do.

    Args:
        transform: called as ``transform(*fns, scopes, *args, **kwargs)``.
        targets: functions whose first argument is a module.
        mdl: the module.
        *args: the other arguments of the functions.
        multi_scope: whether ``scopes`` is a list, or the one scope of the module.
        **kwargs: keyword arguments of the transform.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> from linnet.core import lift
    >>> class Net(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x):
    ...         loss = lambda layer, x: layer(x).sum()
    ...         return lift_direct_transform(lift.value_and_grad, (loss,), nn.Dense(1), x)
    >>> (loss, (gradient,)), _ = Net().init_with_output(jax.random.key(0), jnp.ones((2, 3)))
    >>> gradient.shape
    (2, 3)
    """
    call = Call(mdl, args, {}, multi_scope)
    return transform(*map(call.on_scopes, targets), call.scopes, *call.args, **kwargs)

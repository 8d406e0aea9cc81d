"""Lifted transforms that compile a module, or recompute it: ``jit`` and ``remat``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import linnet.core.lift.staging as lift
from linnet.core.filters import CollectionFilter, PRNGSequenceFilter
from linnet.core.lift.staging import compiler
from linnet.core.repeated import hashes
from linnet.linen.module.reuse import may_reuse, run_or_reuse
from linnet.linen.module.state import ModuleBase
from linnet.linen.transforms.methods import Methods, lift_function, lift_jit
from linnet.linen.transforms.methods import lift as lift_target

Target = TypeVar('Target')


def jit(
    target: Target,
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
    static_argnums: int | Iterable[int] = (),
    static_argnames: str | Iterable[str] = (),
    donate_argnums: int | Iterable[int] = (),
    device: Any = None,
    backend: str | None = None,
    methods: Methods = None,
) -> Target:
    """``jax.jit`` of a module: compiled as a program of its own inside others.

    Args:
        target: a module class, or a function whose first argument is a module.
        variables: the collections that it sees.
        rngs: the streams that it sees; it gets keys of its own, drawn from them.
        static_argnums: arguments on whose value the program depends; ``self`` is argument 0.
        static_argnames: the same for keyword arguments.
        donate_argnums: arguments whose memory may be used for results.
        device: kept for compatibility.
        backend: kept for compatibility.
        methods: of a class, the methods to lift; ``__call__`` by default.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> nn.jit(nn.Dense)(2).init(jax.random.key(0), jnp.ones((1, 3)))['params']['kernel'].shape
    (3, 2)
    """
    del device, backend
    return lift_target(
        'jit',
        functools.partial(lift_jit, compiler),
        target,
        methods,
        variables=variables,
        rngs=rngs,
        static_argnums=_after_self(static_argnums),
        static_argnames=static_argnames,
        donate_argnums=_after_self(donate_argnums),
    )


def checkpoint(
    target: Target,
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
    concrete: bool = False,
    prevent_cse: bool = True,
    static_argnums: int | tuple[int, ...] = (),
    policy: Callable[..., bool] | None = None,
    methods: Methods = None,
) -> Target:
    """``jax.checkpoint`` of a module: the backward pass computes it again and keeps less.

    Also called ``nn.remat``. Of a class and the same options it makes one class, not a new one
    each time.

    Args:
        target: a module class, or a function whose first argument is a module.
        variables: the collections that it sees.
        rngs: the streams that it sees.
        concrete: kept for compatibility.
        prevent_cse: whether the compiler is kept from sharing the two computations; not needed
            inside ``scan``.
        static_argnums: arguments that are not traced; ``self`` is argument 0.
        policy: which values the backward pass keeps, of ``jax.checkpoint_policies``.
        methods: of a class, the methods to lift; ``__call__`` by default.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> class Net(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x):
    ...         return nn.remat(nn.Dense)(2, name='hidden')(x)
    >>> list(Net().init(jax.random.key(0), jnp.ones((1, 3)))['params'])
    ['hidden']
    """
    options: dict[str, Any] = {
        'variables': variables,
        'rngs': rngs,
        'concrete': concrete,
        'prevent_cse': prevent_cse,
        'static_argnums': _after_self(static_argnums),
        'policy': policy,
    }
    cls: Any = target.func if isinstance(target, functools.partial) else target
    if isinstance(cls, type) and methods is None and hashes((*options.values(),)):
        call = getattr(cls, '__call__', None)  # noqa: B004 which may be replaced
        lifted: Any = _checkpointed(cls, call, **options)
        if isinstance(target, functools.partial):
            lifted = functools.partial(lifted, *target.args, **target.keywords)
        return lifted
    return lift_target('checkpoint', _lift_checkpoint, target, methods, **options)


remat = checkpoint


@functools.lru_cache(maxsize=256, typed=True)
def _checkpointed(target: Any, call: Any, **options: Any) -> Any:
    """A lifted class: one for all that ask for the same, so that equal blocks are of one class."""
    del call
    return lift_target('checkpoint', _lift_checkpoint, target, None, **options)


def _lift_checkpoint(fn: Callable[..., Any], cls: Any = None, **kwargs: Any) -> Callable[..., Any]:
    """Lifts a method or a function; equal blocks of a lifted class are traced once."""
    lifted = lift_function(lift.checkpoint, fn, cls=cls, **kwargs)
    if cls is None or getattr(fn, '__name__', '') != '__call__':
        return lifted

    @functools.wraps(lifted)
    def method(module: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not (isinstance(module, ModuleBase) and may_reuse()):
            return lifted(module, *args, **kwargs)
        return run_or_reuse(
            lifted,
            module,
            args,
            kwargs,
            lambda: lifted(module, *args, **kwargs),
            lambda clone, args, kwargs: lifted(clone, *args, **kwargs),
        )

    return method


def _after_self(argnums: int | Iterable[int]) -> tuple[int, ...]:
    """Positions of arguments with ``self`` at 0, as positions after it; 0 is static anyway."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    return tuple(n - 1 if n > 0 else n for n in numbers if n != 0)

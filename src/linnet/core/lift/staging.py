"""Lifted transforms that compile a function, or recompute it: ``jit`` and ``checkpoint``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import jax

from linnet.core.filters import CollectionFilter, DenyList, PRNGSequenceFilter
from linnet.core.lift.boundary import Boundary
from linnet.core.lift.variables import cleared
from linnet.core.loop_checks import check_given
from linnet.core.spmd import get_logical_axis_rules


def checkpoint(
    fn: Callable[..., Any],
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
    concrete: bool = False,
    prevent_cse: bool = True,
    static_argnums: int | tuple[int, ...] = (),
    policy: Callable[..., bool] | None = None,
) -> Callable[..., Any]:
    """``jax.checkpoint`` of a function of scopes: the backward pass computes it again.

    The arguments are explained at :func:`linnet.linen.checkpoint`; ``static_argnums`` does not
    count the scope: 0 is the argument after it.
    """
    del concrete
    static = _after(static_argnums, 2)

    def wrapper(scopes: Any, /, *args: Any, **kwargs: Any) -> Any:
        edge = Boundary(scopes, (variables,), (variables,), (rngs,), 'nn.remat')
        edge.static_argnums = _after(static_argnums, 1)
        check_given(edge.static_argnums, args, kwargs)
        run = jax.checkpoint(
            edge.pure(fn), prevent_cse=prevent_cse, static_argnums=static, policy=policy
        )
        y, out = run(edge.variables, edge.rngs, *args, **kwargs)
        edge.publish(out)
        return y

    return wrapper


remat = checkpoint


class _Program:
    """What a compiled function depends on beside its arguments; equal for equal programs.

    While a call is traced it also carries the boundary and the function, which are dropped when
    the call ends, so that the cache of compiled functions keeps no variables alive.
    """

    def __init__(self, edge: Boundary, fn: Callable[..., Any], key: Any) -> None:
        self.pure: Callable[..., Any] | None = edge.pure(fn)
        self.traced = False
        rules = repr(get_logical_axis_rules())  # they decide how values inside are sharded
        self._identity = (key, rules, *map(_fingerprint, edge.outer))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Program) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)


def _fingerprint(scope: Any) -> Any:
    """What a scope adds to the program: its path, what may change, counts of keys, flags."""
    flags = tuple(sorted(scope.flags.items()))
    counts = scope.counts.below(scope.path)
    return scope.path, _hashable(scope.root.mutable), counts, flags


def _hashable(filter_like: Any) -> Any:
    if isinstance(filter_like, DenyList):
        return DenyList(_hashable(filter_like.deny))
    if isinstance(filter_like, (bool, str)):
        return filter_like
    return frozenset(filter_like)


class Watcher(Protocol):
    """Knows what a program depends on, and does, beyond scopes: for lifted modules."""

    def key(self) -> Any:
        """What the program depends on, hashable."""

    def effects(self) -> Any:
        """What tracing the program did."""

    def replay(self, effects: Any) -> None:
        """Does it again without tracing."""


def compiler(
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
    static_argnums: int | Iterable[int] = (),
    static_argnames: str | Iterable[str] = (),
    donate_argnums: int | Iterable[int] = (),
) -> Callable[..., Callable[..., Any]]:
    """Keeps compiled programs; ``compiler(...)(fn, watcher)`` is ``fn`` run through them.

    Tracing a program draws keys, and may do more; a program that is found compiled does the same
    to the counts as when it was traced, so that what follows does not depend on the cache.
    """

    def run(program: _Program, _vars: Any, _rngs: Any, /, *_args: Any, **_kwargs: Any) -> Any:
        program.traced = True
        assert program.pure is not None
        return program.pure(_vars, _rngs, *_args, **_kwargs)

    jitted = jax.jit(
        run,
        static_argnums=(0, *_after(static_argnums, 3)),
        static_argnames=static_argnames or None,
        donate_argnums=_after(donate_argnums, 3),
    )
    done: dict[tuple[_Program, Any], Any] = {}

    def compiled(fn: Callable[..., Any], watcher: Watcher | None = None) -> Callable[..., Any]:
        def wrapper(scopes: Any, /, *args: Any, **kwargs: Any) -> Any:
            edge = Boundary(scopes, (variables,), (variables,), (rngs,), 'nn.jit')
            edge.reads_all()
            edge.static_argnums = _after(static_argnums, 0)
            keys = cleared(edge.rngs)
            program = _Program(edge, fn, watcher.key() if watcher else None)
            try:
                y, out = jitted(program, edge.variables, keys, *args, **kwargs)
            finally:
                program.pure = None
            which = program, _shapes((edge.variables, args, kwargs))
            if program.traced:
                counts = [scope.counts.below(scope.path) for scope in edge.outer]
                done[which] = counts, watcher.effects() if watcher else None
            elif which in done:
                counts, effects = done[which]
                for scope, state in zip(edge.outer, counts, strict=True):
                    scope.counts.restore(state)
                if watcher:
                    watcher.replay(effects)
            edge.publish(out)
            return y

        return wrapper

    return compiled


def jit(
    fn: Callable[..., Any],
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
    static_argnums: int | Iterable[int] = (),
    static_argnames: str | Iterable[str] = (),
    donate_argnums: int | Iterable[int] = (),
    device: Any = None,
    backend: str | None = None,
) -> Callable[..., Any]:
    """``jax.jit`` of a function of scopes.

    The arguments are explained at :func:`linnet.linen.jit`; the scope is argument 0.
    """
    del device, backend
    static, donated = _after(static_argnums, -1), _after(donate_argnums, -1)
    return compiler(variables, rngs, static, static_argnames, donated)(fn)


def _after(argnums: int | Iterable[int], count: int) -> tuple[int, ...]:
    """Positions of arguments that come after ``count`` others."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    return tuple(n + count if n >= 0 else n for n in numbers)


def _shapes(tree: Any) -> Any:
    leaves, treedef = jax.tree_util.tree_flatten(tree)
    kinds = tuple((getattr(x, 'shape', ()), str(getattr(x, 'dtype', type(x)))) for x in leaves)
    return treedef, kinds

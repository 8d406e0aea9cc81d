"""Arithmetic that tracing repeats: a function of arrays is traced once for each set of shapes.

While a program is traced, JAX can put the operations that a function made before into it again,
much faster than the function makes them. The program is the same, operation by operation.
Elsewhere, in eager calls and under derivatives and maps, the function runs as it is, so that its
numbers stay the same to the bit.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.extend.core import Var

from linnet import _compat

F = TypeVar('F', bound=Callable[..., Any])


def repeated(static: int) -> Callable[[F], F]:
    """Decorates a pure function of arrays that may be repeated.

    Args:
        static: how many of its arguments, the last ones, are not arrays; they must hash, else the
            function runs as it is.

    >>> @repeated(static=1)
    ... def scaled(x, factor):
    ...     return x * factor
    >>> jax.jit(lambda x: scaled(scaled(x, 2.0), 2.0))(1.0)
    Array(4., dtype=float32, weak_type=True)
    """

    def decorate(fn: F) -> F:
        split = fn.__code__.co_argcount - static

        # The types count too: 1 is equal to 1.0, and makes another program.
        def run(options: tuple[Any, ...], _: tuple[type, ...], *arrays: Any) -> Any:
            return fn(*arrays, *options)

        run.__name__ = fn.__name__.lstrip('_')
        replay = jax.jit(run, static_argnums=(0, 1), inline=_compat.inline_early)
        programs = _Programs(replay)

        @functools.wraps(fn)
        def call(*args: Any) -> Any:
            options = args[split:]
            if not _compat.is_staging() or not hashes(options):
                return fn(*args)
            arrays, types = args[:split], tuple(map(type, options))
            avals = tuple([x.aval if isinstance(x, _compat.Tracer) else _aval(x) for x in arrays])
            if _other in avals:
                return replay(options, types, *arrays)
            return programs.put(options, types, arrays, avals)

        return call  # type: ignore[return-value]

    return decorate


_other = object()


def _aval(x: Any) -> Any:
    """What stands for the shape of an array, or for what is absent; ``_other`` for other things."""
    if x is None or type(x) is np.uint32:
        return type(x)
    return jax.typeof(x) if isinstance(x, jax.Array) else _other


class _Programs:
    """The programs of one function, by its options and the shapes of arrays.

    ``jax.jit`` keeps programs too, and takes three times as long to find one.

    Args:
        replay: the function, jitted, with options and types of options as its static arguments.
    """

    def __init__(self, replay: Any) -> None:
        self._replay = replay
        self._known: dict[Any, Program] = {}

    def put(self, options: Any, types: Any, arrays: tuple[Any, ...], avals: Any) -> Any:
        """Puts the operations into the program that is being traced; returns their results."""
        key = options, types, avals, _compat.trace_context()
        program = self._known.get(key)
        if program is None:
            if len(self._known) == _MOST:
                self._known.clear()
            program = self._known[key] = Program(self._replay.trace(options, types, *arrays))
        return program.put([x for x in arrays if x is not None])


class Program:
    """Operations that were traced once, with the structure of what they return.

    Args:
        traced: what ``jax.jit(fn).trace(...)`` returns.
    """

    def __init__(self, traced: Any) -> None:
        self.closed = traced.jaxpr
        self._out = jax.tree_util.tree_structure(traced.out_info)

    def put(self, arrays: Sequence[Any]) -> Any:
        """Puts the operations on these arrays into the program that is being traced."""
        return jax.tree_util.tree_unflatten(self._out, _compat.put_into_trace(self.closed, arrays))


class Call:
    """A traced program as one operation, of which derivatives are those of its operations.

    JAX adds up what it derives for the uses of an array, from the last one back. A call would add
    those inside of it first, and numbers could differ in their last bits; so each use is an input.

    Args:
        traced: what ``jax.jit(fn).trace(...)`` returns.

    Raises:
        ValueError: the order could not be kept.
    """

    def __init__(self, traced: Any) -> None:
        closed, self._uses, self._results = _by_use(traced.jaxpr)
        call = functools.partial(_compat.call, _compat.parameters_of_call(traced, closed))
        self._call, self._operation = call, jax.make_jaxpr(call)(*closed.in_avals).eqns[0]
        self._out = jax.tree_util.tree_structure(traced.out_info)

    def put(self, arrays: Sequence[Any]) -> Any:
        """Calls the program with these arrays, in a program that is being traced."""
        uses = [arrays[use] for use in self._uses]
        if _compat.is_staging():
            out = _compat.put_operation(self._operation, uses)
        else:
            out = self._call(*uses)
        found = [*arrays, *out]
        return jax.tree_util.tree_unflatten(self._out, [found[i] for i in self._results])


def _by_use(closed: Any) -> tuple[Any, list[int], list[int]]:
    """A program with an input for each use of its inputs, and each of its results once.

    Returns:
        The program, which inputs it takes, and which inputs and results are the results, counted
        from the first input on.
    """
    jaxpr = closed.jaxpr
    place = {id(var): i for i, var in enumerate(jaxpr.invars)}  # some results do not hash
    uses: dict[Var, int] = {}
    times = Counter(id(var) for operation in jaxpr.eqns for var in operation.invars)
    operations = []
    for operation in reversed(jaxpr.eqns):
        _check_order(operation, place, times)
        inputs = list(operation.invars)
        for i, var in enumerate(inputs):
            if id(var) in place:
                inputs[i] = Var(var.aval)
                uses[inputs[i]] = place[id(var)]
        operations.append(operation.replace(invars=inputs))
    made: list[Any] = []
    for var in jaxpr.outvars:
        if id(var) not in place:
            place[id(var)] = len(place)
            made.append(var)
    separate = jaxpr.replace(
        invars=list(uses),
        eqns=operations[::-1],
        outvars=made,
        debug_info=jaxpr.debug_info.with_unknown_names(),
    )
    results = [place[id(var)] for var in jaxpr.outvars]
    return closed.replace(jaxpr=separate), list(uses.values()), results


_TAKING = ('gather', 'dynamic_slice')


def _check_order(operation: Any, inputs: Collection[int], uses: Mapping[int, int]) -> None:
    """Raises ``ValueError`` where JAX might add in another order than use by use."""
    used = [id(var) for var in operation.invars if id(var) in inputs]
    # What is derived of one is a scatter, which XLA joins with what is added to it.
    if operation.primitive.name in _TAKING and any(uses[var] > 1 for var in used):
        raise ValueError(f'{operation.primitive} takes from an input that is used twice')
    # Calls add from the first input on, and what an operation adds is its own affair.
    alike = operation.primitive.multiple_results or operation.primitive.name in ('add', 'mul')
    if len(set(used)) < len(used) and not alike:
        raise ValueError(f'{operation.primitive} uses an input twice')


_MOST = 2048  # sets of shapes of one function


def hashes(values: tuple[Any, ...]) -> bool:
    """Tells whether values can be looked up in a dict."""
    try:
        hash(values)
    except TypeError:
        return False
    return True

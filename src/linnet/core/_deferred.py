"""Deferred evaluation: operations on arrays that run when somebody looks at the numbers.

Inside :func:`deferring` an operation of JAX outside of its transforms only says which shapes come
out. Its results are :class:`DeferredArray`, which hold the *operation*: what is to run, on what.
Whoever looks at numbers (``if``, ``float``, NumPy, ``print``) gets them: then the operations that
these numbers need run one by one, as they would have run before, and no others. So a program
runs on as if nothing were deferred, and what nobody looks at is never computed, nor compiled.

Operations with side effects (callbacks, references), and those in another context than the
outermost :func:`deferring` (another device, another precision), run at once.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from linnet import _compat
from linnet.core.devices import default_device


class Operation:
    """One operation that has not run yet, or its results.

    Attributes:
        primitive: the operation of JAX.
        inputs: arrays, deferred ones among them; emptied when it has run.
        params: the operation's parameters.
        results: one array for each output; ``None`` until it has run.
    """

    __slots__ = ('inputs', 'params', 'primitive', 'results')

    run_all: Callable[[Sequence[Any]], None] | None = None
    """How all operations of a class run together, where they do."""

    def __init__(self, primitive: Any, inputs: Sequence[Any], params: dict[str, Any]) -> None:
        self.primitive = primitive
        self.inputs = inputs
        self.params = params
        self.results: Sequence[Any] | None = None

    def run(self) -> None:
        """Computes the results; all inputs are known."""
        inputs = [known(x) for x in self.inputs]
        moved = _moved(self.primitive.name, inputs[0], self.params) if len(inputs) == 1 else None
        if moved is not None:
            self.finish((moved,))
            return
        out = _at_once(self.primitive, inputs, self.params)
        self.finish(out if self.primitive.multiple_results else (out,))

    def finish(self, results: Sequence[Any]) -> None:
        """Stores the results, and lets go of what they were made of."""
        self.results = results
        self.inputs = ()
        self.params = {}


class DeferringTrace(_compat.Trace):
    """Where operations go inside :func:`deferring`. There is one, as there is one eager trace."""

    def stage_value(self, val: Any) -> Any:
        """Makes an array of a value, at once."""
        return val if isinstance(val, jax.Array) else _compat.eval_trace.stage_value(val)

    def process_primitive(self, primitive: Any, tracers: Any, params: dict[str, Any], /) -> Any:
        """Defers an operation, or runs it where that must be."""
        avals = [jax.typeof(x) for x in tracers]
        # Of the words of a key, whose copy JAX wants to be an array that it knows.
        is_known_copy = primitive.name == 'copy' and type(tracers[0]) is not DeferredArray
        if is_known_copy or not _can_wait(primitive, avals):
            return _at_once(primitive, [known(x) for x in tracers], params)
        out, effects = _compat.abstract_eval(primitive, avals, params)
        outs = out if primitive.multiple_results else (out,)
        if effects or not all(isinstance(aval, jax.core.ShapedArray) for aval in outs):
            return _at_once(primitive, [known(x) for x in tracers], params)
        if any(params.get('donated_invars', ())):  # what others wait for must stay
            params = {**params, 'donated_invars': (False,) * len(tracers)}
        operation = Operation(primitive, [_held(x) for x in tracers], params)
        results = [DeferredArray(aval, operation, i) for i, aval in enumerate(outs)]
        return results if primitive.multiple_results else results[0]

    def process_custom_jvp_call(
        self, primitive: Any, fun: Any, jvp: Any, tracers: Any, /, **_: Any
    ) -> Any:
        """Calls a function that has a derivative of its own."""
        with _compat.set_current_trace(self):
            return fun.call_wrapped(*tracers)

    def process_custom_vjp_call(
        self, primitive: Any, fun: Any, fwd: Any, bwd: Any, tracers: Any, /, **_: Any
    ) -> Any:
        """Calls a function that has a derivative of its own."""
        with _compat.set_current_trace(self):
            return fun.call_wrapped(*tracers)

    def process_shard_map(
        self, primitive: Any, fun: Any, tracers: Any, /, *args: Any, **params: Any
    ) -> Any:
        """Runs a function over the devices of a mesh, at once."""
        with _compat.set_current_trace(_compat.eval_trace):
            inputs = [known(x) for x in tracers]
            process = _compat.eval_trace.process_shard_map  # type: ignore[attr-defined]
            return process(primitive, fun, inputs, *args, **params)


_trace = DeferringTrace()


class DeferredArray(_compat.Tracer):
    """An array whose numbers are not computed before they are needed."""

    __slots__ = ('index', 'operation')

    def __init__(self, aval: Any, operation: Operation, index: int = 0) -> None:
        super().__init__(_trace, aval)
        self.operation = operation
        self.index = index

    def full_lower(self) -> Any:
        """The array itself."""
        if self.operation.results is None:
            evaluate([self.operation])
        results: Any = self.operation.results
        return results[self.index]

    @property
    def dimension_as_value(self) -> Any:
        """What JAX asks a value for that becomes a constant of a program; ``None`` elsewhere.

        It is the array itself, since a program lives longer than ``init`` does. While operations
        are deferred, that holds for what ``jax.jit`` keeps: other programs take it as an input.
        """
        frame: Any = sys._getframe(1)
        if frame.f_code is not _compat.takes_constant:
            return None
        is_kept = _state.context is None or frame.f_locals['self'].frame.debug_info.traced_for in (
            'jit',
            'pjit',
        )
        return self.full_lower if is_kept else None

    def to_concrete_value(self) -> Any:
        """The array itself, or ``None`` where JAX asks without wanting to know."""
        frame: Any = sys._getframe(1)
        for _ in range(4):
            if frame is None:
                break
            if frame.f_code in _compat.asks_idly:
                return None
            frame = frame.f_back
        return self.full_lower()


def _looks(name: str) -> Callable[..., Any]:
    """A method that looks at the numbers."""

    def method(self: DeferredArray, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.full_lower(), name)(*args, **kwargs)

    method.__name__ = name
    return method


def _looked_at(name: str) -> property:
    """A property of the array itself."""
    return property(lambda self: getattr(self.full_lower(), name))


for _name in (
    '__array__ __bool__ __complex__ __dlpack__ __float__ __format__ __hex__ __index__ __int__ '
    '__oct__ __reduce__ __repr__ __str__ addressable_data block_until_ready copy_to_host_async '
    'delete devices is_deleted on_device_size_in_bytes tobytes tolist unsafe_buffer_pointer'
).split():
    setattr(DeferredArray, _name, _looks(_name))
for _name in (
    'addressable_shards committed device global_shards is_fully_addressable is_fully_replicated '
    'sharding traceback'
).split():
    setattr(DeferredArray, _name, _looked_at(_name))


class _State(threading.local):
    """What holds in this thread: the context in which operations are deferred."""

    context: Any = None
    settings: tuple[Any, Any] = (None, None)


_state = _State()


def is_deferring() -> bool:
    """Tells whether operations are being deferred at this moment."""
    return _compat.current_trace() is _trace


@contextlib.contextmanager
def deferring() -> Iterator[None]:
    """Defers operations in the ``with`` block."""
    outer = _state.context, _state.settings
    _state.context = _compat.trace_context()
    _state.settings = jax.config.jax_default_device, jax.config.jax_default_matmul_precision
    try:
        with _compat.set_current_trace(_trace):
            yield
    finally:
        _state.context, _state.settings = outer


@contextlib.contextmanager
def undeferred() -> Iterator[None]:
    """Runs operations as outside of :func:`deferring`, in its context."""
    with contextlib.ExitStack() as stack:
        if _state.context is not None and _state.context != _compat.trace_context():
            device, precision = _state.settings
            stack.enter_context(jax.default_device(device))
            stack.enter_context(jax.default_matmul_precision(precision))
        stack.enter_context(_compat.set_current_trace(_compat.eval_trace))
        yield


def known(x: Any) -> Any:
    """An array whose operation has run, or any other value, as it is outside."""
    return x.full_lower() if type(x) is DeferredArray else x


def evaluate(wanted: Sequence[Operation]) -> None:
    """Runs operations, and those that they need."""
    order = _in_order(wanted)
    order.reverse()
    with undeferred():
        for kind in {type(operation) for operation in order}:
            if kind.run_all is not None:
                kind.run_all([operation for operation in order if type(operation) is kind])
        while order:
            operation = order.pop()
            if operation.results is None:
                operation.run()


def _in_order(wanted: Sequence[Operation]) -> list[Operation]:
    """Operations that have not run, each after those that it needs."""
    order: dict[int, Operation] = {}
    stack = list(reversed(wanted))
    while stack:
        operation = stack[-1]
        if operation.results is not None or id(operation) in order:
            stack.pop()
            continue
        before = [
            x.operation
            for x in operation.inputs
            if type(x) is DeferredArray
            and x.operation.results is None
            and id(x.operation) not in order
        ]
        if before:
            stack.extend(reversed(before))
        else:
            order[id(stack.pop())] = operation
    return list(order.values())


def _can_wait(primitive: Any, avals: Sequence[Any]) -> bool:
    """Tells whether an operation may run later, as far as one sees before its shapes."""
    return (
        _state.context == _compat.trace_context()
        and not primitive.ref_allocating
        and 'callback' not in primitive.name
        and all(isinstance(aval, jax.core.ShapedArray) for aval in avals)
    )


def _at_once(primitive: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    with _compat.set_current_trace(_compat.eval_trace):
        return _compat.eval_trace.process_primitive(primitive, inputs, params)


def _moved(name: str, x: Any, params: dict[str, Any]) -> Any:
    """What a fill or a reshape gives, made by the host; None where the device must do it.

    So neither is compiled for each shape.
    """
    if name not in ('broadcast_in_dim', 'reshape') or params['sharding'] is not None:
        return None
    aval, device = jax.typeof(x), default_device()
    is_numeric = not aval.weak_type and isinstance(aval.dtype, np.dtype)
    if not is_numeric or not _is_on(x, device):
        return None
    is_host = device.platform == 'cpu'
    if name == 'reshape':
        if params['dimensions'] is None and is_host:
            return jax.device_put(np.asarray(x).reshape(params['new_sizes']))
    elif aval.ndim == 0 and (is_host or math.prod(params['shape']) <= _FEW):
        return jax.device_put(np.full(params['shape'], np.asarray(x)))
    return None


_FEW = 2**20  # numbers that are on their way to a device before a program is compiled for it


def _is_on(x: Any, device: Any) -> bool:
    """Tells whether a value is on a device, or goes there, and not because somebody put it."""
    return not isinstance(x, jax.Array) or (not x.committed and x.devices() == {device})


def _held(x: Any) -> Any:
    """An input that stays as it is: NumPy arrays could be written to before they are used."""
    return x.copy() if isinstance(x, np.ndarray) else x


_compat.put_as_array(DeferredArray, known)

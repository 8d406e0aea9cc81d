"""The private parts of JAX that this library uses, and the only file that may name them."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from typing import Any

import jax
from jax._src import array as _array
from jax._src import config as _config
from jax._src import core as _core
from jax._src import debugging as _debugging
from jax._src import dtypes as _dtypes
from jax._src import earray as _earray
from jax._src import mesh as _mesh
from jax._src import pjit as _pjit
from jax._src import source_info_util as _source_info
from jax._src import traceback_util as _tracebacks
from jax._src.interpreters import partial_eval as _partial_eval
from jax._src.interpreters import pxla as _pxla
from jax._src.lax import lax as _lax
from jax._src.nn import initializers as _initializers
from jax._src.numpy import array_constructors as _constructors

ExtendedDType = _dtypes.ExtendedDType
Trace = _core.Trace
Tracer: Any = _core.Tracer
api_boundary = _tracebacks.api_boundary
compute_fans = _initializers._compute_fans
eval_trace = _core.eval_trace
set_current_trace = _core.set_current_trace
trace_context = _config.trace_context

asks_idly = {_lax._convert_element_type.__code__, _constructors.array.__code__}
"""Functions of JAX that treat arrays of which the numbers are known as others."""

takes_constant = _partial_eval.DynamicJaxprTrace.to_jaxpr_tracer.__code__
"""The method by which a trace takes a value of outside into its program."""

inline_early: Any = getattr(getattr(jax, 'Inline', None), 'JAX_EARLY', True)
"""What ``jax.jit(inline=)`` takes to put operations into the program that is being traced."""

knows_initialisers = (0, 10) <= jax.__version_info__[:2] <= (0, 12)
"""Whether the order in which JAX's initialisers compute was compared, bit for bit."""

adds_alike = jax.__version_info__ >= (0, 12)
"""Whether XLA adds in the same order beside a hash whose rounds are unrolled."""

normal_scales_first = hasattr(_initializers, '_scaled_normal')
"""Whether ``initializers.normal`` multiplies by the deviation before it draws."""
debug_effect = _debugging.debug_effect  # what `jax.debug.callback` marks programs with


def exclude_frames(path: str, profiles: bool = True) -> None:
    """Leaves frames of a file, or of all files in a folder, out of tracebacks and of profiles.

    Tracebacks are JAX's filtered ones; in a profile an operation is at the line of the caller.
    """
    if path not in _tracebacks._exclude_paths:
        _tracebacks.register_exclusion(path)
        if profiles:
            _source_info.register_exclusion(path)


def include_frames(paths: Collection[str]) -> None:
    """Shows the frames of these paths again."""
    _tracebacks._exclude_paths[:] = [
        path for path in _tracebacks._exclude_paths if path not in paths
    ]


def abstract_eval(primitive: Any, avals: Sequence[Any], params: dict[str, Any]) -> tuple[Any, Any]:
    """The abstract arrays that an operation returns, and its effects."""
    with contextlib.suppress(TypeError):  # of parameters that do not hash, or one that comes again
        return _partial_eval._cached_abstract_eval(primitive, *avals, **params)
    return primitive.abstract_eval(*avals, **params)


def concrete_mesh() -> Any:
    """The mesh that ``jax.set_mesh`` has set, also inside a transform; an empty one without."""
    return _mesh.get_concrete_mesh()


def current_trace() -> Any:
    """The trace in which JAX evaluates at this moment."""
    return _core.trace_ctx.trace


def dce_jaxpr(jaxpr: Any, used_outputs: Sequence[bool]) -> tuple[Any, list[bool]]:
    """Leaves out of a program what the used outputs do not need; says which inputs remain."""
    return _partial_eval.dce_jaxpr(jaxpr, list(used_outputs))


def eval_jaxpr(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """Runs a program operation by operation."""
    return _core.eval_jaxpr(jaxpr, consts, *args)


def refuse_as_array(cls: type, refuse: Any) -> None:
    """Lets ``refuse(x)`` raise where JAX is about to trace an instance of a class."""
    _core.pytype_aval_mappings[cls] = refuse


def outside_of_meshes() -> bool:
    """Tells whether no mesh of devices is in effect."""
    return (
        _mesh.get_abstract_mesh().empty
        and _mesh.get_concrete_mesh().empty
        and _mesh.thread_resources.env.physical_mesh.empty
    )


def axis_names() -> tuple[Any, ...]:
    """The names of mapped axes, and of axes of devices, in which JAX evaluates at this moment."""
    return tuple(_core.trace_ctx.axis_env.axis_sizes)


def is_staging() -> bool:
    """Tells whether operations go straight into a program, by way of no derivative or map."""
    return isinstance(_core.trace_ctx.trace, _partial_eval.DynamicJaxprTrace)


def put_into_trace(closed: Any, args: Sequence[Any]) -> list[Any]:
    """Puts the operations of a program into the one that is being traced."""
    trace: Any = _core.trace_ctx.trace
    source = _source_info.current()
    tracers = _staged(args, trace, source)
    put = _partial_eval.inline_jaxpr_into_trace
    out = put(trace, source, closed.jaxpr, closed.consts, *tracers)
    return [trace.to_jaxpr_tracer(x, source) for x in out]


def put_operation(operation: Any, args: Sequence[Any]) -> list[Any]:
    """Puts one operation of a program, without effects, into the one that is being traced."""
    trace: Any = _core.trace_ctx.trace
    source = _source_info.current()
    avals = [out.aval for out in operation.outvars]
    primitive, params = operation.primitive, operation.params
    tracers = _staged(args, trace, source)
    return trace.emit_eqn(tracers, avals, primitive, params, set(), source, operation.ctx)


def _staged(args: Sequence[Any], trace: Any, source: Any) -> list[Any]:
    """Arrays as values of the program that is being traced, which most of them are."""
    return [
        x
        if isinstance(x, _partial_eval.DynamicJaxprTracer) and x._trace is trace
        else trace.to_jaxpr_tracer(x, source)
        for x in args
    ]


def is_compiled() -> bool:
    """Tells whether operations end in a program, perhaps by way of derivatives and maps."""
    return jitted(_core.trace_ctx.trace) is not None


def parameters_of_call(traced: Any, closed: Any) -> dict[str, Any]:
    """With what JAX calls a program that was made out of one that ``jax.jit`` has traced."""
    params = dict(traced._params, jaxpr=closed)
    for names, count in (
        (('in_shardings', 'in_layouts', 'donated_invars'), len(closed.jaxpr.invars)),
        (('out_shardings', 'out_layouts'), len(closed.jaxpr.outvars)),
    ):
        params |= {name: params[name][:1] * count for name in names}
    return params


def call(parameters: dict[str, Any], *args: Any) -> list[Any]:
    """Calls a program with the parameters of :func:`parameters_of_call`."""
    return _pjit.jit_p.bind(*args, **parameters)


def jitted(trace: Any) -> Any:
    """The trace of the innermost compiled program of which a trace is part, or ``None``."""
    while trace is not None and not isinstance(trace, _partial_eval.DynamicJaxprTrace):
        trace = getattr(trace, 'parent_trace', None)
    return trace


def is_jit(trace: Any) -> bool:
    """Tells the trace of a whole compiled program from that of a loop's body."""
    return trace.frame.debug_info.traced_for == 'jit'


def traced_function(trace: Any) -> str:
    """Name and place of the function that the trace of a compiled program is of."""
    return trace.frame.debug_info.func_src_info


def trace_of(tracer: Any) -> Any:
    """The trace to which a tracer belongs."""
    return tracer._trace


def transform_name(trace: Any) -> str:
    """What the user calls the transform that made a trace, as ``jax.lax.scan``; or ''."""
    debug_info = getattr(getattr(trace, 'frame', None), 'debug_info', None)
    traced_for = getattr(debug_info, 'traced_for', None) or type(trace).__name__
    return {
        'BatchTrace': 'jax.vmap',
        'JVPTrace': 'jax.grad',
        'LinearizeTrace': 'jax.grad',
        'checkpoint / remat': 'jax.checkpoint',
        'cond': 'jax.lax.cond',
        'fori_loop': 'jax.lax.fori_loop',
        'jit': 'jax.jit',
        'scan': 'jax.lax.scan',
        'shard_map': 'jax.shard_map',
        'switch': 'jax.lax.switch',
        'while_body': 'jax.lax.while_loop',
        'while_cond': 'jax.lax.while_loop',
        'while_loop': 'jax.lax.while_loop',
    }.get(traced_for, '')


def extended_array_handler(aval: Any, physical: Any, sharding: Any, committed: bool) -> Any:
    """What makes an array of an extended dtype out of the buffers that a program returns."""
    handler = _pxla.global_result_handlers[_core.ShapedArray](physical, sharding, committed)
    return handler.wrap(lambda array: _earray.EArray(aval, array))


def put_as_array(kind: type, known: Any) -> None:
    """Lets JAX take values of a type as arguments of programs, by way of the arrays they know.

    Args:
        kind: the type.
        known: a function from such a value to its array.
    """
    put = _pxla.shard_arg_handlers[_array.ArrayImpl]
    _pxla.shard_arg_handlers[kind] = lambda xs, *rest: put([known(x) for x in xs], *rest)

"""The private parts of JAX that this library uses, and the only file that may name them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from jax._src import core as _core
from jax._src import debugging as _debugging
from jax._src import dtypes as _dtypes
from jax._src import earray as _earray
from jax._src import mesh as _mesh
from jax._src import source_info_util as _source_info
from jax._src import traceback_util as _tracebacks
from jax._src.interpreters import partial_eval as _partial_eval
from jax._src.interpreters import pxla as _pxla

ExtendedDType = _dtypes.ExtendedDType
api_boundary = _tracebacks.api_boundary
debug_effect = _debugging.debug_effect  # what `jax.debug.callback` marks programs with


def exclude_frames(path: str) -> None:
    """Leaves frames of a file, or of all files in a folder, out of tracebacks and of profiles.

    Tracebacks are JAX's filtered ones; in a profile an operation is at the line of the caller.
    """
    if path not in _tracebacks._exclude_paths:
        _tracebacks.register_exclusion(path)
        _source_info.register_exclusion(path)


def include_frames(paths: Collection[str]) -> None:
    """Shows the frames of these paths again."""
    _tracebacks._exclude_paths[:] = [
        path for path in _tracebacks._exclude_paths if path not in paths
    ]


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


def axis_names() -> tuple[Any, ...]:
    """The names of mapped axes, and of axes of devices, in which JAX evaluates at this moment."""
    return tuple(_core.trace_ctx.axis_env.axis_sizes)


def jitted(trace: Any) -> Any:
    """The trace of the innermost compiled program of which a trace is part, or ``None``."""
    while trace is not None and not isinstance(trace, _partial_eval.DynamicJaxprTrace):
        trace = getattr(trace, 'parent_trace', None)
    return trace


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

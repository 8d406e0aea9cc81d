"""Errors of Python and JAX that a mistake with modules leads to, said in terms of modules.

What is here runs when something has failed already. An error that it recognises is replaced by one
of ours, of the same built-in class, which ends the traceback at the user's own line.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable
from typing import Any

import jax

from linnet import _compat
from linnet.core.ledger import crossings
from linnet.errors._base import LinnetError
from linnet.errors.calls import ModuleArgumentError
from linnet.errors.layers import InputDtypeError
from linnet.errors.transforms import TracedFlagError
from linnet.linen.module.state import ModuleBase, SetupState
from linnet.sharp_bits import is_inner


def improved(
    error: Exception,
    fun: Callable[..., Any],
    module: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> LinnetError | None:
    """The error to raise in place of one that left a method, ``None`` where that is good.

    Args:
        error: what was raised.
        fun: the method.
        module: its module.
        args: what it was called with.
        kwargs: keyword arguments.
    """
    if isinstance(error, LinnetError):
        return None
    if isinstance(error, jax.errors.TracerBoolConversionError):
        return _traced_flag(error, fun, module, args, kwargs)
    return None


def _traced_flag(
    error: Exception, fun: Any, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> TracedFlagError:
    try:
        given = inspect.signature(fun).bind(module, *args, **kwargs).arguments
    except TypeError:
        given = {}
    flags = [
        name
        for name, value in given.items()
        if isinstance(value, jax.core.Tracer) and value.dtype == bool and value.ndim == 0
    ]
    waiting = [
        name
        for name, child in module._state.children.items()
        if isinstance(child, ModuleBase) and child._state.setup_called == SetupState.NEW
    ]
    lifted = next((b for b in reversed(crossings.stack) if b.static_argnums is not None), None)
    return TracedFlagError(
        flags[0] if flags else '',
        line=_failing_line(error),
        calls=waiting,
        transform=lifted.name if lifted else '',
        static=lifted.static_argnums if lifted else (),
        parameters=list(inspect.signature(fun).parameters),
    )


def _failing_line(error: BaseException) -> str:
    """The last line of the user's program that the traceback names."""
    line, traceback = '', error.__traceback__
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if not is_inner(filename):
            line = linecache.getline(filename, traceback.tb_lineno).strip()
        traceback = traceback.tb_next
    return line


def module_as_array(module: Any, name: str) -> InputDtypeError:
    """The error for a module where a layer wants an array, as after ``x = nn.LayerNorm(x)``.

    Args:
        module: the module.
        name: what it was given as.
    """
    cls, field = type(module).__name__, _array_field(module)
    if field:
        return InputDtypeError(
            f'{name} is a {cls}, not an array: {cls} got an array for {field}',
            why='a layer is first made with its options and then called on its input',
            mend=f'nn.{cls}()(x)',
        )
    return InputDtypeError(
        f'{name} is a {cls} that has not been called, not an array', mend=f'nn.{cls}(...)(x)'
    )


def _array_field(module: Any) -> str:
    """The first field that holds an array, as where the input was given for an option."""
    return next((f for f in module._plan.fields if isinstance(getattr(module, f), jax.Array)), '')


def _as_argument(module: Any) -> Any:
    """Refuses a module that JAX is asked to trace."""
    raise ModuleArgumentError(module, field=_array_field(module))


_compat.refuse_as_array(ModuleBase, _as_argument)

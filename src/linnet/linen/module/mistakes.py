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
from linnet.errors.calls import ModuleArgumentError, VariableValueError
from linnet.errors.layers import InputDtypeError
from linnet.errors.modules import InvalidInitializerError
from linnet.errors.transforms import TracedFlagError, UnboundAxisError
from linnet.errors.variables import ImmutableVariableError
from linnet.linen.module.state import ModuleBase, SetupState
from linnet.sharp_bits import is_inner

_MOST_LETTERS = 80


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
    text = str(error)
    if isinstance(error, NameError) and text.startswith('unbound axis name: '):
        return UnboundAxisError(text.rpartition(' ')[2])
    if isinstance(error, TypeError) and "'Variable'" in text:
        return VariableValueError(text, line=_failing_line(error))
    if isinstance(error, AttributeError) and type(getattr(error, 'obj', None)) is tuple:
        return _changed_list(error)
    if isinstance(error, (TypeError, ValueError)) and 'linnet.' in text:
        return _uncalled_argument(text, module)
    return None


def _changed_list(error: AttributeError) -> ImmutableVariableError | None:
    if error.name not in ('append', 'extend', 'insert', 'pop', 'remove'):
        return None
    return ImmutableVariableError(
        f'a list in an attribute of the module was changed, by {error.name}()',
        why='it becomes a tuple as it is assigned, and the modules in it get their names',
        mend='self.layers = [nn.Dense(3) for _ in range(2)]',
    )


def _uncalled_argument(text: str, module: Any) -> ModuleArgumentError | None:
    """The error for a submodule that JAX found among its arguments and names by its class."""
    for child in module._state.children.values():
        if isinstance(child, ModuleBase):
            cls = type(child)
            if f"<class '{cls.__module__}.{cls.__qualname__}'>" in text:
                return ModuleArgumentError(child, field=_array_field(child))
    return None


def _traced_flag(
    error: Exception, fun: Any, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> TracedFlagError:
    given = inspect.signature(fun).bind(module, *args, **kwargs).arguments
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
        by_keyword=bool(flags) and flags[0] in kwargs,
    )


def initializer_mistake(
    name: str, init_fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], keyed: bool
) -> InvalidInitializerError | None:
    """Says how an initialiser that has failed was given wrongly, ``None`` where it was not.

    Args:
        name: the parameter or variable.
        init_fn: its initialiser.
        args: what follows it.
        kwargs: keyword arguments.
        keyed: whether it is called with a key first.
    """
    if not isinstance(name, str):
        return None
    if not callable(init_fn):
        return InvalidInitializerError.not_callable(name, init_fn, keyed=keyed)
    try:
        signature = inspect.signature(init_fn)
        signature.bind(*((None,) if keyed else ()), *args, **kwargs)
    except ValueError:  # a builtin that does not tell
        return None
    except TypeError:
        return InvalidInitializerError.wrong_arguments(name, init_fn, args, keyed=keyed)
    if keyed and next(iter(signature.parameters), '') == 'shape':
        return InvalidInitializerError.wrong_arguments(name, init_fn, args, keyed=True)
    numbers = [arg for arg in args if isinstance(arg, int)]
    if keyed and len(numbers) > 1:  # a shape that was not put into a tuple
        return InvalidInitializerError.wrong_arguments(name, init_fn, args, keyed=True)
    return None


def _cut(line: str) -> str:
    """A line of a program, cut to a length that a message can bear."""
    return line if len(line) <= _MOST_LETTERS else f'{line[: _MOST_LETTERS - 3]}...'


def _failing_line(error: BaseException) -> str:
    """The last line of the user's program that the traceback names."""
    line, traceback = '', error.__traceback__
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if not is_inner(filename):
            line = _cut(linecache.getline(filename, traceback.tb_lineno).strip())
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

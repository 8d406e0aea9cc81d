"""Checks on what a layer is called with, which the layers share.

An array is whatever has a rank and a dtype: of JAX, of NumPy, or traced. A *flag* is a value that
decides in Python which program is built, as ``deterministic`` does, so it cannot be traced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from linnet.core.tracers import is_traced
from linnet.errors._base import SharpBitWarning
from linnet.errors.layers import InputDtypeError, InvalidOptionError
from linnet.linen.module.context import context
from linnet.linen.module.mistakes import module_as_array
from linnet.linen.module.state import ModuleBase
from linnet.sharp_bits import warn


def check_array(x: Any, name: str = 'the input') -> None:
    """Refuses what is no array, and says what it was taken for.

    Raises:
        InputDtypeError: ``x`` is a module, a list, a number, or nothing at all.
    """
    if hasattr(x, 'ndim') and hasattr(x, 'dtype'):
        return
    if isinstance(x, ModuleBase):
        raise module_as_array(x, name)
    if x is None:
        raise InputDtypeError(f'{name} is None', mend='check what the layer before it returns')
    raise InputDtypeError(
        f'{name} is a {type(x).__name__}, not an array', mend='x = jnp.asarray(x)'
    )


def check_flag(flag: Any, name: str) -> None:
    """Refuses a flag that is traced, of which Python cannot know whether it holds.

    Raises:
        InvalidOptionError: ``flag`` is traced.
    """
    if is_traced(flag):
        raise InvalidOptionError(
            f'{name} is a traced value, {flag.aval}',
            why='it decides which program is traced, so it must be known before',
            mend=f"jax.jit(step, static_argnames='{name}'), or an ordinary bool closed over",
        )


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Returns whether a shape broadcasts to another one without changing that.

    >>> broadcasts((3, 1), (2, 3, 4)), broadcasts((2, 3, 4), (3, 1))
    (True, False)
    """
    try:
        return np.broadcast_shapes(shape, to) == tuple(to)
    except ValueError:
        return False


def holds(predicate: Callable[[np.ndarray], Any], x: Any) -> bool:
    """Returns whether a predicate surely holds of an array: it is at hand, and does.

    What is traced is not at hand, nor is what an accelerator holds: to look at that would make the
    program wait for all that was asked of the accelerator before.
    """
    if is_traced(x):
        return False
    if isinstance(x, jax.Array) and any(device.platform != 'cpu' for device in x.devices()):
        return False
    with jax.transfer_guard('allow'):
        return bool(predicate(np.asarray(x)))


def warn_about(kind: type[SharpBitWarning], module: Any, what: str) -> None:
    """Warns that a module runs, and probably does not do what was meant."""
    warn(kind(what, where=f'{module.scope.path_text} ({type(module).__name__})'))


def warn_here(kind: type[SharpBitWarning], what: str) -> None:
    """Warns of a function, naming the module that calls it if one does."""
    module = context.module_stack[-1]
    if module is None:
        warn(kind(what))
    else:
        warn_about(kind, module, what)

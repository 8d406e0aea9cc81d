"""What all recurrent cells share: their contract, their first carry, and the checks on a step.

A *cell* is one step of a recurrent network, ``(carry, x) -> (carry, y)``. The *carry* is its state,
a tree of arrays ``[batch..., features]`` that one step hands to the next. The last axes of the
input, ``num_feature_axes`` of them, are the *feature axes*; those before are batch axes.
"""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp

from linnet.errors.layers import CarryError, InputShapeError, InvalidOptionError
from linnet.errors.sharp_bits import WidthWarning
from linnet.linen import initializers
from linnet.linen._dense import Dense
from linnet.linen._inputs import check_array, warn_about
from linnet.linen._shapes import check_count
from linnet.linen.module.base import Module
from linnet.linen.module.decorators import nowrap
from linnet.linen.module.state import ModuleBase
from linnet.typing import Array, PRNGKey, Shape

Carry = Any
Output = Any

default_recurrent_init = initializers.orthogonal()

_MEND = 'cell(carry, x), with carry = cell.initialize_carry(key, x.shape)'


class RNNCellBase(Module):
    """The base of recurrent cells: ``(carry, x) -> (carry, y)``.

    A cell of your own defines ``__call__``, :meth:`initialize_carry` and :attr:`num_feature_axes`;
    then :class:`~linnet.linen.recurrent.RNN` can repeat it.

    >>> import jax, jax.numpy as jnp, linnet.linen as nn
    >>> class Sum(nn.RNNCellBase):
    ...     def __call__(self, carry, x):               # [batch..., n], [batch..., n]
    ...         return carry + x, carry + x
    ...     @nn.nowrap
    ...     def initialize_carry(self, rng, input_shape):
    ...         return jnp.zeros(input_shape)
    ...     @property
    ...     def num_feature_axes(self):
    ...         return 1
    >>> nn.RNN(Sum()).apply({}, jnp.ones((3, 1))).ravel()
    Array([1., 2., 3.], dtype=float32)
    """

    @nowrap
    def initialize_carry(self, rng: PRNGKey, input_shape: tuple[int, ...]) -> Carry:
        """Makes the carry to begin with.

        Args:
            rng: a key, for cells that begin with random states.
            input_shape: the shape of the input of one step, ``[batch..., in]``.

        Raises:
            NotImplementedError: the cell does not define it.
        """
        raise NotImplementedError(f'{type(self).__name__} does not define initialize_carry')

    @property
    def num_feature_axes(self) -> int:
        """How many of the last axes of the input of a step are no batch axes.

        Raises:
            NotImplementedError: the cell does not define it.
        """
        raise NotImplementedError(f'{type(self).__name__} does not define num_feature_axes')


def first_state(cell: Any, key: PRNGKey, input_shape: Shape) -> Array:
    """A state to begin with, of ``param_dtype``: ``[batch..., in] -> [batch..., features]``.

    Raises:
        InputShapeError: ``input_shape`` is no shape, or has too few axes.
        InvalidOptionError: it was asked of a class, or ``features`` is no count.
    """
    check_instance(cell)
    check_count('features', cell.features)
    n_axes = cell.num_feature_axes
    if hasattr(input_shape, 'ndim') or not hasattr(input_shape, '__iter__'):
        raise InputShapeError(
            f'input_shape is {describe(input_shape)}, not a shape',
            mend='cell.initialize_carry(key, x.shape)',
        )
    outer = tuple(input_shape)[:-1]
    if len(outer) < n_axes - 1:
        raise InputShapeError(
            f'input_shape={tuple(input_shape)} has fewer than the {n_axes} axes of the input of '
            f'{type(cell).__name__} without batch axes',
        )
    return cell.carry_init(key, (*outer, cell.features), cell.param_dtype)


def check_instance(cell: Any) -> None:
    """Refuses a call on the class, whose first argument is taken for the cell."""
    if not isinstance(cell, ModuleBase):
        raise InvalidOptionError(
            'initialize_carry is a method of a cell, not of its class',
            mend='nn.GRUCell(features).initialize_carry(key, (batch, in_features))',
        )


def dense_layers(cell: Any, width: int) -> tuple[Any, Any]:
    """Makers of the cell's linear maps to ``width`` features, of the input and of the state."""
    check_orthogonal(cell)
    layer = functools.partial(
        Dense, width, use_bias=False, dtype=cell.dtype, param_dtype=cell.param_dtype
    )
    return (
        functools.partial(layer, kernel_init=cell.kernel_init),
        functools.partial(layer, kernel_init=cell.recurrent_kernel_init),
    )


def check_orthogonal(cell: Any) -> None:
    """Refuses the default recurrent kernels in dtypes in which they cannot be made."""
    dtype = cell.param_dtype
    if cell.recurrent_kernel_init is not default_recurrent_init:
        return
    if jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32:
        raise InvalidOptionError(
            f'param_dtype={jnp.dtype(dtype)} does not go with orthogonal recurrent kernels',
            why='they come from a QR decomposition, which exists in float32 and float64',
            mend='recurrent_kernel_init=nn.initializers.lecun_normal()',
        )


def check_state(cell: Any, carry: Any, inputs: Any) -> int:
    """Refuses a carry that is not one state ``[batch..., width]`` that fits the input.

    Returns:
        The width, which is that of the layers of the cell.

    Raises:
        CarryError: the carry is not one array, or does not fit the input.
        InputShapeError: the input has too few axes.
        InputDtypeError: the input is no array.
    """
    check_input(inputs, 1)
    if not _is_array(carry):
        raise CarryError(
            f'the carry of {type(cell).__name__} is one array; it is {describe(carry)}', mend=_MEND
        )
    check_width(cell, carry, 'the carry')
    _check_fit(inputs, **{'the carry': carry})
    return carry.shape[-1]


def check_states(cell: Any, carry: Any, inputs: Any) -> tuple[Array, Array]:
    """Refuses a carry that is not two states ``(c, h)`` that fit the input.

    Raises:
        CarryError: the carry is not two arrays, or they do not fit the input.
        InputShapeError: the input has too few axes.
        InputDtypeError: the input is no array.
    """
    check_input(inputs, 1)
    c, h = unpack_states(cell, carry)
    check_width(cell, h, 'h')
    _check_fit(inputs, c=c, h=h)
    return c, h


def unpack_states(cell: Any, carry: Any) -> tuple[Array, Array]:
    """The two states ``(c, h)`` of a carry.

    Raises:
        CarryError: the carry is something else.
    """
    try:
        c, h = carry
    except (TypeError, ValueError):
        c = h = None
    if not _is_array(c) or not _is_array(h):
        raise CarryError(
            f'the carry of {type(cell).__name__} is two arrays, (c, h); it is {describe(carry)}',
            mend=_MEND,
        )
    return c, h


def check_input(inputs: Any, n_axes: int) -> None:
    """Refuses an input of a step that has fewer than ``n_axes`` axes."""
    check_array(inputs)
    if inputs.ndim < n_axes:
        features = 'in' if n_axes == 1 else 'spatial..., in'
        raise InputShapeError(
            f'the input of a step has at least {n_axes} axes, [batch..., {features}]; '
            f'got shape {inputs.shape}',
        )


def check_width(cell: Any, state: Array, name: str) -> None:
    """Refuses a state without an axis of features, and warns of one of unexpected size."""
    check_count('features', cell.features)
    if state.ndim < cell.num_feature_axes:
        raise CarryError(
            f'{name} needs at least {cell.num_feature_axes} axes, the last of size '
            f'features={cell.features}; got shape {state.shape}',
            mend=_MEND,
        )
    if state.shape[-1] != cell.features:
        warn_about(
            WidthWarning,
            cell,
            f'{name} has shape {state.shape}, of width {state.shape[-1]}, and '
            f'features={cell.features}; a cell takes its width from the carry, the first argument',
        )


def _check_fit(inputs: Array, **states: Array) -> None:
    """Refuses states ``[batch..., width]`` that do not broadcast with an input and each other."""
    *_, state = states.values()
    shapes = [(*inputs.shape[:-1], state.shape[-1]), *(s.shape for s in states.values())]
    if not broadcast_together(*shapes):
        named = ' and '.join(f'{name} of shape {s.shape}' for name, s in states.items())
        fit = 'do not fit each other and' if len(states) > 1 else 'does not fit'
        raise CarryError(
            f'{named} {fit} an input of shape {inputs.shape}',
            why='input and carry have the same batch axes, and states the same width',
            mend=_MEND,
        )


def broadcast_together(*shapes: Shape) -> bool:
    """Returns whether arrays of these shapes could be added.

    >>> broadcast_together((2, 1), (3,)), broadcast_together((2, 4), (3, 4))
    (True, False)
    """
    try:
        jnp.broadcast_shapes(*shapes)
    except (TypeError, ValueError):
        return False
    return True


def _is_array(x: Any) -> bool:
    return hasattr(x, 'shape') and hasattr(x, 'dtype')


def describe(carry: Any) -> str:
    """What was given as a carry, in words.

    >>> describe((jnp.ones(3), None)), describe(jnp.ones((2, 4))), describe(3)
    ('a tuple of 2: an array of shape (3,), None', 'an array of shape (2, 4)', 'of type int')
    """
    if _is_array(carry):
        return f'an array of shape {tuple(carry.shape)}'
    if isinstance(carry, tuple | list):
        parts = ', '.join(describe(x) for x in carry)
        return f'a {type(carry).__name__} of {len(carry)}: {parts}'
    return 'None' if carry is None else f'of type {type(carry).__name__}'

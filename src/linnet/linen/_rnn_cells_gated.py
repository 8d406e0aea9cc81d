"""Recurrent cells with one state: SimpleCell, GRUCell and MGUCell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from linnet.linen import initializers
from linnet.linen._dense import default_kernel_init
from linnet.linen._rnn_cells import (
    RNNCellBase,
    check_state,
    default_recurrent_init,
    dense_layers,
    first_state,
)
from linnet.linen.activation import sigmoid, tanh
from linnet.linen.module.decorators import compact, nowrap
from linnet.typing import Array, Dtype, Initializer, PRNGKey


class _OneState(RNNCellBase):
    """A cell whose carry is one array ``[batch..., features]``."""

    @nowrap
    def initialize_carry(self, rng: PRNGKey, input_shape: tuple[int, ...]) -> Array:
        """Makes the state to begin with: ``[batch..., in] -> [batch..., features]``.

        Args:
            rng: the key that ``carry_init`` gets.
            input_shape: the shape of the input of one step.

        Raises:
            InputShapeError: ``input_shape`` is no shape.
            InvalidOptionError: ``features`` is no count.
        """
        return first_state(self, rng, input_shape)

    @property
    def num_feature_axes(self) -> int:
        """One: the last axis of the input."""
        return 1


class SimpleCell(_OneState):
    """The cell of a plain recurrent network, known as Elman's.

    ``[batch..., features], [batch..., in] -> [batch..., features], [batch..., features]``, where
    the output is the new carry ``h' = activation(W_i x + b + W_h h)``. The parameters are the layer
    ``i`` of the input, with a bias, and the layer ``h`` of the carry, without. They and the carry
    to begin with are of ``param_dtype``; the output is of the computation dtype
    (:mod:`linnet.linen.dtypes`). Elman, "Finding structure in time", 1990.

    >>> import jax, jax.numpy as jnp, linnet.linen as nn
    >>> cell, x = nn.SimpleCell(features=4), jnp.ones((2, 3))
    >>> carry = cell.initialize_carry(jax.random.key(0), x.shape)
    >>> variables = cell.init(jax.random.key(1), carry, x)
    >>> jax.tree.map(jnp.shape, variables['params'])
    {'h': {'kernel': (4, 4)}, 'i': {'bias': (4,), 'kernel': (3, 4)}}
    >>> carry, y = cell.apply(variables, carry, x)
    >>> y.shape
    (2, 4)

    Attributes:
        features: size of the state.
        activation_fn: the activation.
        kernel_init: initialiser of the kernel of the input.
        recurrent_kernel_init: initialiser of the kernel of the carry; orthogonal.
        bias_init: initialiser of the bias.
        dtype: the computation dtype; inferred from input, carry and parameters unless given.
        param_dtype: dtype in which parameters and the first carry are made.
        carry_init: initialiser of the first carry.
        residual: whether to add the carry before the activation.
    """

    features: int
    activation_fn: Callable[..., Any] = tanh
    kernel_init: Initializer = default_kernel_init
    recurrent_kernel_init: Initializer = default_recurrent_init
    bias_init: Initializer = initializers.zeros_init()
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    carry_init: Initializer = initializers.zeros_init()
    residual: bool = False

    @compact
    def __call__(self, carry: Array, inputs: Array) -> tuple[Array, Array]:
        """Makes one step.

        Args:
            carry: the state, ``[batch..., features]``.
            inputs: ``[batch..., in]``.

        Returns:
            The new state, twice: as carry and as output.

        Raises:
            CarryError: the carry is not one array, or does not fit the input.
            InputShapeError: the input has no axis.
            InvalidOptionError: ``features`` is no count, or ``param_dtype`` has no orthogonal
                kernels.
            ScopeParamShapeError: input or carry do not have the widths of the kernels.
        """
        of_input, of_state = dense_layers(self, check_state(self, carry, inputs))
        x = of_input(use_bias=True, bias_init=self.bias_init, name='i')(inputs)
        h = x + of_state(name='h')(carry)
        if self.residual:
            h = h + carry
        h = self.activation_fn(h)
        return h, h


class GRUCell(_OneState):
    """The gated recurrent unit.

    ``[batch..., features], [batch..., in] -> [batch..., features], [batch..., features]``, where
    the output is the new carry ``h'``::

        r  = gate(W_ir x + b_ir + W_hr h)
        z  = gate(W_iz x + b_iz + W_hz h)
        n  = activation(W_in x + b_in + r * (W_hn h + b_hn))
        h' = (1 - z) * n + z * h

    The parameters are the layers ``ir``, ``hr``, ``iz``, ``hz``, ``in`` and ``hn``. They and the
    carry to begin with are of ``param_dtype``; the gates are computed in the computation dtype
    (:mod:`linnet.linen.dtypes`), and the new carry is promoted with the old one. Cho et al.,
    "Learning phrase representations using RNN encoder-decoder", 2014; with the reset gate after
    the product, as in cuDNN.

    >>> import jax, jax.numpy as jnp, linnet.linen as nn
    >>> cell, x = nn.GRUCell(features=4), jnp.ones((2, 3))
    >>> carry = cell.initialize_carry(jax.random.key(0), x.shape)
    >>> (carry, y), variables = cell.init_with_output(jax.random.key(1), carry, x)
    >>> y.shape, sorted(variables['params'])
    ((2, 4), ['hn', 'hr', 'hz', 'in', 'ir', 'iz'])

    Attributes:
        features: size of the state.
        gate_fn: the activation of the gates.
        activation_fn: the activation of the candidate ``n``.
        kernel_init: initialiser of the kernels of the input.
        recurrent_kernel_init: initialiser of the kernels of the carry; orthogonal.
        bias_init: initialiser of the biases.
        dtype: the computation dtype; inferred from input, carry and parameters unless given.
        param_dtype: dtype in which parameters and the first carry are made.
        carry_init: initialiser of the first carry.
    """

    features: int
    gate_fn: Callable[..., Any] = sigmoid
    activation_fn: Callable[..., Any] = tanh
    kernel_init: Initializer = default_kernel_init
    recurrent_kernel_init: Initializer = default_recurrent_init
    bias_init: Initializer = initializers.zeros_init()
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    carry_init: Initializer = initializers.zeros_init()

    @compact
    def __call__(self, carry: Array, inputs: Array) -> tuple[Array, Array]:
        """Makes one step; arguments, result and errors are those of :class:`SimpleCell`."""
        of_input, of_state = dense_layers(self, check_state(self, carry, inputs))
        bias: dict[str, Any] = dict(use_bias=True, bias_init=self.bias_init)

        def gate(name: str) -> Array:
            x = of_input(**bias, name=f'i{name}')(inputs)
            return self.gate_fn(x + of_state(name=f'h{name}')(carry))

        r, z = gate('r'), gate('z')
        x = of_input(**bias, name='in')(inputs)
        n = self.activation_fn(x + r * of_state(**bias, name='hn')(carry))
        h = (1.0 - z) * n + z * carry
        return h, h


class MGUCell(_OneState):
    """The minimal gated unit: a GRU with a single gate.

    ``[batch..., features], [batch..., in] -> [batch..., features], [batch..., features]``, where
    the output is the new carry ``h'``::

        f  = gate(W_if x + b_if + W_hf h)
        n  = activation(W_in x + b_in + f * (W_hn h + b_hn))
        h' = (1 - f) * n + f * h

    Without ``reset_gate`` it is ``n = activation(W_in x + b_in + W_hn h)``. The parameters are the
    layers ``if``, ``hf``, ``hn`` and ``in``; dtypes are as for :class:`GRUCell`. Zhou et al.,
    "Minimal gated unit for recurrent neural networks", 2016.

    >>> import jax, jax.numpy as jnp, linnet.linen as nn
    >>> cell, x = nn.MGUCell(features=4), jnp.ones((2, 3))
    >>> carry = cell.initialize_carry(jax.random.key(0), x.shape)
    >>> (carry, y), variables = cell.init_with_output(jax.random.key(1), carry, x)
    >>> y.shape, sorted(variables['params'])
    ((2, 4), ['hf', 'hn', 'if', 'in'])

    Attributes:
        features: size of the state.
        gate_fn: the activation of the gate.
        activation_fn: the activation of the candidate ``n``.
        kernel_init: initialiser of the kernels of the input.
        recurrent_kernel_init: initialiser of the kernels of the carry; orthogonal.
        forget_bias_init: initialiser of the bias of the gate; ones, so that the cell remembers.
        activation_bias_init: initialiser of the biases of the candidate.
        dtype: the computation dtype; inferred from input, carry and parameters unless given.
        param_dtype: dtype in which parameters and the first carry are made.
        carry_init: initialiser of the first carry.
        reset_gate: whether the gate is applied to the carry in the candidate too.
    """

    features: int
    gate_fn: Callable[..., Any] = sigmoid
    activation_fn: Callable[..., Any] = tanh
    kernel_init: Initializer = default_kernel_init
    recurrent_kernel_init: Initializer = default_recurrent_init
    forget_bias_init: Initializer = initializers.ones_init()
    activation_bias_init: Initializer = initializers.zeros_init()
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    carry_init: Initializer = initializers.zeros_init()
    reset_gate: bool = True

    @compact
    def __call__(self, carry: Array, inputs: Array) -> tuple[Array, Array]:
        """Makes one step; arguments, result and errors are those of :class:`SimpleCell`."""
        of_input, of_state = dense_layers(self, check_state(self, carry, inputs))
        bias: dict[str, Any] = dict(use_bias=True, bias_init=self.activation_bias_init)
        x = of_input(use_bias=True, bias_init=self.forget_bias_init, name='if')(inputs)
        f = self.gate_fn(x + of_state(name='hf')(carry))
        if self.reset_gate:
            state = of_state(**bias, name='hn')(carry) * f
        else:
            state = of_state(name='hn')(carry)
        n = self.activation_fn(of_input(**bias, name='in')(inputs) + state)
        h = (1.0 - f) * n + f * carry
        return h, h

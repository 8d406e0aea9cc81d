"""Recurrent cells with a long and a short memory: LSTMCell, OptimizedLSTMCell, ConvLSTMCell."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from linnet.errors.layers import CarryError
from linnet.linen import initializers
from linnet.linen._conv import Conv
from linnet.linen._dense import default_kernel_init
from linnet.linen._rnn_cells import (
    RNNCellBase,
    broadcast_together,
    check_input,
    check_instance,
    check_orthogonal,
    check_states,
    check_width,
    default_recurrent_init,
    dense_layers,
    first_state,
    unpack_states,
)
from linnet.linen._shapes import canonicalize_tuple
from linnet.linen.activation import sigmoid, tanh
from linnet.linen.dtypes import promote_dtype
from linnet.linen.module.base import Module
from linnet.linen.module.decorators import compact, nowrap
from linnet.linen.stochastic import check_key
from linnet.typing import Array, Dtype, Initializer, PrecisionLike, PRNGKey

States = tuple[Array, Array]


class _TwoStates(RNNCellBase):
    """A cell whose carry is ``(c, h)``, two arrays ``[batch..., spatial..., features]``."""

    @nowrap
    def initialize_carry(self, rng: PRNGKey, input_shape: tuple[int, ...]) -> States:
        """Makes the states ``(c, h)`` to begin with, both ``[batch..., spatial..., features]``.

        Args:
            rng: a key, which is split for the two states.
            input_shape: the shape of the input of one step, ``[batch..., spatial..., in]``, where
                only a ConvLSTMCell has spatial axes.

        Raises:
            InputShapeError: ``input_shape`` is no shape, or has too few axes.
            InvalidOptionError: ``rng`` is not one key, or ``features`` is no count.
        """
        check_instance(self)
        key_c, key_h = jax.random.split(check_key(rng, 'rng'))
        return first_state(self, key_c, input_shape), first_state(self, key_h, input_shape)

    @property
    def num_feature_axes(self) -> int:
        """One: the last axis of the input."""
        return 1


class LSTMCell(_TwoStates):
    """The cell with long short-term memory.

    ``([batch..., features], [batch..., features]), [batch..., in] ->
    ([batch..., features], [batch..., features]), [batch..., features]``. The carry is ``(c, h)``,
    the output is the new ``h'``::

        i  = gate(W_ii x + W_hi h + b_hi)
        f  = gate(W_if x + W_hf h + b_hf)
        g  = activation(W_ig x + W_hg h + b_hg)
        o  = gate(W_io x + W_ho h + b_ho)
        c' = f * c + i * g
        h' = o * activation(c')

    The parameters are the layers ``ii``, ``if``, ``ig``, ``io`` of the input and ``hi``, ``hf``,
    ``hg``, ``ho`` of ``h``. They and the carry to begin with are of ``param_dtype``; the gates are
    computed in the computation dtype (:mod:`linnet.linen.dtypes`), and the new carry is promoted
    with the old one. :class:`OptimizedLSTMCell` has the same parameters and multiplies them in one
    product, which is faster. Hochreiter and Schmidhuber, "Long short-term memory", 1997; with the
    forget gate of Gers et al., 2000.

    >>> import jax, jax.numpy as jnp, linnet.linen as nn
    >>> cell, x = nn.LSTMCell(features=4), jnp.ones((2, 3))
    >>> carry = cell.initialize_carry(jax.random.key(0), x.shape)
    >>> variables = cell.init(jax.random.key(1), carry, x)
    >>> (c, h), y = cell.apply(variables, carry, x)
    >>> c.shape, h.shape, y.shape
    ((2, 4), (2, 4), (2, 4))

    Attributes:
        features: size of the states.
        gate_fn: the activation of the gates.
        activation_fn: the activation of ``g`` and of the new ``c``.
        kernel_init: initialiser of the kernels of the input.
        recurrent_kernel_init: initialiser of the kernels of the carry; orthogonal.
        bias_init: initialiser of the biases.
        dtype: the computation dtype; inferred from input, carry and parameters unless given.
        param_dtype: dtype in which parameters and the first carry are made.
        carry_init: initialiser of the first carry.
    """

    features: int
    gate_fn: Callable[..., Array] = sigmoid
    activation_fn: Callable[..., Array] = tanh
    kernel_init: Initializer = default_kernel_init
    recurrent_kernel_init: Initializer = default_recurrent_init
    bias_init: Initializer = initializers.zeros_init()
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    carry_init: Initializer = initializers.zeros_init()

    @compact
    def __call__(self, carry: States, inputs: Array) -> tuple[States, Array]:
        """Makes one step.

        Args:
            carry: the states ``(c, h)``, both ``[batch..., features]``.
            inputs: ``[batch..., in]``.

        Returns:
            The new carry ``(c, h)`` and the output, which is ``h``.

        Raises:
            CarryError: the carry is not two arrays, or they do not fit the input.
            InputShapeError: the input has no axis.
            InvalidOptionError: ``features`` is no count, or ``param_dtype`` has no orthogonal
                kernels.
            ScopeParamShapeError: input or carry do not have the widths of the kernels.
        """
        c, h = check_states(self, carry, inputs)
        of_input, of_state = dense_layers(self, h.shape[-1])

        def gate(name: str, activation: Callable[..., Array]) -> Array:
            x = of_input(name=f'i{name}')(inputs)
            bias = dict(use_bias=True, bias_init=self.bias_init)
            return activation(x + of_state(**bias, name=f'h{name}')(h))

        i, f = gate('i', self.gate_fn), gate('f', self.gate_fn)
        g, o = gate('g', self.activation_fn), gate('o', self.gate_fn)
        c = f * c + i * g
        h = o * self.activation_fn(c)
        return (c, h), h


class DenseParams(Module):
    """The parameters of a :class:`~linnet.linen.Dense`, without its computation.

    ``[batch..., in] -> [in, features], [features]``.

    >>> import jax, jax.numpy as jnp
    >>> kernel, bias = DenseParams(4, use_bias=False).init_with_output(
    ...     jax.random.key(0), jnp.ones((2, 3)))[0]
    >>> kernel.shape, bias
    ((3, 4), None)

    Attributes:
        features: size of the output of the layer.
        use_bias: whether there is a bias.
        param_dtype: dtype of the parameters.
        precision: of the multiplication; not used.
        kernel_init: initialiser of the kernel.
        bias_init: initialiser of the bias.
    """

    features: int
    use_bias: bool = True
    param_dtype: Dtype = jnp.float32
    precision: PrecisionLike = None
    kernel_init: Initializer = default_kernel_init
    bias_init: Initializer = initializers.zeros_init()

    @compact
    def __call__(self, inputs: Array) -> tuple[Array, Array | None]:
        """The kernel and the bias for an input, of which only the width counts.

        Raises:
            InputShapeError: the input has no axis.
            ScopeParamShapeError: the width of the input is not the one the kernel was made for.
        """
        check_input(inputs, 1)
        shape = (inputs.shape[-1], self.features)
        kernel = self.param('kernel', self.kernel_init, shape, self.param_dtype)
        if not self.use_bias:
            return kernel, None
        return kernel, self.param('bias', self.bias_init, shape[1:], self.param_dtype)


class OptimizedLSTMCell(_TwoStates):
    """An :class:`LSTMCell` that multiplies the kernels of all gates in one product.

    ``([batch..., features], [batch..., features]), [batch..., in] ->
    ([batch..., features], [batch..., features]), [batch..., features]``. Parameters, attributes
    and results are those of :class:`LSTMCell`, up to rounding. Hochreiter and Schmidhuber, 1997.

    >>> import jax, jax.numpy as jnp, linnet.linen as nn
    >>> cell, x = nn.OptimizedLSTMCell(features=4), jnp.ones((2, 3))
    >>> carry = cell.initialize_carry(jax.random.key(0), x.shape)
    >>> variables = cell.init(jax.random.key(1), carry, x)
    >>> _, y = cell.apply(variables, carry, x)
    >>> bool(jnp.allclose(y, nn.LSTMCell(features=4).apply(variables, carry, x)[1]))
    True

    Attributes:
        features: size of the states.
        gate_fn: the activation of the gates.
        activation_fn: the activation of ``g`` and of the new ``c``.
        kernel_init: initialiser of the kernel of each gate, of the input.
        recurrent_kernel_init: initialiser of the kernel of each gate, of the carry; orthogonal.
        bias_init: initialiser of the biases.
        dtype: the computation dtype; inferred from input, carry and parameters unless given.
        param_dtype: dtype in which parameters and the first carry are made.
        carry_init: initialiser of the first carry.
    """

    features: int
    gate_fn: Callable[..., Array] = sigmoid
    activation_fn: Callable[..., Array] = tanh
    kernel_init: Initializer = default_kernel_init
    recurrent_kernel_init: Initializer = default_recurrent_init
    bias_init: Initializer = initializers.zeros_init()
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    carry_init: Initializer = initializers.zeros_init()

    @compact
    def __call__(self, carry: States, inputs: Array) -> tuple[States, Array]:
        """Makes one step; arguments, result and errors are those of :class:`LSTMCell`."""
        c, h = check_states(self, carry, inputs)
        check_orthogonal(self)
        layer = functools.partial(DenseParams, h.shape[-1], param_dtype=self.param_dtype)
        of_input, of_state = [], []
        for gate in 'ifgo':
            x_params = layer(use_bias=False, kernel_init=self.kernel_init, name=f'i{gate}')
            h_params = layer(
                kernel_init=self.recurrent_kernel_init, bias_init=self.bias_init, name=f'h{gate}'
            )
            of_input.append(x_params(inputs))
            of_state.append(h_params(h))
        h_parts = _dense_parts(h, of_state, self.dtype)
        x_parts = _dense_parts(inputs, of_input, self.dtype)
        activations = (self.gate_fn, self.gate_fn, self.activation_fn, self.gate_fn)
        parts = zip(activations, h_parts, x_parts, strict=True)
        i, f, g, o = (activation(h_part + x_part) for activation, h_part, x_part in parts)
        c = f * c + i * g
        h = o * self.activation_fn(c)
        return (c, h), h


def _dense_parts(
    inputs: Array, params: Sequence[tuple[Array, Array | None]], dtype: Dtype | None
) -> list[Array]:
    """Applies several dense layers at once: ``[batch..., in] -> n * [batch..., features]``."""
    kernels, biases = zip(*params, strict=True)
    kernel = jnp.concatenate(kernels, axis=-1)
    bias = None if biases[0] is None else jnp.concatenate(biases, axis=-1)
    inputs, kernel, bias = promote_dtype(inputs, kernel, bias, dtype=dtype)
    y = jnp.dot(inputs, kernel)
    if bias is not None:
        y = y + jnp.reshape(bias, (1,) * (y.ndim - 1) + bias.shape)
    return jnp.split(y, len(params), axis=-1)


class ConvLSTMCell(_TwoStates):
    """An LSTM cell whose states are images, and whose linear maps are convolutions.

    ``([batch..., spatial..., features], [batch..., spatial..., features]),
    [batch..., spatial..., in] -> ([batch..., spatial..., features],
    [batch..., spatial..., features]), [batch..., spatial..., features]``, with as many spatial
    axes as ``kernel_size`` has entries. The carry is ``(c, h)``, the output is the new ``h'``::

        i  = sigmoid(W_ii * x + b_ii + W_hi * h + b_hi)
        f  = sigmoid(W_if * x + b_if + W_hf * h + b_hf + 1)
        g  = tanh(W_ig * x + b_ig + W_hg * h + b_hg)
        o  = sigmoid(W_io * x + b_io + W_ho * h + b_ho)
        c' = f c + i g
        h' = o tanh(c')

    where ``*`` is the convolution. The parameters are ``ih``, a convolution of the input to the
    channels of ``i``, ``g``, ``f`` and ``o`` in that order, and ``hh``, one of ``h``. They and the
    carry to begin with are of ``param_dtype``. Shi et al., "Convolutional LSTM network: a machine
    learning approach for precipitation nowcasting", 2015; without its peephole terms.

    >>> import jax, jax.numpy as jnp, linnet.linen as nn
    >>> cell, x = nn.ConvLSTMCell(features=4, kernel_size=(3, 3)), jnp.ones((2, 8, 8, 3))
    >>> carry = cell.initialize_carry(jax.random.key(0), x.shape)
    >>> variables = cell.init(jax.random.key(1), carry, x)
    >>> (c, h), y = cell.apply(variables, carry, x)
    >>> c.shape, h.shape, y.shape
    ((2, 8, 8, 4), (2, 8, 8, 4), (2, 8, 8, 4))

    Attributes:
        features: number of channels of the states.
        kernel_size: size of the kernels along each spatial axis.
        strides: steps of the kernels; states keep their size only with steps of 1.
        padding: as for :class:`~linnet.linen.Conv`; states keep their size with ``'SAME'``.
        use_bias: whether both convolutions have a bias.
        dtype: the computation dtype; inferred from input, carry and parameters unless given.
        param_dtype: dtype in which parameters and the first carry are made.
        carry_init: initialiser of the first carry.
    """

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int] | None = None
    padding: str | Sequence[tuple[int, int]] = 'SAME'
    use_bias: bool = True
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    carry_init: Initializer = initializers.zeros_init()

    @compact
    def __call__(self, carry: States, inputs: Array) -> tuple[States, Array]:
        """Makes one step.

        Args:
            carry: the states ``(c, h)``, both ``[batch..., spatial..., features]``.
            inputs: ``[batch..., spatial..., in]``.

        Returns:
            The new carry ``(c, h)`` and the output, which is ``h``.

        Raises:
            CarryError: the carry is not two arrays, or they do not fit what the convolutions give.
            InputShapeError: the input has too few axes.
            InvalidOptionError: an option of the convolutions is unknown.
            ScopeParamShapeError: input or carry do not have the channels of the kernels.
        """
        check_input(inputs, self.num_feature_axes)
        c, h = unpack_states(self, carry)
        check_width(self, h, 'h')
        layer = functools.partial(
            Conv,
            4 * self.features,
            self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            use_bias=self.use_bias,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        x_gates, h_gates = layer(name='ih')(inputs), layer(name='hh')(h)
        self._check_sizes(x_gates, h_gates, c)
        i, g, f, o = jnp.split(x_gates + h_gates, 4, axis=-1)
        c = sigmoid(f + 1) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
        return (c, h), h

    @nowrap
    def _check_sizes(self, x_gates: Array, h_gates: Array, c: Array) -> None:
        """Refuses convolved input and state that do not fit each other, or the state ``c``."""
        places = x_gates.shape[:-1], h_gates.shape[:-1]
        if broadcast_together(*((*p, self.features) for p in places), c.shape):
            return
        raise CarryError(
            f'convolved, the input gives {places[0]} and h gives {places[1]}, without channels; '
            f'c has shape {c.shape}',
            why='batch and spatial axes of all three are the same, with features channels in c',
            mend="strides=None, padding='SAME', and carry = cell.initialize_carry(key, x.shape)",
        )

    @property
    def num_feature_axes(self) -> int:
        """The spatial axes, as many as ``kernel_size`` has entries, and the channels."""
        return len(canonicalize_tuple(self.kernel_size)) + 1

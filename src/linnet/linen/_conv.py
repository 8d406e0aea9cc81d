"""Convolutions: with one kernel for all places, with a kernel for each place, and transposed.

Inputs are ``[batch..., spatial..., channels]``; the batch may have any number of axes, or none. The
*rank* of a layer is the length of ``kernel_size``: an int means rank 1.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from linnet.core.repeated import repeated
from linnet.errors.layers import InputShapeError, InvalidOptionError
from linnet.linen import initializers
from linnet.linen._dense import default_kernel_init
from linnet.linen._shapes import (
    add_bias,
    canonicalize_padding,
    canonicalize_tuple,
    check_count,
    check_padding_name,
    conv_dimension_numbers,
    flatten_batch,
    restore_batch,
    window_sizes,
)
from linnet.linen.dtypes import promote_dtype
from linnet.linen.module.base import Module
from linnet.linen.module.decorators import compact
from linnet.typing import (
    Array,
    ConvGeneralDilatedT,
    Dtype,
    Initializer,
    LaxPadding,
    PaddingLike,
    PrecisionLike,
    PromoteDtypeFn,
)

_PAD_MODES = {'CAUSAL': 'constant', 'CIRCULAR': 'wrap', 'REFLECT': 'reflect'}
_PADDINGS = ('SAME', 'VALID', 'CIRCULAR', 'REFLECT', 'CAUSAL', 'SAME_LOWER')
_TRANSPOSED_PADDINGS = ('SAME', 'VALID', 'CIRCULAR')


@dataclasses.dataclass(frozen=True)
class _Window:
    """How a kernel slides over the input: sizes and steps of each spatial axis."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    input_dilation: tuple[int, ...]
    kernel_dilation: tuple[int, ...]
    padding: LaxPadding

    @property
    def reach(self) -> tuple[int, ...]:
        """How far the dilated kernel reaches beyond its first entry."""
        return tuple((k - 1) * d for k, d in zip(self.size, self.kernel_dilation, strict=True))


class _Conv(Module):
    """What Conv and ConvLocal share: everything but whether places share a kernel."""

    shared_weights: ClassVar[bool]

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] | None = 1
    padding: PaddingLike = 'SAME'
    input_dilation: int | Sequence[int] | None = 1
    kernel_dilation: int | Sequence[int] | None = 1
    feature_group_count: int = 1
    use_bias: bool = True
    mask: Array | None = None
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    precision: PrecisionLike = None
    kernel_init: Initializer = default_kernel_init
    bias_init: Initializer = initializers.zeros_init()
    promote_dtype: PromoteDtypeFn = promote_dtype
    conv_general_dilated: ConvGeneralDilatedT | None = None
    conv_general_dilated_cls: Any = None

    @compact
    def __call__(self, inputs: Array) -> Array:
        """Convolves: ``[batch..., spatial..., in] -> [batch..., spatial'..., features]``.

        Raises:
            InvalidOptionError: an option is unknown, or does not fit another or the channels.
            InputShapeError: the input has too few axes.
            ScopeParamShapeError: the input does not have the sizes the kernel was made for.
        """
        window = _window_of(self)
        batch, inputs = flatten_batch(inputs, len(window.size))
        _check_channels(self, inputs.shape[-1])
        inputs, window = _pad_inputs(inputs, window)
        kernel, bias = _parameters(self, inputs.shape, window)
        inputs, kernel, bias = self.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        y = _convolve(self, inputs, kernel, window)
        return restore_batch(y if bias is None else add_bias(y, bias), batch)


def _window_of(layer: _Conv) -> _Window:
    size = window_sizes('kernel_size', canonicalize_tuple(layer.kernel_size))
    rank = len(size)
    window = _Window(
        size,
        _per_axis('strides', layer.strides, rank),
        _per_axis('input_dilation', layer.input_dilation, rank),
        _per_axis('kernel_dilation', layer.kernel_dilation, rank),
        canonicalize_padding(layer.padding, rank),
    )
    if isinstance(window.padding, str):
        _check_named_padding(window)
    return window


def _check_channels(layer: _Conv, n_in: int) -> None:
    groups = layer.feature_group_count
    check_count('features', layer.features)
    check_count('feature_group_count', groups, 1)
    if n_in % groups or layer.features % groups:
        raise InvalidOptionError(
            f'feature_group_count={groups} does not divide both the {n_in} channels of the '
            f'input and features={layer.features}',
            why='each group maps as many channels of the input to as many of the output',
        )
    if groups > 1 and not layer.shared_weights:
        raise InvalidOptionError(
            f'feature_group_count={groups}, but ConvLocal knows no groups',
            mend=f'nn.Conv({layer.features}, {layer.kernel_size}, feature_group_count={groups})',
        )


def _parameters(layer: _Conv, shape: tuple[int, ...], window: _Window) -> tuple[Any, Any]:
    """The kernel, masked, and the bias or None, for an input ``[batch, spatial..., in]``."""
    kernel_shape = (*window.size, shape[-1] // layer.feature_group_count, layer.features)
    bias_shape: tuple[int, ...] = (layer.features,)
    if not layer.shared_weights:
        places = _places(shape, kernel_shape, window)
        bias_shape = (*places, layer.features)
        kernel_shape = (*places, math.prod(kernel_shape[:-1]), layer.features)
    return _kernel_and_bias(layer, kernel_shape, bias_shape)


def _convolve(layer: _Conv, inputs: Array, kernel: Array, window: _Window) -> Array:
    keywords: dict[str, Any] = dict(
        lhs_dilation=window.input_dilation,
        rhs_dilation=window.kernel_dilation,
        dimension_numbers=conv_dimension_numbers(inputs.shape),
        precision=layer.precision,
    )
    if not layer.shared_weights:
        return lax.conv_general_dilated_local(
            inputs, kernel, window.strides, window.padding, window.size, **keywords
        )
    keywords['feature_group_count'] = layer.feature_group_count
    convolve = layer.conv_general_dilated
    if layer.conv_general_dilated_cls is not None:
        convolve = layer.conv_general_dilated_cls()
    if convolve is None:
        padding = window.padding if isinstance(window.padding, str) else tuple(window.padding)
        return _slid(inputs, kernel, window.strides, padding, tuple(keywords.items()))
    return convolve(inputs, kernel, window.strides, window.padding, **keywords)


@repeated(static=3)
def _slid(inputs: Array, kernel: Array, strides: Any, padding: Any, keywords: Any) -> Array:
    return lax.conv_general_dilated(inputs, kernel, strides, padding, **dict(keywords))


def _per_axis(name: str, value: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """A size for each spatial axis, of one for all of them, or of None, which means 1."""
    if value is None:
        return (1,) * rank
    return window_sizes(name, value if np.iterable(value) else (value,) * rank, rank)


def _check_named_padding(window: _Window) -> None:
    padding, rank = str(window.padding), len(window.size)
    check_padding_name(padding, _PADDINGS)
    if padding == 'CAUSAL' and rank != 1:
        raise InvalidOptionError(
            f"padding='CAUSAL' is for one spatial axis; kernel_size={window.size} has {rank}",
            mend=f'padding={tuple((k, 0) for k in window.reach)}',
        )
    if any(d != 1 for d in window.input_dilation):
        raise InvalidOptionError(
            f'padding={padding!r} does not go with input_dilation={window.input_dilation}',
            why='named padding is not defined for a dilated input',
            mend=f'padding={((1, 1),) * rank}, or nn.ConvTranspose',
        )


def _pad_inputs(inputs: Array, window: _Window) -> tuple[Array, _Window]:
    """Pads where ``jax.lax`` does not know the padding; the window that is left pads no more."""
    mode = _PAD_MODES.get(window.padding) if isinstance(window.padding, str) else None
    if mode is None:
        return inputs, window
    if mode == 'constant':
        pads = [(window.reach[0], 0)]
    else:
        pads = [(k // 2, (k + 1) // 2) for k in window.reach]
    if mode == 'wrap' and 0 in inputs.shape[1:-1]:
        raise InputShapeError(f"padding='CIRCULAR' cannot go around an input of {inputs.shape}")
    inputs = jnp.pad(inputs, [(0, 0), *pads, (0, 0)], mode=mode)
    return inputs, dataclasses.replace(window, padding='VALID')


def _places(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: _Window
) -> tuple[int, ...]:
    """The spatial shape of the output: the places to which the window slides."""
    convolve = functools.partial(
        lax.conv_general_dilated,
        window_strides=window.strides,
        padding=window.padding,
        lhs_dilation=window.input_dilation,
        rhs_dilation=window.kernel_dilation,
        dimension_numbers=conv_dimension_numbers(shape),
    )
    lhs, rhs = (jax.ShapeDtypeStruct(s, jnp.float32) for s in (shape, kernel_shape))
    return jax.eval_shape(convolve, lhs, rhs).shape[1:-1]


def _kernel_and_bias(
    layer: _Conv | ConvTranspose, kernel_shape: tuple[int, ...], bias_shape: tuple[int, ...]
) -> tuple[Any, Any]:
    if layer.mask is not None and np.shape(layer.mask) != kernel_shape:
        raise InvalidOptionError(
            f'mask has shape {np.shape(layer.mask)} and the kernel {kernel_shape}',
            mend=f'mask=jnp.ones({kernel_shape})',
        )
    kernel = layer.param('kernel', layer.kernel_init, kernel_shape, layer.param_dtype)
    if layer.mask is not None:
        kernel = kernel * layer.mask
    bias = None
    if layer.use_bias:
        bias = layer.param('bias', layer.bias_init, bias_shape, layer.param_dtype)
    return kernel, bias


class Conv(_Conv):
    """A convolution: one kernel slides over the spatial axes.

    ``[batch..., spatial..., in] -> [batch..., spatial'..., features]``. The parameters are
    ``kernel`` of shape ``[*kernel_size, in // feature_group_count, features]`` and ``bias`` of
    shape ``[features]``, both of ``param_dtype``; the output is of the computation dtype
    (:mod:`linnet.linen.dtypes`). As everywhere in deep learning, the kernel is not flipped.

    >>> import linnet.linen as nn
    >>> images = jnp.ones((8, 28, 28, 3))
    >>> layer = nn.Conv(features=4, kernel_size=(3, 3), strides=2)
    >>> variables = layer.init(jax.random.key(0), images)
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'bias': (4,), 'kernel': (3, 3, 3, 4)}}
    >>> layer.apply(variables, images).shape
    (8, 14, 14, 4)

    Attributes:
        features: number of channels of the output.
        kernel_size: size of the kernel along each spatial axis. An int is a kernel of one
            spatial axis: for images write ``(3, 3)``, since ``3`` would take rows as batch.
        strides: steps of the kernel, one for all axes or one each.
        padding: ``'SAME'``, ``'SAME_LOWER'``, ``'VALID'``; ``'CIRCULAR'``, which goes around;
            ``'REFLECT'``, which mirrors; ``'CAUSAL'``, for one spatial axis, where an output sees
            no later input; an int; or for each axis an int or a pair ``(before, after)``.
        input_dilation: factor by which to spread the input, zeros between.
        kernel_dilation: factor by which to spread the kernel (atrous convolution).
        feature_group_count: number of groups of channels that are convolved apart.
        use_bias: whether to add a bias.
        mask: multiplied with the kernel, of the same shape.
        dtype: the computation dtype; inferred from input and parameters unless given.
        param_dtype: dtype in which the parameters are made.
        precision: of the multiplications, as for ``jax.lax.conv_general_dilated``.
        kernel_init: initialiser of the kernel.
        bias_init: initialiser of the bias.
        promote_dtype: casts input, kernel and bias to the computation dtype.
        conv_general_dilated: computes in place of ``jax.lax.conv_general_dilated``.
        conv_general_dilated_cls: a module class whose instance does; goes before the function.
    """

    shared_weights = True


class ConvLocal(_Conv):
    """A convolution with a kernel of its own at each place, also known as locally connected.

    ``[batch..., spatial..., in] -> [batch..., spatial'..., features]``. The parameters are
    ``kernel`` of shape ``[spatial'..., prod(kernel_size) * in, features]``, where the channels are
    the slowest part of the middle axis, and ``bias`` of shape ``[spatial'..., features]``.

    >>> import linnet.linen as nn
    >>> x = jnp.ones((8, 5, 3))
    >>> variables = nn.ConvLocal(features=4, kernel_size=(2,)).init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'bias': (5, 4), 'kernel': (5, 6, 4)}}

    Attributes:
        features: number of channels of the output.
        kernel_size: size of the kernel along each spatial axis; an int is one axis.
        strides: as for :class:`Conv`, and so are all that follow, but for these.
        feature_group_count: must be 1.
        mask: multiplied with the kernel, of the same shape.
        conv_general_dilated: not used.
        conv_general_dilated_cls: not used.
    """

    shared_weights = False


class ConvTranspose(Module):
    """A transposed convolution: the map that a strided convolution has as its gradient.

    ``[batch..., spatial..., in] -> [batch..., spatial'..., features]``: strides enlarge. The
    parameters are ``kernel`` of shape ``[*kernel_size, in, features]``, or with
    ``transpose_kernel`` ``[*kernel_size, features, in]``, and ``bias`` of shape ``[features]``.

    >>> import linnet.linen as nn
    >>> x = jnp.ones((8, 14, 14, 3))
    >>> layer = nn.ConvTranspose(features=4, kernel_size=(3, 3), strides=(2, 2))
    >>> variables = layer.init(jax.random.key(0), x)
    >>> layer.apply(variables, x).shape
    (8, 28, 28, 4)

    Attributes:
        features: number of channels of the output.
        kernel_size: size of the kernel along each spatial axis; an int is one axis.
        strides: factors of enlargement, one for all axes or one each; 1 unless given.
        padding: ``'SAME'``, ``'VALID'`` or ``'CIRCULAR'``, of the convolution that this is the
            transpose of; an int, or for each axis an int or a pair: of the dilated input.
        kernel_dilation: factor by which to spread the kernel.
        use_bias: whether to add a bias.
        mask: multiplied with the kernel, of the same shape.
        dtype: the computation dtype; inferred from input and parameters unless given.
        param_dtype: dtype in which the parameters are made.
        precision: of the multiplications, as for ``jax.lax.conv_transpose``.
        kernel_init: initialiser of the kernel.
        bias_init: initialiser of the bias.
        transpose_kernel: whether to flip the spatial axes of the kernel and swap its channels, so
            that the kernel of a :class:`Conv` gives the gradient of that layer.
        promote_dtype: casts input, kernel and bias to the computation dtype.
        preferred_element_type: dtype of the sums and so of the output.
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: Sequence[int] | None = None
    padding: PaddingLike = 'SAME'
    kernel_dilation: Sequence[int] | None = None
    use_bias: bool = True
    mask: Array | None = None
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    precision: PrecisionLike = None
    kernel_init: Initializer = default_kernel_init
    bias_init: Initializer = initializers.zeros_init()
    transpose_kernel: bool = False
    promote_dtype: PromoteDtypeFn = promote_dtype
    preferred_element_type: Dtype | None = None

    @compact
    def __call__(self, inputs: Array) -> Array:
        """Convolves: ``[batch..., spatial..., in] -> [batch..., spatial'..., features]``.

        Raises:
            InvalidOptionError: an option is unknown or does not fit another.
            InputShapeError: the input has too few axes.
            ScopeParamShapeError: the input has not the channels the kernel was made for.
        """
        check_count('features', self.features)
        size = window_sizes('kernel_size', canonicalize_tuple(self.kernel_size))
        rank = len(size)
        strides = _per_axis('strides', self.strides, rank)
        dilation = _per_axis('kernel_dilation', self.kernel_dilation, rank)
        padding = canonicalize_padding(self.padding, rank)
        if isinstance(padding, str):
            _check_transposed_padding(padding, strides)
        batch, inputs = flatten_batch(inputs, rank)
        channels = (inputs.shape[-1], self.features)
        kernel, bias = _kernel_and_bias(
            self, (*size, *(channels[::-1] if self.transpose_kernel else channels)), channels[1:]
        )
        inputs, kernel, bias = self.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        y = lax.conv_transpose(
            inputs,
            kernel,
            strides,
            'VALID' if padding == 'CIRCULAR' else padding,
            rhs_dilation=dilation,
            dimension_numbers=conv_dimension_numbers(inputs.shape),
            transpose_kernel=self.transpose_kernel,
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
        )
        if padding == 'CIRCULAR':
            periods = tuple(n * s for n, s in zip(inputs.shape[1:-1], strides, strict=True))
            y = _wrap(y, periods, self.transpose_kernel)
        return restore_batch(y if bias is None else add_bias(y, bias), batch)


def _check_transposed_padding(padding: str, strides: tuple[int, ...]) -> None:
    check_padding_name(padding, _TRANSPOSED_PADDINGS)
    if padding not in _TRANSPOSED_PADDINGS and any(s != 1 for s in strides):
        raise InvalidOptionError(
            f'padding={padding!r} is not defined for strides={strides}',
            why=f'a transposed convolution knows {", ".join(map(repr, _TRANSPOSED_PADDINGS))}',
            mend="padding='SAME'",
        )


def _wrap(y: Array, periods: tuple[int, ...], transposed: bool) -> Array:
    """Folds what reaches beyond one period of each spatial axis back into it.

    ``[batch, full..., channels] -> [batch, period..., channels]``: an axis is padded to an odd
    number of periods, the one in the middle being the result, cut into periods, and summed.
    """
    pads = []
    for full, period in zip(y.shape[1:-1], periods, strict=True):
        if not period:
            raise InputShapeError("padding='CIRCULAR' cannot go around an axis of size 0")
        total = (period - full) % (2 * period)
        left = total // 2 if transposed else (total + 1) // 2
        pads.append((left, total - left))
    y = jnp.pad(y, [(0, 0), *pads, (0, 0)])
    for axis, period in enumerate(periods, start=1):
        shape = (*y.shape[:axis], y.shape[axis] // period, period, *y.shape[axis + 1 :])
        y = jnp.sum(jnp.reshape(y, shape), axis)
    return y

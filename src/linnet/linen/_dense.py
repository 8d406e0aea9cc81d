"""Layers that contract axes of their input with a learnt kernel: Dense, DenseGeneral, Einsum."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from linnet.core.materialize import initial_value
from linnet.core.repeated import repeated
from linnet.errors.layers import InputShapeError, InvalidOptionError
from linnet.linen import initializers
from linnet.linen._inputs import check_array
from linnet.linen._shapes import add_bias, canonicalize_tuple, check_count, normalize_axes
from linnet.linen.dtypes import promote_dtype
from linnet.linen.module.base import Module
from linnet.linen.module.decorators import compact
from linnet.typing import (
    Array,
    DotGeneralT,
    Dtype,
    Initializer,
    PrecisionLike,
    PromoteDtypeFn,
    Shape,
)

default_kernel_init = initializers.lecun_normal()


class Dense(Module):
    """An affine map of the last axis: ``x @ kernel + bias``.

    ``[batch..., in] -> [batch..., features]``. The parameters are ``kernel`` of shape
    ``[in, features]`` and ``bias`` of shape ``[features]``, both of ``param_dtype``; the output
    is of the computation dtype (:mod:`linnet.linen.dtypes`).

    >>> import linnet.linen as nn
    >>> x = jnp.ones((8, 3))
    >>> variables = nn.Dense(features=4).init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'bias': (4,), 'kernel': (3, 4)}}
    >>> nn.Dense(features=4).apply(variables, x).shape
    (8, 4)

    Attributes:
        features: size of the last axis of the output.
        use_bias: whether to add a bias.
        dtype: the computation dtype; inferred from input and parameters unless given.
        param_dtype: dtype in which the parameters are made.
        precision: of the multiplication, as for ``jax.lax.dot_general``.
        kernel_init: initialiser of the kernel.
        bias_init: initialiser of the bias.
        promote_dtype: casts input, kernel and bias to the computation dtype; see
            :func:`linnet.linen.dtypes.promote_dtype`.
        dot_general: computes the product in place of ``jax.lax.dot_general``.
        dot_general_cls: a module class whose instance does; goes before ``dot_general``.
    """

    features: int
    use_bias: bool = True
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    precision: PrecisionLike = None
    kernel_init: Initializer = default_kernel_init
    bias_init: Initializer = initializers.zeros_init()
    promote_dtype: PromoteDtypeFn = promote_dtype
    dot_general: DotGeneralT | None = None
    dot_general_cls: Any = None

    @compact
    def __call__(self, inputs: Array) -> Array:
        """Maps the last axis: ``[batch..., in] -> [batch..., features]``.

        Raises:
            InputShapeError: the input has no axis.
            InputDtypeError: the input is no array.
            InvalidOptionError: ``features`` is no count, or ``dtype`` no inexact dtype.
            ScopeParamShapeError: the width of the input is not the one the kernel was made for.
        """
        check_array(inputs)
        check_count('features', self.features)
        if not inputs.ndim:
            raise InputShapeError(
                'Dense needs at least one axis, [batch..., in]; got a scalar', mend='x[None]'
            )
        kernel = self.param(
            'kernel', self.kernel_init, (inputs.shape[-1], self.features), self.param_dtype
        )
        bias = None
        if self.use_bias:
            bias = self.param('bias', self.bias_init, (self.features,), self.param_dtype)
        inputs, kernel, bias = self.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        contraction = (((inputs.ndim - 1,), (0,)), ((), ()))
        return _affine(self, inputs, kernel, bias, contraction)


def _affine(
    layer: Dense | DenseGeneral,
    inputs: Array,
    kernel: Array,
    bias: Array | None,
    contraction: Any,
    aligned: tuple[int, ...] | None = None,
) -> Array:
    """Multiplies by what the layer says and adds the bias, in the shape ``aligned`` if given."""
    multiply = layer.dot_general
    if layer.dot_general_cls is not None:
        multiply = layer.dot_general_cls()
    if multiply is None:
        return _product(inputs, kernel, bias, contraction, layer.precision, aligned)
    y = multiply(inputs, kernel, contraction, precision=layer.precision)
    return y if bias is None else _add(y, bias, aligned)


@repeated(static=3)
def _product(
    inputs: Array,
    kernel: Array,
    bias: Array | None,
    contraction: Any,
    precision: PrecisionLike,
    aligned: tuple[int, ...] | None,
) -> Array:
    y = lax.dot_general(inputs, kernel, contraction, precision=precision)
    return y if bias is None else _add(y, bias, aligned)


def _add(y: Array, bias: Array, aligned: tuple[int, ...] | None) -> Array:
    return add_bias(y, bias) if aligned is None else y + jnp.reshape(bias, aligned)


class DenseGeneral(Module):
    """An affine map of any axes to any number of new ones.

    ``[batch_dims..., free..., axis...] -> [batch_dims..., free..., features...]``: the axes
    ``axis`` are contracted with the kernel and the new ones come last. Axes in ``batch_dims`` have
    a kernel and bias for each index. The parameters are ``kernel``, of shape
    ``[batch_dims..., axis..., features...]``, and ``bias``, ``[batch_dims..., features...]``. Their
    initialisers see flat shapes, ``[batch_dims * axis, features]`` and ``[batch_dims * features]``,
    so that fans are counted as for Dense.

    >>> import linnet.linen as nn
    >>> x = jnp.ones((8, 10, 6))
    >>> layer = nn.DenseGeneral(features=(2, 3))
    >>> variables = layer.init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'bias': (2, 3), 'kernel': (6, 2, 3)}}
    >>> layer.apply(variables, x).shape
    (8, 10, 2, 3)

    Attributes:
        features: sizes of the new axes.
        axis: the axes to contract, in any order; the kernel has them in that of the input.
        batch_dims: leading axes along which the parameters differ; must be ``0, 1, ...``.
        use_bias: whether to add a bias.
        dtype: the computation dtype; inferred from input and parameters unless given.
        param_dtype: dtype in which the parameters are made.
        kernel_init: initialiser of the flat kernel.
        bias_init: initialiser of the flat bias.
        precision: of the multiplication, as for ``jax.lax.dot_general``.
        promote_dtype: casts input, kernel and bias to the computation dtype.
        dot_general: computes the product in place of ``jax.lax.dot_general``.
        dot_general_cls: a module class whose instance does; goes before ``dot_general``.
    """

    features: int | Sequence[int]
    axis: int | Sequence[int] = -1
    batch_dims: Sequence[int] = ()
    use_bias: bool = True
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    kernel_init: Initializer = default_kernel_init
    bias_init: Initializer = initializers.zeros_init()
    precision: PrecisionLike = None
    promote_dtype: PromoteDtypeFn = promote_dtype
    dot_general: DotGeneralT | None = None
    dot_general_cls: Any = None

    @compact
    def __call__(self, inputs: Array) -> Array:
        """Maps the axes ``axis`` to new last axes.

        Raises:
            InputShapeError: the input lacks an axis that is named.
            InvalidOptionError: ``features``, ``axis`` or ``batch_dims`` do not fit each other.
            ScopeParamShapeError: the sizes of the axes are not those the kernel was made for.
        """
        check_array(inputs)
        shape = inputs.shape
        features = _features(self.features)
        axis, batch = _contracted(shape, self.axis, self.batch_dims)
        n_axis, n_batch = len(axis), len(batch)
        batch_shape, in_shape = shape[:n_batch], tuple(shape[i] for i in axis)
        kernel = _flat_param(
            self, 'kernel', self.kernel_init, (*batch_shape, *in_shape, *features), len(features)
        )
        bias = None
        if self.use_bias:
            bias = _flat_param(self, 'bias', self.bias_init, (*batch_shape, *features))
        inputs, kernel, bias = self.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        contraction = ((axis, tuple(range(n_batch, n_batch + n_axis))), (batch, batch))
        n_free = len(shape) - n_axis - n_batch
        aligned = (*batch_shape, *(1,) * n_free, *features)
        return _affine(self, inputs, kernel, bias, contraction, aligned)


def _flat_param(
    layer: DenseGeneral, name: str, init: Initializer, shape: tuple[int, ...], n_out: int = 0
) -> Array:
    """A parameter whose initialiser sees it as ``[in, out]``, or as ``[all]`` without n_out."""
    split = len(shape) - n_out
    flat = (math.prod(shape[:split]), math.prod(shape[split:]))[: 2 if n_out else 1]
    if flat != shape:
        init = FlatInitializer(init, flat)
    return layer.param(name, init, shape, layer.param_dtype)


@dataclasses.dataclass(frozen=True)
class FlatInitializer:
    """Makes a parameter by an initialiser that sees it with fewer axes.

    Attributes:
        base: the initialiser; it may return a box around the array.
        flat_shape: the shape that it is asked for.
    """

    base: Initializer
    flat_shape: tuple[int, ...]

    @property
    def __wrapped__(self) -> Initializer:
        return self.base

    @property
    def static_arguments(self) -> tuple[int, ...]:
        """What tells it from others around the same initialiser."""
        return self.flat_shape

    def __call__(self, key: jax.Array, shape: Shape, dtype: Dtype = jnp.float32) -> Any:
        flat = initial_value(self.base, key, self.flat_shape, dtype)
        return jax.tree_util.tree_map(lambda x: _reshaped(x, tuple(shape)), flat)


@repeated(static=1)
def _reshaped(x: Array, shape: Shape) -> Array:
    return jnp.reshape(x, shape)


def _features(features: int | Sequence[int]) -> tuple[int, ...]:
    sizes = canonicalize_tuple(features)
    for size in sizes:
        check_count('features', size)
    if not sizes:
        raise InvalidOptionError('features=() names no axis of the output', mend='features=(1,)')
    return sizes


def _contracted(
    shape: Shape, axis: int | Sequence[int], batch_dims: int | Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Checks the axes against the shape of the input and counts them from the front."""
    axes, batch = canonicalize_tuple(axis), tuple(sorted(canonicalize_tuple(batch_dims)))
    if batch != tuple(range(len(batch))):
        raise InvalidOptionError(
            f'batch_dims={batch_dims} are not the first axes of the input',
            mend=f'batch_dims={tuple(range(len(batch)))}',
        )
    ndim = len(shape)
    if len(batch) > ndim or any(not -ndim <= i < ndim for i in axes):
        raise InputShapeError(
            f'axis={axis} and batch_dims={batch_dims} name axes that an input of shape {shape} '
            'does not have',
        )
    axes = normalize_axes(axes, ndim)
    if len({*axes, *batch}) < len(axes) + len(batch):
        raise InvalidOptionError(
            f'axis={axis} and batch_dims={batch_dims} name an axis twice, for an input of shape '
            f'{shape}',
        )
    return axes, batch


class Einsum(Module):
    """An Einstein sum of the input and a learnt kernel, with a bias.

    The equation has two terms, first the input and then the kernel, as ``'...i,io->...o'``. The
    parameters are ``kernel`` of shape ``shape`` and ``bias``, which has the axes of the kernel
    that the output keeps, in the order of the output.

    >>> import linnet.linen as nn
    >>> x = jnp.ones((5, 2, 3))
    >>> layer = nn.Einsum(shape=(3, 4, 6), einsum_str='abc,cde->abde')
    >>> variables = layer.init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'bias': (4, 6), 'kernel': (3, 4, 6)}}
    >>> layer.apply(variables, x).shape
    (5, 2, 4, 6)

    Attributes:
        shape: shape of the kernel.
        einsum_str: the equation, unless it is given with each call.
        use_bias: whether to add a bias.
        dtype: the computation dtype; inferred from input and parameters unless given.
        param_dtype: dtype in which the parameters are made.
        precision: of the multiplication, as for ``jax.numpy.einsum``.
        kernel_init: initialiser of the kernel.
        bias_init: initialiser of the bias.
        promote_dtype: casts input, kernel and bias to the computation dtype.
        preferred_element_type: dtype of the sums, as for ``jax.numpy.einsum``.
    """

    shape: Shape
    einsum_str: str | None = None
    use_bias: bool = True
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    precision: PrecisionLike = None
    kernel_init: Initializer = default_kernel_init
    bias_init: Initializer = initializers.zeros_init()
    promote_dtype: PromoteDtypeFn = promote_dtype
    preferred_element_type: Dtype | None = None

    @compact
    def __call__(self, inputs: Array, einsum_str: str | None = None) -> Array:
        """Computes the sum.

        Args:
            inputs: the first term of the equation.
            einsum_str: the equation, where the layer has none.

        Raises:
            InvalidOptionError: the equation is missing, given twice, or malformed.
            InputShapeError: it does not fit the shapes of the input and the kernel.
        """
        check_array(inputs)
        equation = _equation(self, einsum_str)
        kernel_shape = canonicalize_tuple(self.shape)
        bias_shape, aligned = _bias_shapes(equation, inputs.shape, kernel_shape)
        kernel = self.param('kernel', self.kernel_init, kernel_shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param('bias', self.bias_init, bias_shape, self.param_dtype)
        inputs, kernel, bias = self.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        y = jnp.einsum(
            equation,
            inputs,
            kernel,
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
        )
        return y if bias is None else y + jnp.reshape(bias, aligned)


def _equation(layer: Einsum, einsum_str: str | None) -> str:
    """The equation without spaces, from the layer or from the call."""
    if (einsum_str is None) == (layer.einsum_str is None):
        given = 'twice: to the layer and to the call' if einsum_str else 'nowhere'
        raise InvalidOptionError(
            f'einsum_str is given {given}', mend=f"nn.Einsum({layer.shape}, '...i,io->...o')"
        )
    equation = (einsum_str or layer.einsum_str or '').replace(' ', '')
    if equation.count('->') != 1 or equation.count(',') != 1:
        raise InvalidOptionError(
            f'einsum_str={equation!r} is not of the form input,kernel->output',
            mend=f"nn.Einsum({layer.shape}, '...i,io->...o')",
        )
    return equation


def _bias_shapes(
    equation: str, input_shape: Shape, kernel_shape: Shape
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of the bias, and the same with an axis of size 1 for each that only inputs have."""
    terms, _, output = equation.partition('->')
    left, right = terms.split(',')
    inputs = _label_sizes('the input', left, input_shape)
    kernel = _label_sizes('the kernel', right, kernel_shape)
    for label in inputs.keys() & kernel.keys():
        if inputs[label] != kernel[label] and 1 not in (inputs[label], kernel[label]):
            raise InputShapeError(
                f'axis {label!r} of {equation!r} has size {inputs[label]} in the input of shape '
                f'{input_shape} and size {kernel[label]} in the kernel of shape {kernel_shape}',
            )
    labels = _labels(output, max(_n_dots(inputs), _n_dots(kernel)))
    if unknown := [label for label in labels if label not in inputs and label not in kernel]:
        raise InvalidOptionError(f'the output of {equation!r} has unknown axes {unknown}')
    aligned = tuple(kernel.get(label, 1) for label in labels)
    return tuple(kernel[label] for label in labels if label in kernel), aligned


def _label_sizes(what: str, term: str, shape: Shape) -> dict[str, int]:
    """The size of each axis that a term names; those of an ellipsis count from its right end."""
    labels = _labels(term, len(shape) - len(term.replace('...', '')))
    if len(labels) != len(shape):
        raise InputShapeError(f'{term!r} does not name the axes of {what}, whose shape is {shape}')
    return dict(zip(labels, shape, strict=True))


def _labels(term: str, n_dots: int) -> list[str]:
    before, dots, after = term.partition('...')
    hidden = [f'...{i}' for i in range(n_dots, 0, -1)] if dots else []
    return [*before, *hidden, *after]


def _n_dots(sizes: dict[str, int]) -> int:
    return sum(label.startswith('...') for label in sizes)

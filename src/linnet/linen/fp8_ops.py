"""Products in eight-bit floating point, with scales that follow the data.

Words: an array is *quantised* by dividing it by a *scale* and rounding it to an FP8 dtype, e4m3
for what goes forward and e5m2 for gradients, whose range is wider. *qdq* quantises and goes back,
so that the loss of precision is there and the product is computed in an ordinary dtype. *amax* is
the largest magnitude in an array, and the scale is chosen so that the largest amax of a *history*
of steps just fits (delayed scaling). Both live in the collection ``_overwrite_with_gradient``: what
differentiation returns for them is not a gradient but their next value, and an optimiser has to put
it in their place.

Micikevicius et al., "FP8 Formats for Deep Learning" (2022).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp

from linnet.core.variables import Variable
from linnet.errors.layers import InputDtypeError, InvalidOptionError
from linnet.errors.sharp_bits import UnusedOptionWarning
from linnet.linen._fp8_dot import dot_general_transpose_lhs as dot_general_transpose_lhs
from linnet.linen._fp8_dot import dot_general_transpose_rhs as dot_general_transpose_rhs
from linnet.linen._fp8_dot import dot_general_with_precision as dot_general_with_precision
from linnet.linen._fp8_dot import dot_general_with_precision_jvp as dot_general_with_precision_jvp
from linnet.linen._fp8_dot import fp8_scaled_dot_general as fp8_scaled_dot_general
from linnet.linen._fp8_dot import quantized_dot as quantized_dot
from linnet.linen._fp8_dot import quantized_dot_bwd as quantized_dot_bwd
from linnet.linen._fp8_dot import quantized_dot_fwd as quantized_dot_fwd
from linnet.linen._fp8_meta import Fp8MetaTyRules as Fp8MetaTyRules
from linnet.linen._fp8_meta import fm32 as fm32
from linnet.linen._fp8_meta import fp8_meta_dtype as fp8_meta_dtype
from linnet.linen._fp8_meta import fp8_meta_dtype_wrapper as fp8_meta_dtype_wrapper
from linnet.linen._fp8_meta import fp32_max_grad as fp32_max_grad
from linnet.linen._fp8_meta import to_float32 as _fm32_to_float32  # noqa: F401
from linnet.linen._fp8_quantize import compute_amax_history as compute_amax_history
from linnet.linen._fp8_quantize import compute_scale as compute_scale
from linnet.linen._fp8_quantize import dequantize as dequantize
from linnet.linen._fp8_quantize import get_fp8_max as get_fp8_max
from linnet.linen._fp8_quantize import in_q as in_q
from linnet.linen._fp8_quantize import in_q_bwd as in_q_bwd
from linnet.linen._fp8_quantize import in_q_fwd as in_q_fwd
from linnet.linen._fp8_quantize import in_qdq as in_qdq
from linnet.linen._fp8_quantize import in_qdq_bwd as in_qdq_bwd
from linnet.linen._fp8_quantize import in_qdq_fwd as in_qdq_fwd
from linnet.linen._fp8_quantize import out_dq as out_dq
from linnet.linen._fp8_quantize import out_dq_bwd as out_dq_bwd
from linnet.linen._fp8_quantize import out_dq_fwd as out_dq_fwd
from linnet.linen._fp8_quantize import out_qdq as out_qdq
from linnet.linen._fp8_quantize import out_qdq_bwd as out_qdq_bwd
from linnet.linen._fp8_quantize import out_qdq_fwd as out_qdq_fwd
from linnet.linen._fp8_quantize import qdq as qdq
from linnet.linen._fp8_quantize import quantize as quantize
from linnet.linen._fp8_quantize import quantize_dequantize_update as quantize_dequantize_update
from linnet.linen._fp8_quantize import update_fp8_meta as update_fp8_meta
from linnet.linen._inputs import check_array, warn_about
from linnet.linen._shapes import check_count
from linnet.linen.module.base import Module
from linnet.typing import Array, Dtype

OVERWRITE_WITH_GRADIENT = '_overwrite_with_gradient'
CAN_USE_EARRAY = True  # every supported JAX has the arrays that fm32 needs
DType = Any


class Fp8DotGeneralBase(Module):
    """What the products in FP8 share: the scales and histories of both inputs and of the gradient.

    Each of ``input``, ``kernel`` and ``output_grad`` has a ``_scale`` of shape ``[1]``, at first 1,
    and an ``_amax_history`` of shape ``[amax_history_length]``, at first 0, in the collection
    ``_overwrite_with_gradient``.

    Attributes:
        amax_history_length: number of steps that the scale looks back on.
        e4m3_dtype: FP8 dtype of what goes forward.
        e5m2_dtype: FP8 dtype of gradients.
    """

    amax_history_length: int = 1024
    e4m3_dtype: DType = jnp.float8_e4m3fn
    e5m2_dtype: DType = jnp.float8_e5m2

    def setup(self) -> None:
        """Makes the scales and histories, or takes those that are there."""
        check_count('amax_history_length', self.amax_history_length, 1)
        self.input_amax_history = _history(self, 'input')
        self.kernel_amax_history = _history(self, 'kernel')
        self.output_grad_amax_history = _history(self, 'output_grad')
        self.input_scale = _scale(self, 'input')
        self.kernel_scale = _scale(self, 'kernel')
        self.output_grad_scale = _scale(self, 'output_grad')


def _history(layer: Fp8DotGeneralBase, what: str) -> Variable:
    name, shape = f'{what}_amax_history', (layer.amax_history_length,)
    return layer.variable(OVERWRITE_WITH_GRADIENT, name, jnp.zeros, shape, jnp.float32)


def _scale(layer: Fp8DotGeneralBase, what: str) -> Variable:
    return layer.variable(OVERWRITE_WITH_GRADIENT, f'{what}_scale', jnp.ones, (1,), jnp.float32)


class Fp8DotGeneralOp(Fp8DotGeneralBase):
    """A product of arrays that lost precision to FP8, computed in their own dtype.

    It is called as ``jax.lax.dot_general`` is, and gives the dtype of the right array. It shows
    what FP8 does to a model on hardware that has none; :class:`Fp8DirectDotGeneralOp` computes in
    FP8. ``precision`` and ``preferred_element_type`` are not used.

    >>> import jax, linnet.linen as nn
    >>> layer = nn.Dense(4, dot_general_cls=nn.Fp8DotGeneralOp)
    >>> variables = layer.init(jax.random.key(0), jnp.ones((2, 3)))
    >>> sorted(variables)
    ['_overwrite_with_gradient', 'params']
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Array:
        """The product of ``args[0]`` and ``args[1]`` over the dimension numbers ``args[2]``.

        Raises:
            InvalidOptionError: there are not three positional arguments.
            InputDtypeError: the right array is not of floating-point numbers.
        """
        x, k, dimension_numbers, dtype = _parse_dot_inputs(*args, **kwargs)
        lossy = (dtype, self.e4m3_dtype)
        x = in_qdq(*lossy, x, self.input_scale.value, self.input_amax_history.value)
        k = in_qdq(*lossy, k, self.kernel_scale.value, self.kernel_amax_history.value)
        y = dot_general_with_precision(x, k, dimension_numbers)
        return out_qdq(
            dtype,
            self.e5m2_dtype,
            y,
            self.output_grad_scale.value,
            self.output_grad_amax_history.value,
        )


class NANOOFp8DotGeneralOp(Fp8DotGeneralOp):
    """:class:`Fp8DotGeneralOp` in the FP8 dtypes that have one NaN and no infinity ("NANOO")."""

    e4m3_dtype: DType = jnp.float8_e4m3fnuz
    e5m2_dtype: DType = jnp.float8_e5m2fnuz


class Fp8DirectDotGeneralOp(Fp8DotGeneralBase):
    """A product computed in FP8: e4m3fn forward, e5m2 for gradients, whatever the dtypes say.

    It is called as ``jax.lax.dot_general`` is, and gives the dtype of the right array.
    ``precision`` and ``preferred_element_type`` are not used.

    >>> import jax, linnet.linen as nn
    >>> layer = nn.Dense(4, dot_general_cls=nn.Fp8DirectDotGeneralOp)
    >>> variables = layer.init(jax.random.key(0), jnp.ones((2, 3)))
    >>> layer.apply(variables, jnp.ones((2, 3))).shape
    (2, 4)
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Array:
        """The product of ``args[0]`` and ``args[1]`` over the dimension numbers ``args[2]``.

        Raises:
            InvalidOptionError: there are not three positional arguments.
            InputDtypeError: the right array is not of floating-point numbers.
        """
        x, k, dimension_numbers, dtype = _parse_dot_inputs(*args, **kwargs)
        return fp8_scaled_dot_general(
            x, k, dimension_numbers, preferred_element_type=dtype, **_scaling(self, dtype)
        )


Fp8DotGeneral = Fp8DirectDotGeneralOp


class Fp8Einsum(Fp8DotGeneralBase):
    """An Einstein sum of two arrays in FP8, in the place of ``jax.numpy.einsum``.

    Products are those of :class:`Fp8DirectDotGeneralOp`. Where ``einsum`` swaps the arrays, the
    scale and history named ``input`` are those of the second.

    >>> import jax
    >>> layer = Fp8Einsum()
    >>> args = ('ab,bc->ac', jnp.ones((2, 3)), jnp.ones((3, 4)))
    >>> layer.apply(layer.init(jax.random.key(0), *args), *args).shape
    (2, 4)
    """

    def __call__(
        self,
        eqn: str,
        lhs: Array,
        rhs: Array,
        precision: Any = None,
        preferred_element_type: Dtype | None = None,
    ) -> Array:
        """Computes the sum in the dtype of ``rhs``; ``precision`` is not used.

        Raises:
            InputDtypeError: the right array is not of floating-point numbers.
        """
        dtype = _inexact(rhs)
        return jnp.einsum(
            eqn,
            jnp.asarray(lhs, dtype),
            jnp.asarray(rhs),
            precision=precision,
            preferred_element_type=preferred_element_type,
            _dot_general=partial(fp8_scaled_dot_general, **_scaling(self, dtype)),
        )


def _scaling(layer: Fp8DotGeneralBase, dtype: Dtype) -> dict[str, Any]:
    """The keyword arguments of ``fp8_scaled_dot_general`` that a layer knows."""
    if (layer.e4m3_dtype, layer.e5m2_dtype) != (jnp.float8_e4m3fn, jnp.float8_e5m2):
        what = 'e4m3_dtype and e5m2_dtype are not used: float8_e4m3fn and float8_e5m2'
        warn_about(UnusedOptionWarning, layer, what)
    return dict(
        lhs_scale=layer.input_scale.value,
        rhs_scale=layer.kernel_scale.value,
        grad_scale=layer.output_grad_scale.value,
        lhs_amax_history=layer.input_amax_history.value,
        rhs_amax_history=layer.kernel_amax_history.value,
        grad_amax_history=layer.output_grad_amax_history.value,
        quantize_compute_type=dtype,
    )


def _parse_dot_inputs(*args: Any, **kwargs: Any) -> tuple[Array, Array, Any, Dtype]:
    """Both arrays in the dtype of the second, the dimension numbers, and that dtype."""
    if len(args) != 3:
        raise InvalidOptionError(
            f'a product in FP8 got {len(args)} positional arguments',
            mend='layer(lhs, rhs, dimension_numbers)',
        )
    x, k, dimension_numbers = args
    dtype = _inexact(k)
    return jnp.asarray(x, dtype), jnp.asarray(k), dimension_numbers, dtype


def _inexact(k: Array) -> Dtype:
    """The dtype of the right array, which is that of the product."""
    check_array(k, 'the right array')
    if not jnp.issubdtype(k.dtype, jnp.floating):
        raise InputDtypeError(
            f'the right array is of dtype {k.dtype}',
            why='only floating-point numbers are quantised to FP8',
            mend='k.astype(jnp.float32)',
        )
    return k.dtype

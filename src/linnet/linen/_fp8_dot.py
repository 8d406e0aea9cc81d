"""Products of arrays quantised to FP8, and their gradients; see :mod:`linnet.linen.fp8_ops`."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import custom_jvp, custom_vjp, lax

from linnet.errors.layers import InvalidOptionError
from linnet.errors.sharp_bits import UnusedOptionWarning
from linnet.linen._fp8_meta import to_float32
from linnet.linen._fp8_quantize import dequantize, in_q, out_dq, quantize, update_fp8_meta
from linnet.sharp_bits import warn
from linnet.typing import Array, Dtype

_Dimensions = Any


@partial(custom_vjp, nondiff_argnums=(8, 9))
def quantized_dot(
    lhs: Array,
    q_lhs: Array,
    lhs_scale: Array,
    rhs: Array,
    q_rhs: Array,
    rhs_scale: Array,
    out_grad_scale: Array,
    out_grad_amax_history: Array,
    dimension_numbers: _Dimensions,
    preferred_element_type: Dtype | None = None,
) -> Array:
    """The product of two quantised arrays, still to be multiplied by their scales.

    Its gradient quantises what comes back to e5m2, multiplies that by ``q_lhs`` and ``q_rhs``, and
    is the gradient of ``lhs`` and ``rhs``. The gradients of ``out_grad_scale`` and
    ``out_grad_amax_history`` are their next values.

    Args:
        lhs: the left array before it was quantised.
        q_lhs: the left array quantised.
        lhs_scale: its scale.
        rhs: the right array before it was quantised.
        q_rhs: the right array quantised.
        rhs_scale: its scale.
        out_grad_scale: scale for the gradient of the output.
        out_grad_amax_history: history of the gradient of the output.
        dimension_numbers: as for ``jax.lax.dot_general``.
        preferred_element_type: dtype of the sums.
    """
    return _product(q_lhs, q_rhs, dimension_numbers, preferred_element_type)


def quantized_dot_fwd(
    lhs: Array,
    q_lhs: Array,
    lhs_scale: Array,
    rhs: Array,
    q_rhs: Array,
    rhs_scale: Array,
    out_grad_scale: Array,
    out_grad_amax_history: Array,
    dimension_numbers: _Dimensions,
    preferred_element_type: Dtype | None,
) -> Any:
    """The forward pass of :func:`quantized_dot`."""
    arrays = (lhs, q_lhs, lhs_scale, rhs, q_rhs, rhs_scale, out_grad_scale, out_grad_amax_history)
    return _product(q_lhs, q_rhs, dimension_numbers, preferred_element_type), arrays


def quantized_dot_bwd(
    dimension_numbers: _Dimensions, preferred_element_type: Dtype | None, res: Any, g: Array
) -> Any:
    """The backward pass of :func:`quantized_dot`."""
    lhs, q_lhs, lhs_scale, rhs, q_rhs, rhs_scale, grad_scale, grad_history = res
    e5m2 = jnp.float8_e5m2
    new_scale, new_history = update_fp8_meta(g, e5m2, grad_scale, grad_history)
    g_scale = to_float32(new_scale)
    q_g = quantize(g, e5m2, g_scale, preferred_element_type)
    options = dict(
        dimension_numbers=dimension_numbers,
        precision=lax.Precision.HIGHEST,
        preferred_element_type=preferred_element_type,
    )
    grad_lhs = dot_general_transpose_lhs(q_g, lhs, q_rhs, **options)
    grad_lhs = dequantize(grad_lhs, preferred_element_type, to_float32(rhs_scale) * g_scale)
    grad_rhs = dot_general_transpose_rhs(q_g, q_lhs, rhs, **options)
    grad_rhs = dequantize(grad_rhs, preferred_element_type, to_float32(lhs_scale) * g_scale)
    return grad_lhs, None, None, grad_rhs, None, None, new_scale, new_history


def _product(
    lhs: Array, rhs: Array, dimension_numbers: _Dimensions, preferred_element_type: Dtype | None
) -> Array:
    return lax.dot_general(
        lhs,
        rhs,
        dimension_numbers,
        precision=lax.Precision.DEFAULT,
        preferred_element_type=preferred_element_type,
    )


quantized_dot.defvjp(quantized_dot_fwd, quantized_dot_bwd)


def dot_general_transpose_lhs(
    g: Array,
    x: Array,
    y: Array,
    *,
    dimension_numbers: _Dimensions,
    precision: Any,
    preferred_element_type: Dtype | None,
    swap_ans: bool = False,
) -> Array:
    """The gradient of ``x`` in ``jax.lax.dot_general(x, y, dimension_numbers)``.

    Args:
        g: the gradient of the product.
        x: the left array, of which only the number of axes counts.
        y: the right array.
        dimension_numbers: as for ``jax.lax.dot_general``.
        precision: of this product.
        preferred_element_type: dtype of the sums.
        swap_ans: whether the product was that of ``y`` and ``x``.
    """
    (x_contract, y_contract), (x_batch, y_batch) = dimension_numbers
    n_batch = len(x_batch)
    x_kept = [i for i in range(np.ndim(x)) if i not in (*x_contract, *x_batch)]
    y_kept = [i for i in range(np.ndim(y)) if i not in (*y_contract, *y_batch)]
    start = n_batch if swap_ans else n_batch + len(x_kept)
    of_y = range(start, start + len(y_kept))
    product = lax.dot_general(
        g,
        y,
        ((tuple(of_y), tuple(y_kept)), (tuple(range(n_batch)), tuple(y_batch))),
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    # the product has the contracted axes in the order of y
    contracted = [x_contract[i] for i in np.argsort(y_contract)]
    return lax.transpose(product, tuple(np.argsort((*x_batch, *x_kept, *contracted))))


def dot_general_transpose_rhs(
    g: Array,
    x: Array,
    y: Array,
    *,
    dimension_numbers: _Dimensions,
    precision: Any,
    preferred_element_type: Dtype | None,
) -> Array:
    """The gradient of ``y`` in ``jax.lax.dot_general(x, y, dimension_numbers)``."""
    (x_contract, y_contract), (x_batch, y_batch) = dimension_numbers
    return dot_general_transpose_lhs(
        g,
        y,
        x,
        dimension_numbers=((y_contract, x_contract), (y_batch, x_batch)),
        precision=precision,
        preferred_element_type=preferred_element_type,
        swap_ans=True,
    )


@partial(custom_jvp, nondiff_argnums=(2, 3, 4))
def dot_general_with_precision(
    lhs: Array,
    rhs: Array,
    dimension_numbers: _Dimensions,
    precision: Any = None,
    preferred_element_type: Dtype | None = None,
) -> Array:
    """``jax.lax.dot_general`` in default precision, whose gradient is in the highest.

    ``precision`` and ``preferred_element_type`` are there for the signature, and not used.
    """
    _warn_if_given('dot_general_with_precision', precision, preferred_element_type)
    return _product(lhs, rhs, dimension_numbers, None)


def dot_general_with_precision_jvp(
    dimension_numbers: _Dimensions,
    precision: Any,
    preferred_element_type: Dtype | None,
    primals: Any,
    tangents: Any,
) -> Any:
    """The derivative of :func:`dot_general_with_precision`."""
    (lhs, rhs), (lhs_dot, rhs_dot) = primals, tangents
    exact = partial(
        lax.dot_general, dimension_numbers=dimension_numbers, precision=lax.Precision.HIGHEST
    )
    return _product(lhs, rhs, dimension_numbers, None), exact(lhs_dot, rhs) + exact(lhs, rhs_dot)


dot_general_with_precision.defjvp(dot_general_with_precision_jvp)


def fp8_scaled_dot_general(
    lhs: Array,
    rhs: Array,
    dimension_numbers: _Dimensions,
    precision: Any = None,
    preferred_element_type: Dtype | None = None,
    *,
    lhs_scale: Array | None = None,
    rhs_scale: Array | None = None,
    grad_scale: Array | None = None,
    lhs_amax_history: Array | None = None,
    rhs_amax_history: Array | None = None,
    grad_amax_history: Array | None = None,
    quantize_compute_type: Dtype = jnp.float32,
) -> Array:
    """A product computed in FP8, forward in e4m3 and backward in e5m2.

    Args:
        lhs: the left array.
        rhs: the right array.
        dimension_numbers: as for ``jax.lax.dot_general``.
        precision: not used.
        preferred_element_type: dtype of the result; the default float dtype unless given.
        lhs_scale: scale of the left array, ``[1]``.
        rhs_scale: scale of the right array, ``[1]``.
        grad_scale: scale of the gradient of the result, ``[1]``.
        lhs_amax_history: history of the left array, ``[steps]``.
        rhs_amax_history: history of the right array, ``[steps]``.
        grad_amax_history: history of the gradient of the result, ``[steps]``.
        quantize_compute_type: dtype in which arrays are scaled.

    Raises:
        InvalidOptionError: a scale or a history is missing.
    """
    _warn_if_given('fp8_scaled_dot_general', precision, None)
    state = dict(
        lhs_scale=lhs_scale,
        rhs_scale=rhs_scale,
        grad_scale=grad_scale,
        lhs_amax_history=lhs_amax_history,
        rhs_amax_history=rhs_amax_history,
        grad_amax_history=grad_amax_history,
    )
    if missing := [name for name, value in state.items() if value is None]:
        raise InvalidOptionError(f'fp8_scaled_dot_general needs {", ".join(missing)}')
    e4m3 = jnp.float8_e4m3fn
    q_lhs, lhs_scale = in_q(quantize_compute_type, e4m3, lhs, lhs_scale, lhs_amax_history)
    q_rhs, rhs_scale = in_q(quantize_compute_type, e4m3, rhs, rhs_scale, rhs_amax_history)
    arrays = (lhs, q_lhs, lhs_scale, rhs, q_rhs, rhs_scale, grad_scale, grad_amax_history)
    y = quantized_dot(*arrays, dimension_numbers, preferred_element_type)
    return out_dq(preferred_element_type, lhs_scale, rhs_scale, y)


def _warn_if_given(name: str, precision: Any, preferred_element_type: Any) -> None:
    options = {'precision': precision, 'preferred_element_type': preferred_element_type}
    given = [option for option, value in options.items() if value is not None]
    if given:
        warn(UnusedOptionWarning(f'{name} does not use {" and ".join(given)}'))

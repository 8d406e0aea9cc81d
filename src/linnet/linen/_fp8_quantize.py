"""Quantising to FP8 with delayed scaling: the functions on one array.

Those with a derivative of their own return, as the gradients of a scale and of a history, their
next values; :mod:`linnet.linen.fp8_ops` explains the words.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import custom_vjp

from linnet.errors.layers import InvalidOptionError
from linnet.linen._fp8_meta import like, to_float32
from linnet.typing import Array, Dtype

_FP8_DTYPES = ('float8_e4m3fn', 'float8_e5m2', 'float8_e4m3fnuz', 'float8_e5m2fnuz')


def get_fp8_max(fp8_dtype: Dtype, out_dtype: Dtype) -> Any:
    """The largest number of an FP8 dtype, as a scalar of ``out_dtype``.

    >>> float(get_fp8_max(jnp.float8_e4m3fn, jnp.float32))
    448.0

    Raises:
        InvalidOptionError: ``fp8_dtype`` is not an FP8 dtype known here.
    """
    if jnp.dtype(fp8_dtype).name not in _FP8_DTYPES:
        raise InvalidOptionError(
            f'{jnp.dtype(fp8_dtype).name} is not an FP8 dtype',
            why=f'the dtypes are {", ".join(_FP8_DTYPES)}',
        )
    return jnp.finfo(fp8_dtype).max.astype(out_dtype)


def quantize(x: Array, q_dtype: Dtype, scale: Array, compute_dtype: Dtype) -> Array:
    """Divides by the scale, clips to what ``q_dtype`` can hold and casts to it.

    >>> quantize(jnp.array([2.0, 900.0]), jnp.float8_e4m3fn, jnp.array([0.5]), jnp.float32)
    Array([4, 448], dtype=float8_e4m3fn)
    """
    largest = get_fp8_max(q_dtype, compute_dtype)
    scaled = x / jnp.broadcast_to(to_float32(scale).astype(compute_dtype), x.shape)
    return jnp.clip(scaled, -largest, largest).astype(q_dtype)


def dequantize(x: Array, dq_dtype: Dtype, scale: Array) -> Array:
    """Casts to ``dq_dtype`` and multiplies by the scale."""
    return x.astype(dq_dtype) * jnp.broadcast_to(to_float32(scale).astype(dq_dtype), x.shape)


def qdq(x: Array, q_dtype: Dtype, scale: Array, compute_dtype: Dtype) -> Array:
    """Quantises and goes back to the dtype of ``x``: what is left of it in ``q_dtype``."""
    return dequantize(quantize(x, q_dtype, scale, compute_dtype), x.dtype, scale)


def compute_scale(amax: Array, scale: Array, fp8_max: Any, margin: int = 0) -> Array:
    """The scale by which ``amax`` becomes ``fp8_max``.

    Args:
        amax: the magnitude that is to fit.
        scale: the present scale, returned where ``amax`` is zero or not finite.
        fp8_max: the largest number of the dtype.
        margin: how many powers of two to leave free.
    """
    present = 1.0 / scale
    inverse = (fp8_max / amax) / (2**margin)
    inverse = jnp.where(amax > 0.0, inverse, present)
    return 1.0 / jnp.where(jnp.isfinite(amax), inverse, present)


def compute_amax_history(x: Array, amax_history: Array) -> Array:
    """The history of the next step: that of ``x`` in front, the oldest left out.

    >>> compute_amax_history(jnp.array([1.0, -4.0]), jnp.array([3.0, 2.0, 1.0]))
    Array([4., 1., 3.], dtype=float32)
    """
    amax = jnp.max(jnp.abs(x)).astype(amax_history.dtype)
    return jnp.roll(amax_history, shift=-1, axis=0).at[0].set(amax)


def update_fp8_meta(
    x: Array, q_dtype: Dtype, scale: Array, amax_history: Array
) -> tuple[Array, Array]:
    """The scale to use for ``x``, which comes from the history, and the history with ``x``."""
    kinds = scale.dtype, amax_history.dtype
    amax_history, scale = to_float32(amax_history), to_float32(scale)
    largest = get_fp8_max(q_dtype, jnp.float32)
    new_scale = compute_scale(jnp.max(amax_history, axis=0), scale, largest)
    new_history = like(compute_amax_history(x, amax_history), kinds[1])
    return like(new_scale, kinds[0]), new_history


def quantize_dequantize_update(
    x: Array, q_dtype: Dtype, scale: Array, amax_history: Array, compute_dtype: Dtype
) -> tuple[Array, Array, Array]:
    """``x`` after :func:`qdq` with the new scale, that scale, and the new history."""
    new_scale, new_history = update_fp8_meta(x, q_dtype, scale, amax_history)
    return qdq(x, q_dtype, to_float32(new_scale), compute_dtype), new_scale, new_history


@partial(custom_vjp, nondiff_argnums=(0, 1))
def in_qdq(
    compute_dtype: Dtype, q_dtype: Dtype, inp: Array, scale: Array, amax_history: Array
) -> Array:
    """Loses precision on the way forward and lets gradients pass.

    The gradients of ``scale`` and ``amax_history`` are their next values.
    """
    return quantize_dequantize_update(inp, q_dtype, scale, amax_history, compute_dtype)[0]


def in_qdq_fwd(
    compute_dtype: Dtype, q_dtype: Dtype, inp: Array, scale: Array, amax_history: Array
) -> Any:
    """The forward pass of :func:`in_qdq`, which keeps the new scale and history."""
    y, *new = quantize_dequantize_update(inp, q_dtype, scale, amax_history, compute_dtype)
    return y, tuple(new)


def in_qdq_bwd(compute_dtype: Dtype, q_dtype: Dtype, res: Any, g: Array) -> Any:
    """The backward pass of :func:`in_qdq`."""
    return (g, *res)


in_qdq.defvjp(in_qdq_fwd, in_qdq_bwd)


@partial(custom_vjp, nondiff_argnums=(0, 1))
def out_qdq(
    compute_dtype: Dtype, q_dtype: Dtype, out: Array, scale: Array, amax_history: Array
) -> Array:
    """Returns ``out``; its gradient loses precision.

    The gradients of ``scale`` and ``amax_history`` are their next values.
    """
    return out


def out_qdq_fwd(
    compute_dtype: Dtype, q_dtype: Dtype, out: Array, scale: Array, amax_history: Array
) -> Any:
    """The forward pass of :func:`out_qdq`."""
    return out, (scale, amax_history)


def out_qdq_bwd(compute_dtype: Dtype, q_dtype: Dtype, res: Any, g: Array) -> Any:
    """The backward pass of :func:`out_qdq`."""
    scale, amax_history = res
    return quantize_dequantize_update(g, q_dtype, scale, amax_history, compute_dtype)


out_qdq.defvjp(out_qdq_fwd, out_qdq_bwd)


@partial(custom_vjp, nondiff_argnums=(0, 1))
def in_q(
    compute_dtype: Dtype, q_dtype: Dtype, inp: Array, scale: Array, amax_history: Array
) -> Any:
    """``inp`` in ``q_dtype`` and the scale used, which comes from the history.

    No gradient reaches ``inp``: :func:`quantized_dot` takes care of it. The gradients of ``scale``
    and ``amax_history`` are their next values.
    """
    new_scale, _ = update_fp8_meta(inp, q_dtype, scale, amax_history)
    return quantize(inp, q_dtype, to_float32(new_scale), compute_dtype), new_scale


def in_q_fwd(
    compute_dtype: Dtype, q_dtype: Dtype, inp: Array, scale: Array, amax_history: Array
) -> Any:
    """The forward pass of :func:`in_q`, which keeps the new scale and history."""
    new_scale, new_history = update_fp8_meta(inp, q_dtype, scale, amax_history)
    q = quantize(inp, q_dtype, to_float32(new_scale), compute_dtype)
    return (q, new_scale), (new_scale, new_history)


def in_q_bwd(compute_dtype: Dtype, q_dtype: Dtype, res: Any, _: Any) -> Any:
    """The backward pass of :func:`in_q`."""
    return (None, *res)


in_q.defvjp(in_q_fwd, in_q_bwd)


@partial(custom_vjp, nondiff_argnums=(0,))
def out_dq(dq_type: Dtype, lhs_scale: Array, rhs_scale: Array, out: Array) -> Array:
    """The product of quantised arrays, multiplied by both scales; gradients pass."""
    return dequantize(out, dq_type, to_float32(lhs_scale) * to_float32(rhs_scale))


def out_dq_fwd(dq_type: Dtype, lhs_scale: Array, rhs_scale: Array, out: Array) -> Any:
    """The forward pass of :func:`out_dq`."""
    return out_dq(dq_type, lhs_scale, rhs_scale, out), None


def out_dq_bwd(dq_type: Dtype, _: Any, g: Array) -> Any:
    """The backward pass of :func:`out_dq`."""
    return None, None, g


out_dq.defvjp(out_dq_fwd, out_dq_bwd)

"""Statistics and normalisation, which the normalisation layers share.

Words: *reduction axes* are those over which mean and variance are taken, so that the other axes
have statistics of their own; *feature axes* are those along which scale and bias differ. A layer
is then two steps: :func:`compute_stats` over its reduction axes, :func:`normalize` with them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from linnet.core.repeated import repeated
from linnet.errors.layers import InputShapeError, InvalidOptionError, MaskError
from linnet.errors.sharp_bits import SingleElementWarning
from linnet.linen._inputs import broadcasts, warn_about
from linnet.linen.dtypes import canonicalize_dtype
from linnet.typing import Array, Axes, Dtype, Initializer


def canonicalize_axes(rank: int, axes: Axes) -> tuple[int, ...]:
    """Axes counted from the front, each once, in ascending order.

    >>> canonicalize_axes(3, (-1, 0, 2))
    (0, 2)

    Raises:
        InvalidOptionError: they are no integers.
        InputShapeError: an input of ``rank`` axes lacks one of them.
    """
    try:
        named = [operator.index(axis) for axis in (axes if np.iterable(axes) else (axes,))]
    except TypeError as error:
        raise InvalidOptionError(
            f'axes={axes!r} are not integers', mend='-1, or a tuple as (-2, -1)'
        ) from error
    found = tuple(sorted({rank + axis if axis < 0 else axis for axis in named}))
    if found and not 0 <= found[0] <= found[-1] < rank:
        raise InputShapeError(
            f'axes={axes} name an axis that an input of {rank} axes does not have',
            why=f'axes run from {-rank} to {rank - 1}' if rank else 'a scalar has no axes',
        )
    return found


def abs_sq(x: Array) -> Array:
    """The square of the absolute value; real also where ``x`` is complex."""
    if x.dtype.kind == 'c':
        return lax.square(lax.real(x)) + lax.square(lax.imag(x))
    return lax.square(x)


def compute_stats(
    x: Array,
    axes: Axes,
    dtype: Dtype | None,
    axis_name: str | None = None,
    axis_index_groups: Any = None,
    use_mean: bool = True,
    use_fast_variance: bool = True,
    mask: Array | None = None,
    force_float32_reductions: bool = True,
) -> tuple[Array | None, Array]:
    """Mean and variance over axes of the input, and over devices.

    Args:
        x: the input.
        axes: the reduction axes.
        dtype: the dtype to compute in; that of ``x`` unless given.
        axis_name: a mapped axis over which to average too, as of ``jax.vmap`` or ``jax.pmap``.
        axis_index_groups: groups of indices along that axis, each averaged by itself.
        use_mean: whether to subtract the mean before squaring; without it the mean returned is
            None and the variance is the mean square.
        use_fast_variance: computes the variance as ``E[x^2] - E[x]^2``, in one pass over the
            input, and not as ``E[(x - E[x])^2]``, which loses less precision.
        mask: true or nonzero where an element of ``x`` counts; broadcasts to ``x``.
        force_float32_reductions: computes in no less than float32.

    Returns:
        Mean and variance, without the reduction axes.

    Raises:
        MaskError: ``mask`` does not broadcast to ``x``.
    """
    dtype = jnp.result_type(x) if dtype is None else dtype
    if force_float32_reductions:
        with jax.numpy_dtype_promotion('standard'):
            dtype = jnp.promote_types(dtype, jnp.float32)
    axes = canonicalize_axes(jnp.ndim(x), axes)
    if mask is not None:
        check_mask(mask, jnp.shape(x))
    across = (axis_name, axis_index_groups)
    return _moments(x, mask, dtype, axes, use_mean, use_fast_variance, *across)


@repeated(static=6)
def _moments(
    x: Array,
    mask: Array | None,
    dtype: Dtype,
    axes: tuple[int, ...],
    use_mean: bool,
    use_fast_variance: bool,
    axis_name: str | None,
    axis_index_groups: Any,
) -> tuple[Array | None, Array]:
    """Mean and variance as :func:`compute_stats` explains them."""
    x = jnp.asarray(x, dtype)
    mask = None if mask is None else jnp.asarray(mask, bool)
    across = (axis_name, axis_index_groups)
    if not use_mean:
        return None, _pmean(jnp.mean(abs_sq(x), axes, where=mask), *across)
    if not use_fast_variance:
        mean = _pmean(jnp.mean(x, axes, where=mask), *across)
        centred = x - jnp.expand_dims(mean, axes)
        return mean, _pmean(jnp.mean(abs_sq(centred), axes, where=mask), *across)
    squares = abs_sq(x)
    mean, mean_sq = (jnp.mean(values, axes, where=mask) for values in (x, squares))
    if axis_name is not None:  # one message between devices instead of two
        mean, mean_sq = _pmean(jnp.stack([mean, mean_sq]), *across)
    return mean, jnp.maximum(0.0, mean_sq - abs_sq(mean))  # rounding can make it negative


def _pmean(x: Array, axis_name: str | None, axis_index_groups: Any) -> Array:
    if axis_name is None:
        return x
    return lax.pmean(x, axis_name, axis_index_groups=axis_index_groups)


def normalize(
    mdl: Any,
    x: Array,
    mean: Array | None,
    var: Array,
    reduction_axes: Axes,
    feature_axes: Axes,
    dtype: Dtype | None,
    param_dtype: Dtype,
    epsilon: float,
    use_bias: bool,
    use_scale: bool,
    bias_init: Initializer,
    scale_init: Initializer,
    force_float32_reductions: bool = True,
) -> Array:
    """Normalises the input and applies scale and bias: ``(x - mean) / sqrt(var + epsilon)``.

    Args:
        mdl: the module to which the parameters ``scale`` and ``bias`` belong.
        x: the input.
        mean: its mean without the reduction axes, or None for zero.
        var: its variance without the reduction axes.
        reduction_axes: axes that ``mean`` and ``var`` lack.
        feature_axes: axes that ``scale`` and ``bias`` have.
        dtype: dtype of the result; inferred from input and parameters unless given.
        param_dtype: dtype in which the parameters are made.
        epsilon: added to the variance.
        use_bias: whether there is a bias.
        use_scale: whether there is a scale.
        bias_init: initialiser of the bias.
        scale_init: initialiser of the scale.
        force_float32_reductions: changes nothing here: the statistics decide.

    Returns:
        An array of the shape of ``x``.
    """
    _check_epsilon(epsilon, type(mdl).__name__)
    reduction_axes = canonicalize_axes(x.ndim, reduction_axes)
    feature_axes = canonicalize_axes(x.ndim, feature_axes)
    param_shape = tuple(x.shape[axis] for axis in feature_axes)
    aligned = [size if i in feature_axes else 1 for i, size in enumerate(x.shape)]
    scale = bias = None
    if use_scale:
        scale = mdl.param('scale', scale_init, param_shape, param_dtype)
    if use_bias:
        bias = mdl.param('bias', bias_init, param_shape, param_dtype)
    out_dtype = canonicalize_dtype(x, scale, bias, dtype=dtype)
    return _scaled(x, mean, var, scale, bias, epsilon, reduction_axes, tuple(aligned), out_dtype)


@repeated(static=4)
def _scaled(
    x: Array,
    mean: Array | None,
    var: Array,
    scale: Array | None,
    bias: Array | None,
    epsilon: float,
    reduction_axes: tuple[int, ...],
    aligned: tuple[int, ...],
    dtype: Dtype,
) -> Array:
    """The arithmetic of :func:`normalize`; ``aligned`` is the shape of scale and bias to be."""
    # Statistics and parameters may be of a wider dtype than the input, whatever the user allows
    # between arrays of their own.
    with jax.numpy_dtype_promotion('standard'):
        if mean is None:
            var = jnp.expand_dims(var, reduction_axes)
            y = jnp.asarray(x, jnp.result_type(x, var))
        else:
            mean, var = (jnp.expand_dims(stat, reduction_axes) for stat in (mean, var))
            y = x - mean
        factor = lax.rsqrt(var + epsilon)
        if scale is not None:
            factor = factor * jnp.reshape(scale, aligned)
        y = y * factor
        if bias is not None:
            y = y + jnp.reshape(bias, aligned)
    return jnp.asarray(y, dtype)


def check_mask(mask: Array, shape: Sequence[int]) -> None:
    """Refuses a mask that does not broadcast to the input."""
    sizes = np.shape(mask)
    if not broadcasts(sizes, tuple(shape)):
        missing = len(shape) - len(sizes)
        leads = missing > 0 and sizes == tuple(shape[: len(sizes)])
        raise MaskError(
            f'a mask of shape {sizes} does not broadcast to the input of shape {tuple(shape)}',
            why='the mask is aligned with the last axes of the input',
            mend=f'mask[..., {", ".join(["None"] * missing)}]' if leads else '',
        )


def _check_epsilon(epsilon: Any, layer: str) -> None:
    """Refuses an array in place of a small number, as ``nn.LayerNorm(x)`` passes it."""
    if getattr(epsilon, 'ndim', 0):
        raise InvalidOptionError(
            f'{layer} got an array of shape {epsilon.shape} for epsilon',
            why='a layer is first made with its options and then called on its input',
            mend=f'nn.{layer}()(x)',
        )
    if not isinstance(epsilon, int | float) and not hasattr(epsilon, 'ndim'):
        raise InvalidOptionError(f'epsilon={epsilon!r} is not a number', mend='epsilon=1e-6')


def warn_if_single(mdl: Any, shape: Sequence[int], axes: Sequence[int], advice: str) -> None:
    """Warns of statistics over one element or none: of one, the normalised value is zero."""
    count = math.prod(shape[axis] for axis in axes)
    if count > 1 or mdl.axis_name is not None or mdl.is_initializing():
        return
    if count:
        outcome = 'one element to a mean, so that all are normalised to zero'
    else:
        outcome = 'no elements to a mean, which is NaN'
    what = f'an input of shape {tuple(shape)} has {outcome}; {advice}'
    warn_about(SingleElementWarning, mdl, what)

"""Normalisation as functions of a scope."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from linnet.core.scope import Scope
from linnet.errors.layers import InvalidOptionError
from linnet.linen import initializers
from linnet.typing import Array, Dtype, Initializer


def _moments(x: Array, axes: Any) -> tuple[Array, Array]:
    """Mean and mean square."""
    return jnp.mean(x, axes, keepdims=True), jnp.mean(lax.square(x), axes, keepdims=True)


def batch_norm(
    scope: Scope,
    x: Array,
    use_running_average: bool = False,
    axis: int | tuple[int, ...] = -1,
    momentum: float = 0.99,
    epsilon: float = 1e-5,
    dtype: Dtype = jnp.float32,
    bias: bool = True,
    scale: bool = True,
    bias_init: Initializer = initializers.zeros,
    scale_init: Initializer = initializers.ones,
    axis_name: str | None = None,
    axis_index_groups: Any = None,
    kind: str = 'batch_stats',
) -> Array:
    """Normalises over all axes but ``axis``, ``[...] -> [...]``.

    Args:
        scope: holds ``scale`` and ``bias``, and in the collection ``kind`` the averages ``mean``
            and ``var``, which move except in the call that makes them.
        x: the input.
        use_running_average: whether to normalise by the averages.
        axis: the axes of features.
        momentum: how slowly the averages move.
        epsilon: added to the variance.
        dtype: of the result.
        bias: whether to add a bias.
        scale: whether to multiply by a scale.
        bias_init: initialiser of the bias.
        scale_init: initialiser of the scale.
        axis_name: a mapped axis over which to average too.
        axis_index_groups: groups of indices along it.
        kind: the collection of the averages.
    """
    x = jnp.asarray(x, jnp.float32)
    kept = {i % x.ndim for i in ((axis,) if isinstance(axis, int) else axis)}
    aligned = [size if i in kept else 1 for i, size in enumerate(x.shape)]
    axes = tuple(i for i in range(x.ndim) if i not in kept)
    shape = tuple(size for i, size in enumerate(x.shape) if i in kept)
    is_new = not scope.has_variable(kind, 'mean')
    averages = [
        scope.variable(kind, name, lambda s, make=make: make(s, jnp.float32), shape)
        for name, make in (('mean', jnp.zeros), ('var', jnp.ones))
    ]
    if use_running_average:
        mean, var = (average.value.reshape(aligned) for average in averages)
    else:
        mean, mean_sq = _moments(x, axes)
        if axis_name is not None:
            both = jnp.stack([mean, mean_sq])
            mean, mean_sq = lax.pmean(both, axis_name, axis_index_groups=axis_index_groups)
        var = mean_sq - lax.square(mean)
        if not is_new:
            for average, now in zip(averages, (mean, var), strict=True):
                old = average.value
                average.value = old + (1 - momentum) * (now.reshape(shape) - old)
    factor = lax.rsqrt(var + epsilon)
    if scale:
        factor *= scope.param('scale', scale_init, shape).reshape(aligned)
    y = (x - mean) * factor
    if bias:
        y += scope.param('bias', bias_init, shape).reshape(aligned)
    return jnp.asarray(y, dtype)


def layer_norm(
    scope: Scope,
    x: Array,
    epsilon: float = 1e-6,
    dtype: Dtype = jnp.float32,
    bias: bool = True,
    scale: bool = True,
    bias_init: Initializer = initializers.zeros,
    scale_init: Initializer = initializers.ones,
) -> Array:
    """Normalises the last axis, ``[..., features] -> [..., features]``.

    Computes in the dtype of ``x``; ``dtype`` is that of scale and bias. The arguments are
    explained at :func:`batch_norm`.
    """
    mean, mean_sq = _moments(x, -1)
    factor = lax.rsqrt(mean_sq - lax.square(mean) + epsilon)
    with jax.numpy_dtype_promotion('standard'):
        if scale:
            factor = factor * jnp.asarray(scope.param('scale', scale_init, x.shape[-1:]), dtype)
        y = (x - mean) * factor
        if bias:
            y = y + jnp.asarray(scope.param('bias', bias_init, x.shape[-1:]), dtype)
    return y


def group_norm(
    scope: Scope,
    x: Array,
    num_groups: int | None = 32,
    group_size: int | None = None,
    epsilon: float = 1e-6,
    dtype: Dtype = jnp.float32,
    bias: bool = True,
    scale: bool = True,
    bias_init: Initializer = initializers.zeros,
    scale_init: Initializer = initializers.ones,
) -> Array:
    """Normalises groups of features, over all axes but the first, ``[batch, ...] -> [batch, ...]``.

    Args:
        scope: holds ``scale`` and ``bias``, of shape ``[1, ..., features]``.
        x: the input.
        num_groups: the number of groups; None where ``group_size`` is given.
        group_size: the number of features in each.
        epsilon: added to the variance.
        dtype: of the result.
        bias: whether to add a bias.
        scale: whether to multiply by a scale.
        bias_init: initialiser of the bias.
        scale_init: initialiser of the scale.

    Raises:
        InvalidOptionError: both of ``num_groups`` and ``group_size`` are given, or neither, or the
            features do not divide into the groups.
    """
    x = jnp.asarray(x, jnp.float32)
    features = x.shape[-1]
    if (num_groups is None) == (group_size is None):
        raise InvalidOptionError(
            f'group_norm takes one of num_groups={num_groups} and group_size={group_size}',
            mend='num_groups=None, group_size=...',
        )
    groups = num_groups if num_groups is not None else features // (group_size or 1)
    if features % groups or (group_size and features % group_size):
        raise InvalidOptionError(f'{features} features do not divide into {groups} groups')
    grouped = x.reshape(*x.shape[:-1], groups, features // groups)
    axes = (*range(1, x.ndim - 1), x.ndim)
    mean, mean_sq = _moments(grouped, axes)
    y = (grouped - mean) * lax.rsqrt(mean_sq - lax.square(mean) + epsilon)
    y = y.reshape(x.shape)
    shape = (1,) * (x.ndim - 1) + (features,)
    if scale:
        y *= scope.param('scale', scale_init, shape)
    if bias:
        y += scope.param('bias', bias_init, shape)
    return jnp.asarray(y, dtype)

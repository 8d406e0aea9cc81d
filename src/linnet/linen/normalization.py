"""Layers that normalise their input to mean zero and variance one.

They differ in what the mean is taken over, for an input ``[batch, spatial..., features]``:
BatchNorm over batch and spatial axes, LayerNorm and RMSNorm over features, InstanceNorm over
spatial axes, GroupNorm over spatial axes and a group of features. WeightNorm and SpectralNorm
normalise the parameters of another layer instead (:mod:`linnet.linen.reparam`).

Mean and variance are computed in no less than float32 unless ``force_float32_reductions`` is off.
The options that they share are explained once, at :class:`LayerNorm`.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

import jax.numpy as jnp

from linnet.core.materialize import initial_value
from linnet.errors.layers import InputShapeError, InvalidOptionError
from linnet.errors.sharp_bits import StatisticsShapeWarning
from linnet.linen import initializers
from linnet.linen._inputs import broadcasts, check_array, check_flag, warn_about
from linnet.linen._norms import abs_sq as _abs_sq
from linnet.linen._norms import canonicalize_axes as _canonicalize_axes
from linnet.linen._norms import check_mask, warn_if_single
from linnet.linen._norms import compute_stats as _compute_stats
from linnet.linen._norms import normalize as _normalize
from linnet.linen._shapes import check_count
from linnet.linen.dtypes import canonicalize_dtype
from linnet.linen.module.base import Module
from linnet.linen.module.decorators import compact
from linnet.linen.module.merge import merge_param
from linnet.linen.reparam import SpectralNorm, WeightNorm
from linnet.linen.reparam import l2_normalize as _l2_normalize
from linnet.linen.transforms.variables import map_variables
from linnet.typing import Array, Axes, Dtype, Initializer, PRNGKey, Shape

__all__ = [
    'BatchNorm',
    'GroupNorm',
    'InstanceNorm',
    'LayerNorm',
    'Module',
    'PRNGKey',
    'RMSNorm',
    'Shape',
    'SpectralNorm',
    'WeightNorm',
    '_abs_sq',
    '_canonicalize_axes',
    '_compute_stats',
    '_l2_normalize',
    '_normalize',
    'canonicalize_dtype',
    'compact',
    'field',
    'map_variables',
    'merge_param',
]


class BatchNorm(Module):
    """Normalises each feature over the batch and the spatial axes, and remembers the statistics.

    ``[batch..., features] -> [batch..., features]``. In training the statistics are those of the
    input, and running averages of them are kept in the collection ``batch_stats`` as ``mean`` and
    ``var``: pass ``mutable=['batch_stats']`` to ``apply`` and keep what it returns. In evaluation
    the running averages are used. Ioffe and Szegedy, 2015.

    >>> import jax, linnet.linen as nn
    >>> x = jax.random.normal(jax.random.key(0), (8, 3)) + 5
    >>> layer = nn.BatchNorm(momentum=0.5)
    >>> variables = layer.init(jax.random.key(1), x, use_running_average=False)
    >>> jax.tree.map(jnp.shape, variables['batch_stats'])
    {'mean': (3,), 'var': (3,)}
    >>> y, changed = layer.apply(
    ...     variables, x, use_running_average=False, mutable=['batch_stats'])
    >>> y.shape, bool(jnp.all(jnp.abs(y.mean(0)) < 1e-5))
    ((8, 3), True)
    >>> layer.apply({**variables, **changed}, x, use_running_average=True).shape
    (8, 3)

    Attributes:
        use_running_average: True in evaluation, False in training; here or at the call.
        axis: the feature axes; the statistics are taken over all others.
        momentum: how much of a running average stays at each step.
        axis_name: a mapped axis over which to average too, as of ``jax.vmap`` or ``jax.pmap``;
            left out of account by ``init``.
        force_float32_reductions: whether statistics are computed in no less than float32, and
            kept in float32. Otherwise they are kept in ``param_dtype``.
    """

    use_running_average: bool | None = None
    axis: Axes = -1
    momentum: float = 0.99
    epsilon: float = 1e-5
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    use_bias: bool = True
    use_scale: bool = True
    bias_init: Initializer = initializers.zeros
    scale_init: Initializer = initializers.ones
    axis_name: str | None = None
    axis_index_groups: Any = None
    use_fast_variance: bool = True
    force_float32_reductions: bool = True

    @compact
    def __call__(
        self, x: Array, use_running_average: bool | None = None, *, mask: Array | None = None
    ) -> Array:
        """Normalises the input.

        Args:
            x: the input, ``[batch..., features]``.
            use_running_average: True in evaluation, False in training; unless the layer has it.
            mask: true where an element counts for the statistics; broadcasts to ``x``.

        Raises:
            InvalidOptionError: ``use_running_average`` is given nowhere, twice, or traced.
            InputShapeError: the input lacks an axis of ``axis``, or the statistics do not fit.
            MaskError: ``mask`` does not broadcast to ``x``.
        """
        check_array(x)
        frozen = merge_param('use_running_average', self.use_running_average, use_running_average)
        check_flag(frozen, 'use_running_average')
        feature_axes = _canonicalize_axes(x.ndim, self.axis)
        reduction_axes = tuple(i for i in range(x.ndim) if i not in feature_axes)
        shape = tuple(x.shape[axis] for axis in feature_axes)
        dtype = jnp.float32 if self.force_float32_reductions else self.param_dtype
        of_shape = None, shape, dtype  # neither needs a key
        kept_mean = self.variable(
            'batch_stats', 'mean', initial_value, initializers.zeros, *of_shape
        )
        kept_var = self.variable('batch_stats', 'var', initial_value, initializers.ones, *of_shape)
        _check_kept(self, 'mean', kept_mean.value, shape)
        _check_kept(self, 'var', kept_var.value, shape)
        if frozen:
            mean, var = kept_mean.value, kept_var.value
            if not self.force_float32_reductions:
                mean, var = (jnp.asarray(kept, self.param_dtype) for kept in (mean, var))
            return _finish(self, x, mean, var, reduction_axes, feature_axes)
        warn_if_single(self, x.shape, reduction_axes, _NAME_THE_AXIS)
        initializing = self.is_initializing()
        mean, var = _stats(self, x, reduction_axes, mask, None if initializing else self.axis_name)
        if not initializing:
            kept_mean.value = self.momentum * kept_mean.value + (1 - self.momentum) * mean
            kept_var.value = self.momentum * kept_var.value + (1 - self.momentum) * var
        return _finish(self, x, mean, var, reduction_axes, feature_axes)


_NAME_THE_AXIS = "under jax.vmap, name the mapped axis in both: axis_name='batch'"


def _check_kept(mdl: BatchNorm, name: str, kept: Array, shape: tuple[int, ...]) -> None:
    """Refuses statistics that do not fit the input, and warns of those that fit by broadcasting."""
    if kept.shape == shape:
        return
    what = f"batch_stats '{name}' has shape {kept.shape}, the input needs {shape}"
    if not broadcasts(kept.shape, shape):
        raise InputShapeError(what, mend='pass the batch_stats that init made for this model')
    warn_about(StatisticsShapeWarning, mdl, f'{what}: one statistic is used for several features')


def _stats(
    mdl: Any,
    x: Array,
    axes: Axes,
    mask: Array | None,
    axis_name: str | None,
    use_mean: bool = True,
) -> tuple[Any, Array]:
    """Mean and variance of the input as the options of a layer say."""
    return _compute_stats(
        x,
        axes,
        mdl.dtype,
        axis_name,
        mdl.axis_index_groups,
        use_mean,
        mdl.use_fast_variance,
        mask,
        mdl.force_float32_reductions,
    )


def _finish(
    mdl: Any, x: Array, mean: Any, var: Array, reduction_axes: Axes, feature_axes: Axes
) -> Array:
    """Normalises the input with statistics as the options of a layer say."""
    return _normalize(
        mdl,
        x,
        mean,
        var,
        reduction_axes,
        feature_axes,
        mdl.dtype,
        mdl.param_dtype,
        mdl.epsilon,
        getattr(mdl, 'use_bias', False),
        mdl.use_scale,
        getattr(mdl, 'bias_init', initializers.zeros),
        mdl.scale_init,
        mdl.force_float32_reductions,
    )


class LayerNorm(Module):
    """Normalises each example over its features.

    ``[batch..., features] -> [batch..., features]``. Ba, Kiros and Hinton, 2016.

    >>> import jax, linnet.linen as nn
    >>> x = jax.random.normal(jax.random.key(0), (8, 3)) + 5
    >>> variables = nn.LayerNorm().init(jax.random.key(1), x)
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'bias': (3,), 'scale': (3,)}}
    >>> nn.LayerNorm().apply(variables, x).shape
    (8, 3)

    Attributes:
        epsilon: added to the variance.
        dtype: dtype of the result; inferred from input and parameters unless given.
        param_dtype: dtype in which the parameters are made.
        use_bias: whether to add a bias.
        use_scale: whether to multiply by a scale.
        bias_init: initialiser of the bias.
        scale_init: initialiser of the scale.
        reduction_axes: axes over which the statistics are taken.
        feature_axes: axes along which scale and bias differ.
        axis_name: a mapped axis over which to average too, as of ``jax.vmap`` or ``jax.pmap``.
        axis_index_groups: groups of indices along that axis, each averaged by itself.
        use_fast_variance: one pass over the input instead of two, at a loss of precision.
        force_float32_reductions: whether statistics are computed in no less than float32.
    """

    epsilon: float = 1e-6
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    use_bias: bool = True
    use_scale: bool = True
    bias_init: Initializer = initializers.zeros
    scale_init: Initializer = initializers.ones
    reduction_axes: Axes = -1
    feature_axes: Axes = -1
    axis_name: str | None = None
    axis_index_groups: Any = None
    use_fast_variance: bool = True
    force_float32_reductions: bool = True

    @compact
    def __call__(self, x: Array, *, mask: Array | None = None) -> Array:
        """Normalises the input.

        Args:
            x: the input, ``[batch..., features]``.
            mask: true where an element counts for the statistics; broadcasts to ``x``.

        Raises:
            InputShapeError: the input lacks an axis of ``reduction_axes`` or ``feature_axes``.
            MaskError: ``mask`` does not broadcast to ``x``.
        """
        check_array(x)
        axes = _canonicalize_axes(x.ndim, self.reduction_axes)
        warn_if_single(self, x.shape, axes, 'an example of one feature has nothing to normalise')
        mean, var = _stats(self, x, self.reduction_axes, mask, self.axis_name)
        return _finish(self, x, mean, var, self.reduction_axes, self.feature_axes)


class RMSNorm(Module):
    """Divides each example by the root mean square of its features.

    ``[batch..., features] -> [batch..., features]``: LayerNorm without mean and bias. Zhang and
    Sennrich, 2019.

    >>> import jax, linnet.linen as nn
    >>> x = jax.random.normal(jax.random.key(0), (8, 3))
    >>> variables = nn.RMSNorm().init(jax.random.key(1), x)
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'scale': (3,)}}
    >>> y = nn.RMSNorm().apply(variables, x)
    >>> bool(jnp.allclose(jnp.mean(y**2, -1), 1, atol=1e-4))
    True

    Attributes:
        epsilon: added to the mean square.
        use_fast_variance: changes nothing, since no mean is subtracted.
    """

    epsilon: float = 1e-6
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    use_scale: bool = True
    scale_init: Initializer = initializers.ones
    reduction_axes: Axes = -1
    feature_axes: Axes = -1
    axis_name: str | None = None
    axis_index_groups: Any = None
    use_fast_variance: bool = True
    force_float32_reductions: bool = True

    @compact
    def __call__(self, x: Array, *, mask: Array | None = None) -> Array:
        """Normalises the input.

        Args:
            x: the input, ``[batch..., features]``.
            mask: true where an element counts for the mean square; broadcasts to ``x``.

        Raises:
            InputShapeError: the input lacks an axis of ``reduction_axes`` or ``feature_axes``.
            MaskError: ``mask`` does not broadcast to ``x``.
        """
        check_array(x)
        mean, var = _stats(self, x, self.reduction_axes, mask, self.axis_name, use_mean=False)
        return _finish(self, x, mean, var, self.reduction_axes, self.feature_axes)


class GroupNorm(Module):
    """Normalises each example over its spatial axes, for each group of features by itself.

    ``[batch, spatial..., features] -> [batch, spatial..., features]``. The features of a group
    are neighbours; give ``num_groups`` or else ``group_size``. Wu and He, 2018.

    >>> import jax, linnet.linen as nn
    >>> x = jax.random.normal(jax.random.key(0), (2, 5, 5, 6))
    >>> variables = nn.GroupNorm(num_groups=3).init(jax.random.key(1), x)
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'bias': (6,), 'scale': (6,)}}
    >>> same = nn.GroupNorm(num_groups=None, group_size=2)
    >>> bool(jnp.all(same.apply(variables, x) == nn.GroupNorm(num_groups=3).apply(variables, x)))
    True

    Attributes:
        num_groups: number of groups; a divisor of the number of features, or None.
        group_size: number of features in a group, where ``num_groups`` is None.
        reduction_axes: axes over which the statistics are taken, the last among them; all but
            the first unless given.
    """

    num_groups: int | None = 32
    group_size: int | None = None
    epsilon: float = 1e-6
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    use_bias: bool = True
    use_scale: bool = True
    bias_init: Initializer = initializers.zeros
    scale_init: Initializer = initializers.ones
    reduction_axes: Axes | None = None
    axis_name: str | None = None
    axis_index_groups: Any = None
    use_fast_variance: bool = True
    force_float32_reductions: bool = True

    @compact
    def __call__(self, x: Array, *, mask: Array | None = None) -> Array:
        """Normalises the input.

        Args:
            x: the input, ``[batch, spatial..., features]``.
            mask: true where an element counts for the statistics; broadcasts to ``x``.

        Raises:
            InvalidOptionError: not exactly one of ``num_groups`` and ``group_size`` is given, or
                ``reduction_axes`` lack the last axis.
            InputShapeError: the features cannot be split into such groups.
            MaskError: ``mask`` does not broadcast to ``x``.
        """
        check_array(x)
        axes = _group_axes(self.reduction_axes, x.ndim)
        num_groups, size = _split(self.num_groups, self.group_size, x.shape[-1])
        grouped = (*x.shape[:-1], num_groups, size)
        if mask is not None:
            check_mask(mask, x.shape)
            mask = jnp.reshape(jnp.broadcast_to(mask, x.shape), grouped)
        mean, var = _stats(
            self, jnp.reshape(x, grouped), (*axes[:-1], x.ndim), mask, self.axis_name
        )
        # [batch, groups] -> [batch, features]
        mean, var = jnp.repeat(mean, size, axis=-1), jnp.repeat(var, size, axis=-1)
        return _finish(self, x, mean, var, axes[:-1], -1)


def _group_axes(axes: Axes | None, rank: int) -> tuple[int, ...]:
    """The reduction axes of GroupNorm, of which the last is the feature axis."""
    if not rank:
        raise InputShapeError('GroupNorm needs at least one axis, [batch..., features]')
    if axes is None:
        return tuple(range(min(1, rank - 1), rank))
    found = _canonicalize_axes(rank, axes)
    if rank - 1 not in found:
        raise InvalidOptionError(
            f'reduction_axes={axes} lack the last axis, which holds the features of a group',
            mend=f'reduction_axes={(*found, -1)}',
        )
    return found


def _split(num_groups: int | None, group_size: int | None, features: int) -> tuple[int, int]:
    """Number and size of the groups, whichever was given."""
    if (num_groups is None) == (group_size is None):
        given = 'neither' if num_groups is None else 'both'
        raise InvalidOptionError(
            f'{given} of num_groups={num_groups} and group_size={group_size} are given',
            why='num_groups is 32 unless it is given',
            mend='GroupNorm(num_groups=None, group_size=8)  or  GroupNorm(num_groups=32)',
        )
    by_number = num_groups is not None
    name, count = 'group_size', group_size or 0
    if num_groups is not None:
        name, count = 'num_groups', num_groups
    check_count(name, count, 1)
    if features % count:
        divisors = [n for n in range(1, features + 1) if features % n == 0]
        raise InputShapeError(
            f'{features} features cannot be split evenly: {name}={count}',
            mend=f'{name} in {divisors}' if features < 2**12 else '',
        )
    return (count, features // count) if by_number else (features // count, count)


class InstanceNorm(Module):
    """Normalises each feature of each example over the spatial axes.

    ``[batch, spatial..., features] -> [batch, spatial..., features]``. Ulyanov, Vedaldi and
    Lempitsky, 2016.

    >>> import jax, linnet.linen as nn
    >>> x = jax.random.normal(jax.random.key(0), (2, 5, 5, 3)) + 5
    >>> variables = nn.InstanceNorm().init(jax.random.key(1), x)
    >>> y = nn.InstanceNorm().apply(variables, x)
    >>> bool(jnp.all(jnp.abs(y.mean((1, 2))) < 1e-5))
    True

    Attributes:
        feature_axes: axes along which scale and bias differ; the statistics are taken over all
            others but the first.
    """

    epsilon: float = 1e-6
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    use_bias: bool = True
    use_scale: bool = True
    bias_init: Initializer = initializers.zeros
    scale_init: Initializer = initializers.ones
    feature_axes: Axes = -1
    axis_name: str | None = None
    axis_index_groups: Any = None
    use_fast_variance: bool = True
    force_float32_reductions: bool = True

    @compact
    def __call__(self, x: Array, *, mask: Array | None = None) -> Array:
        """Normalises the input.

        Args:
            x: the input, ``[batch, spatial..., features]``.
            mask: true where an element counts for the statistics; broadcasts to ``x``.

        Raises:
            InvalidOptionError: ``feature_axes`` hold the first axis.
            InputShapeError: the input lacks an axis of ``feature_axes``.
            MaskError: ``mask`` does not broadcast to ``x``.
        """
        check_array(x)
        feature_axes = _canonicalize_axes(x.ndim, self.feature_axes)
        if 0 in feature_axes:
            raise InvalidOptionError(
                f'feature_axes={self.feature_axes} hold the first of the {x.ndim} axes of the '
                'input, which is the batch',
                mend='nn.InstanceNorm()(x[None])' if x.ndim == 1 else 'feature_axes=-1',
            )
        reduction_axes = tuple(i for i in range(1, x.ndim) if i not in feature_axes)
        warn_if_single(self, x.shape, reduction_axes, 'the input needs a spatial axis')
        mean, var = _stats(self, x, reduction_axes, mask, self.axis_name)
        return _finish(self, x, mean, var, reduction_axes, feature_axes)

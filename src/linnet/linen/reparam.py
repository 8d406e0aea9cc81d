"""Layers that normalise the parameters of another layer before it runs.

The layer inside, ``layer_instance``, keeps its parameters as they are stored; what it reads is a
function of them. :class:`WeightNorm` divides a parameter by its norm, :class:`SpectralNorm` by its
largest singular value. What ``init`` stores is a parameter that is already normalised.

A parameter is known by its path, as ``Dense_0/kernel``: the name of the layer inside, then the
names down to the parameter. What is kept for it is stored beside the layer, under that path and one
more name: ``Dense_0/kernel/scale``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from linnet.errors.layers import InputShapeError, InvalidOptionError
from linnet.errors.sharp_bits import UnusedOptionWarning
from linnet.linen import initializers
from linnet.linen._inputs import check_flag, warn_about
from linnet.linen._norms import canonicalize_axes
from linnet.linen._shapes import check_count
from linnet.linen.dtypes import canonicalize_dtype
from linnet.linen.module.base import Module
from linnet.linen.module.decorators import compact
from linnet.linen.module.state import ModuleBase
from linnet.linen.transforms.variables import map_variables
from linnet.typing import Array, Axes, Dtype, Initializer


def l2_normalize(x: Array, axis: Axes | None = None, eps: float = 1e-12) -> Array:
    """Scales ``x`` to Euclidean norm 1 over some axes, or over all of them.

    >>> l2_normalize(jnp.array([3.0, 4.0]))
    Array([0.6, 0.8], dtype=float32)
    """
    return x * lax.rsqrt((x * x).sum(axis=axis, keepdims=True) + eps)


class WeightNorm(Module):
    """Separates direction and length of the weights of a layer.

    Each slice of a parameter along ``feature_axes`` is divided by its Euclidean norm, and
    multiplied by a learnt ``scale``. Salimans and Kingma, 2016.

    >>> import linnet.linen as nn
    >>> class Net(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x):
    ...         return nn.WeightNorm(nn.Dense(2))(x)
    >>> variables = Net().init(jax.random.key(0), jnp.ones((4, 3)))
    >>> jax.tree.map(jnp.shape, variables['params'])
    {'Dense_0': {'bias': (2,), 'kernel': (3, 2)}, 'WeightNorm_0': {'Dense_0/kernel/scale': (2,)}}

    Attributes:
        layer_instance: the layer whose parameters are normalised.
        epsilon: added to the squared norm.
        dtype: dtype of the normalised parameters; inferred unless given.
        param_dtype: dtype in which the scales are made.
        use_scale: whether to multiply by a scale.
        scale_init: initialiser of the scales.
        feature_axes: axes of a parameter along which norm and scale differ; None for none.
        variable_filter: parameters are normalised if one of these is a part of their path; all
            are if it is empty or None.
    """

    layer_instance: Module
    epsilon: float = 1e-12
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    use_scale: bool = True
    scale_init: Initializer = initializers.ones
    feature_axes: Axes | None = -1
    variable_filter: Iterable[str] | None = dataclasses.field(default_factory=lambda: {'kernel'})

    @compact
    def __call__(self, *args: Any, **kwargs: Any) -> Array:
        """Calls the layer inside with its parameters normalised.

        Raises:
            InvalidOptionError: ``layer_instance`` is no module, or a parameter lacks an axis of
                ``feature_axes``.
        """
        _check_layer(self)
        wanted = self.variable_filter
        if isinstance(wanted, str):
            warn_about(
                UnusedOptionWarning,
                self,
                f'variable_filter={wanted!r} is taken letter by letter; write '
                f'variable_filter={{{wanted!r}}}',
            )
        run = map_variables(
            _call,
            trans_in_fn=functools.partial(_map_leaves, _weight_normal, self),
            init=self.is_initializing(),
        )
        return run(self.layer_instance, *args, **kwargs)


def _weight_normal(mdl: WeightNorm, path: str, value: Array) -> Array:
    """A variable as the layer inside reads it: normalised and scaled, if the filter wants it."""
    wanted = mdl.variable_filter
    if wanted and not any(part in path for part in wanted):
        return value
    axes = _feature_axes(mdl.feature_axes, path, value.shape)
    norm_axes = tuple(i for i in range(value.ndim) if i not in axes)
    normal, scale = l2_normalize(value, axis=norm_axes, eps=mdl.epsilon), None
    if mdl.use_scale:
        shape = tuple(value.shape[axis] for axis in axes)
        scale = mdl.param(f'{path}/scale', mdl.scale_init, shape, mdl.param_dtype)
        aligned = [size if i in axes else 1 for i, size in enumerate(value.shape)]
        normal = normal * jnp.reshape(scale, aligned)
    return jnp.asarray(normal, canonicalize_dtype(value, scale, dtype=mdl.dtype))


def _feature_axes(axes: Axes | None, path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a parameter that have a norm of their own."""
    try:
        return () if axes is None else canonicalize_axes(len(shape), axes)
    except InputShapeError as error:
        raise InvalidOptionError(
            f'feature_axes={axes} name an axis that {path} of shape {shape} does not have',
            mend="leave it out: variable_filter={'kernel'}",
        ) from error


class SpectralNorm(Module):
    """Divides each weight matrix of a layer by its largest singular value.

    The singular value is estimated by power iteration, from where the last call stopped: vector
    ``u`` and estimate ``sigma`` are kept in ``collection_name``. A parameter with more than two
    axes is seen as a matrix ``[rest, last]``; one with less stays as it is. Miyato et al., 2018.

    >>> import linnet.linen as nn
    >>> layer = nn.SpectralNorm(nn.Dense(2))
    >>> x = jnp.ones((4, 3))
    >>> variables = layer.init(jax.random.key(0), x, update_stats=False)
    >>> jax.tree.map(jnp.shape, variables['batch_stats'])
    {'layer_instance/kernel/sigma': (), 'layer_instance/kernel/u': (1, 2)}
    >>> y, changed = layer.apply(variables, x, update_stats=True, mutable=['batch_stats'])

    Attributes:
        layer_instance: the layer whose parameters are normalised.
        n_steps: steps of power iteration at each call; parameters stay as they are if below 1.
        epsilon: added to a squared norm.
        dtype: dtype of the normalised parameters; inferred unless given.
        param_dtype: dtype in which ``u`` and ``sigma`` are made.
        error_on_non_matrix: whether to refuse parameters with more than two axes.
        collection_name: the collection in which ``u`` and ``sigma`` are kept.
    """

    layer_instance: Module
    n_steps: int = 1
    epsilon: float = 1e-12
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    error_on_non_matrix: bool = False
    collection_name: str = 'batch_stats'

    @compact
    def __call__(self, *args: Any, update_stats: bool, **kwargs: Any) -> Array:
        """Calls the layer inside with its parameters normalised.

        Args:
            *args: passed on.
            update_stats: whether to keep ``u`` and ``sigma``, as in training.
            **kwargs: passed on.

        Raises:
            InvalidOptionError: ``layer_instance`` is no module, or ``update_stats`` is traced.
            InputShapeError: a parameter has more than two axes, and that is an error.
        """
        _check_layer(self)
        check_flag(update_stats, 'update_stats')
        check_count('n_steps', self.n_steps, -(2**31))
        run = map_variables(
            _call,
            'params',
            trans_in_fn=functools.partial(_map_leaves, _spectral_normal, self, update_stats),
            init=self.is_initializing(),
        )
        return run(self.layer_instance, *args, **kwargs)


def _spectral_normal(mdl: SpectralNorm, update_stats: bool, path: str, value: Array) -> Array:
    """A parameter as the layer inside reads it, divided by its largest singular value."""
    if value.ndim < 2 or mdl.n_steps < 1:
        return value
    if value.ndim > 2 and mdl.error_on_non_matrix:
        raise InputShapeError(
            f'{path} has shape {value.shape}, which is no matrix, and error_on_non_matrix is set',
            mend='nn.SpectralNorm(layer, error_on_non_matrix=False)',
        )
    matrix = jnp.reshape(value, (-1, value.shape[-1]))  # [rest, last]
    kept = mdl.collection_name
    kept_u = mdl.variable(kept, f'{path}/u', _draw, mdl, (1, value.shape[-1]), mdl.param_dtype)
    kept_sigma = mdl.variable(kept, f'{path}/sigma', jnp.ones, (), mdl.param_dtype)
    u = kept_u.value
    for _ in range(mdl.n_steps):
        v = l2_normalize(jnp.matmul(u, matrix.T), eps=mdl.epsilon)  # [1, rest]
        u = l2_normalize(jnp.matmul(v, matrix), eps=mdl.epsilon)  # [1, last]
    u, v = lax.stop_gradient(u), lax.stop_gradient(v)
    sigma = jnp.squeeze(jnp.matmul(jnp.matmul(v, matrix), u.T))
    if update_stats:
        kept_u.value, kept_sigma.value = u, sigma
    normal = jnp.reshape(matrix / jnp.where(sigma != 0, sigma, 1), value.shape)
    return jnp.asarray(normal, canonicalize_dtype(normal, u, v, sigma, dtype=mdl.dtype))


def _draw(mdl: SpectralNorm, shape: tuple[int, ...], dtype: Dtype) -> jax.Array:
    """The vector with which power iteration begins."""
    return jax.random.normal(mdl.make_rng('params'), shape, dtype)


def _check_layer(mdl: WeightNorm | SpectralNorm) -> None:
    layer = mdl.layer_instance
    if not isinstance(layer, ModuleBase):
        shown = layer.__name__ if isinstance(layer, type) else f'a {type(layer).__name__}'
        raise InvalidOptionError(
            f'layer_instance is {shown}, which is not an instance of a module',
            mend=f'nn.{type(mdl).__name__}(nn.Dense(features=8))',
        )


def _call(layer: Any, *args: Any, **kwargs: Any) -> Any:
    return layer(*args, **kwargs)


def _map_leaves(fn: Any, mdl: Any, *rest: Any) -> Any:
    """Applies ``fn(mdl, *options, path, value)`` to every array among the variables of the layer.

    The variables come last, as ``{collection: {...}}``; the path has the name of the layer inside
    in place of the collection.
    """
    *options, variables = rest
    flat, treedef = jax.tree_util.tree_flatten_with_path(variables)
    layer = mdl.layer_instance.name
    leaves = [
        fn(mdl, *options, '/'.join([layer, *map(_name, keys[1:])]), value) for keys, value in flat
    ]
    return jax.tree_util.tree_unflatten(treedef, leaves)


def _name(key: Any) -> str:
    """What a step of a path through a tree is called: a key of a dict, an attribute, an index."""
    for attribute in ('key', 'name', 'idx'):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)

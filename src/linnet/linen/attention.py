"""Multi-head attention as modules.

A module projects its inputs to queries, keys and values, ``[batch..., length, heads, depth]``, lets
:func:`~linnet.linen._dot_product.dot_product_attention` average the values, and projects the
result back. Masks are made by :mod:`linnet.linen.masks`.

In *decoding* a model reads one token at a time. A *cache* holds the keys and values of all
positions, and how many are filled; ``init`` makes it with the length of its input, and each call
adds one position and attends to all before it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from linnet.errors.layers import InputDtypeError, InputShapeError, InvalidOptionError
from linnet.errors.sharp_bits import DecodeCacheWarning, UnusedOptionWarning
from linnet.linen import initializers
from linnet.linen._dense import DenseGeneral
from linnet.linen._dot_product import dot_product_attention, dot_product_attention_weights
from linnet.linen._inputs import check_array, check_flag, holds, warn_about
from linnet.linen._shapes import check_count
from linnet.linen.dtypes import promote_dtype
from linnet.linen.masks import combine_masks, make_attention_mask, make_causal_mask
from linnet.linen.module.base import Module
from linnet.linen.module.decorators import compact
from linnet.linen.module.merge import merge_param
from linnet.linen.normalization import LayerNorm
from linnet.linen.stochastic import check_rate
from linnet.typing import (
    Array,
    DotGeneralT,
    Dtype,
    Initializer,
    PrecisionLike,
    PRNGKey,
    Shape,
)

__all__ = [
    'DenseGeneral',
    'LayerNorm',
    'Module',
    'MultiHeadAttention',
    'MultiHeadDotProductAttention',
    'PRNGKey',
    'SelfAttention',
    'Shape',
    'combine_masks',
    'compact',
    'default_kernel_init',
    'dot_product_attention',
    'dot_product_attention_weights',
    'make_attention_mask',
    'make_causal_mask',
    'merge_param',
    'promote_dtype',
]

default_kernel_init = initializers.lecun_normal()


class MultiHeadDotProductAttention(Module):
    """Attention with several heads, each with projections of its own.

    ``[batch..., queries, features], [batch..., keys, features] -> [batch..., queries, out]``.
    Without ``inputs_k`` the queries attend to themselves. The parameters are those of the layers
    ``query``, ``key``, ``value`` and ``out``. Vaswani et al., 2017.

    >>> import jax, linnet.linen as nn
    >>> x = jax.random.normal(jax.random.key(0), (2, 5, 8))
    >>> layer = nn.MultiHeadDotProductAttention(num_heads=4)
    >>> variables = layer.init(jax.random.key(1), x)
    >>> jax.tree.map(jnp.shape, variables['params']['query'])
    {'bias': (4, 2), 'kernel': (8, 4, 2)}
    >>> layer.apply(variables, x, mask=nn.make_causal_mask(x[..., 0])).shape
    (2, 5, 8)

    Attributes:
        num_heads: number of heads; a divisor of ``qkv_features``.
        dtype: the computation dtype; inferred from inputs and parameters unless given.
        param_dtype: dtype in which the parameters are made.
        qkv_features: size of queries, keys and values over all heads; that of the queries'
            features unless given.
        out_features: size of the last axis of the output; that of the input unless given.
        broadcast_dropout: whether batch and heads drop the same attention weights.
        dropout_rate: the probability that an attention weight is dropped.
        deterministic: True in evaluation, which drops nothing; here or at the call. Only asked
            for where ``dropout_rate`` is above 0.
        precision: of all products, as for ``jax.lax.dot_general``.
        kernel_init: initialiser of the kernels.
        out_kernel_init: initialiser of the kernel of ``out``, where it is another.
        bias_init: initialiser of the biases.
        out_bias_init: initialiser of the bias of ``out``, where it is another.
        use_bias: whether the projections have biases.
        attention_fn: called as ``attention_fn(query, key, value, ...)`` with those options of
            :func:`dot_product_attention` that its signature names; ``nn.fused_attention`` needs
            less memory.
        decode: whether to read one token at a time, with a cache.
        normalize_qk: whether queries and keys go through a LayerNorm. Dehghani et al., 2023.
        force_fp32_for_softmax: whether the softmax is computed in float32.
        qkv_dot_general: computes the products of ``query``, ``key`` and ``value``.
        out_dot_general: computes the product of ``out``.
        qkv_dot_general_cls: a module class whose instance does, before ``qkv_dot_general``.
        out_dot_general_cls: a module class whose instance does, before ``out_dot_general``.
        qk_attn_weights_einsum_cls: a class whose instance multiplies queries and keys, in place
            of ``jnp.einsum``.
        attn_weights_value_einsum_cls: a class whose instance multiplies weights and values.
        num_key_value_heads: number of heads of keys and values, a divisor of ``num_heads``: groups
            of queries' heads share one, and so does the cache. As many as ``num_heads`` unless
            given; by keyword only. Ainslie et al., "GQA", 2023.
    """

    num_heads: int
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    qkv_features: int | None = None
    out_features: int | None = None
    broadcast_dropout: bool = True
    dropout_rate: float = 0.0
    deterministic: bool | None = None
    precision: PrecisionLike = None
    kernel_init: Initializer = default_kernel_init
    out_kernel_init: Initializer | None = None
    bias_init: Initializer = initializers.zeros_init()
    out_bias_init: Initializer | None = None
    use_bias: bool = True
    attention_fn: Callable[..., Array] = dot_product_attention
    decode: bool = False
    normalize_qk: bool = False
    force_fp32_for_softmax: bool = False
    qkv_dot_general: DotGeneralT | None = None
    out_dot_general: DotGeneralT | None = None
    qkv_dot_general_cls: Any = None
    out_dot_general_cls: Any = None
    qk_attn_weights_einsum_cls: Callable[..., Callable[..., Array]] | None = None
    attn_weights_value_einsum_cls: Callable[..., Callable[..., Array]] | None = None
    num_key_value_heads: int | None = dataclasses.field(default=None, kw_only=True, repr=False)

    @compact
    def __call__(
        self,
        inputs_q: Array,
        inputs_k: Array | None = None,
        inputs_v: Array | None = None,
        *,
        inputs_kv: Array | None = None,
        mask: Array | None = None,
        deterministic: bool | None = None,
        dropout_rng: PRNGKey | None = None,
        sow_weights: bool = False,
    ) -> Array:
        """Attends from each query to the keys.

        Args:
            inputs_q: what queries are made of, ``[batch..., queries, features]``.
            inputs_k: what keys are made of, ``[batch..., keys, features]``; ``inputs_q`` unless
                given.
            inputs_v: what values are made of; ``inputs_k`` unless given.
            inputs_kv: both of them, by the name they once had.
            mask: nonzero where a query may look at a key; broadcasts to the attention weights,
                ``[batch..., heads, queries, keys]``.
            deterministic: True in evaluation; unless the layer has it.
            dropout_rng: the key to drop with, in place of one from the stream ``dropout``.
            sow_weights: whether to store the weights as ``attention_weights`` in
                ``intermediates``.

        Returns:
            ``[batch..., queries, out_features]``.

        Raises:
            InvalidOptionError: an option does not fit; ``deterministic`` is given nowhere, twice,
                or traced; keys or values are given twice.
            InputShapeError: the inputs do not fit each other, the heads or the cache.
            MaskError: the mask does not broadcast to the weights.
        """
        inputs_k, inputs_v = _keys_and_values(inputs_q, inputs_k, inputs_v, inputs_kv)
        if self.attention_fn is dot_product_attention:
            _check_inputs(inputs_q, inputs_k, inputs_v)
        query, key, value = _project(self, inputs_q, inputs_k, inputs_v)
        if self.decode:
            key, value, mask = _extend_cache(self, query, key, value, mask)
        options = _attention_options(self, mask, deterministic, dropout_rng, sow_weights)
        x = self.attention_fn(query, key, value, **options)  # [batch..., queries, heads, depth]
        return DenseGeneral(
            features=self.out_features or inputs_q.shape[-1],
            axis=(-2, -1),
            kernel_init=self.out_kernel_init or self.kernel_init,
            bias_init=self.out_bias_init or self.bias_init,
            use_bias=self.use_bias,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            precision=self.precision,
            dot_general=self.out_dot_general,
            dot_general_cls=self.out_dot_general_cls,
            name='out',
        )(x)


def _keys_and_values(
    inputs_q: Array, inputs_k: Array | None, inputs_v: Array | None, inputs_kv: Array | None
) -> tuple[Array, Array]:
    """What keys and values are made of, as the caller meant."""
    if inputs_kv is not None:
        if inputs_k is not None or inputs_v is not None:
            raise InvalidOptionError(
                'inputs_kv is given together with inputs_k or inputs_v, which it stands for',
                mend='layer(inputs_q, inputs_k)',
            )
        warnings.warn('inputs_kv= is the old name of inputs_k=', DeprecationWarning, stacklevel=3)
        return inputs_kv, inputs_kv
    if inputs_k is None:
        if inputs_v is not None:
            raise InvalidOptionError(
                'inputs_v is given without inputs_k', mend='layer(inputs_q, inputs_k, inputs_v)'
            )
        return inputs_q, inputs_q
    return inputs_k, inputs_k if inputs_v is None else inputs_v


def _check_inputs(inputs_q: Array, inputs_k: Array, inputs_v: Array) -> None:
    """Refuses inputs that would give queries, keys and values that do not fit each other."""
    for name, x in (('inputs_q', inputs_q), ('inputs_k', inputs_k), ('inputs_v', inputs_v)):
        check_array(x, name)
        if x.ndim < 2:
            raise InputShapeError(
                f'{name} has shape {x.shape}, where [batch..., length, features] is wanted',
                mend=f'{name}[None]',
            )
    q, k, v = inputs_q.shape, inputs_k.shape, inputs_v.shape
    if q[:-2] == k[:-2] and k[:-1] == v[:-1]:
        return
    hint = 'a mask goes by keyword: layer(x, mask=mask)' if len(v) > len(q) else ''
    raise InputShapeError(
        f'inputs_q of shape {q}, inputs_k of shape {k} and inputs_v of shape {v} do not fit',
        why='they are [batch..., length, features] with one batch; keys and values are as many',
        mend=hint,
    )


def _project(
    mdl: MultiHeadDotProductAttention, inputs_q: Array, inputs_k: Array, inputs_v: Array
) -> tuple[Array, Array, Array]:
    """Queries, keys and values: ``[batch..., length, features] -> [..., heads, depth]``."""
    features = mdl.qkv_features or inputs_q.shape[-1]
    check_count('num_heads', mdl.num_heads, 1)
    if features % mdl.num_heads:
        raise InputShapeError(
            f'qkv_features={features} cannot be split evenly over num_heads={mdl.num_heads}',
            why='qkv_features is the size of the last axis of inputs_q unless it is given',
            mend=f'qkv_features={mdl.num_heads * (features // mdl.num_heads + 1)}',
        )

    dense = functools.partial(
        DenseGeneral,
        use_bias=mdl.use_bias,
        dtype=mdl.dtype,
        param_dtype=mdl.param_dtype,
        kernel_init=mdl.kernel_init,
        bias_init=mdl.bias_init,
        precision=mdl.precision,
        dot_general=mdl.qkv_dot_general,
        dot_general_cls=mdl.qkv_dot_general_cls,
    )
    depth, shared = features // mdl.num_heads, _key_value_heads(mdl)
    query = dense((mdl.num_heads, depth), name='query')(inputs_q)
    key = dense((shared, depth), name='key')(inputs_k)
    value = dense((shared, depth), name='value')(inputs_v)
    if mdl.normalize_qk:
        norm = functools.partial(
            LayerNorm, use_bias=False, dtype=mdl.dtype, param_dtype=mdl.param_dtype
        )
        query, key = norm(name='query_ln')(query), norm(name='key_ln')(key)
    return query, key, value


def _key_value_heads(mdl: MultiHeadDotProductAttention) -> int:
    """How many heads keys and values have."""
    if mdl.num_key_value_heads is None:
        return mdl.num_heads
    check_count('num_key_value_heads', mdl.num_key_value_heads, 1)
    if mdl.num_heads % mdl.num_key_value_heads:
        raise InvalidOptionError(
            f'num_key_value_heads={mdl.num_key_value_heads} does not divide '
            f'num_heads={mdl.num_heads}',
            why='groups of equally many heads share one of keys and values',
            mend=f'num_key_value_heads=1, or {mdl.num_heads}',
        )
    return mdl.num_key_value_heads


def _extend_cache(
    mdl: MultiHeadDotProductAttention,
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
) -> tuple[Array, Array, Array | None]:
    """Adds a position to the cache: the keys and values so far, and a mask of those filled.

    While the cache is made nothing is added, and the input is attended to as a whole.
    """
    exists = mdl.has_variable('cache', 'cached_key')
    keys = mdl.variable('cache', 'cached_key', jnp.zeros, key.shape, key.dtype)
    values = mdl.variable('cache', 'cached_value', jnp.zeros, value.shape, value.dtype)
    index = mdl.variable('cache', 'cache_index', jnp.zeros, (), jnp.int32)
    if not exists:
        return key, value, mask
    _check_step(mdl, query, key, value, keys.value, values.value)
    position, (*batch, length, _, _) = index.value, keys.value.shape
    if holds(lambda at: length <= at, position):
        warn_about(
            DecodeCacheWarning,
            mdl,
            f'the cache of {length} positions is full: the last is overwritten; call init with a '
            'longer input',
        )
    keys.value = key = _put(keys.value, key, position)
    values.value = value = _put(values.value, value, position)
    index.value = position + 1
    filled = jnp.broadcast_to(jnp.arange(length) <= position, (*batch, 1, 1, length))
    return key, value, combine_masks(mask, filled)


def _put(cached: Array, new: Array, position: Array) -> Array:
    """Writes one position: ``[batch..., length, heads, depth], [batch..., 1, heads, depth]``."""
    at = (0,) * (cached.ndim - 3) + (position, 0, 0)
    return lax.dynamic_update_slice(cached, new, at, allow_negative_indices=False)


def _check_step(
    mdl: MultiHeadDotProductAttention,
    query: Array,
    key: Array,
    value: Array,
    keys: Array,
    values: Array,
) -> None:
    """Refuses a step that is not one position of what the cache was made for."""
    wanted = (*keys.shape[:-3], 1, *keys.shape[-2:])
    queries = (*query.shape[:-2], *wanted[-2:])  # of which several may share a head
    if queries != wanted or key.shape[-2:] != wanted[-2:] or key.ndim != len(wanted):
        raise InputShapeError(
            f'a decoding step made queries of shape {query.shape} and keys of shape {key.shape}, '
            f'where the cache of shape {keys.shape} takes {wanted}',
            why='each call reads one position; init makes the cache from an input of full length',
            mend="layer.apply(variables, x[:, i : i + 1], mutable=['cache'])",
        )
    for name, new, cached in (('keys', key, keys), ('values', value, values)):
        if new.dtype != cached.dtype:
            raise InputDtypeError(
                f'a decoding step made {name} of {new.dtype}, the cache holds {cached.dtype}',
                mend='call init with an input of the dtype in which to decode',
            )
    if key.shape != wanted:
        warn_about(
            DecodeCacheWarning,
            mdl,
            f'a decoding step writes {key.shape[-3]} keys and moves on by one position',
        )


def _attention_options(
    mdl: MultiHeadDotProductAttention,
    mask: Array | None,
    deterministic: bool | None,
    dropout_rng: PRNGKey | None,
    sow_weights: bool,
) -> dict[str, Any]:
    """The keywords for ``attention_fn``: those that its signature names."""
    check_rate(mdl.dropout_rate, 'dropout_rate')
    drops = False
    if mdl.dropout_rate > 0:
        deterministic = merge_param('deterministic', mdl.deterministic, deterministic)
        check_flag(deterministic, 'deterministic')
        drops = not deterministic
    if drops and dropout_rng is None:
        dropout_rng = mdl.make_rng('dropout')
    qk, av = mdl.qk_attn_weights_einsum_cls, mdl.attn_weights_value_einsum_cls
    options = {
        'mask': mask,
        'dropout_rng': dropout_rng,
        'dropout_rate': mdl.dropout_rate,
        'broadcast_dropout': mdl.broadcast_dropout,
        'deterministic': not drops,
        'dtype': mdl.dtype,
        'precision': mdl.precision,
        'force_fp32_for_softmax': mdl.force_fp32_for_softmax,
        'qk_attn_weights_einsum': qk() if qk else None,
        'attn_weights_value_einsum': av() if av else None,
    }
    if sow_weights:
        options['module'] = mdl
    return options if mdl.attention_fn is dot_product_attention else _named(mdl, options, drops)


def _named(
    mdl: MultiHeadDotProductAttention, options: dict[str, Any], drops: bool
) -> dict[str, Any]:
    """The options that the user's ``attention_fn`` names; warns of a mask or dropout it ignores."""
    parameters = inspect.signature(mdl.attention_fn).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if 'module' in options and 'module' not in parameters and not takes_any:
        raise InvalidOptionError(
            "sow_weights=True, and attention_fn has no parameter 'module'",
            why='attention_fn itself stores its weights, by module.sow',
            mend='layer(x, sow_weights=False)',
        )
    ignored = {'mask': options['mask'] is not None, 'dropout_rate': drops}
    for name, matters in ignored.items():
        if matters and name not in parameters:
            warn_about(
                UnusedOptionWarning,
                mdl,
                f'attention_fn has no parameter {name!r}, so that it never sees it; options are '
                'passed by name only, not through **kwargs',
            )
    return {
        name: value for name, value in options.items() if name in parameters or name == 'module'
    }


class MultiHeadAttention(MultiHeadDotProductAttention):
    """:class:`MultiHeadDotProductAttention` by a shorter name.

    >>> import jax, linnet.linen as nn
    >>> x = jnp.ones((2, 5, 8))
    >>> nn.MultiHeadAttention(num_heads=2).init_with_output(jax.random.key(0), x)[0].shape
    (2, 5, 8)
    """


class SelfAttention(MultiHeadDotProductAttention):
    """:class:`MultiHeadDotProductAttention` of an input with itself; an old name.

    Write ``nn.MultiHeadAttention(num_heads)(x, mask=mask)`` instead.
    """

    @compact
    def __call__(  # type: ignore[override]
        self,
        inputs_q: Array,
        mask: Array | None = None,
        deterministic: bool | None = None,
        dropout_rng: PRNGKey | None = None,
        sow_weights: bool = False,
    ) -> Array:
        """Attends from each position to all; see :class:`MultiHeadDotProductAttention`.

        Args:
            inputs_q: the input, ``[batch..., length, features]``.
            mask: nonzero where a position may look at another.
            deterministic: True in evaluation; unless the layer has it.
            dropout_rng: the key to drop with, in place of one from the stream ``dropout``.
            sow_weights: whether to store the attention weights.

        Returns:
            ``[batch..., length, out_features]``.
        """
        warnings.warn(
            'SelfAttention is the old name of MultiHeadAttention', DeprecationWarning, stacklevel=3
        )
        return super().__call__(
            inputs_q,
            mask=mask,
            deterministic=deterministic,
            dropout_rng=dropout_rng,
            sow_weights=sow_weights,
        )

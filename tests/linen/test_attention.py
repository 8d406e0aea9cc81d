"""Attention: exact values, decoding, and what it says of inputs that do not fit."""

from __future__ import annotations

import functools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.errors import (
    InputDtypeError,
    InputShapeError,
    InvalidOptionError,
    InvalidRngError,
    LinnetError,
    MaskError,
    SharpBitWarning,
)

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (2, 5, 8))
Q = jax.random.normal(jax.random.key(1), (2, 3, 2, 4))
KV = jax.random.normal(jax.random.key(2), (2, 5, 2, 4))
MASK = jnp.ones((2, 1, 3, 5), bool).at[..., 3:].set(False)


def attend(**options: Any) -> Any:
    """A layer with its parameters, to be called as ``layer(x, ...)``."""
    layer = nn.MultiHeadDotProductAttention(**{'num_heads': 2, **options})
    variables = nn.MultiHeadDotProductAttention(num_heads=2).init(KEY, X)
    return functools.partial(layer.apply, variables)


# Functions.


def test_one_query_and_one_key_return_the_value() -> None:
    value = jnp.array([[[7.0, 8.0]]])
    y = nn.dot_product_attention(jnp.ones((1, 1, 3)), jnp.ones((1, 1, 3)), value)
    np.testing.assert_array_equal(y, value)


def test_equal_keys_have_equal_weights() -> None:
    weights = nn.dot_product_attention_weights(Q, jnp.ones_like(KV))
    np.testing.assert_allclose(weights, np.full((2, 2, 3, 5), 0.2), rtol=1e-6)


def test_it_is_softmax_of_scaled_products() -> None:
    logits = np.einsum('bqhd,bkhd->bhqk', Q, KV) / 2
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = np.einsum('bhqk,bkhd->bqhd', weights, KV)
    np.testing.assert_allclose(nn.dot_product_attention(Q, KV, KV), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('mask', [MASK, MASK.astype(float), MASK.astype(int), MASK[0, 0]])
def test_a_mask_forbids(mask: Any) -> None:
    y = nn.dot_product_attention(Q, KV, KV, mask=mask)
    np.testing.assert_allclose(
        y, nn.dot_product_attention(Q, KV[:, :3], KV[:, :3]), rtol=1e-6, atol=1e-6
    )


def test_a_bias_is_added() -> None:
    bias = jnp.where(MASK, 0.0, -1e9)
    y = nn.dot_product_attention(Q, KV, KV, bias=bias)
    np.testing.assert_allclose(y, nn.dot_product_attention(Q, KV, KV, mask=MASK), rtol=1e-6)


def test_no_batch_and_several_batch_axes() -> None:
    one = nn.dot_product_attention(Q[0], KV[0], KV[0])
    np.testing.assert_allclose(one, nn.dot_product_attention(Q, KV, KV)[0], rtol=1e-6)
    deep = nn.dot_product_attention(*(x[None, :, None] for x in (Q, KV, KV)))
    np.testing.assert_allclose(deep[0, :, 0], nn.dot_product_attention(Q, KV, KV), rtol=1e-6)


def test_dropout_is_shared_by_batch_and_heads_or_not() -> None:
    run = functools.partial(
        nn.dot_product_attention_weights, Q, KV, dropout_rng=KEY, dropout_rate=0.5
    )
    kept = run() > 0
    assert jnp.all(kept == kept[:1, :1])
    kept = run(broadcast_dropout=False) > 0
    assert not jnp.all(kept == kept[:1, :1])
    whole = nn.dot_product_attention_weights(Q, KV)
    np.testing.assert_array_equal(run(deterministic=True), whole)
    np.testing.assert_allclose(run(), jnp.where(run() > 0, whole * 2, 0), rtol=1e-6)


def test_softmax_in_float32() -> None:
    half = Q.astype(jnp.bfloat16), KV.astype(jnp.bfloat16)
    assert nn.dot_product_attention_weights(*half).dtype == jnp.bfloat16
    weights = nn.dot_product_attention_weights(*half, force_fp32_for_softmax=True)
    assert weights.dtype == jnp.float32


def test_custom_products() -> None:
    seen = []

    def einsum(equation: str, *args: Any) -> Any:
        seen.append(equation)
        return jnp.einsum(equation, *args)

    def dot_general(*args: Any, **kwargs: Any) -> Any:
        seen.append('dot_general')
        return jax.lax.dot_general(*args, **kwargs)

    y = nn.dot_product_attention(Q, KV, KV)
    for options in (
        {'qk_attn_weights_einsum': einsum, 'attn_weights_value_einsum': einsum},
        {'einsum_dot_general': dot_general, 'precision': 'high'},
    ):
        np.testing.assert_allclose(nn.dot_product_attention(Q, KV, KV, **options), y, rtol=1e-6)
    assert seen == ['...qhd,...khd->...hqk', '...hqk,...khd->...qhd', *['dot_general'] * 2]


@pytest.mark.parametrize(
    ('q', 'k', 'v', 'said'),
    [
        (Q[0, 0], KV[0, 0], KV[0, 0], r'query of shape \(2, 4\).*lack an axis of \[batch'),
        (Q, KV[0], KV[0], r'query of shape \(2, 3, 2, 4\) and key of .*differ in rank'),
        (Q, KV[:1], KV[:1], r'differ in their batch axes: 2 and 1'),
        (Q, KV.repeat(2, 2), KV.repeat(2, 2), 'differ in their number of heads: 2 and 4'),
        (Q, KV[:, :, :0], KV[:, :, :0], 'differ in their number of heads: 2 and 0'),
        (Q, KV[..., :2], KV, 'differ in their depth: 4 and 2'),
        (Q, KV, KV[0], r'key of shape \(2, 5, 2, 4\) and value of .*differ in rank'),
        (Q, KV, KV[:1], 'key.*value.*differ in their batch axes: 2 and 1'),
        (Q, KV, KV[:, :3], 'differ in their length: 5 and 3'),
        (Q, KV, KV[:, :, :1], 'key.*value.*number of heads: 2 and 1'),
    ],
)
def test_inputs_that_do_not_fit(q: Any, k: Any, v: Any, said: str) -> None:
    with pytest.raises(InputShapeError, match=said):
        nn.dot_product_attention(q, k, v)


@pytest.mark.parametrize('position', [0, 1, 2])
def test_inputs_that_are_no_arrays(position: int) -> None:
    args: list[Any] = [Q, KV, KV]
    args[position] = None
    with pytest.raises(InputDtypeError, match=f'{("query", "key", "value")[position]} is None'):
        nn.dot_product_attention(*args)


@pytest.mark.parametrize('name', ['mask', 'bias'])
@pytest.mark.parametrize(
    ('shape', 'mend'),
    [((2, 1, 3, 4), ''), ((2, 5), '[..., None, None, :]'), ((2, 3, 5), ''), ((7,), '')],
)
def test_masks_that_do_not_fit(name: str, shape: Any, mend: str) -> None:
    q, kv = (Q, KV) if shape != (2, 3, 5) else (Q.repeat(2, 2), KV.repeat(2, 2))
    mend = mend or ('[..., None, :, :]' if shape == (2, 3, 5) else '')
    said = rf'{name} of shape .*does not broadcast to the attention weights.*= \(2, \d, 3, 5\)'
    with pytest.raises(MaskError, match=said) as caught:
        nn.dot_product_attention(q, kv, kv, **{name: jnp.ones(shape)})
    assert mend in str(caught.value)


def test_a_mask_of_another_kind() -> None:
    y = nn.dot_product_attention(Q, KV, KV)
    np.testing.assert_array_equal(nn.dot_product_attention(Q, KV, KV, mask=True), y)
    with pytest.raises(InputDtypeError, match='mask is a list'):
        nn.dot_product_attention(Q, KV, KV, mask=[[True]])


@pytest.mark.parametrize('jit', [False, True])
def test_an_additive_mask_is_warned_of(jit: bool) -> None:
    mask = jnp.where(MASK, 0.0, -1e9)
    run = lambda q: nn.dot_product_attention(q, KV, KV, mask=mask)  # noqa: E731
    with pytest.warns(SharpBitWarning, match=r"float32 with negative.*'attend'.*as bias="):
        y = (jax.jit(run) if jit else run)(Q)
    with pytest.warns(SharpBitWarning, match=r'/ \(MultiHeadDotProductAttention\): the attention'):
        attend()(X, mask=-jnp.ones((5, 5)))
    np.testing.assert_allclose(
        y, nn.dot_product_attention(Q, KV[:, 3:], KV[:, 3:]), rtol=1e-5, atol=1e-6
    )


def test_a_mask_on_an_accelerator_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = -jnp.ones((3, 5))
    away = [types.SimpleNamespace(platform='gpu')]
    monkeypatch.setattr(type(mask), 'devices', lambda self: away)
    nn.dot_product_attention(Q, KV, KV, mask=mask)
    with pytest.warns(SharpBitWarning, match='with negative'):
        nn.dot_product_attention(Q, KV, KV, mask=np.asarray(mask))


def test_a_row_of_minus_infinity_is_warned_of() -> None:
    bias = jnp.zeros((1, 1, 3, 5)).at[0, 0, 0].set(-jnp.inf)
    with pytest.warns(SharpBitWarning, match='-inf everywhere.*forbid pairs with mask='):
        y = nn.dot_product_attention(Q, KV, KV, bias=bias)
    assert jnp.isnan(y[:, 0]).all()
    assert not jnp.isnan(nn.dot_product_attention(Q, KV, KV, bias=bias, mask=MASK)).any()


def test_a_mask_that_makes_the_weights_larger() -> None:
    with pytest.warns(SharpBitWarning, match=r'makes.*larger: \(4, 2, 2, 3, 5\)'):
        y = nn.dot_product_attention(Q, KV, KV, mask=jnp.ones((4, 1, 1, 3, 5), bool))
    assert y.shape == (4, *Q.shape)


def test_a_batch_axis_that_is_taken_for_heads() -> None:
    with pytest.warns(SharpBitWarning, match=r'axis 0 of the mask.*mask\[\.\.\., None, :, :\]'):
        nn.dot_product_attention(Q, KV, KV, mask=MASK[:, 0])
    nn.dot_product_attention(Q, KV, KV, bias=jnp.ones((2, 3, 5)))  # a bias of each head is usual


@pytest.mark.parametrize('rate', [-0.5, 1.5, 'high'])
def test_a_rate_that_is_no_probability(rate: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r'dropout_rate=.* is not a probability'):
        nn.dot_product_attention(Q, KV, KV, dropout_rng=KEY, dropout_rate=rate)


def test_options_that_contradict_each_other() -> None:
    with pytest.raises(InvalidOptionError, match='dropout_rate=1 drops every'):
        nn.dot_product_attention(Q, KV, KV, dropout_rng=KEY, dropout_rate=1.0)
    with pytest.raises(InvalidOptionError, match='dropout_rng is None'):
        nn.dot_product_attention(Q, KV, KV, dropout_rate=0.5)
    keys = jax.random.split(KEY)
    with pytest.raises(InvalidOptionError, match='dropout_rng is an array of keys'):
        nn.dot_product_attention(Q, KV, KV, dropout_rate=0.5, dropout_rng=keys)
    with pytest.raises(InvalidOptionError, match='only one of qk_attn_weights_einsum'):
        nn.dot_product_attention(Q, KV, KV, qk_attn_weights_einsum=jnp.einsum)
    with pytest.raises(InvalidOptionError, match='a custom einsum is given together with prec'):
        nn.dot_product_attention_weights(Q, KV, einsum=jnp.einsum, precision='high')


# Layers.


@pytest.mark.parametrize('cls', [nn.MultiHeadAttention, nn.MultiHeadDotProductAttention])
def test_parameters(cls: Any) -> None:
    shapes = jax.tree.map(jnp.shape, cls(2, qkv_features=6, out_features=7).init(KEY, X))
    inside = {'kernel': (8, 2, 3), 'bias': (2, 3)}
    out = {'kernel': (2, 3, 7), 'bias': (7,)}
    assert shapes == {'params': {'query': inside, 'key': inside, 'value': inside, 'out': out}}


def test_what_keys_and_values_are_made_of() -> None:
    layer = attend()
    other = jax.random.normal(jax.random.key(3), X.shape)
    np.testing.assert_array_equal(layer(X), layer(X, X, X))
    np.testing.assert_array_equal(layer(X, other), layer(X, other, other))
    with pytest.warns(DeprecationWarning, match='old name of inputs_k='):
        np.testing.assert_array_equal(layer(X, inputs_kv=other), layer(X, other))
    with pytest.raises(InvalidOptionError, match='inputs_v is given without inputs_k'):
        layer(X, None, X)
    with pytest.raises(InvalidOptionError, match='together with inputs_k or inputs_v'):
        layer(X, X, inputs_kv=X)


def test_self_attention_is_an_old_name() -> None:
    variables = nn.MultiHeadAttention(2).init(KEY, X)
    mask = nn.make_causal_mask(X[..., 0])
    with pytest.warns(DeprecationWarning, match='old name of MultiHeadAttention'):
        y = nn.SelfAttention(2).apply(variables, X, mask)
    np.testing.assert_array_equal(y, nn.MultiHeadAttention(2).apply(variables, X, mask=mask))


@pytest.mark.filterwarnings('ignore:.*SelfAttention:DeprecationWarning')
@pytest.mark.parametrize(
    ('heads', 'x', 'words'),
    [
        (3, X, 'heads'),
        (2, X[0, 0, 0], r'\(\)'),
        (2, X.tolist(), 'list'),
    ],
)
def test_self_attention_refuses_what_attention_refuses(heads: int, x: Any, words: str) -> None:
    with pytest.raises(LinnetError, match=words) as old:
        nn.SelfAttention(heads).init(KEY, x)
    with pytest.raises(type(old.value), match=words):
        nn.MultiHeadAttention(heads).init(KEY, x)


def test_weights_are_sown_before_dropout() -> None:
    layer = attend(dropout_rate=0.5, deterministic=False)
    _, state = layer(X, sow_weights=True, mutable=['intermediates'], rngs={'dropout': KEY})
    (weights,) = state['intermediates']['attention_weights']
    assert weights.shape == (2, 2, 5, 5)
    np.testing.assert_allclose(weights.sum(-1), np.ones((2, 2, 5)), rtol=1e-6)


def test_dropout_asks_for_its_flag_and_its_key() -> None:
    attend()(X)
    with pytest.raises(InvalidOptionError, match="'deterministic' was given neither"):
        attend(dropout_rate=0.5)(X)
    with pytest.raises(InvalidRngError, match='dropout'):
        attend(dropout_rate=0.5)(X, deterministic=False)
    with pytest.raises(InvalidOptionError, match='dropout_rate=2 is not a probability'):
        attend(dropout_rate=2)(X, deterministic=False)
    with pytest.raises(InvalidOptionError, match='deterministic is a traced value'):
        jax.jit(lambda flag: attend(dropout_rate=0.5)(X, deterministic=flag))(True)
    same = attend(dropout_rate=0.5)(X, deterministic=True)
    np.testing.assert_array_equal(same, attend()(X))


def test_normalized_queries_and_keys() -> None:
    layer = nn.MultiHeadAttention(2, normalize_qk=True)
    params = layer.init(KEY, X)['params']
    assert list(params) == ['query', 'key', 'value', 'query_ln', 'key_ln', 'out']
    assert jax.tree.map(jnp.shape, params['key_ln']) == {'scale': (4,)}


@pytest.mark.parametrize('heads', [0, -2, 2.0])
def test_a_number_of_heads_that_is_no_count(heads: Any) -> None:
    with pytest.raises(InvalidOptionError, match='num_heads'):
        nn.MultiHeadAttention(heads).init(KEY, X)


def test_heads_that_do_not_divide_the_features() -> None:
    said = r'qkv_features=8 cannot be split evenly over num_heads=3[\s\S]*qkv_features=9'
    with pytest.raises(InputShapeError, match=said):
        nn.MultiHeadAttention(3).init(KEY, X)


@pytest.mark.parametrize(
    ('inputs', 'said'),
    [
        ((X, X[:1]), r'inputs_q of shape \(2, 5, 8\), inputs_k of shape \(1, 5, 8\)'),
        ((X, X, X[:, :3]), r'inputs_v of shape \(2, 3, 8\) do not fit'),
        ((X, X, jnp.ones((2, 1, 5, 5))), r'mask=mask'),
        ((X[0, 0],), r'inputs_q has shape \(8,\)'),
    ],
)
def test_inputs_of_a_layer_that_do_not_fit(inputs: Any, said: str) -> None:
    with pytest.raises(InputShapeError, match=said):
        nn.MultiHeadAttention(2).init(KEY, *inputs)


def test_the_path_of_the_layer_is_named() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any, mask: Any) -> Any:
            return nn.MultiHeadAttention(2)(x, mask=mask)

    with pytest.raises(MaskError, match=r'/MultiHeadAttention_0 \(MultiHeadAttention\): mask'):
        Net().init(KEY, X, jnp.ones((2, 1, 5, 4)))


def test_a_function_of_ones_own_gets_what_it_names() -> None:
    seen: dict[str, Any] = {}

    def mine(query: Any, key: Any, value: Any, mask: Any = None, dropout_rate: Any = None) -> Any:
        seen.update(mask=mask, rate=dropout_rate)
        return value

    attend(attention_fn=mine, dropout_rate=0.5)(X, mask=MASK, deterministic=True)
    assert seen == {'mask': MASK, 'rate': 0.5}


def test_a_function_of_ones_own_that_ignores_the_mask() -> None:
    layer = attend(attention_fn=lambda q, k, v, **kwargs: kwargs or v)
    with pytest.warns(SharpBitWarning, match="attention_fn has no parameter 'mask'"):
        layer(X, mask=MASK)
    layer = attend(attention_fn=lambda q, k, v, mask=None: v, dropout_rate=0.5)
    with pytest.warns(SharpBitWarning, match="attention_fn has no parameter 'dropout_rate'"):
        layer(X, deterministic=False, rngs={'dropout': KEY})


def test_a_function_of_ones_own_that_cannot_sow() -> None:
    with pytest.raises(InvalidOptionError, match="has no parameter 'module'"):
        attend(attention_fn=lambda q, k, v: v)(X, sow_weights=True)


# Decoding.


def decoder(length: int = 5, **options: Any) -> Any:
    layer = nn.MultiHeadAttention(2, decode=True, **options)
    return layer, layer.init(KEY, X[:, :length])


def step(layer: Any, variables: Any, x: Any, **kwargs: Any) -> Any:
    y, changed = layer.apply(variables, x, mutable=['cache'], **kwargs)
    return y, {**variables, **changed}


def test_decoding_gives_what_a_causal_mask_gives() -> None:
    layer, variables = decoder()
    whole = nn.MultiHeadAttention(2).apply(
        {'params': variables['params']}, X, mask=nn.make_causal_mask(X[..., 0])
    )
    for i in range(5):
        y, variables = step(layer, variables, X[:, i : i + 1])
        np.testing.assert_allclose(y, whole[:, i : i + 1], rtol=1e-5, atol=1e-6)
    assert int(variables['cache']['cache_index']) == 5


def test_init_makes_an_empty_cache() -> None:
    _, variables = decoder()
    assert jax.tree.map(jnp.shape, variables['cache']) == {
        'cached_key': (2, 5, 2, 4),
        'cached_value': (2, 5, 2, 4),
        'cache_index': (),
    }
    assert not any(leaf.any() for leaf in jax.tree.leaves(variables['cache']))


def test_a_mask_while_decoding() -> None:
    layer, variables = decoder()
    _, variables = step(layer, variables, X[:, :1])
    seen = jnp.zeros((2, 1, 1, 5), bool).at[..., 1:].set(True)
    y, _ = step(layer, variables, X[:, 1:2], mask=seen)
    alone = nn.MultiHeadAttention(2).apply({'params': variables['params']}, X[:, 1:2])
    np.testing.assert_allclose(y, alone, rtol=1e-5, atol=1e-6)
    with pytest.raises(MaskError, match=r'\(2, 1, 1, 3\)'):
        step(layer, variables, X[:, 1:2], mask=seen[..., :3])


@pytest.mark.parametrize('x', [X, X[:, :2], X[:1, :1]])
def test_a_step_of_another_shape(x: Any) -> None:
    layer, variables = decoder()
    with pytest.raises(InputShapeError, match=r'takes \(2, 1, 2, 4\)[\s\S]*i : i \+ 1'):
        step(layer, variables, x)


def test_a_step_of_another_dtype() -> None:
    layer, variables = decoder(dtype=jnp.bfloat16)
    variables['cache'] = jax.tree.map(lambda x: x.astype(jnp.float32), variables['cache'])
    with pytest.raises(InputDtypeError, match='keys of bfloat16, the cache holds float32'):
        step(layer, variables, X[:, :1])


def test_a_full_cache_overwrites_its_last_position() -> None:
    layer, variables = decoder(length=1)
    _, variables = step(layer, variables, X[:, :1])
    with pytest.warns(SharpBitWarning, match='the cache of 1 positions is full'):
        y, variables = step(layer, variables, X[:, 1:2])
    assert int(variables['cache']['cache_index']) == 2
    alone = nn.MultiHeadAttention(2).apply({'params': variables['params']}, X[:, 1:2])
    np.testing.assert_allclose(y, alone, rtol=1e-5, atol=1e-6)


def test_several_keys_in_one_step() -> None:
    layer, variables = decoder()
    with pytest.warns(SharpBitWarning, match='writes 2 keys and moves on by one'):
        layer.apply(variables, X[:, :1], X[:, :2], mutable=['cache'])


def test_a_decoding_step_under_jit() -> None:
    layer, variables = decoder()
    one, _ = step(layer, variables, X[:, :1])
    two, _ = jax.jit(lambda v, x: step(layer, v, x))(variables, X[:, :1])
    np.testing.assert_allclose(one, two, rtol=1e-6)


# Groups of heads that share keys and values.


def grouped(groups: int = 2, **options: Any) -> Any:
    """A layer of four heads, and one of as many heads for keys and values, that repeats them."""
    layer = nn.MultiHeadAttention(4, num_key_value_heads=groups, **options)
    variables = layer.init(KEY, X)
    params = dict(variables['params'])
    for name in ('key', 'value'):
        params[name] = jax.tree.map(lambda x: x.repeat(4 // groups, -2), params[name])
    return layer, variables, nn.MultiHeadAttention(4, **options), {'params': params}


@pytest.mark.parametrize('groups', [1, 2, 4])
def test_groups_of_heads_are_as_heads_repeated(groups: int) -> None:
    layer, variables, repeated, params = grouped(groups)
    assert variables['params']['key']['kernel'].shape == (8, groups, 2)
    y = layer.apply(variables, X, mask=MASK[:, :, :1])
    np.testing.assert_array_equal(y, repeated.apply(params, X, mask=MASK[:, :, :1]))


def test_the_cache_holds_the_heads_of_keys_and_values_alone() -> None:
    layer, variables, repeated, params = grouped(decode=True)
    assert variables['cache']['cached_key'].shape == (2, 5, 2, 2)
    whole = repeated.clone(decode=False).apply(params, X, mask=nn.make_causal_mask(X[..., 0]))
    for i in range(2):
        y, variables = step(layer, variables, X[:, i : i + 1])
        np.testing.assert_allclose(y, whole[:, i : i + 1], rtol=1e-5, atol=1e-6)


def test_groups_that_do_not_divide_the_heads() -> None:
    said = r'num_key_value_heads=3 does not divide num_heads=4'
    with pytest.raises(InvalidOptionError, match=said):
        nn.MultiHeadAttention(4, num_key_value_heads=3).init(KEY, X)
    with pytest.raises(InvalidOptionError, match='num_key_value_heads'):
        nn.MultiHeadAttention(4, num_key_value_heads=0).init(KEY, X)


def test_functions_take_groups_of_heads_too() -> None:
    query = jnp.concatenate([Q, Q], 2)
    y = nn.dot_product_attention(query, KV, KV)
    np.testing.assert_array_equal(y, nn.dot_product_attention(query, *[KV.repeat(2, 2)] * 2))

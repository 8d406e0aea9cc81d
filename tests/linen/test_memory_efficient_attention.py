"""Attention by chunks computes what the plain function does, in memory linear in the length."""

from __future__ import annotations

import functools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.errors import InputShapeError, InvalidOptionError, MaskError
from linnet.linen import memory_efficient_attention
from linnet.linen._dropout_masks import draw
from linnet.linen.memory_efficient_attention import _cudnn_takes

KEY = jax.random.key(0)
CAUSAL = functools.partial(nn.chunked_attention, causal=True, query_chunk=3, key_chunk=2)
STATIC = 'broadcast_dropout dropout_rate deterministic dtype force_fp32_for_softmax causal'.split()
in_chunks = jax.jit(
    functools.partial(nn.chunked_attention, query_chunk=3, key_chunk=4), static_argnames=STATIC
)


def array(seed: int, *shape: int, dtype: Any = 'float32') -> Any:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def qkv(batch: Any, n: int, m: int, heads: int, groups: int, **options: Any) -> Any:
    sizes = (n, heads, 4), (m, groups, 4), (m, groups, 6)
    return [array(i, *batch, *size, **options) for i, size in enumerate(sizes)]


def close(a: Any, b: Any, **options: Any) -> None:
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, **{'rtol': 1e-5, 'atol': 2e-5, **options})


def value_and_gradient(fn: Any, *args: Any) -> Any:
    """What a function of arrays gives, and the gradient of a loss by all of them."""

    def loss(args: Any) -> Any:
        y = fn(*args)
        return jnp.sum(jnp.sin(y)), y

    (_, y), gradient = jax.value_and_grad(loss, has_aux=True)(args)
    return y, gradient


CASES = {
    'plain': ((2,), 7, 11, 4, 4, None, None, False),
    'grouped, with bias and mask': ((2,), 7, 11, 4, 2, (4, 7, 11), (2, 1, 1, 11), False),
    'causal': ((), 5, 5, 2, 1, (2, 1, 1), None, True),
    'causal with fewer keys': ((), 8, 5, 1, 1, None, None, True),
    'several batch axes': ((2, 3), 4, 8, 2, 2, (3, 1, 4, 8), (2, 3, 1, 4, 8), False),
    'causal with a mask': ((1,), 8, 5, 1, 1, (1, 5), (8, 5), True),
}


@pytest.mark.parametrize('case', CASES.values(), ids=CASES)
def test_it_computes_what_the_plain_function_does(case: Any) -> None:
    *sizes, bias_shape, mask_shape, causal = case
    arrays = qkv(*sizes)
    if bias_shape:
        arrays.append(array(3, *bias_shape))
    mask = both = None
    if mask_shape:
        both = mask = array(4, *mask_shape) > 0.3  # some queries see nothing
    if causal:
        mask = mask if mask is None else mask.at[..., 0].set(True)
        both = nn.combine_masks(mask, jnp.tril(jnp.ones(sizes[1:3], bool)))
    plain = functools.partial(nn.dot_product_attention, mask=both)
    tiled = functools.partial(in_chunks, mask=mask, causal=causal)
    a, b = jax.jit(lambda args: [value_and_gradient(fn, *args) for fn in (plain, tiled)])(
        tuple(arrays)
    )
    jax.tree.map(close, a, b)


def test_a_query_that_may_look_at_nothing_averages_what_causality_leaves() -> None:
    q, k, v = qkv((), 5, 5, 1, 1)
    y = in_chunks(q, k, v, mask=False, causal=True)
    means = jnp.cumsum(v, 0) / jnp.arange(1, 6)[:, None, None]
    close(y, means)
    mask = jnp.zeros((5, 5))
    np.testing.assert_array_equal(in_chunks(q, k, v, mask=mask, causal=True), y)


def dropped(q: Any, k: Any, v: Any, rate: float, broadcast: bool) -> Any:
    """Attention whose weights are dropped tile by tile, computed as a whole."""
    weights = nn.dot_product_attention_weights(q, k)  # [batch, heads, 6, 8]
    lead = (1, 1, 1) if broadcast else (*weights.shape[:2], 1)
    tiles = [
        [
            draw(jax.random.fold_in(jax.random.fold_in(KEY, i), j), rate, (*lead, 3, 4))
            for j in (0, 1)
        ]
        for i in (0, 1)
    ]
    kept = jnp.block([[mask for mask, _ in row] for row in tiles])[:, :, 0]
    return jnp.einsum('bhqk,bkhd->bqhd', weights * kept / tiles[0][0][1], v)


@pytest.mark.parametrize('broadcast', [True, False])
def test_dropout_draws_for_each_tile(broadcast: bool) -> None:
    arrays = qkv((2,), 6, 8, 2, 2)
    tiled = functools.partial(
        in_chunks, dropout_rng=KEY, dropout_rate=0.4, broadcast_dropout=broadcast
    )
    whole = functools.partial(dropped, rate=0.4, broadcast=broadcast)
    look = value_and_gradient if broadcast else lambda fn, *args: fn(*args)
    a, b = jax.jit(lambda args: [look(fn, *args) for fn in (tiled, whole)])(arrays)
    jax.tree.map(close, a, b)


def test_nothing_is_dropped_in_evaluation() -> None:
    arrays = qkv((2,), 6, 8, 2, 1)
    y = in_chunks(*arrays, dropout_rng=KEY, dropout_rate=0.4, deterministic=True)
    np.testing.assert_array_equal(y, in_chunks(*arrays))


def test_dtypes() -> None:
    arrays = qkv((2,), 6, 8, 2, 1)
    exact = in_chunks(*arrays)
    half = in_chunks(*arrays, dtype=jnp.bfloat16)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype('float32'), exact, atol=0.03)
    form = functools.partial(jax.eval_shape, in_chunks)
    assert form(*arrays, dtype='float16', force_fp32_for_softmax=True).dtype == 'float32'
    mixed = [x.astype(t) for x, t in zip(arrays, ('bfloat16', 'float16', 'int32'), strict=True)]
    assert form(*mixed).dtype == nn.dot_product_attention(*mixed).dtype
    gradient = jax.grad(lambda q: in_chunks(q, *arrays[1:]).astype('float32').sum())
    assert jax.eval_shape(gradient, arrays[0].astype('bfloat16')).dtype == 'bfloat16'
    with jax.enable_x64(True):
        double = [jnp.asarray(np.asarray(x, 'float64')) for x in arrays]
        close(in_chunks(*double), nn.dot_product_attention(*double), rtol=1e-12, atol=1e-12)


def test_no_queries_or_no_keys() -> None:
    assert in_chunks(*qkv((2,), 0, 8, 2, 1)).shape == (2, 0, 2, 6)
    np.testing.assert_array_equal(in_chunks(*qkv((2,), 3, 0, 2, 1)), jnp.zeros((2, 3, 2, 6)))


def test_chunks_larger_than_the_input_and_maps() -> None:
    arrays = qkv((2,), 6, 8, 2, 1)
    whole = jax.jit(nn.chunked_attention)(*arrays)
    close(whole, nn.dot_product_attention(*arrays))
    close(jax.vmap(in_chunks)(*arrays), whole)
    close(nn.chunked_attention(*arrays, query_chunk=4, key_chunk=100), whole)


def temporary_bytes(fn: Any, length: int) -> int:
    x = jax.ShapeDtypeStruct((1, length, 2, 4), jnp.float32)
    gradient = jax.grad(lambda *args: fn(*args).sum(), (0, 1, 2))
    return jax.jit(gradient).lower(x, x, x).compile().memory_analysis().temp_size_in_bytes


def test_memory_is_linear_in_the_length() -> None:
    tiled = functools.partial(nn.chunked_attention, query_chunk=32, key_chunk=32)
    one, four = (temporary_bytes(tiled, length) for length in (256, 1024))
    assert four < 4.1 * one
    assert 8 * four < temporary_bytes(nn.dot_product_attention, 1024)


@pytest.mark.filterwarnings('ignore::linnet.errors.SharpBitWarning')
@pytest.mark.parametrize(
    ('options', 'error', 'said'),
    [
        ({'query_chunk': 0}, InvalidOptionError, 'query_chunk'),
        ({'key_chunk': 2.5}, InvalidOptionError, 'key_chunk'),
        ({'mask': np.ones((4, 1, 6, 8), bool)}, MaskError, 'does not broadcast'),
        ({'bias': np.ones((3, 1, 1, 6, 8))}, MaskError, r'\(3, 1, 1, 6, 8\) has axes that the'),
        ({'dtype': 'complex64'}, InvalidOptionError, 'no logit is the greatest'),
        ({'dropout_rate': 0.5}, InvalidOptionError, 'dropout_rng is None'),
        ({'dropout_rate': 1.0, 'dropout_rng': KEY}, InvalidOptionError, 'drops every'),
    ],
)
def test_options_that_do_not_fit(options: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        nn.chunked_attention(*qkv((2,), 6, 8, 2, 1), **options)


def test_heads_that_do_not_fit() -> None:
    with pytest.raises(InputShapeError, match='number of heads: 3 and 2'):
        nn.chunked_attention(*qkv((2,), 6, 8, 3, 2))


# In a layer.


def test_a_layer_with_it() -> None:
    x = array(0, 2, 7, 8)
    layer = nn.MultiHeadAttention(2)
    variables = layer.init(KEY, x)
    wanted = layer.apply(variables, x, mask=nn.make_causal_mask(x[..., 0]))
    close(layer.clone(attention_fn=CAUSAL).apply(variables, x), wanted)
    with pytest.raises(InvalidOptionError, match="attention_fn has no parameter 'module'"):
        layer.clone(attention_fn=CAUSAL).apply(variables, x, sow_weights=True)


# The way that depends on the device.


def test_on_cpus_it_goes_by_chunks() -> None:
    arrays = qkv((2,), 6, 8, 2, 1)
    np.testing.assert_array_equal(
        nn.fused_attention(*arrays, causal=True), nn.chunked_attention(*arrays, causal=True)
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretends that the device is a GPU; lists how JAX's own attention is called."""
    seen: list[Any] = []
    of_jax = jax.nn.dot_product_attention

    def spy(*args: Any, **options: Any) -> Any:
        seen.append(options)
        return of_jax(*args, **{**options, 'implementation': 'xla'})

    monkeypatch.setattr(jax.nn, 'dot_product_attention', spy)
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    return seen


def test_on_other_devices_it_is_jaxs_own(calls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, _ = qkv((2,), 6, 6, 4, 2)
    bias, mask = array(3, 4, 6, 6), array(4, 2, 1, 1, 6) > -0.5
    close(nn.fused_attention(q, k, k, bias, mask), nn.dot_product_attention(q, k, k, bias, mask))
    triangle = nn.make_causal_mask(jnp.ones((1, 6)), dtype=bool)
    y = nn.fused_attention(q, k, k, causal=True, dtype='float16', force_fp32_for_softmax=True)
    close(y, nn.dot_product_attention(q, k, k, mask=triangle), atol=0.01)
    monkeypatch.setattr(memory_efficient_attention, '_cudnn_takes', lambda query, device: True)
    jax.eval_shape(nn.fused_attention, q, k, k)
    jax.eval_shape(nn.fused_attention, q, k, k, bias)
    assert [call['implementation'] for call in calls] == ['xla', 'xla', 'cudnn', 'xla']


def test_on_other_devices_many_weights_go_by_chunks(
    calls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    q, k, _ = qkv((2,), 6, 6, 4, 2)
    monkeypatch.setattr(memory_efficient_attention, '_FEW', 2 * 4 * 6 * 6)
    nn.fused_attention(q, k, k)
    assert len(calls) == 1
    monkeypatch.setattr(memory_efficient_attention, '_FEW', 2 * 4 * 6 * 6 - 1)
    monkeypatch.setattr(memory_efficient_attention, '_WIDE', 4)
    wanted = nn.chunked_attention(q, k, k, query_chunk=4, key_chunk=4)
    np.testing.assert_array_equal(nn.fused_attention(q, k, k), wanted)
    assert len(calls) == 1


def test_dropout_drops_the_same_on_every_device(calls: Any) -> None:
    q, k, _ = qkv((2,), 600, 600, 2, 2)
    options = {'dropout_rate': 0.5, 'dropout_rng': KEY}
    wanted = nn.chunked_attention(q, k, k, **options)
    np.testing.assert_array_equal(nn.fused_attention(q, k, k, **options), wanted)


def test_on_other_devices_what_jax_lacks_goes_by_chunks(calls: Any) -> None:
    q, k, v = qkv((2,), 6, 6, 2, 2)
    for arrays, options in (
        ((q, k, v), {}),
        ((q, k, k), {'dropout_rate': 0.5, 'dropout_rng': KEY}),
        ((q, k, k), {'precision': 'highest'}),
        ((q[None], k[None], k[None]), {}),
    ):
        y = jax.eval_shape(functools.partial(nn.fused_attention, **options), *arrays)
        assert y.shape == (*arrays[0].shape[:-1], arrays[2].shape[-1])
    assert calls == []


@pytest.mark.parametrize(
    ('dtype', 'depth', 'platform', 'capability', 'takes'),
    [
        ('bfloat16', 64, 'CUDA 12', '9.0', True),
        ('float16', 128, 'CUDA 12', '8.0', True),
        ('float32', 64, 'CUDA 12', '9.0', False),
        ('bfloat16', 60, 'CUDA 12', '9.0', False),
        ('bfloat16', 256, 'CUDA 12', '9.0', False),
        ('bfloat16', 64, 'CUDA 12', '7.5', False),
        ('bfloat16', 64, 'rocm 60000', 'gfx942', False),
    ],
)
def test_what_cudnn_takes(
    dtype: str, depth: int, platform: str, capability: str, takes: bool
) -> None:
    device = types.SimpleNamespace(
        client=types.SimpleNamespace(platform_version=platform), compute_capability=capability
    )
    assert _cudnn_takes(jnp.ones((1, 1, depth), dtype), device) is takes

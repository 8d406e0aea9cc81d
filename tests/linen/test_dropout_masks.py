"""Masks of dropout: the ordinary ones are JAX's to the bit, the fast ones are random enough."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import linnet.linen as nn
from linnet.configurations import config
from linnet.errors import InvalidOptionError
from linnet.linen._dropout_masks import draw
from tests.devices import new_mesh, run_checks

KEY = jax.random.key(0)
SHAPES = [(), (1,), (0,), (5, 0), (7, 3), (2, 3, 5), (1, 9, 1)]
RATES = [*np.random.default_rng(0).random(12).tolist(), 0.1, 0.5, 1e-9, 1 - 1e-9, 1e-4, 1 - 1e-4]


def kept(*args: Any, **options: Any) -> np.ndarray:
    return np.asarray(draw(*args, **options)[0])


def drop(x: Any, rate: float = 0.5, key: Any = KEY, **options: Any) -> Any:
    layer = nn.Dropout(rate, deterministic=False, **options)
    return layer.apply({}, x, rngs={'dropout': key})


# Ordinary masks.


@pytest.mark.parametrize('shape', SHAPES)
def test_an_ordinary_mask_is_that_of_jax(shape: Any) -> None:
    np.testing.assert_array_equal(
        kept(KEY, 0.3, shape, fast=False), jax.random.bernoulli(KEY, 1 - 0.3, shape)
    )


@pytest.mark.parametrize('x64', [False, True])
@pytest.mark.parametrize('kind', [float, np.float32, np.float64, jnp.float32])
def test_every_rate_gives_the_mask_of_jax(kind: Any, x64: bool) -> None:
    with jax.enable_x64(x64):
        for rate in map(kind, RATES):
            np.testing.assert_array_equal(
                kept(KEY, rate, (333,)), jax.random.bernoulli(KEY, 1.0 - rate, (333,))
            )


@pytest.mark.parametrize(
    'option', ['jax_threefry_partitionable', 'jax_debug_key_reuse', 'jax_disable_jit']
)
def test_settings_of_jax_under_which_the_mask_is_jaxs(option: str) -> None:
    before = getattr(jax.config, option)
    jax.config.update(option, not before)
    try:
        mask = kept(jax.random.key(0), 0.3, (4, 5))
        wanted = jax.random.bernoulli(jax.random.key(0), 1 - 0.3, (4, 5))
    finally:
        jax.config.update(option, before)
    np.testing.assert_array_equal(mask, wanted)


# Fast masks.

SIDE = 1024


@functools.cache
def large(seed: int, rate: float = 0.5) -> np.ndarray:
    return kept(jax.random.key(seed), rate, (SIDE, SIDE), fast=True)


def assert_like_chance(values: Any, probability: float) -> None:
    """Refuses a share of True that chance gives less than once in 10,000."""
    spread = np.sqrt(probability * (1 - probability) / np.size(values))
    assert abs(np.mean(values) - probability) < 4 * spread


@pytest.mark.parametrize('rate', [0.5, 0.1, 0.9, 0.001, 1 / 3])
def test_the_rate_drawn_is_the_rate_rounded(rate: float) -> None:
    keep = draw(KEY, rate, (1,), fast=True)[1]
    assert abs(1 - keep - rate) <= 2**-17
    assert keep * 2**16 == round(keep * 2**16)
    assert_like_chance(large(0, rate), keep)
    for lane in range(4):
        assert_like_chance(large(0, rate)[:, lane::4], keep)


def test_rates_at_the_ends() -> None:
    assert draw(KEY, 1e-7, (9,), fast=True)[1] == 1
    assert kept(KEY, 1e-7, (999,), fast=True).all()
    assert draw(KEY, 1 - 1e-9, (9,), fast=True)[1] == 2**-16


@pytest.mark.parametrize('distance', [1, 2, 3, 4, 5, 8, 512])
@pytest.mark.parametrize('axis', [0, 1])
def test_elements_do_not_depend_on_each_other(axis: int, distance: int) -> None:
    mask = large(0)
    assert_like_chance(mask == np.roll(mask, distance, axis), 0.5)


def test_the_four_elements_of_a_hash_take_all_patterns_equally() -> None:
    patterns = large(0).reshape(-1, 4) @ (1, 2, 4, 8)
    for pattern in range(16):
        assert_like_chance(patterns == pattern, 1 / 16)


def test_sums_of_rows_and_columns_spread_as_by_chance() -> None:
    for axis in (0, 1):
        spread = np.var(large(0).sum(axis)) / (SIDE / 4)
        assert abs(spread - 1) < 4 * np.sqrt(2 / SIDE)


@pytest.mark.parametrize('seeds', [(0, 1), (1, 2), (0, 2**31)])
def test_keys_do_not_depend_on_each_other(seeds: Any) -> None:
    one, two = map(large, seeds)
    assert_like_chance(one == two, 0.5)
    assert_like_chance(one == two.T, 0.5)


def test_a_fast_mask_is_not_the_ordinary_one_and_does_not_depend_on_it() -> None:
    ordinary = np.asarray(jax.random.bernoulli(KEY, 0.5, (SIDE, SIDE)))
    assert_like_chance(ordinary == large(0), 0.5)


def test_layers_and_steps_do_not_depend_on_each_other() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            layer = nn.Dropout(0.5, deterministic=False, fast_mask=True)
            other = nn.Dropout(0.5, deterministic=False, fast_mask=True)
            return layer(x), layer(x), other(x)

    a, b, c = (y != 0 for y in Net().apply({}, jnp.ones((SIDE, SIDE)), rngs={'dropout': KEY}))
    for one, two in ((a, b), (a, c), (b, c)):
        assert_like_chance(one == two, 0.5)


@pytest.mark.parametrize('shape', SHAPES)
def test_every_shape(shape: Any) -> None:
    mask = kept(KEY, 0.3, shape, fast=True)
    assert (mask.shape, mask.dtype) == (shape, bool)


def test_axes_of_one_place_do_not_count() -> None:
    flat = kept(KEY, 0.5, (40,), fast=True)
    np.testing.assert_array_equal(kept(KEY, 0.5, (1, 40, 1), fast=True).ravel(), flat)
    assert 0 < flat.sum() < 40


def test_keys_of_every_kind() -> None:
    typed = kept(KEY, 0.5, (64,), fast=True)
    np.testing.assert_array_equal(kept(jax.random.PRNGKey(0), 0.5, (64,), fast=True), typed)
    for impl in ('rbg', 'unsafe_rbg'):
        mask = kept(jax.random.key(0, impl=impl), 0.25, (SIDE, 64), fast=True)
        assert_like_chance(mask, 0.75)
    jax.config.update('jax_threefry_partitionable', False)
    try:
        np.testing.assert_array_equal(kept(KEY, 0.5, (64,), fast=True), typed)
    finally:
        jax.config.update('jax_threefry_partitionable', True)


# In the layer.


@pytest.mark.parametrize('dtype', ['float32', 'float16', 'bfloat16', 'complex64'])
def test_what_is_kept_is_scaled_by_the_rate_drawn(dtype: str) -> None:
    y = drop(jnp.ones((8, 8), dtype), 0.3, fast_mask=True)
    keep = round(0.7 * 2**16) / 2**16
    assert y.dtype == dtype
    assert set(np.unique(y)) == {0, (jnp.ones((), dtype) / keep).astype(dtype).item()}


@pytest.mark.parametrize('rate', [0, 1])
def test_nothing_and_everything(rate: int) -> None:
    x = jnp.ones((4, 8))
    np.testing.assert_array_equal(drop(x, rate, fast_mask=True), x * (1 - rate))


def test_the_flag_and_the_option() -> None:
    x = jnp.ones((8, 40))
    fast, ordinary = drop(x, fast_mask=True), drop(x)
    assert not jnp.array_equal(fast, ordinary)
    with config.temp_flip_flag('linnet_fast_masks', True):
        np.testing.assert_array_equal(drop(x), fast)
        np.testing.assert_array_equal(drop(x, fast_mask=False), ordinary)
    with pytest.raises(InvalidOptionError, match='fast_mask is a traced value'):
        jax.jit(lambda flag: drop(x, fast_mask=flag))(True)


def test_the_option_goes_by_keyword_and_is_not_shown() -> None:
    assert nn.Dropout(0.5, (), True, 'dropout', None, 'name').name == 'name'
    assert repr(nn.Dropout(0.5, fast_mask=True)) == repr(nn.Dropout(0.5))
    assert nn.Dropout(0.5, fast_mask=True) != nn.Dropout(0.5)


def test_elements_along_broadcast_axes_share_their_fate() -> None:
    y = drop(jnp.ones((6, 40)), broadcast_dims=(0,), fast_mask=True)
    assert jnp.all(y == y[:1])
    assert len(np.unique(y)) == 2


def test_the_mask_is_the_same_under_every_transform() -> None:
    x, keys = jnp.ones((4, 40)), jax.random.split(KEY, 3)
    run = lambda key, x=x: drop(x, key=key, fast_mask=True)  # noqa: E731
    each = jnp.stack([run(key) for key in keys])
    np.testing.assert_array_equal(jax.vmap(run)(keys), each)
    np.testing.assert_array_equal(jax.jit(jax.vmap(run))(keys), each)
    np.testing.assert_array_equal(jax.lax.scan(lambda c, k: (c, run(k)), 0, keys)[1], each)
    np.testing.assert_array_equal(jax.grad(lambda x: run(KEY, x).sum())(x), run(KEY))
    remat = jax.checkpoint(lambda x: (run(KEY, x) ** 2).sum())
    np.testing.assert_array_equal(jax.grad(remat)(x), 2 * run(KEY) ** 2)


def test_attention_draws_fast_masks_too() -> None:
    x = jax.random.normal(KEY, (2, 9, 2, 4))
    weigh = functools.partial(
        nn.dot_product_attention_weights, x, x, dropout_rng=KEY, dropout_rate=0.3
    )
    ordinary = weigh()
    with config.temp_flip_flag('linnet_fast_masks', True):
        fast = weigh()
    mask, keep = draw(KEY, 0.3, (1, 1, 9, 9), fast=True)
    whole = weigh(deterministic=True)
    np.testing.assert_array_equal(fast, whole * (mask / np.float32(keep)))
    assert not jnp.array_equal(fast, ordinary)


# On several devices.


def check_every_sharding_gives_the_same_mask() -> None:
    x, mesh = jnp.ones((16, 64)), new_mesh()
    for fast in (False, True):
        run = jax.jit(lambda x, fast=fast: drop(x, fast_mask=fast))
        wanted = run(x)
        for spec in (('x', None), (None, 'y'), ('x', 'y'), (('x', 'y'), None)):
            y = jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))
            np.testing.assert_array_equal(run(y), wanted)
            assert 'all-gather' not in run.lower(y).compile().as_text()


def test_on_eight_devices() -> None:
    assert set(run_checks(__name__).values()) == {''}

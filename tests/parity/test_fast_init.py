"""Fast init against the oracle: whole models, every initialiser, keys and settings of all kinds."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linnet.configurations import config
from tests.parity.harness import Library, same

DEEP = os.environ.get('LINNET_DEEP') == '1'
TOKENS = np.arange(24).reshape(2, 12) % 32
IMAGE = np.linspace(-1, 1, 2 * 8 * 8 * 3, dtype=np.float32).reshape(2, 8, 8, 3)


@pytest.fixture(autouse=True)
def _fast() -> Any:
    with config.temp_flip_flag('linnet_fast_init', True):
        yield


def transformer(nn: Any) -> tuple[Any, Any]:
    class Transformer(nn.Module):
        @nn.compact
        def __call__(self, tokens: Any) -> Any:
            x = nn.Embed(32, 16)(tokens)
            x = x + self.param('pos', nn.initializers.normal(0.02), (12, 16))
            y = nn.MultiHeadDotProductAttention(2, dropout_rate=0.1, deterministic=False)(
                nn.LayerNorm()(x), mask=nn.make_causal_mask(tokens)
            )
            x = x + nn.Dropout(0.1, deterministic=False)(y)
            x = x + nn.Dense(16)(nn.gelu(nn.Dense(64)(nn.LayerNorm()(x))))
            return nn.Dense(3)(x)

    return Transformer(), TOKENS


def convolutions(nn: Any) -> tuple[Any, Any]:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            for features in (8, 16):
                y = nn.Conv(features, (3, 3), use_bias=False)(x)
                x = nn.relu(nn.BatchNorm(use_running_average=False)(y))
                x = nn.max_pool(x, (2, 2), (2, 2))
            return nn.Dense(10)(x.mean((1, 2)))

    return Net(), IMAGE


def recurrent(nn: Any) -> tuple[Any, Any]:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, tokens: Any) -> Any:
            x = nn.RNN(nn.LSTMCell(8))(nn.Embed(32, 8)(tokens))
            heads = nn.vmap(
                nn.Dense,
                variable_axes={'params': 0},
                split_rngs={'params': True},
                in_axes=None,
                axis_size=2,
            )
            return heads(8)(nn.SpectralNorm(nn.Dense(8))(x, update_stats=True))

    return Net(), TOKENS


@pytest.mark.parametrize('build', [transformer, convolutions, *([recurrent] if DEEP else [])])
def test_models(build: Any) -> None:
    def program(lib: Library) -> Any:
        model, x = build(lib.nn)
        return model.init({'params': jax.random.key(1), 'dropout': jax.random.PRNGKey(2)}, x)

    same(program)


INITIALISERS: dict[str, Any] = {
    'constant': lambda i: i.constant(0.1),
    'glorot_normal': lambda i: i.glorot_normal(),
    'glorot_uniform': lambda i: i.glorot_uniform(),
    'he_normal': lambda i: i.he_normal(),
    'he_uniform': lambda i: i.he_uniform(),
    'lecun_normal': lambda i: i.lecun_normal(),
    'lecun_uniform': lambda i: i.lecun_uniform(),
    'normal': lambda i: i.normal(0.3),
    'ones': lambda i: i.ones_init(),
    'orthogonal': lambda i: i.orthogonal(),
    'truncated_normal': lambda i: i.truncated_normal(0.1, lower=-1),
    'uniform': lambda i: i.uniform(3.0),
    'variance_scaling': lambda i: i.variance_scaling(2, 'fan_out', 'normal', batch_axis=0),
    'zeros': lambda i: i.zeros_init(),
}
SETTINGS: dict[str, Any] = {
    'default': contextlib.nullcontext,
    'x64': lambda: jax.enable_x64(True),
    'other bits': lambda: jax.threefry_partitionable(False),
    'other generator': lambda: jax.default_prng_impl('rbg'),
}


def every_initialiser(lib: Library, dtypes: Any) -> Any:
    class All(lib.nn.Module):
        @lib.nn.compact
        def __call__(self) -> None:
            for name, make in INITIALISERS.items():
                for dtype in dtypes if name != 'orthogonal' else dtypes[:1]:
                    label = f'{name}_{jnp.dtype(dtype).name}'
                    self.param(label, make(lib.nn.initializers), (3, 8), dtype)

    return All().init(jax.random.key(5))


@pytest.mark.parametrize('setting', SETTINGS if DEEP else ['default'])
def test_every_initialiser(setting: str) -> None:
    dtypes = (jnp.float32, jnp.bfloat16, jnp.float16) if DEEP else (jnp.float32,)
    with SETTINGS[setting]():
        same(lambda lib: every_initialiser(lib, dtypes))


def test_frozen_variables_and_placement() -> None:
    def program(lib: Library) -> Any:
        flags = lib.load('configurations').config
        with flags.temp_flip_flag('return_frozendict', True):
            variables = lib.nn.Dense(8).init(jax.random.key(0), IMAGE[0])
        kernel = variables['params']['kernel']
        return variables, kernel.committed, kernel.sharding == jnp.ones(1).sharding

    same(program)


@pytest.mark.skipif(
    not DEEP, reason='draws many shapes, each compiled by the oracle: LINNET_DEEP=1'
)
def test_shapes_of_all_kinds() -> None:
    random = np.random.default_rng(0)
    sizes = [1, 2, 3, 4, 5, 7, 8, 12, 16, 33, 64]
    shapes = [tuple(random.choice(sizes, random.integers(2, 5))) for _ in range(100)]

    def program(lib: Library) -> Any:
        class All(lib.nn.Module):
            @lib.nn.compact
            def __call__(self) -> None:
                for i, shape in enumerate(shapes):
                    self.param(f'{i}', lib.nn.initializers.lecun_normal(), shape)

        return All().init(jax.random.key(5))

    same(program)

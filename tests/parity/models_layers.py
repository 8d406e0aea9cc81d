"""Models out of the layers that the library ships, as far as they exercise the module system."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from tests.parity.models import IMAGE, TOKENS, X, model


@model(X)
def sequential(nn: Any) -> Any:
    return nn.Sequential([nn.Dense(4), nn.relu, nn.Sequential([nn.Dense(3), nn.tanh]), nn.Dense(2)])


@model(X)
def sequential_of_tuples_and_dicts(nn: Any) -> Any:
    """A tuple is handed on as positional, a dict as keyword arguments."""

    class Split(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x), nn.Dense(3)(x)

    class Join(nn.Module):
        @nn.compact
        def __call__(self, a, b):
            return {'x': nn.Dense(2)(a * b), 'y': a}

    class Last(nn.Module):
        @nn.compact
        def __call__(self, *, x, y):
            return nn.Dense(1)(x) + y

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Sequential([Split(), Join(), Last()])(x)

    return Net()


@model(X, streams=('dropout',))
def dropout(nn: Any) -> Any:
    class Net(nn.Module):
        train: bool

        @nn.compact
        def __call__(self, x):
            x = nn.Dropout(0.5, deterministic=not self.train)(nn.Dense(4)(x))
            x = nn.Dropout(0.25, broadcast_dims=(0,))(x, deterministic=False)
            return nn.Dropout(0.9, deterministic=True)(x)

    return Net(train=True)


@model(X, mutable=['batch_stats'], apply={'train': True}, init={'train': False})
def batch_norm(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.Dense(3)(x)
            if not self.is_mutable_collection('batch_stats'):
                train = False
            x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
            return nn.BatchNorm(use_bias=False)(x, use_running_average=not train)

    return Net()


@model(TOKENS)
def embedding_shared_with_the_output(nn: Any) -> Any:
    class Net(nn.Module):
        def setup(self):
            self.embed = nn.Embed(5, 4)
            self.hidden = nn.Dense(4)

        def __call__(self, tokens):
            return self.embed.attend(nn.gelu(self.hidden(self.embed(tokens))))

    return Net()


@model(IMAGE, mutable=['batch_stats'])
def convolutions(nn: Any) -> Any:
    class Block(nn.Module):
        features: int

        @nn.compact
        def __call__(self, x):
            y = nn.Conv(self.features, (3, 3), use_bias=False)(x)
            average = not self.is_mutable_collection('batch_stats')
            y = nn.relu(nn.BatchNorm(use_running_average=average)(y))
            shortcut = x if x.shape == y.shape else nn.Conv(self.features, (1, 1), name='proj')(x)
            return nn.max_pool(y + shortcut, (2, 2), strides=(2, 2))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for features in (2, 3):
                x = Block(features)(x)
            return nn.Dense(2)(nn.avg_pool(x, (1, 1)).reshape(x.shape[0], -1))

    return Net()


@model(X)
def norms(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.LayerNorm(epsilon=1e-5, use_bias=False)(x)
            return nn.GroupNorm(num_groups=2)(nn.RMSNorm()(nn.Dense(4)(x)))

    return Net()


@model(X)
def half_precision(nn: Any) -> Any:
    class Net(nn.Module):
        dtype: Any = jnp.bfloat16

        @nn.compact
        def __call__(self, x):
            x = nn.Dense(4, dtype=self.dtype)(x)
            x = nn.LayerNorm(dtype=self.dtype)(x)
            return nn.Dense(2, dtype=self.dtype, param_dtype=self.dtype)(x)

    return Net()


@model(np.ones((2, 3, 4), np.float32), streams=('dropout',))
def transformer_block(nn: Any) -> Any:
    class Block(nn.Module):
        heads: int = 2

        @nn.compact
        def __call__(self, x):
            y = nn.LayerNorm()(x)
            attend = nn.MultiHeadDotProductAttention(
                self.heads, dropout_rate=0.5, deterministic=False, qkv_features=4
            )
            x = x + nn.Dropout(0.5, deterministic=False)(
                attend(y, mask=nn.make_causal_mask(y[..., 0]))
            )
            y = nn.Dense(4)(nn.gelu(nn.Dense(8)(nn.LayerNorm()(x))))
            return x + nn.Dropout(0.5, deterministic=False)(y)

    class Net(nn.Module):
        def setup(self):
            self.blocks = [Block() for _ in range(2)]

        def __call__(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    return Net()

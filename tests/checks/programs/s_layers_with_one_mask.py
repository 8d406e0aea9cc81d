"""A stack of layers under nn.scan, each with its own parameters and all with one mask."""

# Finds: LN814
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return nn.Dropout(0.5, deterministic=False)(nn.Dense(4)(x)), None


Stack = nn.scan(
    Layer, variable_axes={'params': 0}, split_rngs={'params': True, 'dropout': False}, length=2
)
x, key = jnp.ones((1, 4)), jax.random.key(0)
params_key, init_key = jax.random.split(key)
variables = Stack().init({'params': params_key, 'dropout': init_key}, x, None)
Stack().apply(variables, x, None, rngs={'dropout': key})

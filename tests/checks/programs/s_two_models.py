"""An encoder and a decoder are made from one key."""

# Finds: LN813
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Encoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4)(x)


class Decoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4)(nn.relu(x))


key = jax.random.key(0)
Encoder().init(key, jnp.ones((1, 4)))
Decoder().init(key, jnp.ones((1, 4)))

"""A root of a negative number in the second of three blocks."""

# Finds: LN861
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Block(nn.Module):
    scale: float

    @nn.compact
    def __call__(self, x):
        return jnp.sqrt(self.scale * nn.Dense(2)(x) ** 2 + 0.1)


net = nn.Sequential([Block(1.0), Block(-1e6), Block(1.0)])
x = jnp.ones((2, 3))
params = net.init(jax.random.key(3), x)
jax.jit(net.apply)(params, x)

"""A layer is computed, and its result is not used."""

# Finds: LN826
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        nn.Dense(2)(x)
        return nn.Dense(1)(x)


x = jnp.ones((2, 3))
params = Net().init(jax.random.key(0), x)
jax.jit(jax.grad(lambda p: Net().apply(p, x).sum()))(params)

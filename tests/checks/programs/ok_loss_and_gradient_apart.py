"""A loss and its gradient are computed apart, with one key, as they must be."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Sequential([nn.Dense(2), nn.Dropout(0.5, deterministic=False)])
x = jnp.ones((2, 3))
params = nn.Sequential([nn.Dense(2)]).init(jax.random.key(0), x)


def loss(params, key):
    return net.apply(params, x, rngs={'dropout': key}).sum()


value, grad = jax.jit(loss), jax.jit(jax.grad(loss))
for key in jax.random.split(jax.random.key(1), 3):
    value(params, key)
    grad(params, key)

"""A jitted step appends what it computed to a list."""

# Finds: LN843
import jax
import jax.numpy as jnp

import linnet.linen as nn

net, x = nn.Dense(1), jnp.ones((2, 3))
params = net.init(jax.random.key(0), x)
history = []


@jax.jit
def step(params, x):
    y = net.apply(params, x)
    history.append({'y': y})
    return y.sum()


step(params, x)

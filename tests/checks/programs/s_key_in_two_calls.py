"""A discriminator judges two batches at two lines, both with one mask."""

# Finds: LN816
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Sequential([nn.Dense(4), nn.Dropout(0.5, deterministic=False)])
real, fake = jnp.ones((2, 3)), jnp.zeros((2, 3))
params = nn.Sequential([nn.Dense(4)]).init(jax.random.key(1), real)


@jax.jit
@jax.grad
def step(params, key):
    up = net.apply(params, real, rngs={'dropout': key})
    down = net.apply(params, fake, rngs={'dropout': key})
    return (down - up).sum()


step(params, jax.random.key(0))

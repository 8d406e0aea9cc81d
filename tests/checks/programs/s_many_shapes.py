"""Batches of ever new sizes."""

# Finds: LN851
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Dense(1)
params = net.init(jax.random.key(0), jnp.ones((1, 3)))
step = jax.jit(lambda p, x: net.apply(p, x))
for size in range(1, 7):
    step(params, jnp.ones((size, 3)))

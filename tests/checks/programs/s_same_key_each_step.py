"""A training loop that hands one dropout key to every step."""

# Finds: LN811
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Dropout(0.5, deterministic=False)
key = jax.random.key(0)
step = jax.jit(lambda x: net.apply({}, x, rngs={'dropout': key}))
for i in range(2):
    step(jnp.full(4, i, jnp.float32))

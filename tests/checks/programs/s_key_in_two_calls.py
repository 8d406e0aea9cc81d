"""Two losses on two batches, at two lines, from one key."""

# Finds: LN816
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Dropout(0.5, deterministic=False)
key = jax.random.key(0)
real = net.apply({}, jnp.ones(4), rngs={'dropout': key})
fake = net.apply({}, jnp.zeros(4), rngs={'dropout': key})

"""The same data and the same key in every step, eagerly, with a raw key."""

# Finds: LN811
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Dropout(0.5, deterministic=False)
for _ in range(3):
    net.apply({}, jnp.ones(4), rngs={'dropout': jax.random.PRNGKey(0)})

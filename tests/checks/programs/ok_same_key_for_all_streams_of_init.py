"""Parameters and dropout of init share a key: no module draws from both."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Sequential([nn.Dense(4), nn.Dropout(0.5, deterministic=False)])
key = jax.random.key(0)
net.init({'params': key, 'dropout': key}, jnp.ones((2, 3)))
net.init({'params': key, 'dropout': key}, jnp.ones((2, 3)))

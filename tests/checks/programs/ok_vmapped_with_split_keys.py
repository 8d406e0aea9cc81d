"""An apply for each example, each with a key of its own; an ensemble that splits its keys."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Dropout(0.5, deterministic=False)
xs = jnp.arange(8.0).reshape(2, 4)
for key in jax.random.split(jax.random.key(0), 2):
    jax.vmap(lambda x, k: net.apply({}, x, rngs={'dropout': k}))(xs, jax.random.split(key, 2))
Many = nn.vmap(nn.Dropout, split_rngs={'dropout': True})
Many(0.5, deterministic=False).apply({}, xs, rngs={'dropout': jax.random.key(1)})

"""A jitted function is mapped over examples, its key is not."""

# Finds: LN814
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Dropout(0.5, deterministic=False)
run = jax.jit(lambda x, key: net.apply({}, x, rngs={'dropout': key}))
jax.vmap(run, in_axes=(0, None))(jnp.arange(8.0).reshape(2, 4), jax.random.key(0))

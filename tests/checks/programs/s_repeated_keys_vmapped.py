"""The keys that are mapped along with the examples are copies of one."""

# Finds: LN814
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Dropout(0.5, deterministic=False)
keys = jnp.stack([jax.random.key(0)] * 2)
jax.jit(jax.vmap(lambda x, key: net.apply({}, x, rngs={'dropout': key})))(
    jnp.arange(8.0).reshape(2, 4), keys
)

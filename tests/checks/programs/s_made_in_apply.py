"""A layer is new in the model, and the old parameters are passed with mutable=True."""

# Finds: LN841
import jax
import jax.numpy as jnp

import linnet.linen as nn

x = jnp.ones((2, 3))
params = nn.Sequential([nn.Dense(3)]).init(jax.random.key(0), x)
nn.Sequential([nn.Dense(3), nn.Dense(1)]).apply(
    params, x, mutable=True, rngs={'params': jax.random.key(1)}
)

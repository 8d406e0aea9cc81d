"""Members of an ensemble under nn.vmap that drop the same units."""

# Finds: LN814
import jax
import jax.numpy as jnp

import linnet.linen as nn

Many = nn.vmap(nn.Dropout, split_rngs={'dropout': False})
Many(0.5, deterministic=False).apply({}, jnp.ones((2, 4)), rngs={'dropout': jax.random.key(0)})

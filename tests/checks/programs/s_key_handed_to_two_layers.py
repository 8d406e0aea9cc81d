"""One key is handed to two dropouts by hand."""

# Finds: LN816
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, key):
        x = nn.Dropout(0.5, deterministic=False)(x, rng=key)
        return nn.Dropout(0.5, deterministic=False)(x, rng=key)


Net().apply({}, jnp.ones(4), jax.random.key(0))

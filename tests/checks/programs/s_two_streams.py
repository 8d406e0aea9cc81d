"""One key for the parameters and for the noise that the same module draws."""

# Finds: LN812
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Noisy(nn.Module):
    @nn.compact
    def __call__(self, x):
        w = self.param('w', nn.initializers.normal(), (4,))
        return x * w + jax.random.normal(self.make_rng('noise'), (4,))


key = jax.random.key(0)
Noisy().init({'params': key, 'noise': key}, jnp.ones(4))

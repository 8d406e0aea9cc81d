"""jax.jit is called anew in every round, on a new function."""

# Finds: LN852
import jax
import jax.numpy as jnp

import linnet.linen as nn

net, x = nn.Dense(1), jnp.ones((1, 3))
params = net.init(jax.random.key(0), x)
for _ in range(5):
    jax.jit(lambda p, x: net.apply(p, x))(params, x)

"""A padding id of -1 that is looked up like any other."""

# Finds: LN865
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Embed(5, 2)
params = net.init(jax.random.key(0), jnp.array([0]))
jax.jit(net.apply)(params, jnp.array([0, 1, -1]))

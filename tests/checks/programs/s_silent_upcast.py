"""A normalisation without dtype in a model that computes in bfloat16."""

# Finds: LN866
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Sequential([nn.Dense(4, dtype=jnp.bfloat16), nn.LayerNorm(), nn.Dense(4)])
x = jnp.arange(6.0).reshape(2, 3)
params = net.init(jax.random.key(0), x)
jax.jit(net.apply)(params, x)

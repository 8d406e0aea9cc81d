"""A batch that holds NaN already."""

# Finds: LN861
import jax
import jax.numpy as jnp

import linnet.linen as nn

net, x = nn.Dense(1), jnp.ones((2, 3))
params = net.init(jax.random.key(0), x)
jax.jit(net.apply)(params, x.at[0, 0].set(jnp.nan))

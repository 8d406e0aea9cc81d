"""A jitted predict closes over parameters that training replaces."""

# Finds: LN844
import jax
import jax.numpy as jnp

import linnet.linen as nn

net, x = nn.Dense(1), jnp.ones((2, 3))
params = net.init(jax.random.key(0), x)
predict = jax.jit(lambda x: net.apply(params, x))
predict(x)
params = jax.tree.map(lambda p: p + 1, params)
predict(x)

"""Small outputs of a layer in float16 lose their digits."""

# Finds: LN863
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Dense(2, dtype=jnp.float16, kernel_init=nn.initializers.constant(1e-3))
x = jnp.full((2, 2), 1e-2)
params = net.init(jax.random.key(0), x)
jax.jit(net.apply)(params, x)

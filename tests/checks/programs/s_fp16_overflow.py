"""Large inputs to a layer in float16, under jit and grad."""

# Finds: LN828 LN862
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Dense(2, dtype=jnp.float16, kernel_init=nn.initializers.ones)
x = jnp.full((2, 8), 30000.0)
params = net.init(jax.random.key(0), x)
jax.jit(jax.grad(lambda p: net.apply(p, x).astype(jnp.float32).sum() ** 2))(params)

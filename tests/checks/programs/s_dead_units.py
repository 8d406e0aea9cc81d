"""Units that never fire: their layer gets a gradient of zeros in every step."""

# Finds: LN827
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Sequential([nn.Dense(4, bias_init=nn.initializers.constant(-100.0)), nn.relu, nn.Dense(1)])
x = jnp.ones((2, 3))
params = net.init(jax.random.key(0), x)
grad = jax.grad(jax.jit(lambda p: net.apply(p, x).sum()))
for _ in range(3):
    grad(params)

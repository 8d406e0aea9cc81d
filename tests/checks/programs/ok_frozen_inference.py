"""A jitted function closes over parameters that do not change: a constant, as is meant."""

# Finds: nothing
import functools

import jax
import jax.numpy as jnp

import linnet.linen as nn

net, x = nn.Dense(1), jnp.ones((2, 3))
params = net.init(jax.random.key(0), x)
predict = jax.jit(lambda x: net.apply(params, x))
serve = jax.jit(functools.partial(net.apply, params))
for _ in range(3):
    predict(x)
    serve(x)

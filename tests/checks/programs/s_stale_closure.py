"""The same in a function: the parameters are a variable around the jitted one."""

# Finds: LN844
import jax
import jax.numpy as jnp

import linnet.linen as nn

net, x = nn.Dense(1), jnp.ones((2, 3))


def train():
    params = net.init(jax.random.key(0), x)
    predict = jax.jit(lambda x: net.apply(params, x))
    for _ in range(2):
        predict(x)
        params = jax.tree.map(lambda p: p + 1, params)


train()

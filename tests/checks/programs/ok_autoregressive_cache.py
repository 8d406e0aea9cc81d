"""Decoding with a cache that each token updates, begun anew for each sequence."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.MultiHeadDotProductAttention(2, decode=True)
x = jnp.arange(12.0).reshape(1, 3, 4)
variables = net.init(jax.random.key(0), x)


@jax.jit
def step(variables, x):
    y, updates = net.apply(variables, x, mutable=['cache'])
    return y, {**variables, **updates}


for _ in range(2):
    current = variables
    for i in range(3):
        y, current = step(current, x[:, i : i + 1])

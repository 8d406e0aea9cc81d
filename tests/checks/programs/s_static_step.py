"""The number of the step is a static argument: each step is compiled."""

# Finds: LN852
import functools

import jax
import jax.numpy as jnp

import linnet.linen as nn


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, step):
        return nn.Dense(1)(x) / (1 + step)


net, x = Net(), jnp.ones((1, 3))
params = net.init(jax.random.key(0), x, 0)


@functools.partial(jax.jit, static_argnames='step')
def run(params, x, step):
    return net.apply(params, x, step)


for step in range(6):
    run(params, x, step)

"""A model is trained in evaluation mode, and its statistics never move."""

# Finds: LN822
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.BatchNorm(use_running_average=not train, momentum=0.5)(nn.Dense(2)(x))


net, x = Net(), jnp.arange(12.0).reshape(4, 3)
variables = net.init(jax.random.key(0), x, train=False)


@jax.jit
def step(params, x):
    def loss(params):
        return (net.apply({**variables, 'params': params}, x, train=False) ** 2).sum()

    return jax.tree.map(lambda p, g: p - 1e-4 * g, params, jax.grad(loss)(params))


params = variables['params']
for _ in range(2):
    params = step(params, x)

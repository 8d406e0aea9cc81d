"""Batch normalisation: steps hand statistics on, and evaluation uses them."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.BatchNorm(use_running_average=not train, momentum=0.5)(nn.Dense(2)(x))


net, x = Net(), jnp.arange(12.0).reshape(4, 3)
variables = net.init(jax.random.key(0), x, train=False)
net.apply(variables, x, train=False)


@jax.jit
def step(variables, x):
    def loss(params):
        y, updates = net.apply(
            {**variables, 'params': params}, x, train=True, mutable=['batch_stats']
        )
        return (y**3).sum(), updates

    grads, updates = jax.grad(loss, has_aux=True)(variables['params'])
    params = jax.tree.map(lambda p, g: p - 1e-4 * g, variables['params'], grads)
    return {'params': params, **updates}


for i in range(3):
    variables = step(variables, x + i)
    net.apply(variables, x, train=False)

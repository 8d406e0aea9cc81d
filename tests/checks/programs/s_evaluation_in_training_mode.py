"""Evaluation runs in training mode, and what it did to the statistics is kept."""

# Finds: LN823
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
def step(variables, x):
    def loss(params):
        y, updates = net.apply(
            {**variables, 'params': params}, x, train=True, mutable=['batch_stats']
        )
        return (y**2).sum(), updates

    grads, updates = jax.grad(loss, has_aux=True)(variables['params'])
    params = jax.tree.map(lambda p, g: p - 1e-4 * g, variables['params'], grads)
    return {'params': params, **updates}


for _ in range(2):
    variables = step(variables, x)
    y, updates = net.apply(variables, x + 9, train=True, mutable=['batch_stats'])
    variables = {**variables, **updates}

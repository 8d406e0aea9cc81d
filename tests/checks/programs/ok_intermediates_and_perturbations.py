"""Intermediates are captured, and gradients of them taken by perturbations."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = self.perturb('hidden', nn.Dense(3)(x))
        self.sow('intermediates', 'norm', (x**2).sum())
        return nn.Dense(1)(x)


net, x = Net(), jnp.ones((2, 3))
variables = net.init(jax.random.key(0), x)
jax.grad(lambda v: net.apply(v, x).sum())(variables)
net.apply({'params': variables['params']}, x, mutable=['intermediates'])
net.apply({'params': variables['params']}, x, capture_intermediates=True)

"""A branch that begins with zeros lets no gradient through at first, and then does."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Residual(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.relu(nn.Dense(4)(x))
        return x + nn.Dense(3, kernel_init=nn.initializers.zeros)(y)


net, x = Residual(), jnp.arange(6.0).reshape(2, 3)
params = net.init(jax.random.key(0), x)
grad = jax.jit(jax.grad(lambda p: (net.apply(p, x) ** 2).sum()))
for _ in range(3):
    params = jax.tree.map(lambda p, g: p - 0.01 * g, params, grad(params))

"""Statistics are passed under a name that nothing reads, beside the right one."""

# Finds: LN825
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.BatchNorm(use_running_average=not train, momentum=0.5)(nn.Dense(2)(x))


net, x = Net(), jnp.arange(12.0).reshape(4, 3)
variables = net.init(jax.random.key(0), x, train=False)
old = {'ema': {'Dense_0': {'kernel': jnp.ones((3, 2))}}}
net.apply({**variables, **old}, x, train=False)

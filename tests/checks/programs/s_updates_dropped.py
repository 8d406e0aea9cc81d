"""The new statistics are returned by every step and thrown away."""

# Finds: LN821 LN824
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.BatchNorm(use_running_average=not train, momentum=0.5)(nn.Dense(2)(x))


net, x = Net(), jnp.arange(12.0).reshape(4, 3)
variables = net.init(jax.random.key(0), x, train=False)
for i in range(2):
    net.apply(variables, x + i, train=True, mutable=['batch_stats'])
net.apply(variables, x, train=False)

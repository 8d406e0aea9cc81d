"""A trainer keeps the last output of a differentiated function in an attribute."""

# Finds: LN843
import jax
import jax.numpy as jnp

import linnet.linen as nn

net, x = nn.Dense(1), jnp.ones((2, 3))


class Trainer:
    def __init__(self):
        self.params = net.init(jax.random.key(0), x)
        self.last = None

    def loss(self, params, x):
        self.last = net.apply(params, x)
        return self.last.sum()


trainer = Trainer()
jax.jit(jax.grad(trainer.loss))(trainer.params, x)

"""The same in a class: the jitted function finds the parameters in self."""

# Finds: LN844
import jax
import jax.numpy as jnp

import linnet.linen as nn

net, x = nn.Dense(1), jnp.ones((2, 3))


class Trainer:
    def __init__(self):
        self.params = net.init(jax.random.key(0), x)['params']
        self.predict = jax.jit(lambda x: net.apply({'params': self.params}, x))


trainer = Trainer()
trainer.predict(x)
trainer.params = jax.tree.map(lambda p: p + 1, trainer.params)
trainer.predict(x)

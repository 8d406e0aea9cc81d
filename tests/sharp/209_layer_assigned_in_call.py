# 209 self.dense = nn.Dense(3) in a compact __call__
# Source: habits of PyTorch, whose __init__ does it
# Want: error
# Says: Net.dense; setup()

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        self.dense = nn.Dense(3)
        return self.dense(x)


Net().init(jax.random.key(0), jnp.ones((2, 3)))
print('OK: the attribute was set')

# 207 count + 1, where count is a Variable and not its value
# Source: param returns the value, variable a handle
# Want: error
# Says: Variable; .value; count + 1

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Net(nn.Module):
    @nn.compact
    def __call__(self):
        count = self.variable('state', 'count', lambda: jnp.zeros(()))
        return count + 1


Net().init(jax.random.key(0))
print('OK: it was added to')

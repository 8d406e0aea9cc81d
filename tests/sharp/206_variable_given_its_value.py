# 206 self.variable('state', 'n', 0): a value in place of a function that makes it
# Source: variable() takes an init_fn
# Want: error
# Says: 'n'; function; lambda:

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Net(nn.Module):
    @nn.compact
    def __call__(self):
        return self.variable('state', 'n', 0).value


Net().init(jax.random.key(0))
print('OK: the value was taken', jnp.ones(()))

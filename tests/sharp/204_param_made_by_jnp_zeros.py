# 204 self.param('w', jnp.zeros, (3,)): jnp.zeros takes the key for a shape
# Source: the signature of initialisers: init(key, shape, dtype)
# Want: error
# Says: 'w'; key; nn.initializers

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + self.param('w', jnp.zeros, (3,))


Net().init(jax.random.key(0), jnp.ones((2, 3)))
raise AssertionError('SILENT: a parameter was made')

# 205 self.param('w', normal(), 3, 4): the shape is not in a tuple
# Source: torch.zeros(3, 4) takes sizes one by one
# Want: error
# Says: 'w'; tuple; (3, 4)

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x @ self.param('w', nn.initializers.normal(), 3, 4)


Net().init(jax.random.key(0), jnp.ones((2, 3)))
raise AssertionError('SILENT: a parameter was made')

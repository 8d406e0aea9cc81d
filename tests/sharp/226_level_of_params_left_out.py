# 226 apply(variables['params'], x): the level 'params' is left out
# Source: init returns collections
# Want: error
# Says: params; {'params': params}

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x)


x = jnp.ones((2, 3))
params = Net().init(jax.random.key(0), x)['params']
Net().apply(params, x)
raise AssertionError('SILENT: parameters were found')

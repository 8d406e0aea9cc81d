# 227 if x.sum() > 0 in a module that is compiled
# Source: JAX Common Gotchas (control flow)
# Want: error
# Says: x.sum() > 0; jnp.where

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        if x.sum() > 0:
            return x
        return nn.Dense(3)(x)


jax.jit(Net().init)(jax.random.key(0), jnp.ones((2, 3)))
raise AssertionError('SILENT: a traced value was true')

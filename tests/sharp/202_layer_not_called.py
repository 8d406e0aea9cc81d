# 202 nn.relu(nn.Dense(3)): the layer was made and never called
# Source: the step that Keras users leave out
# Want: error
# Says: Dense; (x)|(...)

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Dense(3))


Net().init(jax.random.key(0), jnp.ones((2, 3)))
raise AssertionError('SILENT: a layer was taken for an array')

# 212 model.parameters(): a module holds none
# Source: PyTorch
# Want: error
# Says: parameters; init

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')

model = nn.Dense(3)
model.init(jax.random.key(0), jnp.ones((2, 3)))
model.parameters()
raise AssertionError('SILENT: a module had parameters')

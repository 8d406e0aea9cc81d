# 228 model.init(x, key)
# Source: the order of arguments of init
# Want: error
# Says: (2, 3); init(key, x)

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')

nn.Dense(3).init(jnp.ones((2, 3)), jax.random.key(0))
raise AssertionError('SILENT: an input was used as a key')

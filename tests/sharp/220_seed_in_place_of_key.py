# 220 model.init(0, x): a seed is no key
# Source: np.random.seed, torch.manual_seed
# Want: error|works
# Says: 0; jax.random.key(0)

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')

nn.Dense(3).init(0, jnp.ones((2, 3)))
print('OK: the seed was made into a key', jax.devices()[0].platform)

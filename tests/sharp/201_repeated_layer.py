# 201 nn.Sequential([nn.Dense(4)] * 3): three places, one layer
# Source: a list repeated by *, as lists of numbers are
# Want: warn
# Says: layers_0; same

import importlib
import os
import warnings

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')
said = []
warnings.simplefilter('always')
warnings.showwarning = lambda message, *_, **__: said.append(str(message))

model = nn.Sequential([nn.Dense(4)] * 3)
params = model.init(jax.random.key(0), jnp.ones((2, 4)))['params']
if len(params) == 1 and not any('same' in s for s in said):
    raise AssertionError(f'SILENT: three layers were asked for, there is {list(params)}')
print('OK:', (said or [list(params)])[-1])

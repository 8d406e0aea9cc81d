# 216 apply({'params': p, 'batch_stat': s}): the statistics begin anew
# Source: a typo in a dict of collections
# Want: warn
# Says: 'batch_stats'; 'batch_stat'

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

layer = nn.BatchNorm(use_running_average=False)
x = jnp.arange(6.0).reshape(2, 3)
variables = layer.init(jax.random.key(0), x)
given = {'params': variables['params'], 'batch_stat': variables['batch_stats']}
layer.apply(given, x, mutable=['batch_stats'])
if not any("'batch_stat'" in s for s in said):
    raise AssertionError('SILENT: the statistics were not used')
print('OK:', said[-1])

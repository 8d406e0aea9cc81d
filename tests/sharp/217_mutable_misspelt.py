# 217 mutable=['batch_stat'] in training
# Source: a typo in mutable
# Want: error
# Says: batch_stats; mutable; did you mean

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')

layer = nn.BatchNorm(use_running_average=False)
x = jnp.ones((2, 3))
variables = layer.init(jax.random.key(0), x)
layer.apply(variables, x, mutable=['batch_stat'])
raise AssertionError('SILENT: the statistics were kept nowhere')

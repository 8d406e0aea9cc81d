# 210 BatchNorm(axis_name=...) in a model that runs without vmap
# Source: the model moved from pmap to jit
# Want: error
# Says: 'batch'; axis_name; BatchNorm

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')

layer = nn.BatchNorm(use_running_average=False, axis_name='batch')
x = jnp.ones((4, 3))
variables = layer.init(jax.random.key(0), x)
layer.apply(variables, x, mutable=['batch_stats'])
print('OK: averaged over the batch alone')

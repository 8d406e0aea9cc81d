# 218 LayerNorm of inputs with one feature: everything becomes the bias
# Source: x[:, None] before a norm
# Want: warn
# Says: LayerNorm; one element|one feature

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

layer = nn.LayerNorm()
x = jnp.arange(4.0)[:, None]
y = layer.apply(layer.init(jax.random.key(0), x), x)
if bool((y == 0).all()) and not any('LayerNorm' in s for s in said):
    raise AssertionError('SILENT: four different inputs, all outputs are 0')
print('OK:', said[-1])

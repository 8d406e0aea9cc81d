# 223 nn.scan over layers with split_rngs={'params': False}: all layers start equal
# Source: the documentation of scan for loops over time
# Want: warn
# Says: split_rngs; params; scan

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


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return nn.Dense(4)(x), None


stack = nn.scan(Block, variable_axes={'params': 0}, split_rngs={'params': False}, length=3)()
kernel = stack.init(jax.random.key(0), jnp.ones((2, 4)), None)['params']['Dense_0']['kernel']
if bool((kernel == kernel[0]).all()) and not any('split_rngs' in s for s in said):
    raise AssertionError('SILENT: three layers, one kernel three times')
print('OK:', (said or [kernel.shape])[-1])

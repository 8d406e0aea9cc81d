# 203 __call__ returns the layer, and init succeeds without parameters
# Source: a forgotten (x) in the last line
# Want: warn|error
# Says: Dense; (x)

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


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)


variables = Net().init(jax.random.key(0), jnp.ones((2, 3)))
if not any('Dense' in s for s in said):
    raise AssertionError(f'SILENT: init returned {variables}')
print('OK:', said[-1])

# 221 nn.vmap over a function that closes over a Dropout: one mask for all
# Source: split_rngs speaks of modules that are passed in
# Want: warn
# Says: Dropout_0; clos

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
        drop = nn.Dropout(0.5, deterministic=False)
        run = nn.vmap(lambda module, x: drop(x), split_rngs={'dropout': True})
        return run(self, x)


y = Net().apply({}, jnp.ones((2, 64)), rngs={'dropout': jax.random.key(0)})
if bool((y[0] == y[1]).all()) and not any('Dropout_0' in s for s in said):
    raise AssertionError('SILENT: split_rngs asked for two masks, there is one')
print('OK:', (said or ['two masks'])[-1])

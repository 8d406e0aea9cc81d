# 224 nn.while_loop writes to a collection that is not carried
# Source: mutable=True is given, and does not reach into the loop
# Want: error
# Says: 'n'; nn.while_loop; carry_variables

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        def body(module, x):
            module.put_variable('state', 'n', x)
            return x + 1

        return nn.while_loop(lambda module, x: x < 3, body, self, x)


Net().apply({'state': {'n': jnp.zeros(())}}, jnp.zeros(()), mutable=['state'])
raise AssertionError('SILENT: the state of a loop was kept', jax.devices())

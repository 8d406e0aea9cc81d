# 222 a counter in a broadcast collection counts once for all iterations of nn.scan
# Source: variable_broadcast and variable_carry
# Want: warn
# Says: state/n; variable_carry

import importlib
import os
import warnings

import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')
said = []
warnings.simplefilter('always')
warnings.showwarning = lambda message, *_, **__: said.append(str(message))


class Step(nn.Module):
    @nn.compact
    def __call__(self, carry, x):
        n = self.variable('state', 'n', jnp.zeros, ())
        n.value += 1
        return carry, x


loop = nn.scan(Step, variable_broadcast='state')()
_, state = loop.apply({'state': {'n': jnp.zeros(())}}, 0.0, jnp.ones(5), mutable=['state'])
n = int(state['state']['n'])
if n == 1 and not any('state/n' in s for s in said):
    raise AssertionError(f'SILENT: five iterations were counted as {n}')
print('OK:', (said or [n])[-1])

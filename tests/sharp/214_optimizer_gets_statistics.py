# 214 TrainState.create(params=variables): the optimiser changes batch_stats
# Source: init returns all collections
# Want: warn
# Says: batch_stats; params=

import importlib
import os
import warnings

import jax
import jax.numpy as jnp
import optax

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')
said = []
warnings.simplefilter('always')
warnings.showwarning = lambda message, *_, **__: said.append(str(message))

train_state = importlib.import_module(f'{lib}.training.train_state')
layer = nn.BatchNorm(use_running_average=False)
variables = layer.init(jax.random.key(0), jnp.ones((2, 3)))
state = train_state.TrainState.create(
    apply_fn=layer.apply, params=variables, tx=optax.adamw(1.0, weight_decay=0.5)
)
state = state.apply_gradients(grads=jax.tree.map(jnp.zeros_like, variables))
var = state.params['batch_stats']['var']
if float(var[0]) != 1 and not any('batch_stats' in s for s in said):
    raise AssertionError(f'SILENT: weight decay moved the running variance to {var}')
print('OK:', said[-1])

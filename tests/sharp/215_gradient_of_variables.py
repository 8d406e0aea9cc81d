# 215 gradients by variables are given where those by params are wanted
# Source: init returns all collections
# Want: error
# Says: grads; params; ['params']

import importlib
import os

import jax
import jax.numpy as jnp
import optax

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')

train_state = importlib.import_module(f'{lib}.training.train_state')
layer = nn.Dense(3)
x = jnp.ones((2, 4))
variables = layer.init(jax.random.key(0), x)
state = train_state.TrainState.create(
    apply_fn=layer.apply, params=variables['params'], tx=optax.adam(1e-3)
)
grads = jax.grad(lambda v: layer.apply(v, x).sum())(variables)
state.apply_gradients(grads=grads)
raise AssertionError('SILENT: the gradients had another level')

"""One mask for all time steps, on purpose; a stack of layers with a mask for each."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Step(nn.Module):
    @nn.compact
    def __call__(self, carry, x):
        carry = nn.Dropout(0.5, deterministic=False)(nn.tanh(nn.Dense(3)(x) + carry))
        return carry, carry


over_time = nn.scan(
    Step, variable_broadcast='params', split_rngs={'params': False, 'dropout': False}
)
over_layers = nn.scan(
    Step, variable_axes={'params': 0}, split_rngs={'params': True, 'dropout': True}
)
xs, carry = jnp.ones((2, 1, 3)), jnp.zeros((1, 3))


def differentiate(loop, seed):
    params_key, key, other = jax.random.split(jax.random.key(seed), 3)
    params = loop.init({'params': params_key, 'dropout': other}, carry, xs)
    jax.grad(lambda p: loop.apply(p, carry, xs, rngs={'dropout': key})[1].sum())(params)


differentiate(over_time(), 0)
differentiate(over_layers(), 1)

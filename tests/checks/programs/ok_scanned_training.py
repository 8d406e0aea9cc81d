"""Several steps in one compiled loop, each with a key of its own; a step taken conditionally."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.Dropout(0.2, deterministic=False)(x))


net, x = Net(), jnp.arange(6.0).reshape(2, 3)
key, other, params_key = jax.random.split(jax.random.key(0), 3)
params = net.init({'params': params_key, 'dropout': other}, x)


@jax.jit
def train(params, keys):
    def step(params, key):
        def loss(params):
            return net.apply(params, x, rngs={'dropout': key}).sum()

        value, grads = jax.value_and_grad(loss)(params)
        moved = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
        return jax.lax.cond(value > 0, lambda: moved, lambda: params), value

    return jax.lax.scan(step, params, keys)


train(params, jax.random.split(key, 3))

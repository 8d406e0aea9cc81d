"""A loop that folds the number of the step into the key, and evaluates without dropout."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.Dense(4)(x))
        return nn.Dense(1)(nn.Dropout(0.5, deterministic=not train)(x))


net, x, key = Net(), jnp.arange(6.0).reshape(2, 3), jax.random.key(0)
params = net.init(jax.random.key(1), x, train=False)


@jax.jit
def step(params, key, x):
    def loss(params):
        return net.apply(params, x, train=True, rngs={'dropout': key}).sum()

    grads = jax.grad(loss)(params)
    return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads)


for i in range(4):
    params = step(params, jax.random.fold_in(key, i), x)
    net.apply(params, x, train=False, rngs={'dropout': key})

"""Training batches, a last smaller one, and evaluation: three shapes, two modes."""

# Finds: nothing
import functools

import jax
import jax.numpy as jnp

import linnet.linen as nn


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Dropout(0.5, deterministic=not train)(nn.Dense(2)(x))


net = Net()
params = net.init(jax.random.key(0), jnp.ones((1, 3)), train=False)


@functools.partial(jax.jit, static_argnames='train')
def run(params, x, key, train):
    return net.apply(params, x, train=train, rngs={'dropout': key})


for epoch in range(2):
    for i, size in enumerate((4, 4, 2)):
        key = jax.random.fold_in(jax.random.key(epoch), i)
        run(params, jnp.ones((size, 3)), key, train=True)
    run(params, jnp.ones((5, 3)), key, train=False)

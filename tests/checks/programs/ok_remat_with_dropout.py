"""The backward pass runs a layer again, with the same mask, as it must."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=False)(nn.Dense(3)(x))


net = nn.remat(Block)()
x = jnp.arange(6.0).reshape(2, 3)
params_key, key, other = jax.random.split(jax.random.key(0), 3)
params = net.init({'params': params_key, 'dropout': other}, x)
grad = jax.jit(jax.grad(lambda p, key: net.apply(p, x, rngs={'dropout': key}).sum()))
for i in range(2):
    grad(params, jax.random.fold_in(key, i))

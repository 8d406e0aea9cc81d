"""Gradients are accumulated over slices of a batch in a loop, with one key for all."""

# Finds: LN811
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Dropout(0.5, deterministic=False)
key = jax.random.key(0)


@jax.jit
def total(xs):
    def body(carry, x):
        return carry + net.apply({}, x, rngs={'dropout': key}).sum(), None

    return jax.lax.scan(body, 0.0, xs)[0]


jax.grad(total)(jnp.arange(8.0).reshape(2, 4))

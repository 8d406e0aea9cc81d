"""One layer of a scanned stack gives NaN, in a loop that JAX compiles."""

# Finds: LN861
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return jnp.log(nn.tanh(nn.Dense(2)(x)) - 1.0), None


Stack = nn.scan(Layer, variable_axes={'params': 0}, split_rngs={'params': True}, length=2)
x = jnp.ones((1, 2))
params = Stack().init(jax.random.key(0), x, None)
jax.jit(lambda p: Stack().apply(p, x, None))(params)

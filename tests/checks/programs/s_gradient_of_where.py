"""The branch that where() does not take is differentiated too, and gives NaN."""

# Finds: LN828
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Dense(1, use_bias=False, kernel_init=nn.initializers.constant(-1.0))
x = jnp.ones((2, 1))
params = net.init(jax.random.key(0), x)


def loss(params):
    y = net.apply(params, x)
    return jnp.where(y > 0, jnp.sqrt(y), 0.0).sum()


jax.jit(jax.grad(loss))(params)

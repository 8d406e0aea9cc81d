"""Forward derivatives, a Hessian, and a vector-Jacobian product of the same model."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn

net, x = nn.Sequential([nn.Dense(2), nn.tanh, nn.Dense(1)]), jnp.arange(6.0).reshape(2, 3)
params = net.init(jax.random.key(0), x)


def loss(params):
    return (net.apply(params, x) ** 2).sum()


jax.jit(lambda p: jax.jvp(loss, (p,), (p,)))(params)
jax.jit(jax.hessian(loss))(params)
jax.jit(jax.jacfwd(jax.grad(loss)))(params)
jax.vmap(jax.grad(lambda p, x: net.apply(p, x).sum()), in_axes=(None, 0))(params, x)

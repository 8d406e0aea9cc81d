"""A token id past the end of the vocabulary, under jit and vmap."""

# Finds: LN861 LN865
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Embed(5, 2)
params = net.init(jax.random.key(0), jnp.array([0]))
jax.jit(jax.vmap(net.apply, in_axes=(None, 0)))(params, jnp.array([[0, 1], [4, 5]]))

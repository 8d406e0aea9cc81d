"""A causal mask that is strict: the first token may attend to nothing, others to it."""

# Finds: LN864
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.MultiHeadDotProductAttention(2)
x = jnp.ones((1, 3, 4))
params = net.init(jax.random.key(0), x)
mask = jnp.tril(jnp.ones((3, 3), bool), -1)
jax.jit(lambda p, mask: net.apply(p, x, mask=mask))(params, mask)

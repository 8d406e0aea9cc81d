"""A bias of -inf for a whole row, under jit."""

# Finds: LN864
import jax
import jax.numpy as jnp

import linnet.linen as nn

q = jnp.ones((1, 3, 1, 4))
bias = jnp.zeros((3, 3)).at[0].set(-jnp.inf)
jax.jit(lambda q, bias: nn.dot_product_attention(q, q, q, bias=bias))(q, bias)

"""Numbers to be added to the scores are passed as a mask, under jit."""

# Finds: LN867
import jax
import jax.numpy as jnp

import linnet.linen as nn

q = jnp.ones((1, 3, 1, 4))
mask = jnp.where(jnp.tril(jnp.ones((3, 3), bool)), 0.0, -1e9)
jax.jit(lambda q, mask: nn.dot_product_attention(q, q, q, mask=mask))(q, mask)

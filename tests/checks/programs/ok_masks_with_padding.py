"""Masks of padded batches: padding attends to nothing, and nobody to it; a bias of -1e9."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.MultiHeadDotProductAttention(2)
x, memory = jnp.ones((2, 3, 4)), jnp.ones((2, 2, 4))
valid = jnp.array([[1, 1, 0], [0, 0, 0]], bool)
params = net.init(jax.random.key(0), x)
run = jax.jit(lambda p, x, y, mask: net.apply(p, x, y, mask=mask))
run(params, x, x, nn.make_attention_mask(valid, valid))
run(params, x, memory, nn.make_attention_mask(valid, jnp.ones((2, 2), bool)))
run(params, x, x, valid[:, None, None, :] | jnp.array([False, True, False]))
q = jnp.ones((1, 3, 1, 4))
nn.dot_product_attention(q, q, q, bias=jnp.triu(jnp.full((3, 3), -1e9), 1))

"""A recurrent network over sequences of several lengths, and its gradient."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Bidirectional(nn.RNN(nn.LSTMCell(3)), nn.RNN(nn.LSTMCell(3)))
x = jnp.arange(12.0).reshape(2, 3, 2)
params = net.init(jax.random.key(0), x)
lengths = jnp.array([3, 2])
grad = jax.jit(jax.grad(lambda p: net.apply(p, x, seq_lengths=lengths).sum()))
for _ in range(3):
    params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grad(params))

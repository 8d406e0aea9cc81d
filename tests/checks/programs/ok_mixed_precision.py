"""float16 with a scaled loss, and logits in float32 on purpose."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Sequential(
    [
        nn.Dense(4, dtype=jnp.float16),
        nn.LayerNorm(dtype=jnp.float16),
        nn.relu,
        nn.Dense(2, dtype=jnp.float32),
    ]
)
x = jnp.arange(6.0).reshape(2, 3)
params = net.init(jax.random.key(0), x)
grad = jax.jit(jax.grad(lambda p: 128 * (net.apply(p, x) ** 2).mean()))
for _ in range(2):
    grads = jax.tree.map(lambda g: g / 128, grad(params))

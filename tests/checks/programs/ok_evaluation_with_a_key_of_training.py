"""Evaluation draws too, with the key of the step that went before: two things that never meet."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Sequential([nn.Dense(4), nn.Dropout(0.5, deterministic=False)])
x = jnp.arange(6.0).reshape(2, 3)
params = nn.Sequential([nn.Dense(4)]).init(jax.random.key(1), x)
grad = jax.jit(jax.grad(lambda p, k: net.apply(p, x, rngs={'dropout': k}).sum()))
evaluate = jax.jit(lambda p, k: net.apply(p, x + 1, rngs={'dropout': k}))
for i in range(3):
    key = jax.random.fold_in(jax.random.key(0), i)
    params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grad(params, key))
    evaluate(params, key)

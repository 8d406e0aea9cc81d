"""A key for a stream that no module has heard of."""

# Finds: LN815
import jax
import jax.numpy as jnp

import linnet.linen as nn

nn.Dense(2).apply(
    {'params': {'kernel': jnp.ones((3, 2)), 'bias': jnp.zeros(2)}},
    jnp.ones((1, 3)),
    rngs={'droput': jax.random.key(0)},
)

"""A loop that decodes carries its cache, and starts each text from an empty one."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Decoder(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        x = nn.MultiHeadDotProductAttention(1, decode=True)(x[:, None])[:, 0]
        return x, x


loop = nn.scan(Decoder, variable_broadcast='params', variable_carry='cache', split_rngs={})
model, x = loop(), jnp.ones((2, 4))
variables = Decoder().init(jax.random.key(0), x, None)
cache = Decoder(parent=None).init(jax.random.key(0), jnp.ones((2, 4)), None)['cache']
cache = jax.tree.map(lambda a: jnp.zeros((2, 3, *a.shape[2:])) if a.ndim == 4 else a, cache)
run = jax.jit(
    lambda v, x: model.apply(v, x, jnp.zeros(3), mutable=['cache'])[0][1],
)
for number in range(4):
    run({'params': variables['params'], 'cache': cache}, number * x)

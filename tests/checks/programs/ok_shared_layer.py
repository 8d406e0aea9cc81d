"""A layer made once and used twice, and an embedding that is also the output."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Tied(nn.Module):
    def setup(self):
        self.embed = nn.Embed(5, 3)
        self.mix = nn.Dense(3)

    def __call__(self, ids):
        x = self.embed(ids)
        return self.embed.attend(self.mix(nn.relu(self.mix(x))))


net, ids = Tied(), jnp.array([0, 4])
params = net.init(jax.random.key(0), ids)
for _ in range(3):
    jax.grad(jax.jit(lambda p: net.apply(p, ids).sum()))(params)

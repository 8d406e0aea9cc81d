"""Two networks that are trained in turn, each on a loss of its own."""

# Finds: nothing
import jax
import jax.numpy as jnp

import linnet.linen as nn


class Generator(nn.Module):
    @nn.compact
    def __call__(self, z):
        return nn.Dense(3)(nn.BatchNorm(use_running_average=False)(nn.Dense(4)(z)))


class Discriminator(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.leaky_relu(nn.Dense(4)(x)))


generator, discriminator = Generator(), Discriminator()
key_g, key_d, key = jax.random.split(jax.random.key(0), 3)
z, real = jnp.ones((2, 2)), jnp.zeros((2, 3))
g, d = generator.init(key_g, z), discriminator.init(key_d, real)


def generate(params, stats, z):
    variables = {'params': params, 'batch_stats': stats}
    x, updates = generator.apply(variables, z, mutable=['batch_stats'])
    return x, updates['batch_stats']


@jax.jit
def step(g, d, z):
    def loss_d(d, fake):
        return (discriminator.apply(d, fake) - discriminator.apply(d, real)).sum()

    def loss_g(params):
        x, stats = generate(params, g['batch_stats'], z)
        return -discriminator.apply(d, x).sum(), stats

    fake, _ = generate(g['params'], g['batch_stats'], z)
    grads_d = jax.grad(loss_d)(d, fake)
    grads_g, stats = jax.grad(loss_g, has_aux=True)(g['params'])
    g = {
        'params': jax.tree.map(lambda p, u: p - 0.1 * u, g['params'], grads_g),
        'batch_stats': stats,
    }
    return g, jax.tree.map(lambda p, u: p - 0.1 * u, d, grads_d)


for z in jax.random.normal(key, (3, 2, 2)):
    g, d = step(g, d, z)

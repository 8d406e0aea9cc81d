"""The network: an encoder that makes of an image a distribution over codes, and a decoder."""

import math

import jax
import jax.numpy as jnp

import linnet.linen as nn
from digits import DOTS, PIXELS

Pair = tuple[jax.Array, jax.Array]

LOG_WAYS = [math.log(math.comb(DOTS, count)) for count in range(DOTS + 1)]


def make_mlp(features: int, out: int) -> nn.Sequential:
    """Two hidden layers: `[batch, in] -> [batch, out]`."""
    hidden = [nn.Dense(features), nn.silu, nn.Dense(features), nn.silu]
    return nn.Sequential([*hidden, nn.Dense(out)])


class VAE(nn.Module):
    """A variational autoencoder (Kingma and Welling, 2013) of images of counts."""

    latent: int
    features: int

    def setup(self) -> None:
        self.encoder = make_mlp(self.features, 2 * self.latent)
        self.decoder = make_mlp(self.features, 2 * PIXELS)

    def encode(self, counts: jax.Array) -> Pair:
        """From images `[batch, pixels]` to means and deviations of codes, `[batch, latent]`."""
        mean, log_std = jnp.split(self.encoder(counts / DOTS), 2, axis=-1)
        return mean, jnp.exp(log_std)

    def decode(self, code: jax.Array) -> Pair:
        """From codes `[batch, latent]` to weights of black and of white, `[batch, pixels]`."""
        black, white = jnp.split(jnp.exp(self.decoder(code)), 2, axis=-1)
        return black, white

    def share(self, code: jax.Array) -> jax.Array:
        """From codes to the share of black dots that is expected: `[batch, pixels]`."""
        black, white = self.decode(code)
        return black / (black + white)

    def __call__(self, counts: jax.Array) -> tuple[Pair, jax.Array, Pair]:
        """Decodes codes drawn with the stream `noise`: what `decode` gives, them, and `encode`."""
        mean, std = self.encode(counts)
        code = mean + std * jax.random.normal(self.make_rng('noise'), mean.shape)
        return self.decode(code), code, (mean, std)


def log_likelihood(counts: jax.Array, decoded: Pair) -> jax.Array:
    """The log-probability of images, whose pixels are beta-binomial: `[batch]`.

    Dots are drawn by the weights, and each adds one to the weight of its colour.
    """
    black, white = decoded
    dots = rising(black, counts) + rising(white, DOTS - counts) - rising(black + white, DOTS)
    return (jnp.asarray(LOG_WAYS)[counts.astype(jnp.int32)] + dots).sum(-1)


def rising(weight: jax.Array, count: jax.Array | int) -> jax.Array:
    """The logarithm of `weight (weight + 1) (weight + 2) ...`, of so many factors."""
    i = jnp.arange(DOTS)
    factors = jnp.where(i < jnp.asarray(count)[..., None], weight[..., None] + i, 1.0)
    return jnp.log(factors).sum(-1)

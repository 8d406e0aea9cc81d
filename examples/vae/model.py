"""The network: an encoder that makes of an image a distribution over codes, and a decoder."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import betabinom

import linnet.linen as nn
from digits import DOTS, PIXELS

Pair = tuple[jax.Array, jax.Array]


class MLP(nn.Module):
    """Two hidden layers and two outputs: `[batch, in] -> [batch, out], [batch, out]`."""

    features: int
    out: int

    @nn.compact
    def __call__(self, x: jax.Array) -> Pair:
        for _ in range(2):
            x = nn.silu(nn.Dense(self.features)(x))
        return nn.Dense(self.out)(x), nn.Dense(self.out)(x)


class VAE(nn.Module):
    """A variational autoencoder (Kingma and Welling, 2013) of images of counts."""

    latent: int
    features: int

    def setup(self) -> None:
        self.encoder = MLP(self.features, self.latent)
        self.decoder = MLP(self.features, PIXELS)

    def encode(self, counts: jax.Array) -> Pair:
        """From images `[batch, pixels]` to means and deviations of codes, `[batch, latent]`."""
        mean, log_std = self.encoder(counts / DOTS)
        return mean, jnp.exp(log_std)

    def decode(self, code: jax.Array) -> Pair:
        """From codes `[batch, latent]` to weights of black and of white, `[batch, pixels]`.

        They are the parameters of a beta distribution of the share of black dots.
        """
        black, white = self.decoder(code)
        return jnp.exp(black), jnp.exp(white)

    def share(self, code: jax.Array) -> jax.Array:
        """From codes to the mean share of black dots, `[batch, latent] -> [batch, pixels]`."""
        black, white = self.decode(code)
        return black / (black + white)

    def __call__(self, counts: jax.Array) -> tuple[Pair, jax.Array, Pair]:
        """Decodes codes drawn with the stream `noise`: what `decode` gives, them, and `encode`."""
        mean, std = self.encode(counts)
        code = mean + std * jax.random.normal(self.make_rng('noise'), mean.shape)
        return self.decode(code), code, (mean, std)


def log_likelihood(counts: jax.Array, decoded: Pair) -> jax.Array:
    """The log-probability of images when dots are drawn by such shares: `[batch]`."""
    return betabinom.logpmf(counts, DOTS, *decoded).sum(-1)

"""A variational autoencoder (Kingma and Welling, 2013) on binary patterns drawn at random."""

import argparse
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import serialization, struct
from flax.training import train_state

SIZE = 16


@struct.dataclass
class Losses:
    reconstruction: jax.Array
    divergence: jax.Array

    @property
    def total(self):
        return self.reconstruction + self.divergence


class Encoder(nn.Module):
    latents: int
    hidden: int = 32

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(self.hidden, name='fc1')(x))
        mean = nn.Dense(self.latents, name='fc2_mean')(x)
        log_variance = nn.Dense(self.latents, name='fc2_logvar')(x)
        return mean, log_variance


class Decoder(nn.Module):
    hidden: int = 32

    @nn.compact
    def __call__(self, z):
        z = nn.relu(nn.Dense(self.hidden, name='fc1')(z))
        return nn.Dense(SIZE, name='fc2')(z)


class VAE(nn.Module):
    latents: int = 4

    def setup(self):
        self.encoder = Encoder(self.latents)
        self.decoder = Decoder()

    def __call__(self, x):
        mean, log_variance = self.encoder(x)
        noise = jax.random.normal(self.make_rng('noise'), mean.shape)
        return self.decoder(mean + noise * jnp.exp(0.5 * log_variance)), mean, log_variance

    def generate(self, z):
        return nn.sigmoid(self.decoder(z))


def compute_losses(model, params, batch, key):
    logits, mean, log_variance = model.apply({'params': params}, batch, rngs={'noise': key})
    cross_entropy = optax.sigmoid_binary_cross_entropy(logits, batch).sum(-1).mean()
    divergence = -0.5 * jnp.sum(1 + log_variance - mean**2 - jnp.exp(log_variance), -1).mean()
    return Losses(cross_entropy, divergence)


def make_train_step(model):
    @jax.jit
    def train_step(state, batch, key):
        def loss_fn(params):
            losses = compute_losses(model, params, batch, jax.random.fold_in(key, state.step))
            return losses.total, losses

        (_, losses), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        return state.apply_gradients(grads=grads), losses

    return train_step


def make_data(seed, count):
    random = np.random.default_rng(seed)
    prototypes = random.random((3, SIZE)) < 0.5
    flips = random.random((count, SIZE)) < 0.05
    return (prototypes[random.integers(0, 3, count)] ^ flips).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--epochs', type=int, default=3)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()

    data = make_data(options.seed, 128)
    model, optimiser = VAE(), optax.adam(1e-2)
    params_key, noise_key, sample_key = jax.random.split(jax.random.key(options.seed), 3)

    @jax.jit
    def create(rngs):
        params = model.init(rngs, data[:1])['params']
        return train_state.TrainState.create(apply_fn=model.apply, params=params, tx=optimiser)

    state = create({'params': params_key, 'noise': noise_key})
    train_step = make_train_step(model)
    for epoch in range(options.epochs):
        for start in range(0, len(data), 32):
            state, losses = train_step(state, data[start : start + 32], noise_key)
        print('vae', epoch, float(losses.total).hex(), float(losses.divergence).hex())

    restored = serialization.from_bytes(state, serialization.to_bytes(state))
    z = jax.random.normal(sample_key, (2, model.latents))
    images = jax.jit(partial(model.apply, method=VAE.generate))({'params': restored.params}, z)
    print('vae sample', float(np.sum(images)).hex())


if __name__ == '__main__':
    main()

"""The network: varied images, then a ResNet, whose blocks add to what goes past them."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

import linnet.linen as nn


class Augment(nn.Module):
    """Turns, scales, slants and moves each image at random: `[batch, h, w, 1]` -> the same.

    It runs on the device, as a part of the step, and draws from a stream of its own.
    """

    strength: float

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        draws = jax.random.uniform(self.make_rng('augment'), (len(images), 6), minval=-1.0)
        return jax.vmap(_transform)(images, self.strength * draws)


def _transform(image: jax.Array, draw: jax.Array) -> jax.Array:
    """Samples `image [h, w, 1]` where each pixel lay before, as six numbers in -1..1 say."""
    height, width, _ = image.shape
    turn, grow_rows, grow_columns, slant = draw[:4] * jnp.array([0.25, 0.1, 0.1, 0.1])
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    matrix = jnp.array([[cos, -sin], [sin, cos]])
    matrix = matrix @ jnp.array([[1 + grow_rows, slant], [0.0, 1 + grow_columns]])
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
    pixels = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing='ij'), -1)
    rows, columns = jnp.moveaxis((pixels - centre) @ matrix + centre + draw[4:], -1, 0)
    moved = map_coordinates(image[..., 0].astype(jnp.float32), [rows, columns], order=1)
    return moved[..., None].astype(image.dtype)  # so that mixed precision goes on


class ResidualBlock(nn.Module):
    """Two convolutions, and past them the input: `[batch, h, w, in] -> [batch, h', w', features]`.

    A new block passes on its input, for the last scale is zero at first. He et al., 2016.
    """

    features: int
    strides: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = nn.Conv(self.features, (3, 3), self.strides, use_bias=False)(x)
        y = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(y))
        y = nn.Conv(self.features, (3, 3), use_bias=False)(y)
        y = nn.BatchNorm(not train, momentum=0.9, scale_init=nn.initializers.zeros)(y)
        if x.shape != y.shape:
            x = nn.Conv(self.features, (1, 1), self.strides, use_bias=False, name='projection')(x)
            x = nn.BatchNorm(not train, momentum=0.9, name='projection_norm')(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Reads images: `[batch, h, w, 1] -> [batch, classes]` scores.

    Three stages of `blocks`, each with twice the features, at half the size, of the one before.
    """

    width: int = 16
    blocks: int = 1
    augment: float = 1.0
    classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        x = Augment(self.augment)(images) if train else images
        x = nn.Conv(self.width, (3, 3), use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        for stage in range(3):
            for block in range(self.blocks):
                strides = 2 if stage and not block else 1
                x = ResidualBlock(self.width * 2**stage, strides)(x, train=train)
        x = x.mean(axis=(1, 2))  # [batch, features]
        return nn.Dense(self.classes)(x)

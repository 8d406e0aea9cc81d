"""The 1,797 handwritten digits that scikit-learn ships, split once, and how they are varied."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class Split(NamedTuple):
    """Images `[n, 8, 8, 1]` in 0..1 and their labels `[n]`."""

    images: jax.Array
    labels: jax.Array


class Splits(NamedTuple):
    """1,280 digits to learn from, 157 to choose the best epoch by, and 360 held out."""

    train: Split
    valid: Split
    held_out: Split


def load_splits() -> Splits:
    """Splits the digits, each class in proportion; the seed of a run plays no role."""
    digits = load_digits()
    images = (digits.images[..., None] / 16.0).astype('float32')
    labels = digits.target.astype('int32')
    rest_x, held_out_x, rest_y, held_out_y = train_test_split(
        images, labels, test_size=360, stratify=labels, random_state=0
    )
    train_x, valid_x, train_y, valid_y = train_test_split(
        rest_x, rest_y, test_size=157, stratify=rest_y, random_state=0
    )
    splits = Splits(Split(train_x, train_y), Split(valid_x, valid_y), Split(held_out_x, held_out_y))
    return jax.tree.map(jnp.asarray, splits)


def augment(key: jax.Array, images: jax.Array) -> jax.Array:
    """Turns every image by up to 12 degrees and moves it by up to one pixel."""
    angle_key, shift_key = jax.random.split(key)
    count = images.shape[0]
    angles = jax.random.uniform(angle_key, (count,), minval=-1.0, maxval=1.0) * jnp.deg2rad(12.0)
    shifts = jax.random.uniform(shift_key, (count, 2), minval=-1.0, maxval=1.0)
    return jax.vmap(_turn_and_move)(images, angles, shifts)


def _turn_and_move(image: jax.Array, angle: jax.Array, shift: jax.Array) -> jax.Array:
    """Samples `image [h, w, 1]` where each pixel lay before it was turned and moved."""
    height, width, _ = image.shape
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
    pixels = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing='ij'), -1)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rotation = jnp.array([[cos, -sin], [sin, cos]])
    rows, columns = jnp.moveaxis((pixels - centre) @ rotation + centre + shift, -1, 0)
    return map_coordinates(image[..., 0], [rows, columns], order=1)[..., None]

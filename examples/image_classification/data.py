"""The 1,797 handwritten digits that scikit-learn ships, split once, and cut into batches."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Batch = dict[str, np.ndarray]


class Splits(NamedTuple):
    """1,280 digits to learn from, 157 to choose by, 360 held out: `image [n, 8, 8, 1]`, `label`."""

    train: Batch
    valid: Batch
    held_out: Batch


def load_splits() -> Splits:
    """Splits the digits, each class in proportion; the seed of a run plays no role."""
    digits = load_digits()
    images = (digits.images[..., None] / 16.0).astype(np.float32)
    labels = digits.target.astype(np.int32)
    split = partial(train_test_split, random_state=0)
    rest, held_out = split(np.arange(len(labels)), test_size=360, stratify=labels)
    train, valid = split(rest, test_size=157, stratify=labels[rest])
    return Splits(*({'image': images[i], 'label': labels[i]} for i in (train, valid, held_out)))


def batches(part: Batch, size: int) -> Iterator[Batch]:
    """Yields all of a part, in order; the last batch may be short."""
    for start in range(0, len(part['label']), size):
        yield {name: array[start : start + size] for name, array in part.items()}


def shuffled(part: Batch, size: int, *seed: int) -> Iterator[Batch]:
    """Yields full batches of a part, in an order that the seed determines."""
    order = np.random.default_rng(seed).permutation(len(part['label']))
    order = order[: len(order) // size * size]
    return batches({name: array[order] for name, array in part.items()}, size)

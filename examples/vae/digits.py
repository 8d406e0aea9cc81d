"""The 1,797 handwritten digits that scikit-learn ships, as counts, split once.

They were 32 by 32 dots, black or white. Each of the 8 by 8 pixels counts the black ones among the
16 dots of a square.
"""

from collections.abc import Iterator

import numpy as np
from sklearn.datasets import load_digits

Batch = dict[str, np.ndarray]

DOTS, PIXELS = 16, 64


def load_splits() -> list[Batch]:
    """1,280 digits to learn from, 157 to choose the best step by, 360 held out; for every seed.

    Each part has `counts [n, pixels]`, and `label [n]`, which the network never sees.
    """
    digits = load_digits()
    data = {'counts': digits.data.astype(np.float32), 'label': digits.target.astype(np.int32)}
    order = np.random.default_rng(0).permutation(len(digits.data))
    return [{name: data[name][part] for name in data} for part in np.split(order, [1280, 1437])]


def shuffled(data: Batch, size: int, seed: int, epoch: int) -> Iterator[Batch]:
    """Yields full batches in the order of an epoch, the same one for the same seed."""
    order = np.random.default_rng([seed, epoch]).permutation(len(data['label']))
    for start in range(0, len(order) - size + 1, size):
        yield {name: array[order[start : start + size]] for name, array in data.items()}

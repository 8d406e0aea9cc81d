"""Sums of two numbers as text, made on the fly: ``'123+45' -> '861='``, the last digit first.

Adding by hand goes from the last digit to the first, for a sum's first digit depends on all others;
so the answer is written in that order. Whether a sum is held out depends on its numbers alone: no
sum that is tested was ever trained on.
"""

from collections.abc import Iterator, Sequence

import numpy as np

Batch = dict[str, np.ndarray]

CHARACTERS = ' 0123456789+='
END = CHARACTERS.index('=')
QUESTION, ANSWER = len('999+999'), len('8991=')
CODES = np.zeros(128, np.int32)
CODES[[ord(character) for character in CHARACTERS]] = np.arange(len(CHARACTERS))


def encode(texts: Sequence[str], length: int) -> np.ndarray:
    """Codes of characters `[texts, length]`, filled up with spaces, whose code is 0."""
    joined = ''.join(text.ljust(length) for text in texts)
    return CODES[np.frombuffer(joined.encode(), np.uint8)].reshape(-1, length)


def decode(codes: np.ndarray) -> str:
    """The text of codes `[length]`, up to the sign of the end."""
    return ''.join(CHARACTERS[code] for code in codes).partition('=')[0].rstrip()


def make_batch(rng: np.random.Generator, size: int, *, held_out: bool) -> Batch:
    """Draws numbers below 1000: questions `[size, 7]`, lengths `[size]`, answers `[size, 5]`."""
    a, b = rng.integers(0, 1000, (2, 40 * size))
    scrambled = (1000 * a + b) * 2654435761 % 2**32
    chosen = np.flatnonzero((scrambled < 2**32 // 10) == held_out)[:size]
    a, b = a[chosen], b[chosen]
    questions = [f'{x}+{y}' for x, y in zip(a, b, strict=True)]
    return {
        'question': encode(questions, QUESTION),
        'length': np.array([len(question) for question in questions], np.int32),
        'answer': encode([f'{total}'[::-1] + '=' for total in a + b], ANSWER),
    }


def train_batches(seed: int, size: int, epoch: int, steps: int) -> Iterator[Batch]:
    """Yields the batches of an epoch, the same ones for the same seed."""
    rng = np.random.default_rng([seed, epoch])
    for _ in range(steps):
        yield make_batch(rng, size, held_out=False)


def held_out_batches(count: int, size: int) -> list[Batch]:
    """Batches of sums that training never sees."""
    rng = np.random.default_rng(0)
    return [make_batch(rng, size, held_out=True) for _ in range(count)]

"""A text as numbers: a file's, or the reference of Python that every Python ships for `help()`."""

import bz2
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

import numpy as np


class Corpus(NamedTuple):
    """The characters that there are, sorted, and codes of the text's parts, `[n]` each."""

    characters: str
    train: np.ndarray
    valid: np.ndarray
    held_out: np.ndarray

    def decode(self, codes: np.ndarray) -> str:
        """The text of codes `[n]`."""
        return ''.join(self.characters[code] for code in codes)


def read_corpus(path: Path | None) -> Corpus:
    """Reads a text: nine tenths to learn from, one twentieth to watch, the last one held out."""
    parts = (part for name in sorted(topics) for part in topics[name].split('\n\n'))
    text = path.read_text('utf-8') if path else '\n\n'.join(dict.fromkeys(parts))  # each once
    characters, codes = np.unique(np.array(list(text)), return_inverse=True)
    ends = len(codes) * np.array([18, 19]) // 20
    return Corpus(''.join(characters), *np.split(codes.astype(np.int32), ends))


def windows(codes: np.ndarray, length: int) -> np.ndarray:
    """Cuts a text so that each character but the first follows once: `[windows, length + 1]`.

    A window begins with the last character of the one before. The last is filled up with -1.
    """
    places = np.arange(0, len(codes) - 1, length)[:, None] + np.arange(length + 1)
    return np.pad(codes, (0, length), constant_values=-1)[places]


def batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Windows in batches, of which the last may be short."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def shuffled(codes: np.ndarray, length: int, size: int, *seed: int) -> list[np.ndarray]:
    """Full windows in full batches, cut and shuffled as the seed says."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(windows(codes[rng.integers(length) :], length)[:-1])
    return batches(rows[: len(rows) // size * size], size)


def baselines(corpus: Corpus) -> dict[str, float]:
    """Bits for a held-out character, by the character before it alone, and by a packer of files."""
    codes = corpus.held_out
    pairs = np.full((len(corpus.characters),) * 2, 0.1)  # as if all had been seen a little
    np.add.at(pairs, (corpus.train[:-1], corpus.train[1:]), 1)
    bits = -np.log2(pairs / pairs.sum(1, keepdims=True))[codes[:-1], codes[1:]]
    packed = bz2.compress(corpus.decode(codes).encode())
    return {'pairs': float(bits.mean()), 'bzip2': 8 * len(packed) / len(codes)}

"""Sentences with labels 0 and 1: read from files, or made; as numbers, in batches by length.

A folder holds `train.tsv`, `dev.tsv` and `test.tsv`, each in GLUE's form, with a head that names
the columns `sentence` and `label`, or without a head, a sentence and its label a line.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

PAD, UNKNOWN = 0, 1
LENGTHS = (12, 20, 28, 40, 64)  # each bucket holds sentences up to its length


class Sentence(NamedTuple):
    """Its words, and what is said of it: 0 negative, 1 positive."""

    words: tuple[str, ...]
    label: int


class Splits(NamedTuple):
    """Sentences to learn from, to choose by, and to test on."""

    train: list[Sentence]
    dev: list[Sentence]
    test: list[Sentence]


def read_splits(folder: Path) -> Splits:
    """Reads the three files of a folder."""
    return Splits(*(read(folder / f'{name}.tsv') for name in Splits._fields))


def read(path: Path) -> list[Sentence]:
    """Reads one file, with a head or without."""
    lines = [line.split('\t') for line in path.read_text(encoding='utf-8').splitlines() if line]
    text, label = 0, 1
    if {'sentence', 'label'} <= set(lines[0]):
        text, label = lines[0].index('sentence'), lines[0].index('label')
        lines = lines[1:]
    for number, line in enumerate(lines, 1):
        if len(line) <= max(text, label) or line[label] not in ('0', '1'):
            raise ValueError(f'{path}: sentence {number} has no label 0 or 1: {line}')
    return [Sentence(tuple(line[text].split()), int(line[label])) for line in lines]


def make_splits(seed: int = 0) -> Splits:
    """Makes sentences whose label hangs on one word, and on whether there is a "not" before it."""
    words = (('dull', 'clumsy', 'lifeless', 'tired'), ('charming', 'vivid', 'wise', 'funny'))
    heads = ('the film is', 'i found the story', 'all in all , it is', 'the acting is')
    tails = ('', 'from start to finish', 'i must say', 'in the end', 'and long')
    found = []
    for head, tail, label, degree in itertools.product(heads, tails, (0, 1), ('very', 'so', 'not')):
        for word in words[label]:
            text = f'{head} {degree} {word} {tail}'
            found.append(Sentence(tuple(text.split()), label ^ (degree == 'not')))
    order = np.random.default_rng(seed).permutation(len(found))
    shuffled = [found[i] for i in order]
    return Splits(shuffled[:320], shuffled[320:400], shuffled[400:])


def make_vocabulary(sentences: Iterable[Sentence], min_count: int = 1) -> dict[str, int]:
    """Numbers the words, from 2, by how often they occur."""
    counts = Counter(word for sentence in sentences for word in sentence.words)
    kept = [word for word, count in counts.most_common() if count >= min_count]
    return {word: number for number, word in enumerate(kept, start=2)}


Batch = dict[str, np.ndarray]


class Buckets:
    """Sentences as numbers, those of like length together: `tokens [n, length]`, `length [n]`."""

    def __init__(self, sentences: Sequence[Sentence], vocabulary: dict[str, int]) -> None:
        self._buckets: list[Batch] = []
        self._texts: list[str] = []
        for shortest, longest in itertools.pairwise((0, *LENGTHS)):
            chosen = [s for s in sentences if shortest < min(len(s.words), LENGTHS[-1]) <= longest]
            if chosen:
                self._buckets.append(_encode(chosen, vocabulary, longest))
                self._texts += [' '.join(sentence.words) for sentence in chosen]

    @property
    def labels(self) -> np.ndarray:
        """All labels, in the order of :meth:`batches`."""
        return np.concatenate([bucket['label'] for bucket in self._buckets])

    def text(self, index: int) -> str:
        """The sentence with this number, in the order of :meth:`batches`."""
        return self._texts[index]

    def batches(self, size: int) -> Iterator[Batch]:
        """Yields all sentences, in order."""
        for bucket in self._buckets:
            for start in range(0, len(bucket['label']), size):
                yield {name: array[start : start + size] for name, array in bucket.items()}

    def shuffled(self, size: int, seed: int, epoch: int) -> list[Batch]:
        """All sentences in batches that seed and epoch determine.

        The last batch of a bucket is filled up with some of its sentences, so that the batches of
        a bucket are of one shape, for which the step is compiled once.
        """
        rng = np.random.default_rng([seed, epoch])
        batches = []
        for bucket in self._buckets:
            order = rng.permutation(len(bucket['label']))
            each = min(size, len(order))
            for rows in np.resize(order, (-(-len(order) // each), each)):
                batches.append({name: array[rows] for name, array in bucket.items()})
        return [batches[i] for i in rng.permutation(len(batches))]


def _encode(sentences: Sequence[Sentence], vocabulary: dict[str, int], width: int) -> Batch:
    tokens = np.full((len(sentences), width), PAD, np.int32)
    for row, sentence in zip(tokens, sentences, strict=True):
        numbers = [vocabulary.get(word, UNKNOWN) for word in sentence.words[:width]]
        row[: len(numbers)] = numbers
    return {
        'tokens': tokens,
        'length': (tokens != PAD).sum(1, dtype=np.int32),
        'label': np.array([sentence.label for sentence in sentences], np.int32),
    }

"""Trains a network to tell praise from blame.

    linnet train text_classification --set data=FOLDER --set seeds=5 --out out/text

FOLDER holds `train.tsv`, `dev.tsv` and `test.tsv`, for example SST-2. Without it the program makes
a small set of sentences itself. For each seed the epoch that is best on the dev set is tested.
A run that was interrupted goes on with `--resume`.
"""

import dataclasses
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from data import UNKNOWN, Batch, Buckets, Splits, make_splits, make_vocabulary, read_splits
from linnet.train import (
    Checkpoints,
    Confusion,
    Forward,
    HtmlReport,
    JsonlWriter,
    Sample,
    Settings,
    Trainer,
    Watch,
    command,
    setting,
)
from model import Classifier

EVAL = 128  # sentences at a time
CLASSES = 'negative', 'positive'
Outputs = tuple[jax.Array, dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class TextSettings(Settings):
    """What a run is told."""

    steps: int = setting(100_000, 'at most; the epochs end a run before')
    out: Path = setting(Path('out/text'), 'folder for results')
    data: Path | None = setting(None, 'folder with train.tsv, dev.tsv, test.tsv')
    epochs: int = setting(5, 'passes through the sentences')
    batch: int = setting(0, 'sentences in a step; 0 for 64, or for 16 without data')
    rate: float = setting(0.0, 'of learning, at first; 0 for 2e-3, or for 5e-3 without data')
    seeds: int = setting(1, 'how many runs, from the seed on')

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.epochs, self.seeds) < 1:
            raise ValueError('epochs and seeds take 1 or more')
        object.__setattr__(self, 'batch', self.batch or (16 if self.data is None else 64))
        object.__setattr__(self, 'rate', self.rate or (5e-3 if self.data is None else 2e-3))


def loss(net: Forward, batch: Batch) -> Outputs:
    """Cross-entropy and accuracy of each sentence: `[batch]`."""
    scores = net(batch['tokens'], batch['length'], train=net.train)
    labels = jnp.asarray(batch['label'])
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
    return losses, {'accuracy': scores.argmax(-1) == labels}


def probability(net: Forward, batch: Batch) -> jax.Array:
    """How probably each sentence is positive: `[batch]`."""
    return jax.nn.softmax(net(batch['tokens'], batch['length'], train=False))[:, 1]


def train(splits: Splits, seed: int, settings: TextSettings) -> float:
    """Trains with one seed; returns the accuracy on the test set of the best epoch."""
    vocabulary = make_vocabulary(splits.train, min_count=2)
    data, dev, test = (Buckets(sentences, vocabulary) for sentences in splits)
    epoch = len(data.shuffled(settings.batch, seed, epoch=0))
    steps = settings.epochs * epoch
    first = seed == settings.seed
    name = 'report' if first else f'report{seed}'
    report = HtmlReport(settings.out / f'{name}.html', settings, title='Praise or blame')
    folder = settings.checkpoints if first else settings.out / f'checkpoints{seed}'
    trainer = Trainer(
        Classifier(UNKNOWN + 1 + len(vocabulary)),
        loss,
        optax.adamw(optax.cosine_decay_schedule(settings.rate, steps, 0.05), weight_decay=1e-4),
        seed=seed,
        clip=1.0,
        separate_update=True,  # sentences come in five lengths
        watch=Watch('valid_accuracy', mode='max'),
        writers=[JsonlWriter(settings.out / f'seed{seed}.jsonl')],
        checkpoints=Checkpoints(folder, every=epoch),
        report=report,
    )
    trainer.fit(
        lambda epoch: data.shuffled(settings.batch, seed, epoch),
        steps=min(settings.steps, steps),
        valid=lambda: dev.batches(EVAL),
        resume=settings.resume,
    )
    positive = trainer.predict(test.batches(EVAL), probability, variables=trainer.best_variables)
    for index in (positive.argmin(), positive.argmax()):
        trainer.progress.say(f'  {positive[index]:.2f} positive: {test.text(index)[:70]}')
    return show(report, test, positive)


def show(report: HtmlReport, test: Buckets, positive: np.ndarray) -> float:
    """Adds the test to a report: the surest sentences, and the surest of the wrong ones."""
    labels, read = test.labels, (positive > 0.5).astype(int)
    surest = np.argsort(-np.abs(positive - 0.5))
    chosen = [*surest[:4], *surest[(read != labels)[surest]][:4]]
    samples = [
        Sample(test.text(i), f'{positive[i]:.2f} positive', bool(read[i] == labels[i]))
        for i in chosen
    ]
    accuracy = float((read == labels).mean())
    report.add(
        {'test accuracy': accuracy},
        confusion=Confusion.of(labels, read, CLASSES),
        samples=samples,
    )
    return accuracy


def run(settings: TextSettings) -> dict[str, float]:
    """Trains once for each seed, and prints what each run reads of the test set."""
    if settings.data is None:
        print('no data=FOLDER: training on a small set of sentences that this program makes')
        splits = make_splits()
    else:
        splits = read_splits(settings.data)
    print('sentences         ', *map(len, splits), flush=True)
    found = []
    for seed in range(settings.seed, settings.seed + settings.seeds):
        start = time.perf_counter()
        found.append(train(splits, seed, settings))
        seconds = time.perf_counter() - start
        print(f'test accuracy      {found[-1]:.4f} with seed {seed}, {seconds:.1f} s', flush=True)
    print(f'mean test accuracy {np.mean(found):.4f} of {len(found)} seeds')
    print(f'report             {settings.out / "report.html"}')
    return {'mean test accuracy': float(np.mean(found))}


if __name__ == '__main__':
    command(run, TextSettings)

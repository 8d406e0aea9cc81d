"""Trains a network to tell praise from blame.

    python examples/text_classification/train.py --data FOLDER --seeds 5 --out out/text

FOLDER holds `train.tsv`, `dev.tsv` and `test.tsv`, for example SST-2. Without it the program makes
a small set of sentences itself. For each seed the epoch that is best on the dev set is tested.
"""

import argparse
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from data import UNKNOWN, Batch, Buckets, Splits, make_splits, make_vocabulary, read_splits
from linnet.train import Forward, JsonlWriter, Trainer, Watch
from model import Classifier

EVAL = 128  # sentences at a time
Outputs = tuple[jax.Array, dict[str, jax.Array]]


def loss(net: Forward, batch: Batch) -> Outputs:
    """Cross-entropy and accuracy of each sentence: `[batch]`."""
    scores = net(batch['tokens'], batch['length'], train=net.train)
    labels = jnp.asarray(batch['label'])
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
    return losses, {'accuracy': scores.argmax(-1) == labels}


def probability(net: Forward, batch: Batch) -> jax.Array:
    """How probably each sentence is positive: `[batch]`."""
    return jax.nn.softmax(net(batch['tokens'], batch['length'], train=False))[:, 1]


def train(splits: Splits, seed: int, options: argparse.Namespace) -> float:
    """Trains with one seed; returns the accuracy on the test set of the best epoch."""
    vocabulary = make_vocabulary(splits.train, min_count=2)
    data, dev, test = (Buckets(sentences, vocabulary) for sentences in splits)
    steps = options.epochs * len(data.shuffled(options.batch, seed, epoch=0))
    trainer = Trainer(
        Classifier(UNKNOWN + 1 + len(vocabulary)),
        loss,
        optax.adamw(optax.cosine_decay_schedule(options.rate, steps, 0.05), weight_decay=1e-4),
        seed=seed,
        clip=1.0,
        watch=Watch('valid_accuracy', mode='max'),
        writers=[JsonlWriter(options.out / f'seed{seed}.jsonl')],
    )
    trainer.fit(
        lambda epoch: data.shuffled(options.batch, seed, epoch),
        epochs=options.epochs,
        valid=lambda: dev.batches(EVAL),
    )
    positive = trainer.predict(test.batches(EVAL), probability, variables=trainer.best_variables)
    for index in (positive.argmin(), positive.argmax()):
        trainer.progress.say(f'  {positive[index]:.2f} positive: {test.text(index)[:70]}')
    return float(((positive > 0.5) == test.labels).mean())


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--data', type=Path, help='folder with train.tsv, dev.tsv, test.tsv')
    parser.add_argument('--epochs', type=int, default=5, help='passes through the sentences')
    parser.add_argument('--batch', type=int, help='sentences in a step')
    parser.add_argument('--rate', type=float, help='of learning, at first')
    parser.add_argument('--seed', type=int, default=0, help='of everything drawn at random')
    parser.add_argument('--seeds', type=int, default=1, help='how many runs, from --seed on')
    parser.add_argument('--out', type=Path, default=Path('out/text'), help='folder for results')
    options = parser.parse_args()
    batch, rate = (16, 5e-3) if options.data is None else (64, 2e-3)
    options.batch = batch if options.batch is None else options.batch
    options.rate = options.rate or rate
    if min(options.epochs, options.seeds, options.batch) < 1:
        parser.error('--epochs, --seeds and --batch take 1 or more')
    return options


def main() -> int:
    """Trains once for each seed, and prints what each run reads of the test set."""
    options = parse_arguments()
    if options.data is None:
        print('no --data: training on a small set of sentences that this program makes')
        splits = make_splits()
    else:
        splits = read_splits(options.data)
    print('sentences         ', *map(len, splits), flush=True)
    found = []
    for seed in range(options.seed, options.seed + options.seeds):
        start = time.perf_counter()
        found.append(train(splits, seed, options))
        seconds = time.perf_counter() - start
        print(f'test accuracy      {found[-1]:.4f} with seed {seed}, {seconds:.1f} s', flush=True)
    print(f'mean test accuracy {np.mean(found):.4f} of {len(found)} seeds')
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""Trains a network to add numbers of up to three digits, character by character.

    python examples/seq2seq/train.py --steps 4000 --seed 0 --out out/seq2seq

Now and then it answers held-out sums, sampling each digit itself, and says which are CORRECT.
A run that was interrupted goes on with `--resume`.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from linnet.train import Checkpoints, Forward, JsonlWriter, Mean, Trainer
from model import Seq2Seq
from sums import Batch, decode, held_out_batches, make_batch, train_batches

BATCH, EPOCH = 128, 500


def loss(net: Forward, batch: Batch) -> tuple[Mean, dict[str, jax.Array]]:
    """Cross-entropy of each character, and whether whole answers are right.

    In training the network sees the true characters; in evaluation its own samples.
    """
    scores, samples = net(**batch, teacher_force=net.train)
    answer = jnp.asarray(batch['answer'])
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, answer)
    written = scores.argmax(-1) if net.train else samples
    return Mean.of(losses, answer != 0), {'accuracy': is_right(written, answer)}


def is_right(written: jax.Array, answer: jax.Array) -> jax.Array:
    """Compares `[batch, 5]` and `[batch, 5]` up to the end of the answer: `[batch]`."""
    return ((written == answer) | (answer == 0)).all(-1)


def write(net: Forward, batch: Batch) -> jax.Array:
    """The network's own samples: `[batch, 5]`."""
    _, samples = net(**batch, teacher_force=False)
    return samples


def show_samples(trainer: Trainer, row: dict[str, float]) -> None:
    """Prints a few held-out sums after each evaluation, other ones each time."""
    if 'valid_loss' not in row:
        return
    batch = make_batch(np.random.default_rng(int(row['step'])), 4, held_out=True)
    for question, written, answer in zip(
        batch['question'], trainer.predict([batch], write), batch['answer'], strict=True
    ):
        verdict = 'CORRECT' if decode(written) == decode(answer) else 'INCORRECT'
        trainer.progress.say(f'  {decode(question):>7} = {decode(written)[::-1]:<4} {verdict}')


def make_trainer(steps: int, seed: int, out: Path, **options: Any) -> Trainer:
    """A trainer whose rate rises for a while, and then falls along a cosine."""
    rate = optax.warmup_cosine_decay_schedule(0.0, 5e-3, min(200, steps // 5), steps, 1e-5)
    return Trainer(
        Seq2Seq(),
        loss,
        optax.adam(rate),
        clip=1.0,
        seed=seed,
        streams=('lstm',),
        eval_streams=('lstm',),
        steps_per_call=10,
        log_every=250,
        hooks=[show_samples],
        writers=[JsonlWriter(out / 'rows.jsonl')],
        checkpoints=Checkpoints(out / 'checkpoints', every=1000),
        **options,
    )


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--steps', type=int, default=4000, help=f'of {BATCH} sums each')
    parser.add_argument('--seed', type=int, default=0, help='of everything drawn at random')
    parser.add_argument('--out', type=Path, default=Path('out/seq2seq'), help='folder for results')
    parser.add_argument('--resume', action='store_true', help='go on from the newest checkpoint')
    options = parser.parse_args()
    if options.steps < 1:
        parser.error('--steps takes 1 or more')
    return options


def main() -> int:
    """Trains, then measures the share of held-out sums that are answered rightly."""
    options = parse_arguments()
    trainer = make_trainer(options.steps, options.seed, options.out)
    start = time.perf_counter()
    trainer.fit(
        lambda epoch: train_batches(options.seed, BATCH, epoch, EPOCH),
        steps=options.steps,
        valid=held_out_batches(4, BATCH),
        valid_every=EPOCH,
        resume=options.resume,
    )
    seconds = time.perf_counter() - start
    scores = trainer.evaluate(held_out_batches(40, BATCH))
    print(f'sequence accuracy  {scores["accuracy"]:.4f} on {40 * BATCH} held-out sums')
    print(f'training time      {seconds:.1f} s for {options.steps} steps')
    return 0


if __name__ == '__main__':
    sys.exit(main())

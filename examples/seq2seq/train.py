"""Trains a network to add numbers of up to three digits, character by character.

    linnet train seq2seq --steps 4000 --seed 0 --out out/seq2seq

Now and then it answers held-out sums, sampling each digit itself, and says which are CORRECT.
A run that was interrupted goes on with `--resume`.
"""

import dataclasses
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from linnet.train import (
    Checkpoints,
    Forward,
    HtmlReport,
    JsonlWriter,
    Mean,
    Sample,
    Settings,
    Trainer,
    command,
    setting,
)
from model import Seq2Seq
from sums import Batch, decode, held_out_batches, make_batch, train_batches

BATCH, EPOCH = 128, 500


@dataclasses.dataclass(frozen=True)
class AdditionSettings(Settings):
    """What a run is told."""

    steps: int = setting(4000, f'of {BATCH} sums each')
    out: Path = setting(Path('out/seq2seq'), 'folder for results')
    features: int = setting(128, 'width of the LSTMs')
    temperature: float = setting(0.25, 'of the samples that the decoder draws')
    rate: float = setting(5e-3, 'of learning, at its highest')


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


def answers(trainer: Trainer, seed: int, count: int) -> list[Sample]:
    """Held-out sums, other ones for each seed, as the network answers them."""
    batch = make_batch(np.random.default_rng(seed), count, held_out=True)
    found = []
    for question, written, answer in zip(
        batch['question'], trainer.predict([batch], write), batch['answer'], strict=True
    ):
        text = f'{decode(question):>7} = {decode(written)[::-1]:<4}'
        right = decode(written) == decode(answer)
        found.append(Sample(text, '' if right else f'is {decode(answer)[::-1]}', right))
    return found


def show_samples(trainer: Trainer, row: dict[str, float]) -> None:
    """Prints a few answers after each evaluation."""
    if 'valid_loss' in row:
        for sample in answers(trainer, seed=int(row['step']), count=4):
            verdict = 'CORRECT' if sample.right else 'INCORRECT'
            trainer.progress.say(f'  {sample.value} {verdict}')


def make_trainer(settings: AdditionSettings, report: HtmlReport) -> Trainer:
    """A trainer whose rate rises for a while, and then falls along a cosine."""
    steps = settings.steps
    rate = optax.warmup_cosine_decay_schedule(0.0, settings.rate, min(200, steps // 5), steps, 1e-5)
    return Trainer(
        Seq2Seq(settings.features, settings.temperature),
        loss,
        optax.adam(rate),
        clip=1.0,
        seed=settings.seed,
        streams=('lstm',),
        eval_streams=('lstm',),
        steps_per_call=10,
        log_every=250,
        hooks=[show_samples],
        writers=[JsonlWriter(settings.out / 'rows.jsonl')],
        checkpoints=Checkpoints(settings.checkpoints, every=1000),
        report=report,
    )


def run(settings: AdditionSettings) -> dict[str, float]:
    """Trains, then measures the share of held-out sums that are answered rightly."""
    report = HtmlReport(settings.out / 'report.html', settings, title='Sums, digit by digit')
    trainer = make_trainer(settings, report)
    start = time.perf_counter()
    trainer.fit(
        lambda epoch: train_batches(settings.seed, BATCH, epoch, EPOCH),
        steps=settings.steps,
        valid=held_out_batches(4, BATCH),
        valid_every=EPOCH,
        resume=settings.resume,
    )
    seconds = time.perf_counter() - start
    scores = trainer.evaluate(held_out_batches(40, BATCH))
    figures = {'sequence accuracy': scores['accuracy']}
    report.add(figures, samples=answers(trainer, seed=settings.steps, count=12))
    print(f'sequence accuracy  {scores["accuracy"]:.4f} on {40 * BATCH} held-out sums')
    print(f'training time      {seconds:.1f} s for {settings.steps} steps')
    print(f'report             {report.path}')
    return figures


if __name__ == '__main__':
    command(run, AdditionSettings)

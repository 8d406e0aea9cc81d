"""Trains a small ResNet to read handwritten digits, varied on the device as it learns.

    python examples/image_classification/train.py --seed 0 --out out/image_classification

The parameters are a running average. Those that are best on the validation part alone are saved in
`best.safetensors`, and read the held-out digits.
"""

import dataclasses
import time
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from data import Batch, batches, load_splits, shuffled
from linnet.train import (
    Checkpoints,
    Confusion,
    Forward,
    HtmlReport,
    Sample,
    Settings,
    Trainer,
    Watch,
    command,
    save_safetensors,
    setting,
)
from model import ResNet

CLASSES, EVERY = 10, 250  # kinds of digits, steps between evaluations


@dataclasses.dataclass(frozen=True)
class DigitSettings(Settings):
    """What can be chosen about a run."""

    steps: int = setting(1500, 'of `batch` digits each')
    out: Path = setting(Path('out/image_classification'), 'folder for results')
    batch: int = setting(64, 'digits in a step')
    width: int = setting(16, 'features of the first stage')
    blocks: int = setting(1, 'residual blocks in each of the three stages')
    augment: float = setting(1.0, 'how strongly digits are varied, from 0')
    smoothing: float = setting(0.1, 'the share of each label that is spread over all classes')
    rate: float = setting(4e-3, 'of learning, at its peak')
    ema: float = setting(0.98, 'decay of the running average of parameters')
    precision: Literal['float32', 'bfloat16', 'float16'] = setting('float32', 'of the network')


def make_trainer(settings: DigitSettings, report: HtmlReport) -> Trainer:
    """A trainer whose rate rises for a tenth of the steps, and then falls along a cosine."""

    def loss(net: Forward, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Smoothed cross-entropy and accuracy of each digit: `[batch]`."""
        scores = net(batch['image'], train=net.train)
        labels = jnp.asarray(batch['label'])
        targets = optax.smooth_labels(jax.nn.one_hot(labels, CLASSES), settings.smoothing)
        losses = optax.softmax_cross_entropy(scores, targets)
        return losses, {'accuracy': scores.argmax(-1) == labels}

    steps = settings.steps
    rate = optax.warmup_cosine_decay_schedule(0.0, settings.rate, steps // 10, steps)
    return Trainer(
        ResNet(settings.width, settings.blocks, settings.augment, CLASSES),
        loss,
        optax.adamw(rate, weight_decay=1e-3),
        seed=settings.seed,
        streams=('augment',),
        precision=settings.precision,
        ema=settings.ema,
        watch=Watch('valid_loss'),
        log_every=EVERY,
        checkpoints=Checkpoints(settings.checkpoints, every=EVERY),
        report=report,
    )


def probabilities(net: Forward, batch: Batch) -> jax.Array:
    """How probable each class is: `[batch, 10]`."""
    return jax.nn.softmax(net(batch['image'], train=False))


def hard_digits(part: Batch, found: np.ndarray) -> list[Sample]:
    """The twelve digits whose true class was given the least probability, of `found [n, 10]`."""
    samples = []
    for index in found[np.arange(len(found)), part['label']].argsort()[:12]:
        label, read = part['label'][index], found[index].argmax()
        caption = f'{label} read as {read}, {found[index].max():.0%} sure'
        samples.append(Sample(1 - part['image'][index], caption, right=bool(read == label)))
    return samples


def run(settings: DigitSettings) -> dict[str, float]:
    """Trains, then reads the held-out digits with the parameters that were best before."""
    train, valid, held_out = load_splits()
    report = HtmlReport(settings.out / 'report.html', settings, title='Handwritten digits')
    trainer = make_trainer(settings, report)
    start = time.perf_counter()
    trainer.fit(
        lambda epoch: shuffled(train, settings.batch, settings.seed, epoch),
        steps=settings.steps,
        valid=lambda: batches(valid, settings.batch),
        valid_every=EVERY,
        resume=settings.resume,
    )
    seconds = time.perf_counter() - start
    best, test = trainer.best_variables, list(batches(held_out, settings.batch))
    accuracy = trainer.evaluate(test, variables=best)['accuracy']
    found = trainer.predict(test, probabilities, variables=best)
    samples, figures = hard_digits(held_out, found), {'held-out accuracy': accuracy}
    confusion = Confusion.of(held_out['label'], found.argmax(-1), CLASSES)
    report.add(figures, confusion=confusion, samples=samples)
    save_safetensors(settings.out / 'best.safetensors', best)
    print(''.join(f'  {sample.caption}\n' for sample in samples if not sample.right), end='')
    print(f'held-out accuracy  {accuracy:.4f} on {len(found)} digits')
    print(f'training time      {seconds:.1f} s for {settings.steps} steps')
    print(f'report             {report.path}')
    return figures


if __name__ == '__main__':
    command(run, DigitSettings)

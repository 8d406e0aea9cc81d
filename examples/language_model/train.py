"""Trains a transformer to write text, character by character: on Python's reference, or a file.

    python examples/language_model/train.py --seed 0 --out out/language_model

`--set text=FILE` names a text of yours. Now and then the network goes on where the prompt ends.
"""

import dataclasses
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from linnet.train import Checkpoints, Forward, HtmlReport, Mean, Settings, Trainer, command, setting
from linnet.train.report import Sample
from model import LanguageModel, write
from text import Corpus, baselines, batches, read_corpus, shuffled, windows


@dataclasses.dataclass(frozen=True)
class TextSettings(Settings):
    """What can be chosen about a run."""

    steps: int = setting(1500, 'of `batch` windows each')
    out: Path = setting(Path('out/language_model'), 'folder for results')
    text: Path | None = setting(None, "a file; Python's reference where there is none")
    batch: int = setting(8, 'windows in a step')
    length: int = setting(128, 'characters in a window')
    width: int = setting(128, 'features of a character')
    layers: int = setting(3, 'blocks of the transformer')
    rate: float = setting(3e-3, 'of learning, at its peak')
    prompt: str = setting('A function ', 'what the samples go on from')
    temperature: float = setting(0.7, 'of samples; 0 for the likeliest character')
    top_k: int = setting(10, 'draw from so many likeliest characters')
    every: int = setting(250, 'steps between evaluations and checkpoints')


def loss(net: Forward, rows: jax.Array) -> Mean:
    """Bits of each character that follows in windows `[batch, length + 1]`; -1 is none."""
    text = jnp.maximum(rows, 0)
    losses = optax.softmax_cross_entropy_with_integer_labels(net(text[:, :-1]), text[:, 1:])
    return Mean.of(losses / math.log(2), rows[:, 1:] >= 0)


def sample(trainer: Trainer, settings: TextSettings, corpus: Corpus, number: int) -> str:
    """A text of the length of a window; another number gives another one."""
    codes = [corpus.characters.index(c) for c in settings.prompt if c in corpus.characters]
    prompt = np.array([[*codes, *[-1] * settings.length]], np.int32)[:, : settings.length]
    key, how = jax.random.key(number), (settings.temperature, settings.top_k)
    return corpus.decode(write(trainer.model, trainer.state.params, key, prompt, *how)[0])


def run(settings: TextSettings) -> dict[str, float]:
    """Trains, measures how many bits a held-out character takes, and writes on."""
    corpus = read_corpus(settings.text)
    print(f'{len(corpus.train):,} characters of {settings.text or "the reference of Python"}')
    steps, length, size = settings.steps, settings.length, settings.batch
    valid, held_out = (batches(windows(part, length), size) for part in corpus[2:])
    rate = optax.warmup_cosine_decay_schedule(0.0, settings.rate, min(100, steps // 5), steps)
    report = HtmlReport(settings.out / 'report.html', settings, title='Text, in bits a character')

    def show(trainer: Trainer, row: dict[str, float]) -> None:
        if 'valid_loss' in row:
            text = sample(trainer, settings, corpus, int(row['step']))
            trainer.progress.say('  ' + ' '.join(text.split())[:90])

    trainer = Trainer(
        LanguageModel(len(corpus.characters), settings.width, settings.layers),
        loss,
        optax.adamw(rate, b2=0.98, weight_decay=0.1),
        clip=1.0,
        seed=settings.seed,
        log_every=settings.every,
        hooks=[show],
        checkpoints=Checkpoints(settings.checkpoints, every=settings.every),
        report=report,
    )
    trainer.fit(
        lambda epoch: shuffled(corpus.train, length, size, settings.seed, epoch),
        steps=steps,
        valid=valid,
        valid_every=settings.every,
        resume=settings.resume,
    )
    found = {'transformer': trainer.evaluate(held_out)['loss'], **baselines(corpus)}
    texts = [sample(trainer, settings, corpus, number) for number in range(3)]
    report.add(found, samples=[Sample(text, 'written by the network') for text in texts])
    print('', *texts, f'bits of {len(corpus.held_out):,} held-out characters', sep='\n---\n')
    print(*(f'{name:12} {bits:.3f}' for name, bits in found.items()), sep='\n')
    return found


if __name__ == '__main__':
    command(run, TextSettings)

"""Trains a variational autoencoder of handwritten digits, and draws digits that it makes up.

    python examples/vae/train.py --steps 2000 --seed 0 --out out/vae

`--set latent=16` gives codes of 16 numbers, `--set beta=4` codes that say less. What is best on the
validation part is measured on the held-out part, in nats a digit.
"""

import dataclasses
import math
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.stats import norm

from digits import Batch, load_splits, shuffled
from linnet.train import (
    Checkpoints,
    Forward,
    HtmlReport,
    Sample,
    Settings,
    Trainer,
    Watch,
    command,
    setting,
)
from model import VAE, log_likelihood
from picture import draw

BATCH, EVERY, CODES = 64, 200, 128


@dataclasses.dataclass(frozen=True)
class VAESettings(Settings):
    """What a run is told."""

    steps: int = setting(2000, f'of {BATCH} digits each')
    out: Path = setting(Path('out/vae'), 'folder for results')
    latent: int = setting(2, 'numbers in a code')
    features: int = setting(256, 'width of the layers')
    beta: float = setting(1.0, 'weight of the divergence')
    rate: float = setting(2e-3, 'of learning, at first')


def loss(net: Forward, batch: Batch, beta: float) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The evidence lower bound, negated, its divergence weighted by `beta`: `[batch]`."""
    counts = jnp.asarray(batch['counts'])
    decoded, _, (mean, std) = net(counts)
    kl = (mean**2 + std**2 - 1 - 2 * jnp.log(std)).sum(-1) / 2  # of posterior and prior
    likelihood = log_likelihood(counts, decoded)
    return beta * kl - likelihood, {'elbo': likelihood - kl, 'kl': kl}


def tighter_bound(net: Forward, batch: Batch) -> jax.Array:
    """The importance-weighted bound (Burda et al., 2015) of many codes a digit: `[batch]`."""
    counts = jnp.repeat(batch['counts'], CODES, axis=0)
    decoded, code, posterior = net(counts)
    ratio = norm.logpdf(code) - norm.logpdf(code, *posterior)  # of prior to posterior
    weight = log_likelihood(counts, decoded) + ratio.sum(-1)
    return jax.nn.logsumexp(weight.reshape(-1, CODES), axis=1) - math.log(CODES)


def run(settings: VAESettings) -> dict[str, float]:
    """Trains, then measures the best variables on the held-out digits and draws the picture."""
    train, valid, held_out = load_splits()
    model = VAE(settings.latent, settings.features)
    report = HtmlReport(settings.out / 'report.html', settings, title='Digits from codes')
    trainer = Trainer(
        model,
        partial(loss, beta=settings.beta),
        optax.adamw(optax.cosine_decay_schedule(settings.rate, settings.steps), weight_decay=1e-2),
        seed=settings.seed,
        streams=('noise',),
        eval_streams=('noise',),
        steps_per_call=20,
        log_every=EVERY,
        watch=Watch('valid_elbo', mode='max'),
        report=report,
        checkpoints=Checkpoints(settings.checkpoints, every=500),
    )
    trainer.fit(
        lambda epoch: shuffled(train, BATCH, settings.seed, epoch),
        steps=settings.steps,
        valid=[valid],
        valid_every=EVERY,
        resume=settings.resume,
    )
    best = trainer.best_variables
    elbo = trainer.evaluate([held_out], variables=best)['elbo']
    bound = float(trainer.predict([held_out], tighter_bound, variables=best).mean())
    decode = jax.jit(lambda codes: model.apply(best, codes, method='share'))
    codes, _ = model.apply(best, held_out['counts'], method='encode')
    drawn = draw(picture := settings.out / 'vae.png', held_out, np.asarray(codes), decode)
    figures = {'held_out_elbo': elbo, 'tighter_bound': bound}
    report.add(figures, samples=[Sample(1 - image) for image in drawn])
    print(f'held-out ELBO      {elbo:.2f} nats a digit')
    print(f'tighter bound      {bound:.2f} nats, from {CODES} codes a digit')
    print(f'picture            {picture}')
    return figures


if __name__ == '__main__':
    command(run, VAESettings)

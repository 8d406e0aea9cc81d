"""Trains a small convolutional network to read handwritten digits, and draws what it learnt.

    linnet train digits --steps 1000 --seed 0 --out out/digits

Ctrl-C ends the training early. Either way the parameters of the best epoch are in `best.msgpack`.
"""

import dataclasses
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from digits import Split, Splits, augment, load_splits
from linnet import serialization, traverse_util
from linnet.train import Confusion, HtmlReport, Sample, Settings, command, setting
from linnet.training import train_state
from model import DigitNet
from report import Epoch, draw, show_progress

BATCH, EPOCH = 64, 20
MODEL = DigitNet()


@dataclasses.dataclass(frozen=True)
class DigitSettings(Settings):
    """What a run is told."""

    steps: int = setting(1000, f'of {BATCH} digits each; {EPOCH} are an epoch')
    out: Path = setting(Path('out/digits'), 'folder for results')
    plot: bool = setting(True, 'draw the picture and the report')


class TrainState(train_state.TrainState):
    """Parameters and optimiser, and with them the running averages of batch normalisation."""

    batch_stats: Any

    @property
    def variables(self) -> dict[str, Any]:
        """What the network is applied to, and what is saved."""
        return {'params': self.params, 'batch_stats': self.batch_stats}


class Scores(NamedTuple):
    """Mean cross-entropy, and the share of digits that were read rightly."""

    loss: jax.Array
    accuracy: jax.Array


def create_state(key: jax.Array, steps: int) -> TrainState:
    """Initialises the network, and an optimiser whose rate rises at first and falls to zero."""
    variables = MODEL.init(key, jnp.zeros((1, 8, 8, 1)), train=False)
    rate = optax.warmup_cosine_decay_schedule(0.0, 3e-3, steps // 10, steps)
    return TrainState.create(
        apply_fn=MODEL.apply,
        params=variables['params'],
        batch_stats=variables['batch_stats'],
        tx=optax.adamw(rate, weight_decay=1e-3),
    )


def score(logits: jax.Array, labels: jax.Array) -> Scores:
    """Compares `logits [batch, 10]` with `labels [batch]`, smoothed: nothing is quite sure."""
    targets = optax.smooth_labels(jax.nn.one_hot(labels, 10), 0.1)
    loss = optax.softmax_cross_entropy(logits, targets).mean()
    return Scores(loss, (logits.argmax(-1) == labels).mean())


@jax.jit
def train_step(state: TrainState, key: jax.Array, batch: Split) -> tuple[TrainState, Scores]:
    """Takes one step; each step varies the images and drops units with keys of its own."""
    augment_key, dropout_key = jax.random.split(jax.random.fold_in(key, state.step))
    images = augment(augment_key, batch.images)

    def loss_fn(params: Any) -> tuple[jax.Array, tuple[Scores, Any]]:
        logits, updates = state.apply_fn(
            {'params': params, 'batch_stats': state.batch_stats},
            images,
            train=True,
            rngs={'dropout': dropout_key},
            mutable=['batch_stats'],
        )
        scores = score(logits, batch.labels)
        return scores.loss, (scores, updates['batch_stats'])

    grads, (scores, batch_stats) = jax.grad(loss_fn, has_aux=True)(state.params)
    return state.apply_gradients(grads=grads, batch_stats=batch_stats), scores


@jax.jit
def evaluate(variables: Any, data: Split) -> tuple[Scores, jax.Array]:
    """Applies the network with nothing dropped; returns scores and the logits `[batch, 10]`."""
    logits = MODEL.apply(variables, data.images, train=False)
    return score(logits, data.labels), logits


def train_epoch(
    state: TrainState, key: jax.Array, data: Split, steps: int
) -> tuple[TrainState, Scores]:
    """Goes through `data` in a new order; returns the mean scores of its first steps."""
    order_key, step_key = jax.random.split(key)
    order = jax.random.permutation(order_key, len(data.labels))
    scores = []
    for chosen in order.reshape(-1, BATCH)[:steps]:
        batch = Split(data.images[chosen], data.labels[chosen])
        state, step_scores = train_step(state, step_key, batch)
        scores.append(step_scores)
    return state, jax.tree.map(lambda *values: np.mean(values), *scores)


def train(splits: Splits, steps: int, seed: int, best_path: Path) -> Iterator[Epoch]:
    """Trains, yields the scores of each epoch, and saves the variables of the best so far.

    The best epoch has the lowest loss on the validation part. The held-out part plays no role.
    """
    init_key, train_key = jax.random.split(jax.random.key(seed))
    state = create_state(init_key, steps)
    best_loss = np.inf
    for number, done in enumerate(range(0, steps, EPOCH), start=1):
        epoch_key = jax.random.fold_in(train_key, number)
        state, scores = train_epoch(state, epoch_key, splits.train, steps - done)
        valid, _ = evaluate(state.variables, splits.valid)
        if valid.loss < best_loss:
            best_loss = valid.loss
            save(best_path, state.variables)
        yield Epoch(number, int(state.step), *map(float, scores + valid))


def save(path: Path, variables: Any) -> None:
    """Writes beside `path`, then renames: a reader finds the old file or the new, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix('.part')
    beside.write_bytes(serialization.to_bytes(variables))
    beside.replace(path)


def digest(params: Any) -> str:
    """SHA-256 of all parameters: path, dtype, shape and bytes of each, in the order of paths."""
    sha = hashlib.sha256()
    for path, leaf in sorted(traverse_util.flatten_dict(params, sep='/').items()):
        array = np.asarray(leaf)
        sha.update(f'{path} {array.dtype} {array.shape}\n'.encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def show(report: HtmlReport, part: Split, probabilities: np.ndarray) -> None:
    """Adds to a report what was read as what, and the digits that were read least surely."""
    read, sure = probabilities.argmax(-1), probabilities.max(-1)
    samples = [
        Sample(
            1 - np.asarray(part.images[i]),
            f'is {part.labels[i]}, read {read[i]}, {sure[i]:.0%}',
            bool(read[i] == part.labels[i]),
        )
        for i in np.lexsort((sure, read == part.labels))[:16]
    ]
    report.add(confusion=Confusion.of(part.labels, read, 10), samples=samples)


def run(settings: DigitSettings) -> dict[str, float]:
    """Trains, then measures the best epoch on the held-out digits and draws the picture."""
    best_path = settings.out / 'best.msgpack'
    report = HtmlReport(settings.out / 'report.html', settings, title='Handwritten digits')
    splits = load_splits()
    history: list[Epoch] = []
    start = time.perf_counter()
    epochs = -(-settings.steps // EPOCH)
    try:
        with show_progress(epochs) as show_epoch:
            for epoch in train(splits, settings.steps, settings.seed, best_path):
                history.append(epoch)
                show_epoch(epoch)
    except KeyboardInterrupt:
        saved = f'the best so far is in {best_path}' if history else 'nothing is saved yet'
        print(f'Stopped after {len(history)} of {epochs} epochs: {saved}', flush=True)
        raise
    seconds = time.perf_counter() - start

    variables = serialization.msgpack_restore(best_path.read_bytes())
    scores, logits = evaluate(variables, splits.held_out)
    figures = {'held-out accuracy': float(scores.accuracy)}
    print(f'held-out accuracy  {scores.accuracy:.4f} on {len(logits)} digits')
    print(f'training time      {seconds:.1f} s for {epochs} epochs')
    print(f'parameters         {best_path}')
    print(f'their SHA-256      {digest(variables["params"])}')
    if settings.plot:
        probabilities = np.asarray(jax.nn.softmax(logits))
        picture = settings.out / 'digits.png'
        images, labels = map(np.asarray, splits.held_out)
        draw(picture, history, images, labels, probabilities)
        print(f'picture            {picture}')
        report.save(map(Epoch.row, history), variables)
        report.add(figures)
        show(report, splits.held_out, probabilities)
        print(f'report             {report.path}')
    return figures


if __name__ == '__main__':
    command(run, DigitSettings)

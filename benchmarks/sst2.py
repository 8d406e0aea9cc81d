"""Sentences under Linnet and under Flax: the same losses, and how long the first epoch takes.

    python -m benchmarks.sst2 --data FOLDER [--epochs 1] [--rounds 3]

Both train the network of `examples/text_classification/model.py`, of which one line is another for
Flax: its import. Linnet's side is the example's Trainer; the other is a loop as one writes it by
hand. Both get the same batches in the same order, the same keys and the same optimiser, and
evaluate nothing. Each runs in fresh processes, in turn; the time is that from the start of the
process to the end of the last step. Without `--data` both learn sentences that the example makes.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks import _machine, _processes
from benchmarks.table import RESULTS

EXAMPLE = _processes.ROOT / 'examples' / 'text_classification'
TIME = 'seconds to the end of the last step'
GOAL, TOLERANCE = 0.8, 1e-5
RATE, CLIP, DECAY, FLOOR, SEED = 2e-3, 1.0, 1e-4, 0.05, 0


def load_model(library: str) -> ModuleType:
    """The example's network, in a library: `import linnet.linen as nn` names another one."""
    text = (EXAMPLE / 'model.py').read_text()
    assert text.count('linnet.linen') == 1
    module = sys.modules['model'] = ModuleType('model')  # dataclasses look it up
    exec(
        compile(text.replace('linnet.linen', f'{library}.linen'), 'model.py', 'exec'), vars(module)
    )
    return module


class Task:
    """The sentences as batches, and what both sides are to do with them."""

    def __init__(self, options: argparse.Namespace) -> None:
        from data import UNKNOWN, Buckets, make_splits, make_vocabulary, read_splits

        splits = make_splits() if options.data is None else read_splits(options.data)
        vocabulary = make_vocabulary(splits.train, min_count=2)
        self._buckets = Buckets(splits.train, vocabulary)
        self._options = options
        self.words = UNKNOWN + 1 + len(vocabulary)
        self.steps = options.steps or options.epochs * len(self.batches(0))
        self.sizes = {'embedding': options.width, 'hidden': options.width} if options.width else {}

    def batches(self, epoch: int) -> list[dict[str, np.ndarray]]:
        """The batches of an epoch."""
        return self._buckets.shuffled(self._options.batch, SEED, epoch)

    def optimizer(self) -> Any:
        """The example's optimiser, less the clipping."""
        import optax

        return optax.adamw(optax.cosine_decay_schedule(RATE, self.steps, FLOOR), weight_decay=DECAY)


def linnet(task: Task) -> list[float]:
    """Trains with the example's loss and Trainer; returns the loss of each step."""
    from linnet.train import Trainer
    from train import loss

    class Recorder(Trainer):
        """Keeps the metrics of each step, which Trainer only averages."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.metrics: list[Any] = []

        def advance(self, batches: Sequence[Any]) -> Any:
            """Takes a step."""
            self.metrics.append(super().advance(batches))
            return self.metrics[-1]

    model = load_model('linnet').Classifier(task.words, **task.sizes)
    options: Any = {'seed': SEED, 'clip': CLIP, 'separate_update': True, 'progress': 'quiet'}
    trainer = Recorder(model, loss, task.optimizer(), **options)
    trainer.fit(task.batches, steps=task.steps)
    return [float(m['loss'].total / m['loss'].count) for m in trainer.metrics]


def flax(task: Task) -> list[float]:
    """Trains with a loop written by hand; returns the loss of each step."""
    import jax
    import optax
    from flax.training.train_state import TrainState

    model = load_model('flax').Classifier(task.words, **task.sizes)
    root = jax.random.key(SEED)
    params_key, dropout_key = (stream_key(root, name) for name in ('params', 'dropout'))

    @jax.jit
    def init(tokens: Any, length: Any) -> Any:
        keys = {'params': params_key, 'dropout': dropout_key}
        keys = {name: jax.random.fold_in(key, 0) for name, key in keys.items()}
        return model.init(keys, tokens, length, train=True)['params']

    @functools.partial(jax.jit, donate_argnums=0)
    def train_step(state: Any, batch: Any) -> Any:
        def objective(params: Any) -> Any:
            scores = model.apply(
                {'params': params},
                batch['tokens'],
                batch['length'],
                train=True,
                rngs={'dropout': jax.random.fold_in(dropout_key, state.step + 1)},
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(scores, batch['label'])
            return losses.mean(), (scores.argmax(-1) == batch['label']).mean()

        (loss, accuracy), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
        return state.apply_gradients(grads=grads), {'loss': loss, 'accuracy': accuracy}

    first = task.batches(0)[0]
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), task.optimizer())
    params = init(first['tokens'], first['length'])
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optimizer)
    metrics = []
    for batch in endless(task):
        state, values = train_step(state, batch)
        metrics.append(values)
        if len(metrics) == task.steps:
            break
    return [float(values['loss']) for values in jax.device_get(metrics)]


def endless(task: Task) -> Iterator[dict[str, np.ndarray]]:
    """The batches of one epoch after the other."""
    epoch = 0
    while True:
        yield from task.batches(epoch)
        epoch += 1


def stream_key(root: Any, name: str) -> Any:
    """The key of a stream as Trainer derives it, before the step is folded in."""
    import jax

    digest = hashlib.sha1(name.encode()).digest()
    return jax.random.fold_in(root, np.uint32(int.from_bytes(digest[:4], 'big')))


def child(options: argparse.Namespace) -> None:
    """Trains in one library; prints the time, and writes the losses where it is told to."""
    sys.path.insert(0, str(EXAMPLE))
    losses = {'linnet': linnet, 'flax': flax}[options.child](Task(options))
    seconds = time.time() - options.started
    Path(options.losses).write_text(json.dumps(losses))
    print(json.dumps({TIME: seconds}))


def started_child(arguments: Sequence[str]) -> dict[str, float]:
    """Runs a child that is told when it was started."""
    return _processes.run_child((*arguments, '--started', repr(time.time())))


def compare(losses: dict[str, list[float]]) -> dict[str, Any]:
    """How far the losses agree."""
    ours, theirs = np.array(losses['linnet']), np.array(losses['flax'])
    unequal = np.flatnonzero(ours != theirs)
    return {
        'steps': len(ours),
        'steps equal to the bit, from the first': int(unequal[0]) if unequal.size else len(ours),
        'largest relative difference': float(np.max(np.abs(ours - theirs) / np.abs(theirs))),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs both sides in turn; returns times, losses and how they compare."""
    passed = ['--epochs', str(options.epochs), '--batch', str(options.batch)]
    for name in ('data', 'steps', 'width'):
        if (value := getattr(options, name)) is not None:
            passed += [f'--{name}', str(value)]
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, f'{name}.json') for name in ('linnet', 'flax')}
        commands = {
            name: ('-m', 'benchmarks.sst2', '--child', name, '--losses', str(file), *passed)
            for name, file in files.items()
        }
        failures: list[str] = []
        times = _processes.interleaved(commands, options.rounds, failures.append, started_child)
        if failures:
            raise SystemExit('\n'.join(failures))
        losses = {name: json.loads(file.read_text()) for name, file in files.items()}
    return {'seconds': {name: t[TIME] for name, t in times.items()}, 'losses': losses}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints and writes; returns 0 where both goals are met."""
    options = parse(arguments)
    if options.child:
        child(options)
        return 0
    load = [os.getloadavg()]
    found = measure(options)
    agreement = compare(found['losses'])
    for step, pair in enumerate(zip(*found['losses'].values(), strict=True), 1):
        print('step {:4}: {:.8f} {:.8f}{}'.format(step, *pair, '' if pair[0] == pair[1] else '  *'))
    for name, value in agreement.items():
        print(f'{name:40} {value:g}')
    medians = {name: float(np.median(seconds)) for name, seconds in found['seconds'].items()}
    ratios = [ours / theirs for ours, theirs in zip(*found['seconds'].values(), strict=True)]
    ratio = float(np.median(ratios))
    for name, seconds in found['seconds'].items():
        print(f'{name}: {medians[name]:.2f} s to the end of the last step, of {sorted(seconds)}')
    print(f'ratio {ratio:.3f}, of {sorted(round(r, 3) for r in ratios)}; wanted: at most {GOAL}')
    given = ' '.join(arguments or sys.argv[1:]).replace(str(options.data), 'FOLDER')
    about = _machine.about(f'python -m benchmarks.sst2 {given}')
    about['load'] = [*load, os.getloadavg()]
    print(_machine.title(about))
    if options.name != '':
        file = RESULTS / f'{options.name or about["date"][:10] + "-sst2"}.json'
        file.parent.mkdir(exist_ok=True)
        file.write_text(
            json.dumps({**about, **agreement, 'ratio': ratio, **found}, indent=1) + '\n'
        )
        print(f'written: benchmarks/results/{file.name}', file=sys.stderr)
    return int(ratio > GOAL or agreement['largest relative difference'] > TOLERANCE)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--data', type=Path, help='folder with train.tsv, dev.tsv, test.tsv')
    parser.add_argument('--epochs', type=int, default=1, help='passes through the sentences')
    parser.add_argument('--steps', type=int, help='how many, in place of whole epochs')
    parser.add_argument('--batch', type=int, default=64, help='sentences in a step')
    parser.add_argument('--width', type=int, help='of the network, in place of its own')
    parser.add_argument('--rounds', type=int, default=3, help='how often each process is started')
    parser.add_argument('--name', help='of the file of results; nothing is written if it is empty')
    for inner in ('--child', '--losses'):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    parser.add_argument('--started', type=float, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main())

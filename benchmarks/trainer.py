"""What the Trainer's loop costs, beside a loop written by hand around a jitted step.

    python -m benchmarks.trainer [--steps 1000] [--rounds 5] [--width 384]

Both train the same network with the same optimiser on the same batches, donate the state, keep the
sums of loss and accuracy on the device, and fetch their means every 50 steps. With 10 steps in one
dispatch, both give the steps to `jax.lax.scan`. Runs take turns in one process, after one of each
that is not counted; figures are steps a second, and the ratio is that of one round, the median of
all.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import linnet.linen as nn
from benchmarks import _machine
from benchmarks.table import RESULTS
from linnet.train import Trainer
from linnet.training.train_state import TrainState

GOAL = 0.97
EVERY = 50
BATCH, INPUTS, CLASSES = 64, 64, 10
OPTIMIZER = optax.adam(1e-3)


class Net(nn.Module):
    """Two hidden layers, with dropout: `[batch, inputs] -> [batch, classes]`."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for _ in range(2):
            x = nn.relu(nn.Dense(self.width)(x))
            x = nn.Dropout(0.1, deterministic=not train)(x)
        return nn.Dense(CLASSES)(x)


def make_batches(count: int) -> list[dict[str, np.ndarray]]:
    """Batches of numbers drawn at random."""
    rng = np.random.default_rng(0)
    return [
        {
            'x': rng.normal(size=(BATCH, INPUTS)).astype(np.float32),
            'y': rng.integers(CLASSES, size=BATCH).astype(np.int32),
        }
        for _ in range(count)
    ]


def losses_of(scores: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy and accuracy of each example."""
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
    return losses, scores.argmax(-1) == labels


def by_trainer(width: int, together: int, batches: Sequence[Any]) -> Callable[[], float]:
    """A run of Trainer; returns the seconds it takes."""

    def loss(net: Any, batch: Any) -> Any:
        losses, hits = losses_of(net(batch['x'], train=net.train), batch['y'])
        return losses, {'accuracy': hits}

    trainer = Trainer(
        Net(width),
        loss,
        OPTIMIZER,
        steps_per_call=together,
        log_every=EVERY,
        progress='quiet',
    )
    trainer.init(batches[0])

    def run() -> float:
        start = time.perf_counter()
        trainer.fit(batches)
        jax.block_until_ready(trainer.state.params)
        return time.perf_counter() - start

    return run


def by_hand(width: int, together: int, batches: Sequence[Any]) -> Callable[[], float]:
    """The loop written by hand; returns the seconds it takes."""
    model, key = Net(width), jax.random.key(0)
    variables = jax.jit(functools.partial(model.init, train=False))(key, batches[0]['x'])
    state = TrainState.create(apply_fn=model.apply, params=variables['params'], tx=OPTIMIZER)

    def step(state: Any, batch: Any) -> Any:
        def objective(params: Any) -> Any:
            keys = {'dropout': jax.random.fold_in(key, state.step)}
            scores = model.apply({'params': params}, batch['x'], train=True, rngs=keys)
            losses, hits = losses_of(scores, batch['y'])
            return losses.mean(), {'loss': losses.sum(), 'accuracy': hits.sum()}

        grads, metrics = jax.grad(objective, has_aux=True)(state.params)
        return state.apply_gradients(grads=grads), metrics

    def steps(state: Any, batches: Any) -> Any:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
        return jax.lax.scan(step, state, stacked)

    jitted = jax.jit(step if together == 1 else steps, donate_argnums=0)
    history = []

    def run() -> float:
        nonlocal state
        start = time.perf_counter()
        pending = []
        for i in range(0, len(batches), together):
            given = batches[i] if together == 1 else batches[i : i + together]
            state, metrics = jitted(state, given)
            pending.append(metrics)
            if (i + together) % EVERY == 0:
                fetched, pending = jax.device_get(pending), []
                sums = jax.tree.map(lambda *leaves: float(np.sum(leaves)), *fetched)
                history.append({name: total / (EVERY * BATCH) for name, total in sums.items()})
        jax.block_until_ready(state.params)
        return time.perf_counter() - start

    return run


def measure(width: int, together: int, steps: int, rounds: int) -> dict[str, list[float]]:
    """Steps a second of both loops, round by round."""
    batches = make_batches(steps)
    loops = {
        'Trainer': by_trainer(width, together, batches),
        'by hand': by_hand(width, together, batches),
    }
    found: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(rounds + 1):
        order = list(loops) if number % 2 else list(reversed(loops))
        for name in order:
            seconds = loops[name]()
            if number:  # the first run compiled
                found[name].append(steps / seconds)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints and writes; returns 0 where the goal is met."""
    options = parse(arguments)
    load = [os.getloadavg()]
    ratios, figures = {}, {}
    for together in (1, 10):
        name = f'{together} in one dispatch'
        found = measure(options.width, together, options.steps, options.rounds)
        figures[name] = found
        ratios[name] = statistics.median(
            ours / theirs for ours, theirs in zip(*found.values(), strict=True)
        )
        for loop, speeds in found.items():
            middle = statistics.median(speeds)
            print(f'{name}: {loop} {middle:8.0f} steps/s, {1e3 / middle:.3f} ms a step')
        print(f'{name}: ratio {ratios[name]:.3f}; wanted: at least {GOAL}')
    about = _machine.about(f'python -m benchmarks.trainer {" ".join(arguments or sys.argv[1:])}')
    about['load'] = [*load, os.getloadavg()]
    print(_machine.title(about))
    if options.name != '':
        file = RESULTS / f'{options.name or about["date"][:10] + "-trainer"}.json'
        file.parent.mkdir(exist_ok=True)
        file.write_text(
            json.dumps({**about, 'ratios': ratios, 'figures': figures}, indent=1) + '\n'
        )
        print(f'written: benchmarks/results/{file.name}', file=sys.stderr)
    return int(min(ratios.values()) < GOAL)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--steps', type=int, default=1000, help='of a run, a multiple of 50')
    parser.add_argument('--rounds', type=int, default=7, help='how often each loop runs')
    parser.add_argument('--width', type=int, default=384, help='of the hidden layers')
    parser.add_argument('--name', help='of the file of results; nothing is written if it is empty')
    options = parser.parse_args(arguments)
    if options.steps < EVERY or options.steps % EVERY:
        parser.error(f'--steps takes a multiple of {EVERY}')
    return options


if __name__ == '__main__':
    sys.exit(main())

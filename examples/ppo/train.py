"""Trains an agent to balance a pole, by Proximal Policy Optimisation, in a loop of its own.

    python examples/ppo/train.py --steps 4000 --seed 0 --out out/ppo

Every 400 steps the environments begin anew with seeds of their own, the agent is measured, and its
state is saved: a run that was interrupted goes on from there with `--resume`, to the same bits.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import optax

from game import Game
from linnet.train import (
    Averages,
    Checkpoints,
    HtmlReport,
    Settings,
    build_optimizer,
    command,
    create_state,
    make_forward,
    make_progress,
    setting,
    stream_keys,
)
from model import Agent
from ppo import EPOCHS, MINIBATCHES, make_update

ENVS, MOVES, UPDATE, EVERY = 8, 128, EPOCHS * MINIBATCHES, 400


@dataclasses.dataclass(frozen=True)
class PPOSettings(Settings):
    """What a run is told."""

    steps: int = setting(4000, f'on minibatches; {UPDATE} follow {ENVS * MOVES} moves')
    out: Path = setting(Path('out/ppo'), 'folder for results')
    env: str = setting('CartPole-v1', 'of Gymnasium, with a few actions to choose from')
    rate: float = setting(1e-3, 'of learning, at first')


def run(settings: PPOSettings) -> dict[str, float]:
    """Plays and learns in turn, and now and then measures the agent on 100 new episodes."""
    game, test = Game(settings.env, ENVS), Game(settings.env, 100)
    agent = Agent(int(game.envs.single_action_space.n))
    act = jax.jit(make_forward(agent, lambda net, seen: net(seen, method='act'), ('action',)))
    best = jax.jit(make_forward(agent, lambda net, seen: net(seen)[0].argmax(-1)))
    update = make_update(agent)

    key = jax.random.key(settings.seed)
    rate = optax.linear_schedule(settings.rate, 0.0, settings.steps)
    optimizer = build_optimizer(optax.adam(rate, eps=1e-5), clip=0.5)
    state = create_state(agent.init(stream_keys(key, ('params',), 0), game.seen), optimizer, key)
    checkpoints, progress = Checkpoints(settings.checkpoints), make_progress()
    report = HtmlReport(settings.out / 'report.html', settings, title='A pole in balance')
    rows: list[dict[str, float]] = []
    if settings.resume and checkpoints.latest() is not None:
        state, about, *_ = checkpoints.restore(state)
        rows = about['rows']

    progress.start(int(state.step), settings.steps)
    try:
        while (start := int(state.step)) < settings.steps:
            game.reset(settings.seed, start)
            averages = Averages()
            for step in range(start, min(start + EVERY, settings.steps), UPDATE):
                played = [game.play(act(state, game.seen, step * MOVES + i)) for i in range(MOVES)]
                state, metrics = update(state, jax.tree.map(lambda *x: np.stack(x), *played))
                averages.add(metrics)
                progress.advance(step + UPDATE)
            mean = test.measure(best, state, settings.seed, start, 1)
            rows.append({'step': int(state.step), 'valid_return': mean, **averages.result()})
            progress.show(step + UPDATE, {'valid_return': mean, **averages.result()})
            checkpoints.save(state, about={'rows': list(rows)})
    finally:
        progress.stop()
        report.save(rows, state.variables)
        checkpoints.close()
    mean = test.measure(best, state, settings.seed, 2)
    print(f'mean return        {mean:.1f} of 100 new episodes')
    report.add({'mean_return': mean})
    return {'return': mean}


if __name__ == '__main__':
    command(run, PPOSettings)

"""The game: a row of environments of Gymnasium, played move by move."""

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np
from gymnasium.vector import AutoresetMode


class Played(NamedTuple):
    """What was seen and done, and what came of it: `[envs, ...]` or `[moves, envs, ...]`."""

    seen: Any
    action: Any
    reward: Any
    after: Any  # what was seen then; at the end of an episode its last, not the next one's first
    failed: Any  # the episode ended, and nothing more comes of it
    ended: Any  # it failed, or time was up


class Game:
    """Environments that begin a new episode in the move in which one ends."""

    def __init__(self, name: str, count: int) -> None:
        options = {'autoreset_mode': AutoresetMode.SAME_STEP}
        self.envs: Any = gymnasium.make_vec(name, count, 'sync', vector_kwargs=options)
        if not isinstance(self.envs.single_action_space, gymnasium.spaces.Discrete):
            raise ValueError(
                f'{name} has the actions {self.envs.single_action_space}; '
                'this agent chooses one of a few, as in CartPole-v1 and LunarLander-v3'
            )
        self.seen = np.zeros(self.envs.observation_space.shape or (), np.float32)

    def reset(self, *seed: int) -> None:
        """Begins new episodes, each with a seed of its own."""
        seeds = np.random.SeedSequence(seed).generate_state(self.envs.num_envs)
        self.seen, _ = self.envs.reset(seed=seeds.tolist())

    def play(self, action: jax.Array) -> Played:
        """Makes a move in each environment: `[envs]`."""
        seen, taken = self.seen, np.asarray(action)
        self.seen, reward, failed, timed_out, info = self.envs.step(taken)
        ended, after = failed | timed_out, self.seen.copy()
        if ended.any():
            after[ended] = np.stack(info['final_obs'][ended])
        return Played(seen, taken, reward.astype(np.float32), after, failed, ended)

    def measure(self, act: Callable[..., jax.Array], state: Any, *seed: int) -> float:
        """The mean return of a new episode in each environment."""
        self.reset(*seed)
        total, going = 0.0, np.ones(self.envs.num_envs, bool)
        while going.any():
            played = self.play(act(state, self.seen))
            total += float(played.reward[going].sum())
            going &= ~played.ended
        return total / len(going)

"""The update of Proximal Policy Optimisation (Schulman et al., 2017), one compiled function."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from game import Played
from linnet.train import Forward, Mean, RunState, make_train_step, stream_keys
from model import Agent

EPOCHS, MINIBATCHES = 10, 4
DISCOUNT, TRACE, CLIP = 0.99, 0.95, 0.2
CRITIC_WEIGHT, ENTROPY_WEIGHT = 0.5, 0.005

surprise = optax.softmax_cross_entropy_with_integer_labels  # a negative log-probability
Batch = dict[str, jax.Array]
Learnt = tuple[RunState, dict[str, Mean]]


def loss(net: Forward, batch: Batch) -> tuple[jax.Array, Batch]:
    """The clipped objective, the critic's error, and a bonus for entropy: `[examples]`."""
    logits, value = net(batch['seen'])
    ratio = jnp.exp(batch['surprise'] - surprise(logits, batch['action']))
    clipped = jnp.clip(ratio, 1 - CLIP, 1 + CLIP)
    advantage = jax.nn.standardize(batch['advantage'], epsilon=1e-8)
    gain = jnp.minimum(ratio * advantage, clipped * advantage)
    error = (value - batch['value']) ** 2
    entropy = optax.softmax_cross_entropy(logits, jax.nn.softmax(logits))
    total = -gain + CRITIC_WEIGHT * error - ENTROPY_WEIGHT * entropy
    return total, {'critic': error, 'entropy': entropy, 'clipped': ratio != clipped}


def estimate_advantages(played: Played, value: jax.Array, after: jax.Array) -> jax.Array:
    """Generalised advantage estimation (Schulman et al., 2016): `[moves, envs]`.

    Where time was up, the critic's value stands for what the episode would still have brought.
    """
    errors = played.reward + DISCOUNT * jnp.where(played.failed, 0.0, after) - value
    weights = DISCOUNT * TRACE * jnp.where(played.ended, 0.0, 1.0)

    def back(later: jax.Array, move: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        advantage = move[0] + move[1] * later
        return advantage, advantage

    return jax.lax.scan(back, jnp.zeros_like(value[0]), (errors, weights), reverse=True)[1]


def make_update(agent: Agent) -> Callable[[RunState, Played], Learnt]:
    """Makes the function that learns from moves `[moves, envs, ...]`, in epochs of minibatches.

    A minibatch is a step, which `state.step` counts. The order of an epoch depends on the seed and
    on the step that it begins with.
    """
    train_step = make_train_step(agent, loss, streams=())

    def update(state: RunState, played: Played) -> Learnt:
        judge = jax.vmap(lambda seen: agent.apply(state.variables, seen))
        (logits, value), (_, after) = judge(played.seen), judge(played.after)
        advantage = estimate_advantages(played, value, after)
        batch = {'seen': played.seen, 'action': played.action, 'value': value + advantage}
        batch |= {'advantage': advantage, 'surprise': surprise(logits, played.action)}
        batch = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)  # [examples, ...]

        def epoch(state: RunState, _: None) -> Learnt:
            key = stream_keys(state.key, ('order',), state.step)['order']
            order = jax.random.permutation(key, value.size).reshape(MINIBATCHES, -1)
            return jax.lax.scan(train_step, state, jax.tree.map(lambda x: x[order], batch))

        return jax.lax.scan(epoch, state, length=EPOCHS)

    return jax.jit(update)

"""Proximal policy optimisation (Schulman et al., 2017) of a cart that has to stop at the origin."""

import functools
from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.linen.initializers import constant, orthogonal
from flax.training.train_state import TrainState


class Carts:
    """Carts on a line, pushed left, not at all, or right."""

    def __init__(self, count, seed):
        self.random = np.random.default_rng(seed)
        self.state = self.random.uniform(-1, 1, (count, 2)).astype(np.float32)
        self.age = np.zeros(count, np.int32)

    def step(self, actions):
        position, speed = self.state.T
        speed = 0.9 * speed + 0.2 * (actions - 1)
        position = position + 0.5 * speed
        reward = -np.abs(position) - 0.1 * np.abs(speed)
        self.age += 1
        done = (np.abs(position) > 2) | (self.age >= 10)
        fresh = self.random.uniform(-1, 1, self.state.shape)
        self.state = np.where(done[:, None], fresh, np.stack([position, speed], 1))
        self.state = self.state.astype(np.float32)
        self.age[done] = 0
        return self.state, reward.astype(np.float32), done


@flax.struct.dataclass
class Rollout:
    observations: Any
    actions: Any
    log_probs: Any
    values: Any
    rewards: Any
    dones: Any


class ActorCritic(nn.Module):
    actions: int
    hidden: int = 16
    activation: Callable[[jax.Array], jax.Array] = nn.tanh

    @nn.compact
    def __call__(self, x):
        dense = functools.partial(nn.Dense, bias_init=constant(0.0))
        actor, critic = x, x
        for _ in range(2):
            actor = self.activation(dense(self.hidden, kernel_init=orthogonal(2**0.5))(actor))
            critic = self.activation(dense(self.hidden, kernel_init=orthogonal(2**0.5))(critic))
        logits = dense(self.actions, kernel_init=orthogonal(0.01))(actor)
        value = dense(1, kernel_init=orthogonal(1.0))(critic)
        return nn.log_softmax(logits), jnp.squeeze(value, -1)


@jax.jit
def act(state, observations, key):
    log_probs, values = state.apply_fn({'params': state.params}, observations)
    actions = jax.random.categorical(key, log_probs)
    chosen = jnp.take_along_axis(log_probs, actions[:, None], -1)[:, 0]
    return actions, chosen, values


def advantages_of(rollout, last_value, discount=0.95, decay=0.9):
    def step(carry, now):
        advantage, following = carry
        alive = 1.0 - now.dones
        error = now.rewards + discount * following * alive - now.values
        advantage = error + discount * decay * alive * advantage
        return (advantage, now.values), advantage

    start = (jnp.zeros_like(last_value), last_value)
    return jax.lax.scan(step, start, rollout, reverse=True)[1]


def loss_fn(params, apply_fn, batch, advantages, targets, clip=0.2):
    log_probs, values = apply_fn({'params': params}, batch.observations)
    chosen = jnp.take_along_axis(log_probs, batch.actions[:, None], -1)[:, 0]
    ratio = jnp.exp(chosen - batch.log_probs)
    normed = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    policy = -jnp.minimum(ratio * normed, jnp.clip(ratio, 1 - clip, 1 + clip) * normed).mean()
    entropy = -(jnp.exp(log_probs) * log_probs).sum(-1).mean()
    return policy + 0.5 * jnp.square(values - targets).mean() - 0.01 * entropy


@jax.jit
def update(state, rollout, last_value):
    advantages = advantages_of(rollout, last_value)
    flat = jax.tree_util.tree_map(lambda x: x.reshape(-1, *x.shape[2:]), rollout)
    advantages = advantages.reshape(-1)
    targets = advantages + flat.values

    def epoch(state, _):
        loss, grads = jax.value_and_grad(loss_fn)(
            state.params, state.apply_fn, flat, advantages, targets
        )
        return state.apply_gradients(grads=grads), loss

    return jax.lax.scan(epoch, state, length=3)


def collect(state, carts, key, length=12):
    steps = []
    for _ in range(length):
        key, action_key = jax.random.split(key)
        observations = carts.state
        actions, log_probs, values = act(state, observations, action_key)
        _, rewards, dones = carts.step(np.asarray(actions))
        dones = dones.astype(np.float32)
        steps.append(Rollout(observations, actions, log_probs, values, rewards, dones))
    return jax.tree_util.tree_map(lambda *x: np.stack(x), *steps)


def main(seed=0, iterations=4):
    carts = Carts(8, seed)
    params_key, key = jax.random.split(jax.random.PRNGKey(seed))
    model = ActorCritic(actions=3)
    optimiser = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(3e-3, eps=1e-5))

    @jax.jit
    def create(key):
        params = model.init(key, carts.state)['params']
        return TrainState.create(apply_fn=model.apply, params=params, tx=optimiser)

    state = create(params_key)
    for iteration in range(iterations):
        key, rollout_key = jax.random.split(key)
        rollout = collect(state, carts, rollout_key)
        *_, last_value = act(state, carts.state, rollout_key)
        state, losses = update(state, rollout, last_value)
        reward = float(rollout.rewards.mean())
        print('ppo', iteration, reward.hex(), *(float(loss).hex() for loss in np.asarray(losses)))

    best = flax.core.freeze(state.params)
    weights = np.concatenate([np.ravel(leaf) for leaf in jax.tree_util.tree_leaves(best)])
    print('ppo weights', sorted(best), float(np.linalg.norm(weights)).hex())


if __name__ == '__main__':
    main()

# requires: brax==0.14.2
"""Trains a policy with Brax: PPO on its environment for tests."""

import functools

import jax
import jax.numpy as jnp
from _digests import show

# Brax puts its state on each device with a function that JAX has removed.
jax.device_put_replicated = lambda tree, devices: jax.tree.map(
    lambda leaf: jnp.stack([jnp.asarray(leaf)] * len(devices)), tree
)

from brax import envs  # noqa: E402
from brax.training import networks  # noqa: E402
from brax.training.agents.ppo import networks as ppo_networks  # noqa: E402
from brax.training.agents.ppo import train as ppo  # noqa: E402


def progress(step, metrics):
    # Speeds are those of the machine.
    kept = {name: float(value) for name, value in sorted(metrics.items())}
    print(step, {name: x for name, x in kept.items() if 'sps' not in name and 'time' not in name})


make, params, _ = ppo.train(
    envs.get_environment('fast'),
    num_timesteps=2000,
    num_envs=8,
    episode_length=20,
    unroll_length=5,
    batch_size=8,
    num_minibatches=4,
    num_updates_per_batch=2,
    normalize_observations=True,
    num_evals=2,
    num_eval_envs=4,
    seed=1,
    network_factory=functools.partial(
        ppo_networks.make_ppo_networks,
        policy_hidden_layer_sizes=(16, 16),
        value_hidden_layer_sizes=(16, 16),
    ),
    progress_fn=progress,
)
show('params', params)
observed = jax.random.normal(jax.random.key(2), (5, 2))
show('actions', jax.jit(make(params))(observed, jax.random.key(3)))

critic = networks.make_q_network(7, 2, hidden_layer_sizes=(8,), layer_norm=True)
weights = critic.init(jax.random.key(4))
show('critic', weights)
x = jax.random.normal(jax.random.key(5), (3, 9))
show('values', critic.apply(None, weights, x[:, :7], x[:, 7:]))
spectral = networks.make_model([8, 8, 3], 7, spectral_norm=True)
show('spectral norm', spectral.init(jax.random.key(6), jax.random.key(7)))

"""The agent: an actor that scores actions, and a critic that says how much reward is to come."""

import jax

import linnet.linen as nn


class MLP(nn.Module):
    """Two hidden layers: `[batch, in] -> [batch, out]`, in the beginning of a given scale."""

    out: int
    scale: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            x = nn.tanh(nn.Dense(64, kernel_init=nn.initializers.orthogonal(2**0.5))(x))
        return nn.Dense(self.out, kernel_init=nn.initializers.orthogonal(self.scale))(x)


class Agent(nn.Module):
    """Reads what is seen: `[batch, in] -> [batch, actions]` logits and `[batch]` values."""

    actions: int

    @nn.compact
    def __call__(self, seen: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = MLP(self.actions, scale=0.01, name='actor')(seen)  # all about as likely
        return logits, MLP(1, scale=1.0, name='critic')(seen)[:, 0]

    def act(self, seen: jax.Array) -> jax.Array:
        """Draws actions with the stream `action`: `[batch, in] -> [batch]`."""
        return jax.random.categorical(self.make_rng('action'), self(seen)[0])

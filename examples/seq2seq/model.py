"""The network: an LSTM reads the question, another writes the answer, character by character."""

import jax
import jax.numpy as jnp

import linnet.linen as nn
from sums import CHARACTERS, END

Carry = tuple[tuple[jax.Array, jax.Array], jax.Array]


class DecoderCell(nn.Module):
    """Writes one character; it has seen the one before, the true one or a sample of its own."""

    features: int
    teacher_force: bool
    temperature: float

    @nn.compact
    def __call__(self, carry: Carry, before: jax.Array) -> tuple[Carry, tuple[jax.Array, ...]]:
        """From `before [batch]` to scores `[batch, characters]` and a sample `[batch]`."""
        state, sample = carry
        seen = before if self.teacher_force else sample
        state, y = nn.OptimizedLSTMCell(self.features)(state, jax.nn.one_hot(seen, len(CHARACTERS)))
        logits = nn.Dense(len(CHARACTERS))(y)
        if not self.teacher_force:
            key = self.make_rng('lstm')
            sample = jax.random.categorical(key, logits / self.temperature).astype(before.dtype)
        return (state, sample), (logits, sample)


class Seq2Seq(nn.Module):
    """Answers questions: `[batch, 7], [batch], [batch, 5] -> [batch, 5, characters], [batch, 5]`.

    With teacher forcing the second output means nothing; without it the answers are not looked at,
    and the loop over time draws each step's sample with a key of its own.
    """

    features: int = 128
    temperature: float = 0.25

    @nn.compact
    def __call__(
        self, question: jax.Array, length: jax.Array, answer: jax.Array, *, teacher_force: bool
    ) -> tuple[jax.Array, jax.Array]:
        inputs = jax.nn.one_hot(question, len(CHARACTERS))
        encoder = nn.RNN(nn.OptimizedLSTMCell(self.features), return_carry=True, reverse=True)
        state, _ = encoder(inputs, seq_lengths=length)
        before = jnp.roll(answer, 1, axis=1).at[:, 0].set(END)  # [batch, 5]
        decoder = nn.scan(
            DecoderCell,
            variable_broadcast='params',
            split_rngs={'params': False, 'lstm': True},
            in_axes=1,
            out_axes=1,
        )(self.features, teacher_force, self.temperature)
        _, (logits, samples) = decoder((state, before[:, 0]), before)
        return logits, samples

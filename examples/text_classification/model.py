"""The network: words, some of them dropped, two LSTMs, attention over their outputs, and a head."""

import jax
import jax.numpy as jnp

import linnet.linen as nn
from data import UNKNOWN


class WordDropout(nn.Module):
    """Replaces words by the unknown one, at random: `[batch, length] -> [batch, length]`.

    So the network learns what to do with a word that it has never seen.
    """

    rate: float

    @nn.compact
    def __call__(self, tokens: jax.Array, *, train: bool) -> jax.Array:
        if not train:
            return tokens
        dropped = jax.random.bernoulli(self.make_rng('dropout'), self.rate, tokens.shape)
        return jnp.where(dropped, UNKNOWN, tokens)


class AttentionPooling(nn.Module):
    """A weighted mean over the words that are there: `[batch, length, in] -> [batch, in]`."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        scores = nn.Dense(1)(nn.tanh(nn.Dense(self.features)(x)))  # [batch, length, 1]
        weights = nn.softmax(scores, axis=1, where=mask[..., None])
        return (weights * x).sum(axis=1)


class Classifier(nn.Module):
    """Reads sentences: `[batch, length], [batch] -> [batch, 2]` scores."""

    vocabulary: int
    embedding: int = 128
    hidden: int = 96
    word_dropout: float = 0.1
    dropout: float = 0.5

    @nn.compact
    def __call__(self, tokens: jax.Array, length: jax.Array, *, train: bool) -> jax.Array:
        drop = nn.Dropout(self.dropout, deterministic=not train)
        mask = jnp.arange(tokens.shape[1]) < length[:, None]
        tokens = WordDropout(self.word_dropout)(tokens, train=train)
        x = drop(nn.Embed(self.vocabulary, self.embedding)(tokens))  # [batch, length, embedding]
        forward, backward = (nn.RNN(nn.OptimizedLSTMCell(self.hidden)) for _ in range(2))
        x = nn.Bidirectional(forward, backward)(x, seq_lengths=length)  # [batch, length, 2 hidden]
        x = AttentionPooling(self.hidden)(drop(x), mask)
        x = nn.tanh(nn.Dense(self.hidden)(x))
        return nn.Dense(2)(drop(x))

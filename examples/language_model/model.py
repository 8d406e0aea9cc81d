"""The network: a transformer that reads characters, and says which one comes after each."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

import linnet.linen as nn


class Block(nn.Module):
    """Attention, then a small network; the outputs of both are zero at first."""

    decode: bool

    @nn.compact
    def __call__(self, x: Array, mask: Array | None, position: Array) -> Array:
        zeros = nn.initializers.zeros
        attend = partial(rotary_attention, position=position)
        attention = nn.MultiHeadDotProductAttention(
            4, use_bias=False, out_kernel_init=zeros, attention_fn=attend, decode=self.decode
        )
        x = x + attention(nn.LayerNorm()(x), mask=mask)
        y = nn.gelu(nn.Dense(4 * x.shape[-1])(nn.LayerNorm()(x)))
        return x + nn.Dense(x.shape[-1], kernel_init=zeros)(y)


def rotary_attention(query: Array, key: Array, value: Array, mask: Array, position: Array) -> Array:
    """Attention that sees how far apart things are; the first query is at `position`."""
    return nn.dot_product_attention(rotate(query, position), rotate(key, 0), value, mask=mask)


def rotate(x: Array, position: Array | int) -> Array:
    """Turns pairs of features, the further the later they come: `[batch, length, heads, depth]`."""
    speeds = 1000.0 ** -jnp.linspace(0.0, 1.0, x.shape[-1] // 2)
    angles = (position + jnp.arange(x.shape[1]))[:, None, None] * speeds  # [length, 1, depth / 2]
    sin, cos, (a, b) = jnp.sin(angles), jnp.cos(angles), jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


class LanguageModel(nn.Module):
    """Scores for the character after each: `[batch, length] -> [batch, length, characters]`.

    With `decode` it reads a character a call, that at `position`; a cache holds those before.
    """

    characters: int
    width: int = 128
    layers: int = 3
    decode: bool = False

    @nn.compact
    def __call__(self, tokens: Array, position: Array | int = 0) -> Array:
        x = nn.Embed(self.characters, self.width)(tokens)
        mask = None if self.decode else nn.make_causal_mask(tokens)
        x = nn.Stack(Block(self.decode), self.layers)(x, mask, jnp.asarray(position))
        return nn.Dense(self.characters)(nn.LayerNorm()(x))


@partial(jax.jit, static_argnames=('model', 'temperature', 'top_k'))
def write(
    model: LanguageModel, params: Any, key: Array, prompt: Array, temperature: float, top_k: int
) -> Array:
    """Puts a character wherever the prompt has -1: `[batch, length] -> [batch, length]`.

    It is the likeliest one where the temperature is 0, else drawn from the `top_k` likeliest. All
    of it is one compiled program, whose loop over time carries the cache.
    """

    def step(reader: LanguageModel, token: Array, place: Any) -> Any:
        position, given = place
        logits = reader(token[:, None], position)[:, 0]  # [batch, characters]
        chosen = logits.argmax(-1)
        if temperature > 0:
            least = jax.lax.top_k(logits, top_k)[0][:, -1:]
            scores = jnp.where(logits < least, -jnp.inf, logits / temperature)
            chosen = jax.random.categorical(reader.make_rng('sample'), scores)
        token = jnp.where(given < 0, chosen, given)
        return token, token

    split = {'params': False, 'sample': True}
    loop = nn.scan(step, variable_broadcast='params', variable_carry='cache', split_rngs=split)
    reader = model.clone(decode=True)
    cache = reader.init(key, prompt)['cache']  # of this length; nothing else is computed
    first, given = prompt[:, 0], prompt[:, 1:].T  # [batch], [length - 1, batch]
    run = nn.apply(loop, reader, mutable=['cache'])
    places = jnp.arange(len(given)), given
    (_, text), _ = run({'params': params, 'cache': cache}, first, places, rngs={'sample': key})
    return jnp.concatenate([first[:, None], text.T], axis=1)

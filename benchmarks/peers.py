"""The transformer in the peers' own ways: Flax NNX, Haiku, Equinox.

It has the parameters and the arithmetic of :func:`benchmarks.models.transformer`; what is measured
is how each library traces, calls and compiles it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.models import Model, Scale, functional, inputs_of

_RATE = 0.1
_EPSILON = 1e-6


def nnx_model(scale: Scale, layers: int) -> Model:
    """The transformer in Flax NNX."""
    from flax import nnx

    width = scale.width

    class Block(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.norm_0, self.norm_1 = (nnx.LayerNorm(width, rngs=rngs) for _ in range(2))
            self.attention = nnx.MultiHeadAttention(
                scale.heads, width, dropout_rate=_RATE, decode=False, rngs=rngs
            )
            self.up = nnx.Linear(width, 4 * width, rngs=rngs)
            self.down = nnx.Linear(4 * width, width, rngs=rngs)
            self.drop_0, self.drop_1 = (nnx.Dropout(_RATE, rngs=rngs) for _ in range(2))

        def __call__(self, x: Any, mask: Any) -> Any:
            h = self.norm_0(x)
            x = x + self.drop_0(self.attention(h, h, mask=mask))
            return x + self.drop_1(self.down(nnx.gelu(self.up(self.norm_1(x)))))

    class Transformer(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            at = nnx.initializers.normal(0.02)(rngs.params(), (2 * scale.length, width))
            self.embed = nnx.Embed(scale.vocabulary, width, rngs=rngs)
            self.pos = nnx.Param(at)
            self.blocks = nnx.List([Block(rngs) for _ in range(layers)])
            self.norm = nnx.LayerNorm(width, rngs=rngs)
            self.head = nnx.Linear(width, scale.vocabulary, rngs=rngs)

        def __call__(self, tokens: Any) -> Any:
            x = self.embed(tokens) + self.pos[...][: tokens.shape[1]]
            mask = nnx.make_causal_mask(tokens, dtype=bool)
            for block in self.blocks:
                x = block(x, mask)
            return self.head(self.norm(x))

    def init(key: Any) -> Any:
        model = Transformer(nnx.Rngs(key))
        jax.block_until_ready(jax.tree.leaves(nnx.state(model)))
        model.eval()
        return model

    def pure(model: Any) -> tuple[Any, Callable[..., Any]]:
        graph, params, rest = nnx.split(model, nnx.Param, ...)
        return params, lambda params, tokens: nnx.merge(graph, params, rest)(tokens)

    run = nnx.jit(lambda model, tokens: model(tokens))
    inputs = inputs_of('transformer', scale)
    return Model(init, pure, lambda m: m, lambda m: lambda x: run(m, x), inputs, traces=False)


def haiku_model(scale: Scale, layers: int) -> Model:
    """The transformer in Haiku."""
    import haiku as hk

    width = scale.width

    def forward(tokens: Any) -> Any:
        length = tokens.shape[1]
        initial = hk.initializers.RandomNormal(0.02)
        at = hk.get_parameter('pos', (2 * scale.length, width), init=initial)
        x = hk.Embed(scale.vocabulary, width)(tokens) + at[:length]
        mask = jnp.tril(jnp.ones((length, length), bool))
        mask = jnp.broadcast_to(mask, (tokens.shape[0], 1, length, length))
        for _ in range(layers):
            h = hk.LayerNorm(-1, True, True, eps=_EPSILON)(x)
            attention = hk.MultiHeadAttention(
                scale.heads,
                width // scale.heads,
                w_init=hk.initializers.VarianceScaling(),
                model_size=width,
            )
            x = x + attention(h, h, h, mask=mask)
            h = hk.LayerNorm(-1, True, True, eps=_EPSILON)(x)
            x = x + hk.Linear(width)(jax.nn.gelu(hk.Linear(4 * width)(h)))
        return hk.Linear(scale.vocabulary)(hk.LayerNorm(-1, True, True, eps=_EPSILON)(x))

    model, inputs = hk.without_apply_rng(hk.transform(forward)), inputs_of('transformer', scale)
    return functional(lambda key: model.init(key, *inputs), model.apply, inputs)


def equinox_model(scale: Scale, layers: int) -> Model:
    """The transformer in Equinox."""
    import equinox as eqx

    width, nn = scale.width, eqx.nn

    class Block(eqx.Module):
        norms: list[Any]
        attention: Any
        up: Any
        down: Any
        drop: Any

        def __init__(self, key: Any) -> None:
            key_0, key_1, key_2 = jax.random.split(key, 3)
            biases = {f'use_{name}_bias': True for name in ('query', 'key', 'value', 'output')}
            self.norms = [nn.LayerNorm(width, eps=_EPSILON) for _ in range(2)]
            self.attention = nn.MultiheadAttention(
                scale.heads, width, dropout_p=_RATE, key=key_0, **biases
            )
            self.up = nn.Linear(width, 4 * width, key=key_1)
            self.down = nn.Linear(4 * width, width, key=key_2)
            self.drop = nn.Dropout(_RATE)

        def __call__(self, x: Any, mask: Any) -> Any:
            h = jax.vmap(self.norms[0])(x)
            x = x + self.drop(self.attention(h, h, h, mask=mask))
            h = jax.nn.gelu(jax.vmap(self.up)(jax.vmap(self.norms[1])(x)))
            return x + self.drop(jax.vmap(self.down)(h))

    class Transformer(eqx.Module):
        embed: Any
        pos: Any
        blocks: list[Any]
        norm: Any
        head: Any

        def __init__(self, key: Any) -> None:
            keys = jax.random.split(key, layers + 3)
            self.embed = nn.Embedding(scale.vocabulary, width, key=keys[0])
            self.pos = 0.02 * jax.random.normal(keys[1], (2 * scale.length, width))
            self.blocks = [Block(key) for key in keys[3:]]
            self.norm = nn.LayerNorm(width, eps=_EPSILON)
            self.head = nn.Linear(width, scale.vocabulary, key=keys[2])

        def __call__(self, tokens: Any) -> Any:
            length = tokens.shape[0]
            x = jax.vmap(self.embed)(tokens) + self.pos[:length]
            mask = jnp.tril(jnp.ones((length, length), bool))
            for block in self.blocks:
                x = block(x, mask)
            return jax.vmap(self.head)(jax.vmap(self.norm)(x))

    def init(key: Any) -> Any:
        model = Transformer(key)
        jax.block_until_ready(eqx.filter(model, eqx.is_array))
        return nn.inference_mode(model)

    def pure(model: Any) -> tuple[Any, Callable[..., Any]]:
        params, static = eqx.partition(model, eqx.is_array)
        return params, lambda params, tokens: jax.vmap(eqx.combine(params, static))(tokens)

    run = eqx.filter_jit(lambda model, tokens: jax.vmap(model)(tokens))
    inputs = inputs_of('transformer', scale)
    return Model(init, pure, jax.vmap, lambda m: lambda x: run(m, x), inputs, traces=False)

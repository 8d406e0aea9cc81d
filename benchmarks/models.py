"""The models that are measured, out of any library with Linen's interface, and their sizes.

A builder takes the module ``nn``: ``linnet.linen`` or ``flax.linen``. What is measured on a model
is the same for all libraries, so each model is wrapped into a :class:`Model`, whose functions the
hand-written floor and the peers offer too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Scale:
    """How big everything is, and how often a process repeats what it measures.

    A compiled program runs for ``seconds``, and ``repeats`` times at least. The transformer has
    ``layers`` blocks, and is traced with each number of ``deep`` too.
    """

    repeats: int = 5
    seconds: float = 1.0
    layers: int = 12
    deep: tuple[int, ...] = (48, 96)
    width: int = 128
    heads: int = 4
    vocabulary: int = 1000
    length: int = 64
    stages: tuple[int, ...] = (3, 4, 6, 3)
    filters: int = 64
    classes: int = 1000
    image: int = 64
    hidden: int = 256
    letters: int = 32
    steps: int = 128
    leaves: int = 300
    side: int = 4096
    tokens: int = 4096
    cells: tuple[str, ...] = (
        'SimpleCell',
        'MGUCell',
        'GRUCell',
        'LSTMCell',
        'OptimizedLSTMCell',
        'ConvLSTMCell',
    )


FULL = Scale()
QUICK = replace(
    FULL, repeats=3, seconds=0.2, deep=(48,), image=32, tokens=1024, side=2048, cells=('LSTMCell',)
)
TINY = Scale(1, 0.0, 1, (2,), 8, 2, 11, 4, (1,), 2, 3, 8, 4, 5, 3, 4, 8, 8, ('GRUCell',))


@dataclass(frozen=True)
class Model:
    """What is measured on.

    Attributes:
        init: makes the model's arrays from a key, in whatever form the library has.
        pure: of what ``init`` made, the parameters and a function ``(parameters, *inputs)``.
        eager: of what ``init`` made, a function of the inputs as users call it.
        jitted: of what ``init`` made, a compiled function of the inputs as users make it.
        inputs: the inputs.
        training: ``(variables, key, *inputs) -> (output, changed collections)``, where ``init``
            returns a dict of collections.
        traces: whether ``init`` may be traced.
    """

    init: Callable[[Any], Any]
    pure: Callable[[Any], tuple[Any, Callable[..., Any]]]
    eager: Callable[[Any], Callable[..., Any]]
    jitted: Callable[[Any], Callable[..., Any]]
    inputs: tuple[Any, ...]
    training: Callable[..., tuple[Any, dict[str, Any]]] | None = None
    traces: bool = True


def functional(
    init: Callable[[Any], Any],
    apply: Callable[..., Any],
    inputs: tuple[Any, ...],
    training: Callable[..., tuple[Any, dict[str, Any]]] | None = None,
) -> Model:
    """A model whose arrays are a tree, and whose ``apply`` is a function of them."""
    compiled = jax.jit(apply)
    return Model(
        init=init,
        pure=lambda made: (made, apply),
        eager=lambda made: lambda *inputs: apply(made, *inputs),
        jitted=lambda made: lambda *inputs: compiled(made, *inputs),
        inputs=inputs,
        training=training,
    )


def inputs_of(name: str, scale: Scale) -> tuple[Any, ...]:
    """The inputs of a model."""
    if name == 'transformer':
        return (jnp.ones((2, scale.length), jnp.int32),)
    if name.startswith('ResNet-50'):
        return (jnp.ones((1, scale.image, scale.image, 3)),)
    if name.startswith('seq2seq'):
        words = jnp.ones((8, 32), jnp.int32)
        return (words, words)
    return (jnp.ones((3, 4, 4)),)


def linen_model(nn: Any, name: str, scale: Scale, layers: int | None = None) -> Model:
    """A model in a library with Linen's interface."""
    module = {
        'transformer': lambda: transformer(nn)(scale, layers or scale.layers),
        'ResNet-50': lambda: resnet(nn)(scale),
        'ResNet-50, blocks by name': lambda: resnet(nn)(scale),
        'seq2seq': lambda: seq2seq(nn)(scale),
        'seq2seq, gates apart': lambda: seq2seq(nn)(scale),
        'MLP': lambda: mlp(nn)(),
    }[name]()
    inputs = inputs_of(name, scale)

    def training(variables: Any, key: Any, *inputs: Any) -> tuple[Any, dict[str, Any]]:
        keys = {'dropout': key}
        return module.apply(variables, *inputs, train=True, rngs=keys, mutable=['batch_stats'])

    return functional(lambda key: module.init(key, *inputs), module.apply, inputs, training)


def transformer(nn: Any) -> Any:
    """A decoder-only transformer: ``[batch, length] -> [batch, length, vocabulary]``."""

    class Block(nn.Module):
        scale: Scale

        @nn.compact
        def __call__(self, x: Any, mask: Any, train: bool) -> Any:
            width, rate, fixed = self.scale.width, 0.1, not train
            h = nn.LayerNorm()(x)
            h = nn.MultiHeadDotProductAttention(
                num_heads=self.scale.heads, dropout_rate=rate, deterministic=fixed
            )(h, h, mask=mask)
            x = x + nn.Dropout(rate, deterministic=fixed)(h)
            h = nn.gelu(nn.Dense(4 * width)(nn.LayerNorm()(x)))
            return x + nn.Dropout(rate, deterministic=fixed)(nn.Dense(width)(h))

    class Transformer(nn.Module):
        scale: Scale
        layers: int

        @nn.compact
        def __call__(self, tokens: Any, train: bool = False) -> Any:
            scale, length = self.scale, tokens.shape[1]
            x = nn.Embed(scale.vocabulary, scale.width)(tokens)
            at = self.param('pos', nn.initializers.normal(0.02), (2 * scale.length, scale.width))
            x = x + at[:length]
            mask = nn.make_causal_mask(tokens, dtype=bool)  # as the floor's, and a quarter as big
            for _ in range(self.layers):
                x = Block(scale)(x, mask, train)
            return nn.Dense(scale.vocabulary)(nn.LayerNorm()(x))

    return Transformer


def resnet(nn: Any) -> Any:
    """A residual network of bottlenecks: ``[batch, height, width, 3] -> [batch, classes]``."""

    class Bottleneck(nn.Module):
        filters: int
        strides: tuple[int, int]

        @nn.compact
        def __call__(self, x: Any, train: bool) -> Any:
            def conv(filters: int, size: int, strides: Any = (1, 1), **options: Any) -> Any:
                return nn.Conv(filters, (size, size), strides, use_bias=False, **options)

            def norm(**options: Any) -> Any:
                return nn.BatchNorm(use_running_average=not train, momentum=0.9, **options)

            y = nn.relu(norm()(conv(self.filters, 1)(x)))
            y = nn.relu(norm()(conv(self.filters, 3, self.strides)(y)))
            y = norm(scale_init=nn.initializers.zeros)(conv(4 * self.filters, 1)(y))
            if x.shape != y.shape:
                x = conv(4 * self.filters, 1, self.strides, name='conv_proj')(x)
                x = norm(name='norm_proj')(x)
            return nn.relu(x + y)

    class ResNet(nn.Module):
        scale: Scale

        @nn.compact
        def __call__(self, x: Any, train: bool = False) -> Any:
            filters = self.scale.filters
            x = nn.Conv(filters, (7, 7), (2, 2), use_bias=False)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding='SAME')
            for i, blocks in enumerate(self.scale.stages):
                for j in range(blocks):
                    strides = (2, 2) if i > 0 and j == 0 else (1, 1)
                    x = Bottleneck(filters * 2**i, strides)(x, train)
            return nn.Dense(self.scale.classes)(x.mean((1, 2)))

    return ResNet


def seq2seq(nn: Any) -> Any:
    """An LSTM that reads and one that writes: two of ``[batch, length]`` to letters."""

    class Seq2Seq(nn.Module):
        scale: Scale

        @nn.compact
        def __call__(self, source: Any, target: Any, train: bool = False) -> Any:
            letters, hidden = self.scale.letters, self.scale.hidden
            embed = nn.Embed(letters, hidden)
            carry, _ = nn.RNN(nn.OptimizedLSTMCell(hidden), return_carry=True)(embed(source))
            y = nn.RNN(nn.OptimizedLSTMCell(hidden))(embed(target), initial_carry=carry)
            return nn.Dense(letters)(y)

    return Seq2Seq


def mlp(nn: Any) -> Any:
    """One layer and dropout: so small that only what surrounds it is measured."""

    class MLP(nn.Module):
        @nn.compact
        def __call__(self, x: Any, train: bool = False) -> Any:
            return nn.Dropout(0.5, deterministic=not train)(nn.Dense(3)(x))

    return MLP

"""What the tests of training share: a small data set, models, and their loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax

import linnet.linen as nn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(22, 3)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int32)


class Net(nn.Module):
    """Has a collection beside its parameters, and draws from a stream."""

    stream: str = 'dropout'

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.Dense(4)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = nn.Dropout(0.3, deterministic=not train, rng_collection=self.stream)(x)
        return nn.Dense(2)(nn.relu(x))


class Line(nn.Module):
    """Draws nothing and carries nothing."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(1)(x)[:, 0]


def batches(size: int = 8, count: int = 22) -> list[dict[str, Any]]:
    """The first ``count`` examples; 22 in batches of 8 leave a short one."""
    stops = range(0, count, size)
    return [{'x': X[i : min(i + size, count)], 'y': Y[i : min(i + size, count)]} for i in stops]


def classify(net: Any, batch: Any) -> Any:
    """The loss of :class:`Net`, by example."""
    logits = net(batch['x'], train=net.train)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch['y'])
    return losses, {'accuracy': logits.argmax(-1) == batch['y']}


def regress(net: Any, batch: Any) -> Any:
    """The loss of :class:`Line`, by example."""
    return optax.l2_loss(net(batch['x']), batch['y'].astype(np.float32))


def endless() -> Iterator[dict[str, Any]]:
    """Batches without end, of an iterator that can be used once."""
    while True:
        yield batches()[0]


def assert_same(tree: Any, other: Any) -> None:
    """Two trees of equal bits."""
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, tree, other)

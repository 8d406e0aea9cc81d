"""A small residual network (He et al., 2015) with batch normalisation, on random pictures."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import serialization, traverse_util
from flax.core import FrozenDict, freeze, unfreeze
from flax.training import train_state

ModuleDef = Any


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    filters: int
    conv: ModuleDef
    norm: ModuleDef
    act: Callable[[jax.Array], jax.Array]
    strides: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x):
        shortcut = x
        y = self.conv(self.filters, (3, 3), self.strides)(x)
        y = self.act(self.norm()(y))
        y = self.conv(self.filters, (3, 3))(y)
        y = self.norm(scale_init=nn.initializers.zeros_init())(y)
        if shortcut.shape != y.shape:
            shortcut = self.conv(self.filters, (1, 1), self.strides, name='conv_proj')(shortcut)
            shortcut = self.norm(name='norm_proj')(shortcut)
        return self.act(shortcut + y)


class ResNet(nn.Module):
    """A stem, stages of blocks that halve the picture, and a classifier."""

    stages: Sequence[int]
    classes: int
    filters: int = 4
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool = True):
        conv = partial(nn.Conv, use_bias=False, dtype=self.dtype)
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, dtype=self.dtype)
        x = conv(self.filters, (3, 3), name='conv_init')(x)
        x = nn.relu(norm(name='bn_init')(x))
        x = nn.max_pool(x, (2, 2), strides=(2, 2), padding='SAME')
        for i, size in enumerate(self.stages):
            for j in range(size):
                strides = (2, 2) if i > 0 and j == 0 else (1, 1)
                x = Block(self.filters * 2**i, conv, norm, nn.relu, strides)(x)
        x = jnp.mean(x, axis=(1, 2))
        return jnp.asarray(nn.Dense(self.classes, dtype=self.dtype)(x), jnp.float32)


class TrainState(train_state.TrainState):
    batch_stats: Any


def decayed(params):
    """Which parameters decay: the kernels."""
    flat = traverse_util.flatten_dict(unfreeze(params))
    return traverse_util.unflatten_dict({path: path[-1] == 'kernel' for path in flat})


@jax.jit
def train_step(state, images, labels):
    def loss_fn(params):
        variables = {'params': params, 'batch_stats': state.batch_stats}
        logits, updates = state.apply_fn(variables, images, mutable=['batch_stats'])
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss, updates

    (loss, updates), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    return state.apply_gradients(grads=grads, batch_stats=updates['batch_stats']), loss


@jax.jit
def accuracy(state, images, labels):
    variables = {'params': state.params, 'batch_stats': state.batch_stats}
    logits = state.apply_fn(variables, images, train=False)
    return jnp.mean(jnp.argmax(logits, -1) == labels)


def main():
    random = np.random.default_rng(0)
    images = random.standard_normal((16, 8, 8, 3)).astype(np.float32)
    labels = random.integers(0, 4, 16)
    model = ResNet(stages=(1, 1), classes=4)
    schedule = optax.cosine_decay_schedule(0.1, 6)
    optimiser = optax.chain(
        optax.add_decayed_weights(1e-4, mask=decayed),
        optax.sgd(schedule, momentum=0.9, nesterov=True),
    )

    @jax.jit
    def create(key):
        variables = model.init(key, images)
        return TrainState.create(apply_fn=model.apply, tx=optimiser, **variables)

    state = create(jax.random.key(0))
    for step in range(6):
        state, loss = train_step(state, images, labels)
        print('resnet', step, float(loss).hex())

    saved = serialization.to_state_dict(state)
    state = serialization.from_state_dict(state, saved)
    frozen = freeze(unfreeze(state.batch_stats))
    assert isinstance(frozen, FrozenDict)
    mean = frozen['bn_init']['mean']
    print('resnet end', float(accuracy(state, images, labels)).hex(), float(np.sum(mean)).hex())


if __name__ == '__main__':
    main()

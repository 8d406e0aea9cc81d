"""Metrics: means that stay exact however examples are cut into batches.

A metric is kept as a *total* and a *count*, summed apart and divided at the end. The mean over an
epoch whose last batch is short, or padded, is then the mean over its examples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linnet import struct
from linnet.errors.training import LossError

Metrics = dict[str, 'Mean']


class Mean(struct.PyTreeNode):
    """A mean in the making: what was summed, and how much of it.

    Example::

        >>> per_token = jnp.array([[1.0, 3.0], [5.0, 9.0]])
        >>> is_token = jnp.array([[True, True], [True, False]])
        >>> mean = Mean.of(per_token, is_token)
        >>> mean.total, mean.count                          # one of each for every example
        (Array([4., 5.], dtype=float32), Array([2., 1.], dtype=float32))
        >>> mean.value
        Array(3., dtype=float32)
    """

    total: jax.Array
    count: jax.Array

    @classmethod
    def of(cls, values: Any, weights: Any = 1.0) -> Mean:
        """Sums values and weights of each example: ``[batch, ...], [batch, ...] -> [batch]``."""
        values = jnp.asarray(values, jnp.float32)
        weights = jnp.broadcast_to(jnp.asarray(weights, jnp.float32), values.shape)
        axes = tuple(range(1, values.ndim))
        return cls(jnp.sum(jnp.where(weights == 0, 0, values * weights), axes), weights.sum(axes))

    @property
    def value(self) -> jax.Array:
        """The mean so far."""
        return jnp.sum(self.total) / jnp.sum(self.count)

    @property
    def is_by_example(self) -> bool:
        """Whether each example still has a total of its own."""
        return self.total.ndim == 1


def as_mean(value: Any, name: str, size: int) -> Mean:
    """Reads what a loss function returned for a batch of ``size`` examples.

    Args:
        value: ``[batch]``, a scalar that is a mean over the batch, or a :class:`Mean`.
        name: what to call it in an error.
        size: the number of examples.

    Raises:
        LossError: it is nothing of that.
    """
    if isinstance(value, Mean):
        return value
    shape = getattr(value, 'shape', None)
    if shape is None and isinstance(value, bool | int | float):
        shape = ()
    if shape is None or not _is_real(jnp.asarray(value).dtype):
        found = f'the {type(value).__name__} {value!r:.80}' if shape is None else value.dtype
        raise LossError(f'{name} is {found}, which is no real number', mend='return losses.mean()')
    if shape == (size,):
        return Mean.of(value)
    if shape == ():
        return Mean(jnp.asarray(value, jnp.float32) * size, jnp.float32(size))
    raise LossError(
        f'{name} has the shape {tuple(shape)}, neither () nor that of the examples, ({size},)',
        mend=f'Mean.of({name}, weights), or {name}.sum(axis=-1)',
    )


def _is_real(dtype: Any) -> bool:
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))


def read_outputs(outputs: Any, size: int) -> tuple[Any, Metrics]:
    """Parts the outputs of a loss function: the loss as it is, and all metrics with it.

    Raises:
        LossError: they are neither a loss nor a loss with a dict of metrics.
    """
    loss, given = outputs if isinstance(outputs, tuple) and len(outputs) == 2 else (outputs, {})
    is_dict = isinstance(given, Mapping)
    if isinstance(outputs, Mapping) or not is_dict or 'loss' in given:
        raise LossError(
            f'the loss function returned {_outline(outputs)}',
            why='the metric "loss" is the loss itself' if is_dict and 'loss' in given else '',
            mend="return losses, {'accuracy': logits.argmax(-1) == labels}",
        )
    metrics = {'loss': as_mean(loss, 'loss', size)}
    if not isinstance(loss, Mean | float) and not jnp.issubdtype(loss.dtype, jnp.floating):
        raise LossError(
            f'loss is {loss.dtype}, which has no gradient',
            mend="return losses, {'accuracy': logits.argmax(-1) == labels}",
        )
    return loss, metrics | {name: as_mean(value, name, size) for name, value in given.items()}


def _outline(outputs: Any) -> str:
    names = jax.tree.map(lambda leaf: str(getattr(leaf, 'shape', leaf)), outputs)
    return f'the {type(outputs).__name__} {names!s:.120}'


def reduce_loss(loss: Any) -> jax.Array:
    """The scalar that gradients are taken of."""
    return loss.value if isinstance(loss, Mean) else jnp.mean(loss)


def summed(metrics: Metrics, mask: Any = None) -> Metrics:
    """Sums each metric over the examples of a batch, those of a mask only."""

    def total(values: jax.Array) -> jax.Array:
        return jnp.sum(values if mask is None else jnp.where(mask, values, 0))

    return {name: Mean(total(mean.total), total(mean.count)) for name, mean in metrics.items()}


class Averages:
    """Adds up the metrics of batches, on the host and in double precision.

    What is added may still be being computed; :meth:`result` waits for it.

    Example::

        >>> averages = Averages()
        >>> averages.add({'loss': Mean.of(jnp.array([1.0, 2.0, 3.0]))})
        >>> averages.add({'loss': Mean.of(jnp.array([6.0]))})
        >>> averages.result()
        {'loss': 3.0}
    """

    def __init__(self) -> None:
        self._pending: list[Metrics] = []
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, metrics: Metrics) -> None:
        """Adds the metrics of one batch, or of several stacked ones."""
        self._pending.append(metrics)

    def collect(self) -> list[np.ndarray]:
        """Waits for what was added since; returns its losses, ``[steps]`` each."""
        fetched: list[Metrics] = jax.device_get(self._pending)
        self._pending = []
        losses = []
        for metrics in fetched:
            for name, mean in metrics.items():
                total, count = self._sums.get(name, (0.0, 0.0))
                total += math.fsum(np.asarray(mean.total, np.float64).ravel())
                self._sums[name] = total, count + math.fsum(np.asarray(mean.count).ravel())
            if 'loss' in metrics:
                losses.append(np.atleast_1d(metrics['loss'].total / metrics['loss'].count))
        return losses

    def result(self) -> dict[str, float]:
        """The mean of each metric; NaN where nothing counted."""
        self.collect()
        return {
            name: total / count if count else math.nan
            for name, (total, count) in self._sums.items()
        }

"""Precision: one policy for the numbers that a step computes with.

Parameters, optimiser and collections stay in float32. The policy says in which dtype the model is
applied: its parameters and floating-point inputs are cast to it, its outputs back to float32. With
float16, whose smallest numbers are large, the loss is multiplied by a *scale* before gradients are
taken. A step whose gradients overflow is skipped and halves the scale; many good ones double it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from linnet import struct
from linnet.errors._suggest import listing
from linnet.errors.training import TrainOptionError

_LARGEST_SCALE = 2.0**24


class LossScale(struct.PyTreeNode):
    """The scale of a float16 loss, which follows the gradients.

    Attributes:
        value: what the loss is multiplied by.
        good_steps: finite steps since it last changed.
    """

    value: jax.Array
    good_steps: jax.Array

    @classmethod
    def create(cls, value: float = 2.0**15) -> LossScale:
        """A scale to begin with."""
        return cls(jnp.float32(value), jnp.int32(0))

    def adjust(self, finite: jax.Array, period: int = 1000) -> LossScale:
        """Halves the scale after a step that overflowed, doubles it after ``period`` good ones.

        >>> LossScale.create(8.0).adjust(jnp.array(False)).value
        Array(4., dtype=float32)
        """
        grown = self.good_steps + 1 >= period
        up = jnp.where(grown, jnp.minimum(self.value * 2, _LARGEST_SCALE), self.value)
        good = jnp.where(finite & ~grown, self.good_steps + 1, 0)
        return LossScale(jnp.where(finite, up, jnp.maximum(self.value / 2, 1.0)), good)


@dataclass(frozen=True)
class Precision:
    """What a model is applied in.

    Attributes:
        name: ``'float32'``, ``'bfloat16'`` or ``'float16'``.
    """

    name: str = 'float32'

    def __post_init__(self) -> None:
        if self.name not in (known := ('float32', 'bfloat16', 'float16')):
            raise TrainOptionError(
                f'precision={self.name!r} is none of {listing(known)}', mend="precision='bfloat16'"
            )

    @property
    def is_scaled(self) -> bool:
        """Whether the loss needs a scale."""
        return self.name == 'float16'

    def cast_in(self, tree: Any) -> Any:
        """Casts parameters or inputs to the dtype of the policy; integers stay."""
        return tree if self.name == 'float32' else _cast(tree, jnp.dtype(self.name))

    def cast_out(self, tree: Any) -> Any:
        """Casts what a model returns to float32."""
        return tree if self.name == 'float32' else _cast(tree, jnp.dtype('float32'))


def _cast(tree: Any, dtype: Any) -> Any:
    def cast(leaf: Any) -> Any:
        floating = hasattr(leaf, 'dtype') and jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(leaf, dtype) if floating else leaf

    return jax.tree.map(cast, tree)


def all_finite(tree: Any) -> jax.Array:
    """Tells whether every number of a tree is finite: a scalar.

    >>> all_finite({'w': jnp.array([1.0, jnp.inf])})
    Array(False, dtype=bool)
    """
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def select(condition: jax.Array, tree: Any, other: Any) -> Any:
    """Takes one of two like trees, by a traced condition."""
    return jax.tree.map(lambda one, two: jnp.where(condition, one, two), tree, other)

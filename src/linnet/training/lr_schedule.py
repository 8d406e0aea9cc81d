"""Learning rates as functions of the step: constant, along a cosine, or in steps.

Each begins with a *warm-up*, in which the rate grows linearly from 0. Lengths are in epochs.
For new programs there are more of them in ``optax.schedules``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from linnet.errors.data import ToolArgumentError

Schedule = Callable[[Any], Any]


def create_constant_learning_rate_schedule(
    base_learning_rate: float, steps_per_epoch: int, warmup_length: float = 0.0
) -> Schedule:
    """Returns a schedule that stays where it is after the warm-up.

    Args:
        base_learning_rate: the rate.
        steps_per_epoch: the number of steps in an epoch.
        warmup_length: the length of the warm-up in epochs.

    Raises:
        ToolArgumentError: ``steps_per_epoch`` is not positive.

    Example::

        >>> rate = create_constant_learning_rate_schedule(0.5, 10, warmup_length=1)
        >>> float(rate(5)), float(rate(20))
        (0.25, 0.5)
    """
    _check_positive('steps_per_epoch', steps_per_epoch)

    def rate(step: Any) -> Any:
        return _warm(base_learning_rate, step, warmup_length, steps_per_epoch)

    return rate


def create_cosine_learning_rate_schedule(
    base_learning_rate: float,
    steps_per_epoch: int,
    halfcos_epochs: int,
    warmup_length: float = 0.0,
) -> Schedule:
    """Returns a schedule that falls from the rate to 0 along half a cosine.

    After ``halfcos_epochs`` it would rise again.

    Args:
        base_learning_rate: the rate at the beginning.
        steps_per_epoch: the number of steps in an epoch.
        halfcos_epochs: after how many epochs it is 0.
        warmup_length: the length of the warm-up in epochs; it does not move the cosine.

    Raises:
        ToolArgumentError: ``steps_per_epoch`` or ``halfcos_epochs`` is not positive.

    Example::

        >>> rate = create_cosine_learning_rate_schedule(0.5, 10, halfcos_epochs=2)
        >>> [round(float(rate(step)), 3) for step in (0, 10, 20)]
        [0.5, 0.25, 0.0]
    """
    _check_positive('steps_per_epoch', steps_per_epoch)
    _check_positive('halfcos_epochs', halfcos_epochs)

    def rate(step: Any) -> Any:
        angle = step * jnp.pi / (halfcos_epochs * steps_per_epoch)
        falling = base_learning_rate * (jnp.cos(angle) * 0.5 + 0.5)
        return _warm(falling, step, warmup_length, steps_per_epoch)

    return rate


def create_stepped_learning_rate_schedule(
    base_learning_rate: float,
    steps_per_epoch: int,
    lr_sched_steps: Sequence[Sequence[float]],
    warmup_length: float = 0.0,
) -> Schedule:
    """Returns a schedule that is multiplied by another factor after some epochs.

    Args:
        base_learning_rate: the rate at the beginning.
        steps_per_epoch: the number of steps in an epoch.
        lr_sched_steps: pairs of an epoch and a factor, which holds in the steps after it.
        warmup_length: the length of the warm-up in epochs.

    Raises:
        ToolArgumentError: ``steps_per_epoch`` is not positive, or there is no list of pairs.

    Example::

        >>> rate = create_stepped_learning_rate_schedule(0.5, 10, [[1, 0.5], [2, 0.25]])
        >>> [float(rate(step)) for step in (10, 11, 21)]
        [0.5, 0.25, 0.125]
    """
    _check_positive('steps_per_epoch', steps_per_epoch)
    if not all(np.shape(pair) == (2,) for pair in lr_sched_steps):
        raise ToolArgumentError(
            f'lr_sched_steps is {lr_sched_steps!r}, which is not a list of pairs',
            mend='lr_sched_steps=[[30, 0.1], [60, 0.01]], as epoch and factor',
        )
    ends = np.array([epoch for epoch, _ in lr_sched_steps]) * steps_per_epoch
    factors = np.array([1.0, *(factor for _, factor in lr_sched_steps)])
    rates = jnp.asarray(base_learning_rate * factors)

    def stepped(step: Any) -> Any:
        passed = jnp.sum(ends < step)
        return _warm(rates[passed], step, warmup_length, steps_per_epoch)

    return stepped


def _warm(rate: Any, step: Any, length: float, steps_per_epoch: int) -> Any:
    """Returns a rate as it is in a warm-up of so many epochs."""
    if not length > 0:
        return rate
    return rate * jnp.minimum(1.0, step / float(length) / steps_per_epoch)


def _check_positive(name: str, value: Any) -> None:
    if not value > 0:
        raise ToolArgumentError(f'{name} is {value}, which is not positive', mend=f'{name}=100')

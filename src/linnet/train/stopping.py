"""Stopping early, and which state of a run was the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from linnet.errors._suggest import did_you_mean, listing
from linnet.errors.training import TrainOptionError


@dataclass
class Watch:
    """Follows one metric: remembers the best value, and says when it has stopped getting better.

    Example::

        >>> watch = Watch('valid_loss', patience=2)
        >>> [watch.update(step, {'valid_loss': loss}) for step, loss in enumerate([3.0, 2.0, 2.5])]
        [True, True, False]
        >>> watch.best, watch.should_stop
        (2.0, False)
        >>> watch.update(3, {'valid_loss': 2.1}), watch.should_stop
        (False, True)

    Attributes:
        metric: the name of the number, as the rows of a run have it.
        mode: ``'min'`` or ``'max'``, which way is better.
        patience: after how many evaluations without improvement to stop; None for never.
        min_delta: by how much a value must be better to count.
        best: the best value so far.
        best_step: the step at which it was read.
        waited: evaluations since.
    """

    metric: str
    mode: str = 'min'
    patience: int | None = None
    min_delta: float = 0.0
    best: float = math.nan
    best_step: int = 0
    waited: int = 0

    def __post_init__(self) -> None:
        if self.mode not in ('min', 'max'):
            raise TrainOptionError(f"mode={self.mode!r} is neither 'min' nor 'max'", mend="'min'")

    def update(self, step: int, values: Mapping[str, float]) -> bool:
        """Looks at the numbers of an evaluation; tells whether they are the best so far.

        Raises:
            TrainOptionError: the metric is not among them.
        """
        if self.metric not in values:
            raise TrainOptionError(
                f'the metric {self.metric!r} to watch is none of {listing(values)}',
                why=did_you_mean(self.metric, values),
                mend="Watch('valid_loss')",
            )
        value = values[self.metric]
        gain = value - self.best if self.mode == 'max' else self.best - value
        if gain > self.min_delta or (math.isnan(self.best) and not math.isnan(value)):
            self.best, self.best_step, self.waited = value, step, 0
            return True
        self.waited += 1
        return False

    @property
    def should_stop(self) -> bool:
        """Whether patience is at its end."""
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {'best': self.best, 'best_step': self.best_step, 'waited': self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Sets what :meth:`state` gave."""
        self.best, self.best_step = float(state['best']), int(state['best_step'])
        self.waited = int(state['waited'])

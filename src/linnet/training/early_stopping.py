"""When to stop a training that no longer gets better."""

from __future__ import annotations

import math

from linnet.struct import PyTreeNode


class EarlyStopping(PyTreeNode):
    """Counts how often in a row a metric, the lower the better, has not improved.

    Attributes:
        min_delta: by how much a metric must be lower than the best to count as better.
        patience: after how many updates that are not better the next such one is to stop.
        best_metric: the best metric so far.
        patience_count: the number of updates since the best one.
        should_stop: whether to stop; once true it stays so.
        has_improved: whether the last update was better.

    Example::

        >>> stopping = EarlyStopping(min_delta=0.1, patience=1)
        >>> for loss in (2.0, 1.0, 0.99, 0.98):
        ...     stopping = stopping.update(loss)
        ...     print(stopping.best_metric, stopping.should_stop)
        2.0 False
        1.0 False
        1.0 False
        1.0 True
    """

    min_delta: float = 0
    patience: int = 0
    best_metric: float = float('inf')
    patience_count: int = 0
    should_stop: bool = False
    has_improved: bool = False

    def reset(self) -> EarlyStopping:
        """Returns the state before the first update."""
        return self.replace(
            best_metric=float('inf'), patience_count=0, should_stop=False, has_improved=False
        )

    def update(self, metric: float) -> EarlyStopping:
        """Returns the state after another metric, a number; the first one always counts as better.

        A metric that is NaN is never better than a finite one.
        """
        if math.isinf(self.best_metric) or self.best_metric - metric > self.min_delta:
            return self.replace(best_metric=metric, patience_count=0, has_improved=True)
        return self.replace(
            patience_count=self.patience_count + 1,
            should_stop=self.patience_count >= self.patience or self.should_stop,
            has_improved=False,
        )

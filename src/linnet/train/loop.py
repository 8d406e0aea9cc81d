"""The loop of one call of ``fit``: dispatch steps, and now and then log, evaluate and save.

Only these wait for steps to be computed. What is due every so many steps happens at the end of the
group of steps that reaches the number.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from linnet.errors.training import NonFiniteLossError
from linnet.train.checkpointing import Checkpoints
from linnet.train.feed import Feed, Group, Position
from linnet.train.metrics import Averages, Metrics
from linnet.train.progress import Progress
from linnet.train.stopping import Watch
from linnet.train.writers import Writer

Row = dict[str, float]


class Runner(Protocol):
    """What the loop asks of a trainer; its attributes are explained there."""

    state: Any
    history: list[Row]
    progress: Progress
    writers: Sequence[Writer]
    hooks: Sequence[Callable[[Any, Row], None]]
    checkpoints: Checkpoints | None
    watch: Watch | None
    log_every: int
    on_nan: str

    def dispatches(self, batches: Sequence[Any]) -> Iterable[Sequence[Any]]:
        """Parts a group into what is dispatched at once."""

    def advance(self, batches: Sequence[Any]) -> Metrics:
        """Takes a step for each batch, in one dispatch."""

    def evaluate(self, data: Iterable[Any]) -> dict[str, float]:
        """Evaluates every example once."""

    def keep_best(self) -> None:
        """Keeps the variables of this moment as the best so far."""

    def save(self, position: Position) -> None:
        """Saves the state."""


@dataclasses.dataclass
class Plan:
    """What one call of ``fit`` is to do.

    Attributes:
        feed: the batches.
        steps: the number of the last step, counted from the beginning of the run.
        epochs: the number of epochs, counted likewise.
        valid: what to evaluate on.
        valid_every: how often in steps; None for the end of each epoch.
    """

    feed: Feed
    steps: int | None
    epochs: int | None
    valid: Iterable[Any] | Callable[[], Iterable[Any]] | None
    valid_every: int | None


class Loop:
    """Runs a plan with a trainer's functions, on the trainer's state."""

    def __init__(self, trainer: Runner, plan: Plan, position: Position) -> None:
        self.plan = plan
        self.position = position
        self.done = int(trainer.state.step)
        self._trainer = trainer
        self._averages = Averages()
        self._logged = self._checked = self._validated = self.done
        self._reset_clock()
        self._stopped = self._is_bad = self._is_warm = False

    def run(self) -> None:
        """Goes on until the plan is fulfilled, or early stopping or a bad loss ends it."""
        while not self._is_over():
            for group in self.plan.feed.epoch(self.position):
                self._run(self._trim(group))
                if self._is_over():
                    break
            else:
                self.position = Position(self.position.epoch + 1)
                if self.plan.valid_every is None:
                    self._validate()
        self._log()
        if self._validated < self.done and not self._stopped:
            self._validate()
        self._save()

    def _is_over(self) -> bool:
        """Whether nothing is left to do."""
        plan = self.plan
        return (
            self._stopped
            or (plan.steps is not None and self.done >= plan.steps)
            or (plan.epochs is not None and self.position.epoch >= plan.epochs)
        )

    def _trim(self, group: Group) -> Group:
        """Leaves out the batches beyond the last step."""
        surplus = self.done + len(group.batches) - (self.plan.steps or 0)
        if self.plan.steps is None or surplus <= 0:
            return group
        epoch, batch, _ = group.position
        return Group(group.batches[:-surplus], group.size, Position(epoch, batch - surplus))

    def _run(self, group: Group) -> None:
        """Dispatches a group, and does what is due after it."""
        trainer, before = self._trainer, self.done
        for batches in trainer.dispatches(group.batches):
            self._averages.add(trainer.advance(batches))
        self.done += len(group.batches)
        self._examples += group.size * len(group.batches)
        self.position = group.position
        if not self._is_warm:
            self._is_warm = True  # the first dispatch compiled the step: not counted as speed
            self._reset_clock()
        trainer.progress.advance(self.done)

        def due(every: int | None) -> bool:
            return every is not None and self.done // every > before // every

        if due(trainer.log_every):
            self._log()
        if due(self.plan.valid_every):
            self._validate()
        if trainer.checkpoints is not None and due(trainer.checkpoints.every):
            self._save()

    def _log(self) -> None:
        """Waits for the steps since the last row, and makes a row of their means."""
        if self._logged == self.done or not self._check():
            return
        seconds, steps = time.perf_counter() - self._started, self.done - self._clocked
        values, self._averages, self._logged = self._averages.result(), Averages(), self.done
        if steps:
            values['steps_per_second'] = steps / seconds
            values['examples_per_second'] = self._examples / seconds
        self._publish(values)
        self._reset_clock()

    def _reset_clock(self) -> None:
        self._started, self._clocked, self._examples = time.perf_counter(), self.done, 0

    def _check(self) -> bool:
        """Waits for the steps so far; tells whether all their losses are finite.

        Raises:
            NonFiniteLossError: one is not, and the trainer is to raise.
        """
        losses = np.concatenate([np.zeros(0), *self._averages.collect()])
        first, self._checked = self._checked + 1, self.done
        bad = np.flatnonzero(~np.isfinite(losses))
        on_nan = self._trainer.on_nan
        if on_nan == 'ignore' or not bad.size:
            return not self._is_bad
        step = first + int(bad[0])
        if on_nan == 'raise':
            raise NonFiniteLossError(
                f'the loss of step {step} is {losses[bad[0]]}',
                why='the parameters went bad in the step before, or the batch holds such a number',
                mend='a smaller learning rate, Trainer(..., clip=1.0), or on_nan="stop"',
            )
        self._trainer.progress.say(f'stopped: the loss of step {step} is {losses[bad[0]]}')
        self._stopped = self._is_bad = True
        return False

    def _validate(self) -> None:
        """Evaluates, looks whether that is the best so far, and whether it is time to stop."""
        trainer, valid = self._trainer, self.plan.valid
        if valid is None or self._stopped or not self._check():
            return
        self._log()
        with self._paused():
            found = trainer.evaluate(valid() if callable(valid) else valid)
            values = {f'valid_{name}': value for name, value in found.items()}
            self._validated = self.done
            if trainer.watch is not None and trainer.watch.update(self.done, values):
                trainer.keep_best()
            self._publish(values)
        if trainer.watch is not None and trainer.watch.should_stop:
            trainer.progress.say(
                f'stopped: {trainer.watch.metric} was best at step {trainer.watch.best_step}'
            )
            self._stopped = True

    def _publish(self, values: Mapping[str, float]) -> None:
        """Hands a row to the history, the screen, the writers and the hooks."""
        trainer = self._trainer
        row: Row = {'step': self.done, 'epoch': self.position.epoch, **values}
        trainer.history.append(row)
        trainer.progress.show(self.done, values)
        for writer in trainer.writers:
            writer.write(self.done, values)
        for hook in trainer.hooks:
            hook(trainer, row)

    def _save(self) -> None:
        """Saves the state, unless a loss of the steps so far was not finite."""
        if self._trainer.checkpoints is not None and self._check():
            with self._paused():
                self._trainer.save(self.position)

    @contextlib.contextmanager
    def _paused(self) -> Iterator[None]:
        """A context in which the clock of the speeds stands still."""
        entered = time.perf_counter()
        yield
        self._started += time.perf_counter() - entered

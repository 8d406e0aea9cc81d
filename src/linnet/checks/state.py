"""Rules about state beside the parameters: collections that are read, updated, handed on, or not.

A collection that a call may change is recognised by its fingerprint: what a step returned must be
what a later step begins with.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from linnet.checks.calls import Arrival, Call
from linnet.checks.report import Line, Report
from linnet.checks.rules import Rule
from linnet.checks.values import fingerprint
from linnet.core import meta
from linnet.errors.findings import (
    DroppedUpdatesFinding,
    EvaluationStateFinding,
    FrozenStatisticsFinding,
    InitialStatisticsFinding,
    UnreadCollectionFinding,
)
from linnet.linen.normalization import BatchNorm

_ENOUGH = 3  # updates of one state that give one result: a loss and its gradient, computed apart
_LAST = 4096  # updates of a collection are remembered
_SOWN = ('intermediates', 'perturbations')


@dataclasses.dataclass(frozen=True)
class _Update:
    """A collection before and after one run of a call."""

    call: Call
    before: bytes
    after: bytes


@dataclasses.dataclass
class _Uses:
    """How often a layer used running averages, and in which calls."""

    initial: list[Call] = dataclasses.field(default_factory=list)
    moved: bool = False


class State(Rule):
    """Updates that are lost, averages that are not averages, collections that nothing reads."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._updates: dict[tuple[str, str], collections.deque[_Update]] = {}
        self._unread: dict[tuple[str, str], Line] = {}
        self._read: set[tuple[str, str]] = set()
        self._trained: set[tuple[str, str]] = set()
        self._averages: dict[tuple[str, str], _Uses] = {}

    def begin(self, call: Call) -> None:
        """Takes the fingerprints of collections that may change."""
        if call.initializing:
            return
        parts = call.root._parts
        call.notes['before'] = {
            col: fingerprint(parts[col])
            for col, paths in call.given.items()
            if paths and col not in ('params', *_SOWN) and call.root.is_mutable_collection(col)
        }

    def enter(self, call: Call, module: Any, method: str, args: Any, kwargs: Any) -> None:
        """Looks at the statistics that a batch normalisation is about to use or to update."""
        if not isinstance(module, BatchNorm) or method != '__call__' or call.initializing:
            return
        where = module.scope.path_text
        if not _uses_average(module, args, kwargs):
            call.ask(jnp.zeros(1, jnp.uint32), lambda _, arrival: self._was_trained(call, where))
            return
        statistics = meta.unbox(dict(module.scope._collection('batch_stats')))
        mean, var = statistics.get('mean'), statistics.get('var')
        if mean is None or var is None:
            return
        initial = jnp.all(mean == 0) & jnp.all(var == 1)

        def receive(words: np.ndarray, arrival: Arrival) -> None:
            self._used_average(call, where, bool(words.all()))

        call.ask(initial.astype(jnp.uint32), receive)

    def end(self, call: Call) -> None:
        """Takes the fingerprints again, and notes which collections were read."""
        if call.initializing:
            return
        for col, paths in call.given.items():
            if not any(paths) or col in ('params', *_SOWN):
                continue
            if col in call.written or any(call.was_read(col, path) for path in paths):
                self._read.add((call.name, col))
            self._unread.setdefault((call.name, col), call.line)
        for col, before in call.notes.get('before', {}).items():
            # A loop that decodes a text has used the cache up when it ends; statistics it has not.
            if col in call.written and (col not in call.carried or col == 'batch_stats'):
                after = fingerprint(call.root._parts[col])
                call.ask(jnp.stack([before, after]), self._receiver(call, col))

    def _receiver(self, call: Call, col: str) -> Any:
        def receive(words: np.ndarray, arrival: Arrival) -> None:
            update = _Update(call, words[:, 0].tobytes(), words[:, 1].tobytes())
            updates = self._updates.setdefault((call.name, col), collections.deque(maxlen=_LAST))
            updates.append(update)

        return receive

    def _was_trained(self, call: Call, where: str) -> None:
        self._trained.add((call.name, where))

    def _used_average(self, call: Call, where: str, initial: bool) -> None:
        uses = self._averages.setdefault((call.name, where), _Uses())
        uses.moved |= not initial
        if not initial:
            return
        uses.initial.append(call)
        if (call.name, where) in self._trained:
            self.found(
                InitialStatisticsFinding,
                f'{where} evaluates with running statistics still at their initial mean 0 and '
                'variance 1, after training',
                why='the statistics that training computed were not kept',
                mend='y, updates = model.apply(..., mutable=["batch_stats"]), and pass updates on',
                where=f'{where} (BatchNorm)',
                line=call.line,
                other_lines=(call.lines.get(where, ('', 0)),),
            )

    def finish(self) -> None:
        """Judges what became of updates, and of collections that were passed."""
        for (name, col), updates in self._updates.items():
            changes = [update for update in updates if update.before != update.after]
            self._judge(name, col, changes, list(updates))
        for (name, where), uses in self._averages.items():
            self._judge_averages(name, where, uses)
        for (name, col), line in self._unread.items():
            if (name, col) not in self._read:
                self.found(
                    UnreadCollectionFinding,
                    f'collection {col!r} was passed to {name}, and nothing in it was ever read',
                    mend=f'leave {col!r} out of the variables, or name what the modules read',
                    where=name,
                    line=line,
                )

    def _judge(self, name: str, col: str, changes: list[_Update], all_runs: list[_Update]) -> None:
        if not changes:
            return
        begun, results = {u.before for u in all_runs}, {u.after for u in changes}
        if len(begun) == 1 and (len(results) > 1 or len(changes) >= _ENOUGH):
            self.found(
                DroppedUpdatesFinding,
                f'{name} updated {col!r} {len(changes)} times, each time from the same state',
                why='the updates were computed and dropped',
                mend=f'y, updates = model.apply(..., mutable=[{col!r}]), and pass updates on',
                where=name,
                line=changes[0].call.line,
            )
        trained = {u.call.program for u in all_runs if u.call.differentiated}
        for number, update in enumerate(changes):
            if not trained or update.call.differentiated or update.call.program in trained:
                continue
            if update.after in {later.before for later in changes[number + 1 :]}:
                self.found(
                    EvaluationStateFinding,
                    f'{col!r} changed in a call of {name} that no gradient was taken of, and '
                    'training went on with it',
                    mend='evaluate with train=False, or do not keep what mutable returns',
                    where=name,
                    line=update.call.line,
                )

    def _judge_averages(self, name: str, where: str, uses: _Uses) -> None:
        steps = [call for call in uses.initial if call.differentiated]
        if uses.moved or len(steps) < 2 or (name, where) in self._trained:
            return
        self.found(
            FrozenStatisticsFinding,
            f'{where} was trained with running statistics that stayed at mean 0 and variance 1',
            why='a layer that uses the running average does not update it',
            mend='nn.BatchNorm(use_running_average=not train)',
            where=f'{where} (BatchNorm)',
            line=steps[0].line,
            other_lines=(steps[0].lines.get(where, ('', 0)),),
        )


def _uses_average(module: Any, args: Any, kwargs: Any) -> bool:
    given = args[1] if len(args) > 1 else kwargs.get('use_running_average')
    return bool(module.use_running_average if given is None else given)

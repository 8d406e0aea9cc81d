"""Progress: what a person sees of a run while it goes.

On a terminal one live line: a bar, loss and metrics, steps and examples a second, the time left.
Elsewhere a plain line each time numbers come. Quiet shows nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

from linnet.errors._suggest import listing
from linnet.errors.training import TrainOptionError


class Progress(Protocol):
    """What a run tells to whom it may concern."""

    def start(self, done: int, total: int | None) -> None:
        """The run begins, ``done`` steps behind it of ``total``."""

    def advance(self, done: int) -> None:
        """Steps have been dispatched."""

    def show(self, done: int, values: Mapping[str, float]) -> None:
        """Numbers of a step have come."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def stop(self) -> None:
        """The run is over."""


def make_progress(mode: str = 'auto', file: TextIO | None = None) -> Progress:
    """Makes what shows the progress of a run.

    Args:
        mode: ``'live'``, ``'plain'``, ``'quiet'``, or ``'auto'``: live on a terminal, else plain.
        file: where to; standard output by default.

    Raises:
        TrainOptionError: there is no such mode.
    """
    file = file or sys.stdout
    if mode == 'auto':
        mode = 'live' if file.isatty() else 'plain'
    kinds: dict[str, Any] = {'live': LiveProgress, 'plain': PlainProgress, 'quiet': QuietProgress}
    if mode not in kinds:
        raise TrainOptionError(
            f'progress={mode!r} is none of {listing(["auto", *kinds])}', mend="progress='plain'"
        )
    progress: Progress = kinds[mode](file)
    return progress


def describe(values: Mapping[str, float]) -> str:
    """Writes numbers in a line.

    >>> describe({'loss': 0.51234, 'steps_per_second': 1234.5, 'examples_per_second': 79012.0})
    'loss 0.5123, 1,234 steps/s, 79,012 examples/s'
    """
    units = {'steps_per_second': 'steps/s', 'examples_per_second': 'examples/s'}
    parts = [
        f'{value:,.0f} {units[name]}' if name in units else f'{name} {value:.4g}'
        for name, value in values.items()
        if name != 'epoch'
    ]
    return ', '.join(parts)


class QuietProgress:
    """Shows nothing; what is said is not printed either."""

    def __init__(self, file: TextIO | None = None) -> None:
        """Takes the file that the others write to, and leaves it alone."""

    def start(self, done: int, total: int | None) -> None:
        """Shows nothing."""

    def advance(self, done: int) -> None:
        """Shows nothing."""

    def show(self, done: int, values: Mapping[str, float]) -> None:
        """Shows nothing."""

    def say(self, text: str) -> None:
        """Shows nothing."""

    def stop(self) -> None:
        """Shows nothing."""


class PlainProgress(QuietProgress):
    """A line for each set of numbers: ``step 50/200: loss 0.51, ...``."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stdout
        self._total = ''

    def start(self, done: int, total: int | None) -> None:
        """Remembers how many steps there are."""
        self._total = '' if total is None else f'/{total}'

    def show(self, done: int, values: Mapping[str, float]) -> None:
        """Prints a line."""
        self.say(f'step {done}{self._total}: {describe(values)}')

    def say(self, text: str) -> None:
        """Prints a line."""
        print(text, file=self._file, flush=True)


class LiveProgress(QuietProgress):
    """One line that is drawn anew; needs ``rich``."""

    def __init__(self, file: TextIO | None = None) -> None:
        from rich import progress
        from rich.console import Console

        self._console = Console(file=file)
        self._bar = progress.Progress(
            progress.BarColumn(bar_width=20),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn('{task.description}'),
            console=self._console,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task('', total=None, start=False)
        self._latest: dict[str, float] = {}

    def start(self, done: int, total: int | None) -> None:
        """Draws the line."""
        self._bar.reset(self._task, total=total, completed=done)
        self._bar.start()

    def advance(self, done: int) -> None:
        """Moves the bar."""
        self._bar.update(self._task, completed=done)

    def show(self, done: int, values: Mapping[str, float]) -> None:
        """Puts the numbers on the line, beside the last ones of other names."""
        self._latest |= values
        self._bar.update(self._task, completed=done, description=describe(self._latest))

    def say(self, text: str) -> None:
        """Prints a line above."""
        self._console.print(text, markup=False, highlight=False)

    def stop(self) -> None:
        """Leaves the line as it is."""
        self._bar.stop()

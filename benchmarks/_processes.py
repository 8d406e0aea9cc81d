"""Measuring in fresh processes, in turn, so that what a machine does meanwhile hits all alike.

A *round* runs every command once, one after the other; the next round begins with another one. A
command prints its figures as one line of JSON, a dict of names to numbers, after whatever else it
prints.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Summary:
    """What the rounds gave for one figure.

    Attributes:
        values: the value of each round, in order; at least one.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half of the range."""
        return (max(self.values) - min(self.values)) / 2

    def ratio_to(self, other: Summary) -> float:
        """The median of the ratios to the values that another library had in the same rounds.

        What the machine does meanwhile is alike for both in a round, and not from round to round.
        """
        return statistics.median(a / b for a, b in zip(self.values, other.values, strict=True))


class ChildError(Exception):
    """A process failed; the message ends with what it said last."""


def run_child(arguments: Sequence[str]) -> dict[str, float]:
    """Runs ``python arguments...`` afresh and returns the figures that it prints.

    Raises:
        ChildError: it failed, or printed no figures.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = '\n'.join(done.stderr.strip().splitlines()[-6:])
        raise ChildError(f'{" ".join(arguments)} failed ({done.returncode}):\n{said}')
    figures: dict[str, float] = json.loads(lines[-1])
    return figures


def environment() -> dict[str, str]:
    """The variables of a child: this checkout comes first, and nothing is kept on disk."""
    paths = [str(ROOT / 'src'), str(ROOT), os.environ.get('PYTHONPATH', '')]
    changed = {
        'PYTHONPATH': os.pathsep.join(filter(None, paths)),
        'JAX_ENABLE_COMPILATION_CACHE': 'false',
    }
    kept = {k: v for k, v in os.environ.items() if k != 'PYTHONDONTWRITEBYTECODE'}
    return {**kept, **changed}


def interleaved(
    commands: Mapping[str, Sequence[str]],
    rounds: int,
    tell: Callable[[str], Any] = lambda _: None,
    child: Callable[[Sequence[str]], dict[str, float]] = run_child,
) -> dict[str, dict[str, list[float]]]:
    """Measures commands in turn.

    Args:
        commands: the arguments of each, by name.
        rounds: how often each runs.
        tell: is told the message of a command that failed; it is not run again.
        child: runs one.

    Returns:
        For each command that did not fail, the values of each figure.
    """
    values: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in commands}
    for n in range(rounds):
        names = list(values)
        for name in names[n % max(1, len(names)) :] + names[: n % max(1, len(names))]:
            try:
                figures = child(commands[name])
            except ChildError as error:
                tell(str(error))
                del values[name]
                continue
            for figure, value in figures.items():
                values[name][figure].append(value)
    return values


def summaries(values: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, Summary]]:
    """Summarises what :func:`interleaved` returned: by command, then by figure."""
    return {
        name: {figure: Summary(tuple(series)) for figure, series in figures.items()}
        for name, figures in values.items()
    }

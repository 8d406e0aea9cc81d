"""The table of all figures, with the goals that Linnet has for them; as text, JSON and a plot."""

from __future__ import annotations

import fnmatch
import json
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks._processes import Summary

RESULTS = Path(__file__).parent / 'results'
Figures = Mapping[str, Mapping[str, Summary]]
"""By figure, then by library."""
PROGRAM = ', program'
"""Ends the name of a figure that is not measured: a number that stands for a compiled program."""

COLUMNS = {
    'linnet': 'Linnet',
    'flax': 'Flax',
    'nnx': 'NNX',
    'haiku': 'Haiku',
    'equinox': 'Equinox',
    'floor': 'floor',
}


@dataclass(frozen=True)
class Goal:
    """What Linnet wants of the figures that match a pattern.

    Attributes:
        pattern: names of figures, as for :func:`fnmatch.fnmatch`.
        limit: the most that Linnet's figure may be, as a ratio to that of ``base``.
        base: the library that is compared with; empty where the figure has a unit of its own.
    """

    pattern: str
    limit: float
    base: str = ''

    def __str__(self) -> str:
        if self.limit < 0.5 and self.base:
            return f'{COLUMNS[self.base]} / {1 / self.limit:g}'
        return f'{self.limit:g} {COLUMNS.get(self.base, "")}'.strip()


GOALS = (
    Goal('import beyond jax', 0.12),
    Goal('trace apply, 12 blocks', 1.5, 'floor'),
    Goal('trace training step, *', 1.2, 'floor'),
    Goal('growth of trace*', 0.25),
    Goal('eager apply*', 1.8, 'floor'),
    Goal('abstract init*', 1.5, 'floor'),
    Goal('cold init, ResNet-50', 1 / 12, 'flax'),
    Goal('cold init, transformer', 1 / 4, 'flax'),
    Goal('peak memory after cold init*', 1.0, 'flax'),
    Goal('forward, *, flops', 1.0, 'floor'),
    Goal('forward, *, bytes', 1.0, 'floor'),
    # Most of it draws a mask. JAX hashes in a loop, of which XLA counts one turn; ours is unrolled.
    Goal('training step, MLP, flops', 2.0, 'floor'),
    Goal('training step, *, flops', 1.0, 'floor'),
    Goal('training step, *, bytes', 1.0, 'floor'),
    Goal('forward, *', 1.02, 'floor'),
    Goal('training step, *', 1.02, 'floor'),
    Goal('compiled apply, *', 1.02, 'floor'),
    Goal('jit dispatch, *', 1.05, 'floor'),
    Goal('*Cell, *', 1.0, 'flax'),
    Goal('dropout, *', 1.0, 'flax'),
    Goal('fast dropout, *', 1 / 3, 'flax'),
    Goal('memory-efficient attention, *, temporary bytes', 1 / 10, 'flax'),
    Goal('memory-efficient attention, *d', 1.0, 'flax'),  # forward
    Goal('memory-efficient attention, *t', 1.0, 'flax'),  # gradient
    Goal('growth of memory*', 1.0),
)


def by_figure(libraries: Mapping[str, Mapping[str, Summary]]) -> dict[str, dict[str, Summary]]:
    """Turns summaries by library into summaries by figure."""
    figures: dict[str, dict[str, Summary]] = {}
    for library, summaries in libraries.items():
        for name, summary in summaries.items():
            figures.setdefault(name, {})[library] = summary
    return figures


def goal_of(figure: str) -> Goal | None:
    """The goal for a figure, the first that matches."""
    return next((goal for goal in GOALS if fnmatch.fnmatchcase(figure, goal.pattern)), None)


def is_met(goal: Goal, summaries: Mapping[str, Summary]) -> bool | None:
    """Tells whether a goal is met; None where a library was not measured."""
    if 'linnet' not in summaries or (goal.base and goal.base not in summaries):
        return None
    ours = summaries['linnet']
    return (ours.ratio_to(summaries[goal.base]) if goal.base else ours.median) <= goal.limit


def is_same_program(figures: Figures, figure: str, library: str) -> bool:
    """Tells whether what is measured is, in Linnet, the very program of another library."""
    programs = figures.get(figure + PROGRAM, {})
    return {'linnet', library} <= programs.keys() and programs['linnet'] == programs[library]


def _verdict(figures: Figures, figure: str) -> str:
    goal = goal_of(figure)
    if goal is None:
        return ''
    if is_same_program(figures, figure, goal.base):
        return 'same program'
    return {True: 'met', False: 'MISSED', None: ''}[is_met(goal, figures[figure])]


def amount(figure: str, value: float) -> str:
    """A value in the unit of its figure: ``12.3 ms``."""
    if figure.endswith('flops'):
        return f'{value / 1e6:.2f} MFLOP'
    if figure.endswith('bytes'):
        return f'{value / 1e6:.1f} MB'
    if figure.endswith('ratio'):
        return f'{value:.2f}'
    return f'{1e3 * value:.3g} ms' if value < 1 else f'{value:.2f} s'


def _cell(figure: str, library: str, summaries: Mapping[str, Summary]) -> str:
    """``12.3 ms ±4% (1.50)``: median, half of the range, median ratio to the floor."""
    if library not in summaries:
        return ''
    summary = summaries[library]
    text = amount(figure, summary.median)
    if len(summary.values) > 1 and summary.median:
        text += f' ±{100 * summary.spread / summary.median:.0f}%'
    floor = summaries.get('floor')
    if floor is not None and library != 'floor' and floor.median:
        text += f' ({summary.ratio_to(floor):.2f})'
    return text


def rows(figures: Figures) -> list[list[str]]:
    """The table with its heading: a figure a row, then a column for each library.

    ``=`` marks figures of one and the same compiled program, which only chance tells apart.
    """
    present = [library for library in COLUMNS if any(library in s for s in figures.values())]
    table = [['', *(COLUMNS[library] for library in present), 'Linnet / Flax', 'goal', '']]
    for figure, summaries in figures.items():
        if figure.endswith(PROGRAM):
            continue
        goal = goal_of(figure)
        of_flax = ''
        if {'linnet', 'flax'} <= summaries.keys() and summaries['flax'].median:
            of_flax = f'{summaries["linnet"].ratio_to(summaries["flax"]):.2f}'
            of_flax += ' =' * is_same_program(figures, figure, 'flax')
        table.append(
            [
                figure,
                *(_cell(figure, library, summaries) for library in present),
                of_flax,
                f'≤ {goal}' if goal else '',
                _verdict(figures, figure),
            ]
        )
    return table


def markdown(figures: Figures) -> str:
    """The table, aligned, in Markdown."""
    table = rows(figures)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = [
        '| ' + ' | '.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + ' |'
        for row in table
    ]
    lines.insert(1, '|' + '|'.join('-' * (w + 2) for w in widths) + '|')
    return '\n'.join(lines)


def write_json(figures: Figures, about: Mapping[str, Any], path: Path) -> None:
    """Writes the figures, and what is known about the run."""
    values = {
        figure: {
            library: {'median': summary.median, **asdict(summary)}
            for library, summary in summaries.items()
        }
        for figure, summaries in figures.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, 'figures': values}, indent=1) + '\n')


def write_plot(figures: Figures, title: str, path: Path) -> None:
    """Draws the ratios to the floor of all figures that have one, on a logarithmic scale.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = {
        figure: summaries
        for figure, summaries in figures.items()
        if summaries.get('floor') and not figure.endswith(('flops', 'bytes', 'ratio', PROGRAM))
    }
    page = Figure(figsize=(9, 1.5 + 0.45 * len(shown)), layout='constrained')
    FigureCanvasAgg(page)
    axes = page.subplots()
    for library, label in COLUMNS.items():
        points = [
            (summaries[library].ratio_to(summaries['floor']), figure)
            for figure, summaries in shown.items()
            if library in summaries
        ]
        if points:
            axes.scatter(*zip(*points, strict=True), label=label, alpha=0.8)
    axes.set_xscale('log')
    axes.axvline(1, color='grey', linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel('time as a multiple of hand-written JAX')
    axes.set_title(textwrap.fill(title, 95), fontsize=8)
    axes.legend(fontsize=8)
    page.savefig(path, dpi=110, metadata={'Software': None})

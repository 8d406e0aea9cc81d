"""Curves of a report: rows of numbers as charts of HTML and SVG.

A chart is a *plot* with a line for each series: a metric in training, and the same in evaluation.
Lines are drawn in a square of 1000 units that the page stretches to its width; text stands beside
it as HTML, so that it has the same size on a phone. Numbers that are not finite leave a gap, and a
mark at the top where they came. Long series are thinned: of each stretch of steps the lowest and
the highest number stay, so that no spike is lost, and a line goes through the means.
"""

from __future__ import annotations

import dataclasses
import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

MOST_POINTS = 600
_MEANS = 150
_DOTTED = 40
_STRETCH = 1000.0
_LOG_FROM = 50.0  # a loss that falls by so much is drawn on a scale of logarithms
_SPEEDS = ('steps_per_second', 'examples_per_second')
_NO_METRIC = ('step', 'epoch')


class Series(NamedTuple):
    """Numbers of a metric, ``train`` or ``valid``, by step."""

    name: str
    steps: np.ndarray
    values: np.ndarray


def collect(rows: Iterable[Mapping[str, float]]) -> dict[str, list[Series]]:
    """Sorts the numbers of rows by metric, the loss first and speeds last.

    >>> rows = [{'step': 1, 'loss': 2.0}, {'step': 1, 'valid_loss': 3.0}]
    >>> [series.name for series in collect(rows)['loss']]
    ['train', 'valid']
    """
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        for key in row.keys() - set(_NO_METRIC):
            metric = key.removeprefix('valid_')
            kind = 'train' if metric == key else 'valid'
            points = found.setdefault(metric, {}).setdefault(kind, [])
            points.append((float(row['step']), float(row[key])))
    order = sorted(found, key=lambda name: (name in _SPEEDS, name != 'loss', name))
    return {
        name: [Series(kind, *np.array(found[name][kind]).T) for kind in sorted(found[name])]
        for name in order
    }


def draw_charts(rows: Sequence[Mapping[str, float]]) -> str:
    """Draws a chart of each metric."""
    metrics = collect(rows)
    steps = [series.steps for several in metrics.values() for series in several]
    if not steps:
        return '<p class="note">No numbers came.</p>'
    across = _step_scale(np.concatenate(steps))
    return ''.join(_draw_chart(name, several, across) for name, several in metrics.items())


def number(value: float) -> str:
    """Writes a number for people.

    >>> number(0.512345), number(3.0), number(1234567.0), number(1.2e-7), number(math.inf)
    ('0.5123', '3', '1,234,567', '1.2e-07', 'inf')
    """
    if not math.isfinite(value):
        return f'{value}'
    return f'{value:,.0f}' if abs(value) >= 1000 or value == int(value) else f'{value:.4g}'


@dataclasses.dataclass(frozen=True)
class Scale:
    """Where numbers are on an axis from 0 to 1, and which have a label."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    is_log: bool = False

    def place(self, values: np.ndarray) -> np.ndarray:
        """The places of numbers: `[n] -> [n]`."""
        if self.is_log:
            return (np.log10(values) - math.log10(self.low)) / math.log10(self.high / self.low)
        return (values - self.low) / (self.high - self.low)


def _step_scale(steps: np.ndarray) -> Scale:
    """An axis of steps, from 0 unless the first of them is far from it."""
    low, high = float(steps.min()), float(steps.max())
    if low <= 0.2 * high:
        low = min(0.0, low)
    if low == high:
        low, high = low - 1, high + 1
    ticks = [tick for tick in _even_ticks(low, high, 5) if tick == int(tick) and tick >= 0]
    return Scale(low, high, tuple((tick, _short(tick)) for tick in ticks))


def _value_scale(values: np.ndarray, *, may_be_log: bool) -> Scale:
    """An axis of numbers, a little longer than they need."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if may_be_log and low > 0 and high / low >= _LOG_FROM:
        low, high = low / 1.15, high * 1.15
        ticks = [tick for tick in _log_ticks(low, high) if low <= tick <= high]
        return Scale(low, high, tuple((tick, f'{tick:g}') for tick in ticks), is_log=True)
    margin = 0.05 * (high - low) or 0.1 * abs(high) or 0.5
    low, high = low - margin, high + margin
    return Scale(low, high, tuple(zip(*_labelled(_even_ticks(low, high, 5)), strict=True)))


def _even_ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers between two others, about so many.

    >>> _even_ticks(0.0, 1000.0, 5)
    [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]
    """
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * by for by in (1, 2, 5, 10) if power * by >= rough * 0.999)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, or more where there would be few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    apart = max(1, len(powers) // 5)
    by = (1, 2, 5) if len(powers) <= 3 else (1,)
    return [10.0**power * times for power in powers if power % apart == 0 for times in by]


def _labelled(ticks: Sequence[float]) -> tuple[Sequence[float], list[str]]:
    """Labels with as many decimals as tell the ticks apart."""
    apart = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    if not 1e-4 <= apart < 1e6:
        return ticks, [f'{tick:.3g}' for tick in ticks]
    decimals = max(0, -math.floor(math.log10(apart) + 1e-9))
    return ticks, [f'{tick:,.{decimals}f}' for tick in ticks]


def _short(tick: float) -> str:
    """A number of steps, short.

    >>> _short(500.0), _short(2500.0), _short(20000.0), _short(1.5e6)
    ('500', '2,500', '20k', '1.5M')
    """
    if tick >= 1e6:
        return f'{tick / 1e6:g}M'
    return f'{tick / 1e3:g}k' if tick >= 1e4 else f'{tick:,.0f}'


def thin(series: Series, most: int = MOST_POINTS) -> Series:
    """Leaves at most so many points: of each stretch the lowest, the highest, one not finite."""
    if len(series.steps) <= most:
        return series
    kept: set[int] = {0, len(series.steps) - 1}
    for stretch in np.array_split(np.arange(len(series.steps)), most // 3 - 1):
        values = series.values[stretch]
        finite = np.isfinite(values)
        if finite.any():
            kept.add(int(stretch[np.argmin(np.where(finite, values, np.inf))]))
            kept.add(int(stretch[np.argmax(np.where(finite, values, -np.inf))]))
        kept.update(stretch[~finite][:1].tolist())
    chosen = sorted(kept)
    return Series(series.name, series.steps[chosen], series.values[chosen])


def means(series: Series, count: int = _MEANS) -> Series:
    """The means of so many stretches, each of the numbers that are finite."""
    kept = Series(series.name, *(part[np.isfinite(series.values)] for part in series[1:]))
    stretches = [part for part in np.array_split(np.arange(len(kept.steps)), count) if part.size]
    return Series(
        series.name,
        np.array([kept.steps[part].mean() for part in stretches]),
        np.array([kept.values[part].mean() for part in stretches]),
    )


def _draw_chart(metric: str, several: Sequence[Series], across: Scale) -> str:
    values = np.concatenate([series.values for series in several])
    up = _value_scale(values[np.isfinite(values)], may_be_log='loss' in metric)
    through = {
        series.name: _place(means(series), across, up)
        for series in several
        if len(series.steps) > MOST_POINTS
    }
    several = [thin(series) for series in several]
    places = [_place(series, across, up) for series in several]
    legend = ''.join(
        f'<span class="key {series.name}">{series.name} <b>{number(series.values[-1])}</b></span>'
        for series in several
    )
    scale = '<span class="scale">log scale</span>' if up.is_log else ''
    lines = ''.join(
        _draw_line(series.name, points, np.isfinite(series.values), through.get(series.name))
        for series, points in zip(several, places, strict=True)
    )
    title = html.escape(metric.replace('_', ' '))
    return (
        f'<figure class="chart"><figcaption><h3>{title}</h3>{scale}{legend}</figcaption>'
        f'<div class="plot" data-series="{_describe(several, places)}">'
        f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" '
        f'aria-label="{title} by step">{_draw_grid(across, up)}{lines}</svg>'
        f'{_draw_labels(across, up)}</div></figure>'
    )


def _place(series: Series, across: Scale, up: Scale) -> np.ndarray:
    """Where points are, `[n, 2]` in the units of the plot; what is not finite is at the top."""
    finite = np.isfinite(series.values)
    y = np.ones(len(series.values))
    y[finite] = up.place(series.values[finite])
    return np.round(np.stack([across.place(series.steps), 1 - y], axis=1) * _STRETCH, 1)


def _describe(several: Sequence[Series], places: Sequence[np.ndarray]) -> str:
    """What the page shows under the pointer: of each point its place, step and number."""
    found = [
        {
            'name': series.name,
            'points': [
                [*place, int(step), number(value)]
                for place, step, value in zip(
                    places.tolist(), series.steps, series.values.tolist(), strict=True
                )
            ],
        }
        for series, places in zip(several, places, strict=True)
    ]
    return html.escape(json.dumps(found, separators=(',', ':')))


def _draw_grid(across: Scale, up: Scale) -> str:
    xs = across.place(np.array([tick for tick, _ in across.ticks])) * _STRETCH
    ys = _STRETCH - up.place(np.array([tick for tick, _ in up.ticks])) * _STRETCH
    path = ''.join([*(f'M{x:.1f} 0V1000' for x in xs), *(f'M0 {y:.1f}H1000' for y in ys)])
    return f'<path class="grid" d="{path}"/>'


def _draw_labels(across: Scale, up: Scale) -> str:
    xs = across.place(np.array([tick for tick, _ in across.ticks])) * 100
    ys = 100 - up.place(np.array([tick for tick, _ in up.ticks])) * 100
    below = [
        f'<span class="x" style="left:{x:.2f}%">{label}</span>'
        for x, (_, label) in zip(xs, across.ticks, strict=True)
    ]
    beside = [
        f'<span class="y" style="top:{y:.2f}%">{label}</span>'
        for y, (_, label) in zip(ys, up.ticks, strict=True)
    ]
    return f'<div class="labels" aria-hidden="true">{"".join(below + beside)}</div>'


def _draw_line(
    name: str, places: np.ndarray, finite: np.ndarray, through: np.ndarray | None
) -> str:
    """A line with gaps, dots where a point stands alone or there are few, and marks.

    Where there are means to draw a line through, that of the points is faint.
    """
    breaks = np.flatnonzero(np.diff(finite.astype(int)) != 0) + 1
    runs = [run for run in np.split(np.arange(len(places)), breaks) if finite[run[0]]]
    dotted = [run for run in runs if len(run) == 1 or len(places) <= _DOTTED]
    line = ''.join(_path(places[run]) for run in runs)
    paths = {
        'all': '' if through is None else line,
        'line': line if through is None else _path(through),
        'dots': ''.join(f'M{x:g} {y:g}h0' for run in dotted for x, y in places[run].tolist()),
        'marks': ''.join(f'M{x:g} 0v45' for x, _ in places[~finite].tolist()),
    }
    return ''.join(f'<path class="{kind} {name}" d="{d}"/>' for kind, d in paths.items() if d)


def _path(places: np.ndarray) -> str:
    points = 'L'.join(f'{x:g} {y:g}' for x, y in places.tolist())
    return f'M{points}' if points else ''

"""The page of a report: its sections as HTML, in one file that needs nothing else.

All text that comes from a program is escaped. The page may load nothing (its security policy says
so); style and script are the files beside this one, written into it.
"""

from __future__ import annotations

import html
import importlib.resources
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from linnet.train._report_curves import draw_charts, number
from linnet.train._report_images import image_address

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_OPEN_UP_TO = 40  # a longer table of parameters is folded
_MARKS = {True: ('right', '✓ right'), False: ('wrong', '✗ wrong'), None: ('', '')}


class Parameter(NamedTuple):
    """One array of a model."""

    path: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        """Its number of elements."""
        return math.prod(self.shape)


def text(value: object) -> str:
    """Escapes what a program gives.

    >>> text('<b>')
    '&lt;b&gt;'
    """
    return html.escape(str(value))


def draw_page(title: str, subtitle: str, sections: Iterable[str]) -> str:
    """Puts sections together to a page."""
    style, script = (_asset(f'report.{kind}') for kind in ('css', 'js'))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<title>{text(title)}</title>\n<link rel="icon" href="data:,">\n'
        f'<style>\n{style}</style>\n</head>\n<body>\n'
        f'<header><h1>{text(title)}</h1><p>{text(subtitle)}</p></header>\n<main>\n'
        + '\n'.join(sections)
        + f'\n</main>\n<script>\n{script}</script>\n</body>\n</html>\n'
    )


def _asset(name: str) -> str:
    return importlib.resources.files('linnet.train').joinpath(name).read_text(encoding='utf-8')


def _section(title: str, body: str, *, kind: str = '') -> str:
    return f'<section class="{kind}"><h2>{text(title)}</h2>{body}</section>' if body else ''


def figures_section(figures: Mapping[str, float]) -> str:
    """The numbers that a run ended with."""
    cards = ''.join(
        f'<div class="card"><dt>{text(name.replace("_", " "))}</dt><dd>{number(value)}</dd></div>'
        for name, value in figures.items()
    )
    return _section('Final figures', f'<dl class="cards">{cards}</dl>' if cards else '')


def curves_section(rows: Sequence[Mapping[str, float]]) -> str:
    """A chart of each metric."""
    return _section('Curves', f'<div class="charts">{draw_charts(rows)}</div>')


def pairs_section(title: str, pairs: Mapping[str, object]) -> str:
    """A table of names and values."""
    rows = ''.join(
        f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>'
        for name, value in pairs.items()
    )
    body = f'<div class="wide"><table class="pairs"><tbody>{rows}</tbody></table></div>'
    return _section(title, body if rows else '', kind='half')


def parameters_section(parameters: Sequence[Parameter]) -> str:
    """The arrays of a model: path, shape, dtype, and how many elements, with their total."""
    total = sum(parameter.elements for parameter in parameters)
    if not parameters:
        return ''
    rows = ''.join(
        f'<tr><th scope="row">{_breakable(parameter.path)}</th>'
        f'<td>{text(parameter.shape)}</td><td>{parameter.dtype}</td>'
        f'<td class="count" style="--share:{parameter.elements / max(total, 1):.4f}">'
        f'{parameter.elements:,}</td></tr>'
        for parameter in parameters
    )
    table = (
        '<div class="wide"><table class="parameters"><thead><tr><th>path</th><th>shape</th>'
        f'<th>dtype</th><th class="count">elements</th></tr></thead><tbody>{rows}</tbody>'
        f'<tfoot><tr><th scope="row" colspan="3">total</th><td class="count">{total:,}</td></tr>'
        '</tfoot></table></div>'
    )
    summary = f'{len(parameters):,} arrays, {total:,} elements'
    is_open = ' open' if len(parameters) <= _OPEN_UP_TO else ''
    return _section(
        'Parameters', f'<details{is_open}><summary>{summary}</summary>{table}</details>'
    )


def _breakable(path: str) -> str:
    """A path that may be broken at its slashes."""
    return text(path).replace('/', '/<wbr>')


def confusion_section(counts: np.ndarray, classes: Sequence[object]) -> str:
    """How often each class (row) was taken for which (column)."""
    totals = counts.sum(axis=1)
    head = ''.join(f'<th scope="col">{text(name)}</th>' for name in classes)
    rows = ''.join(
        f'<tr><th scope="row">{text(classes[i])}</th>{_confusion_cells(counts, i)}'
        f'<td class="recall">{counts[i, i] / totals[i]:.1%}</td></tr>'
        if totals[i]
        else f'<tr><th scope="row">{text(classes[i])}</th>{_confusion_cells(counts, i)}'
        '<td class="recall">none</td></tr>'
        for i in range(len(classes))
    )
    right, total = int(np.trace(counts)), int(counts.sum())
    body = (
        f'<p class="note">{right:,} of {total:,} right. Rows: what it is; columns: what it was '
        'taken for; at the end of a row the share that was right.</p>'
        f'<div class="wide matrix"><table class="confusion"><thead><tr><td></td>{head}'
        f'<th scope="col">right</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )
    return _section('Confusion matrix', body)


def _confusion_cells(counts: np.ndarray, row: int) -> str:
    share = counts[row] / max(int(counts[row].sum()), 1)
    return ''.join(
        f'<td class="{"hit" if column == row else "miss"}" style="--share:{share[column]:.3f}">'
        f'{count:,}</td>'
        if count
        else '<td class="zero">·</td>'
        for column, count in enumerate(counts[row].tolist())
    )


def samples_section(samples: Iterable[tuple[Any, str, bool | None]]) -> str:
    """Texts, then images, each with what is said of it."""
    cards: dict[str, list[str]] = {'texts': [], 'images': []}
    for value, caption, right in samples:
        kind = 'texts' if isinstance(value, str) else 'images'
        cards[kind].append(_sample(value, caption, right))
    grids = [
        f'<div class="samples {kind}">{"".join(found)}</div>'
        for kind, found in cards.items()
        if found
    ]
    return _section('Samples', ''.join(grids))


def _sample(value: Any, caption: str, right: bool | None) -> str:
    kind, mark = _MARKS[right]
    body = (
        f'<pre>{text(value)}</pre>'
        if isinstance(value, str)
        else f'<img src="{image_address(value)}" alt="{text(caption or "sample")}">'
    )
    said = f'<span>{text(caption)}</span>' if caption else ''
    marked = f'<span class="mark">{mark}</span>' if mark else ''
    return f'<figure class="sample {kind}">{body}<figcaption>{said}{marked}</figcaption></figure>'

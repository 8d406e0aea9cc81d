"""Reports: a run as one page, ``report.html``, to keep beside its results and to show others.

``Trainer(..., report=HtmlReport('out/report.html'))`` writes it when ``fit`` ends, also by Ctrl-C
or an error, with what there is until then. What is known only later, as figures on a test set, is
added and the page written anew. A loop of one's own gives its rows:
``report.save(rows, variables)``.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import os
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from linnet.core import meta
from linnet.errors.training import TrainOptionError
from linnet.train import _report_page as page
from linnet.version import __version__

Row = Mapping[str, float]


class Sample(NamedTuple):
    """A text or an image to look at.

    Attributes:
        value: a text, or an image `[height, width]` or `[height, width, channels]`, in bytes or in
            numbers from 0 to 1.
        caption: what is said of it.
        right: whether the model was right, where that is the question.
    """

    value: Any
    caption: str = ''
    right: bool | None = None


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How often each class was taken for which.

    Example::

        >>> Confusion.of([0, 0, 1], [0, 1, 1], ['cat', 'dog']).counts.tolist()
        [[1, 1], [0, 1]]

    Attributes:
        counts: `[classes, classes]`, a row for each class that it is, a column for each that it was
            taken for.
        classes: their names; their numbers when left out.

    Raises:
        TrainOptionError: the counts are no square, or there is not one name for each class.
    """

    counts: Any
    classes: Sequence[object] = ()

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts)
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
            raise TrainOptionError(
                f'counts of confusion have the shape {counts.shape}', mend='[classes, classes]'
            )
        classes = self.classes if len(self.classes) else range(len(counts))
        if len(classes) != len(counts):
            raise TrainOptionError(f'{len(counts)} classes have {len(classes)} names')
        object.__setattr__(self, 'counts', counts)
        object.__setattr__(self, 'classes', tuple(classes))

    @classmethod
    def of(cls, labels: Any, taken: Any, classes: Sequence[object] | int) -> Confusion:
        """Counts `labels [n]` against what they were taken for, `[n]`.

        Args:
            labels: the class of each example.
            taken: the class that the model gave it.
            classes: the names of the classes, or their number.
        """
        names = range(classes) if isinstance(classes, int) else classes
        counts = np.zeros((len(names), len(names)), int)
        np.add.at(counts, (np.asarray(labels), np.asarray(taken)), 1)
        return cls(counts, tuple(names))


class HtmlReport:
    """Writes a page about a run.

    Example::

        >>> import tempfile
        >>> report = HtmlReport(Path(tempfile.mkdtemp()) / 'report.html', title='A small run')
        >>> report.save([{'step': 1, 'loss': 2.0}, {'step': 2, 'loss': 1.0}])
        >>> report.add({'accuracy': 0.97}, samples=[Sample('2 + 2 = 4', right=True)])
        >>> '<h1>A small run</h1>' in report.path.read_text(encoding='utf-8')
        True

    Args:
        path: the file, which is written beside and renamed.
        settings: a dataclass or a mapping of what the run was told.
        title: what stands at the top; the name of the folder when left out.
        confusion: see :class:`Confusion`; mostly added later.
        samples: texts and images; mostly added later.
    """

    def __init__(
        self,
        path: str | Path,
        settings: Any = None,
        *,
        title: str = '',
        confusion: Confusion | None = None,
        samples: Iterable[Sample] = (),
    ) -> None:
        self.path = Path(path)
        self.title = title or self.path.absolute().parent.name or 'Report'
        self._settings = _as_mapping(settings)
        self._confusion = confusion
        self._samples = tuple(samples)
        self._figures: dict[str, float] = {}
        self._rows: list[Row] = []
        self._parameters: list[page.Parameter] = []
        self._began = datetime.datetime.now().astimezone()

    def save(self, rows: Iterable[Row], variables: Any = None) -> None:
        """Takes what a run has come to, and writes the page.

        Args:
            rows: numbers by name, each row with its ``step``; those of evaluation begin with
                ``valid_``.
            variables: those of the model, of which the page tells shapes and sizes.
        """
        self._rows = [dict(row) for row in rows]
        self._parameters = _parameters({} if variables is None else variables)
        self._write()

    def add(
        self,
        figures: Mapping[str, Any] | None = None,
        *,
        confusion: Confusion | None = None,
        samples: Iterable[Sample] = (),
    ) -> None:
        """Adds what was found out later, and writes the page anew.

        Args:
            figures: numbers by name, which stand first.
            confusion: takes the place of the one before.
            samples: more of them.
        """
        self._figures |= {name: float(value) for name, value in (figures or {}).items()}
        self._confusion = confusion or self._confusion
        self._samples += tuple(samples)
        self._write()

    def _write(self) -> None:
        """Writes beside, then renames: a reader finds the old page or the new, whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f'{self.path.name}.part')
        beside.write_text(self._page(), encoding='utf-8')
        beside.replace(self.path)

    def _page(self) -> str:
        now = datetime.datetime.now().astimezone()
        steps = max((int(row['step']) for row in self._rows), default=0)
        seconds = (now - self._began).total_seconds()
        subtitle = f'{steps:,} steps · {_duration(seconds)} · {now:%Y-%m-%d %H:%M %Z}'
        confusion = self._confusion
        sections = [
            page.figures_section({**self._figures, **_last(self._rows)}),
            page.curves_section(self._rows),
            page.samples_section(self._samples),
            page.confusion_section(confusion.counts, confusion.classes) if confusion else '',
            page.pairs_section('Settings', self._settings),
            page.pairs_section('Environment', _environment()),
            page.parameters_section(self._parameters),
        ]
        return page.draw_page(self.title, subtitle, filter(None, sections))


def _as_mapping(settings: Any) -> dict[str, object]:
    if dataclasses.is_dataclass(settings):
        fields = dataclasses.fields(settings)
        return {field.name: getattr(settings, field.name) for field in fields}
    return dict(settings or {})


def _last(rows: Iterable[Row]) -> dict[str, float]:
    """The last number of each metric, those of evaluation first."""
    found = {name: value for row in rows for name, value in row.items()}
    names = [name for name in found if name not in ('step', 'epoch')]
    order = sorted(names, key=lambda name: (name.endswith('_per_second'), name[:6] != 'valid_'))
    return {name: found[name] for name in order}


def _parameters(variables: Any) -> list[page.Parameter]:
    """All arrays of a model, parameters before those of other collections."""
    leaves = jax.tree_util.tree_leaves_with_path(meta.unbox(variables))
    found = [
        page.Parameter(
            jax.tree_util.keystr(path, simple=True, separator='/'),
            tuple(np.shape(leaf)),
            str(getattr(leaf, 'dtype', type(leaf).__name__)),
        )
        for path, leaf in leaves
    ]
    return sorted(found, key=lambda parameter: not parameter.path.startswith('params/'))


def _environment() -> dict[str, object]:
    """What the numbers may depend on."""
    kinds = [f'{device.device_kind} ({device.platform})' for device in jax.devices()]
    return {
        'command': shlex.join([Path(sys.executable).name, *sys.argv]),
        'device': ', '.join(f'{count} {name}' for name, count in Counter(kinds).items()),
        'processors': os.cpu_count(),
        'system': platform.platform(),
        'python': platform.python_version(),
        'linnet': __version__,
        **{name: importlib.metadata.version(name) for name in ('jax', 'jaxlib', 'numpy', 'optax')},
    }


def _duration(seconds: float) -> str:
    """A time in words.

    >>> _duration(12.34), _duration(125.0), _duration(7300.0)
    ('12.3 s', '2 min 5 s', '2 h 1 min')
    """
    if seconds < 60:
        return f'{seconds:.1f} s'
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f'{hours} h {left} min' if hours else f'{minutes} min {rest} s'

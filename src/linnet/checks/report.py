"""What the sanitizer found, as a list, a table and data."""

from __future__ import annotations

import dataclasses
import json
import threading
import warnings
from typing import Any

from linnet import sharp_bits
from linnet.errors._base import SharpBitWarning

Line = tuple[str, int]


@dataclasses.dataclass
class Found:
    """One finding, and how often it was made.

    Attributes:
        finding: the message; its class is the kind, and has the code.
        line: file and number of the user's line.
        count: how often it was made.
    """

    finding: SharpBitWarning
    line: Line
    count: int = 1

    @property
    def code(self) -> str:
        """The stable code of the kind."""
        return self.finding.code

    @property
    def place(self) -> str:
        """The user's line as text."""
        return '{}:{}'.format(*self.line) if self.line[0] else ''

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain data."""
        finding = self.finding
        return {
            'code': finding.code,
            'kind': type(finding).__name__,
            'title': title(type(finding)),
            'module': finding.where,
            'file': self.line[0],
            'line': self.line[1],
            'count': self.count,
            'what': finding.what,
            'why': finding.why,
            'mend': finding.mend,
        }

    def __str__(self) -> str:
        times = f' ({self.count} times)' if self.count > 1 else ''
        return f'{self.place}: {self.finding}{times}'


class Report:
    """Collects findings; true if there are any.

    Args:
        warn: whether a finding is also given as a warning, when it is first made.
    """

    def __init__(self, warn: bool = False) -> None:
        self._warn = warn
        self._found: dict[tuple[str, str, Line], Found] = {}
        self._lock = threading.RLock()

    def add(
        self,
        finding: SharpBitWarning,
        line: Line,
        other_lines: tuple[Line, ...] = (),
        warned: bool = False,
    ) -> None:
        """Notes a finding, unless a comment in one of its lines allows it.

        Args:
            finding: what was found.
            line: the user's line.
            other_lines: further lines that take part in it.
            warned: whether it has been given as a warning already.
        """
        if any(sharp_bits.allowed(finding.code, *at) for at in (line, *other_lines)):
            return
        with self._lock:
            known = self._found.get((finding.code, finding.where, line))
            if known is not None:
                known.count += 1
                return
            self._found[finding.code, finding.where, line] = Found(finding, line)
        if self._warn and not warned:
            warnings.warn_explicit(finding, type(finding), line[0] or '<unknown>', line[1])

    @property
    def findings(self) -> list[Found]:
        """All that was found, by code, in the order in which it was found."""
        with self._lock:
            return sorted(self._found.values(), key=lambda found: found.code)

    @property
    def codes(self) -> list[str]:
        """The codes of what was found, each once."""
        return sorted({found.code for found in self.findings})

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def table(self, width: int | None = None) -> str:
        """The findings as text for people: code, count, module and line, what and how to mend it.

        Args:
            width: of the table; that of the terminal unless given.
        """
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        if not self:
            return 'The sanitizer found nothing.\n'
        table = Table(title=_headline(self.findings), title_justify='left', show_lines=True)
        table.add_column('code', no_wrap=True)
        table.add_column('times', justify='right', no_wrap=True)
        table.add_column('where', overflow='fold')
        table.add_column('what, and how to mend it', overflow='fold', ratio=1)
        for found in self.findings:
            where = '\n'.join(filter(None, (found.finding.where, found.place)))
            table.add_row(found.code, str(found.count), Text(where), Text(_told(found.finding)))
        console = Console(width=width, force_terminal=False, color_system=None)
        with console.capture() as capture:
            console.print(table)
        return capture.get()

    def to_json(self) -> str:
        """The findings as JSON, for machines: a list with one object for each."""
        return json.dumps([found.as_dict() for found in self.findings], indent=2)


def title(kind: type[SharpBitWarning]) -> str:
    """What a kind of finding is, in a few words."""
    return getattr(kind, 'title', '') or (kind.__doc__ or '').partition('\n')[0]


def _headline(findings: list[Found]) -> str:
    number = len(findings)
    return f'The sanitizer found {number} thing{"s" if number > 1 else ""}'


def _told(finding: SharpBitWarning) -> str:
    parts = (finding.what, f'Mend: {finding.mend}' if finding.mend else '')
    return '\n'.join(filter(None, parts))

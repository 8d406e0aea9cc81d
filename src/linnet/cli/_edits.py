"""Changes to a text that leave all else of it as it is.

An *edit* puts a new text in place of a span of characters. A *remark* is what a person has to look
at, with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Edit(NamedTuple):
    """A new text for the characters from ``start`` up to ``end``."""

    start: int
    end: int
    text: str


class Remark(NamedTuple):
    """What is left to a person, at a line."""

    line: int
    text: str


@dataclass
class Changes:
    """What becomes of a text.

    Attributes:
        edits: the changes, in any order; they do not overlap.
        remarks: what could not be changed.
        keeps_flax: whether what is left needs Flax.
    """

    edits: list[Edit] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    keeps_flax: bool = False

    def applied_to(self, text: str) -> str:
        """Returns the text with all edits made.

        >>> Changes([Edit(0, 3, 'one'), Edit(4, 4, 'and ')]).applied_to('uno two')
        'one and two'
        """
        pieces, position = [], 0
        for edit in sorted(set(self.edits)):
            pieces += [text[position : edit.start], edit.text]
            position = edit.end
        return ''.join([*pieces, text[position:]])


class Places:
    """Where the lines and columns that Python counts are in a text."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in re.finditer(r'\r\n|\r|\n', text))]
        ends = [*self._starts[1:], len(text)]
        self._lines = [text[start:end] for start, end in zip(self._starts, ends, strict=True)]

    def offset(self, line: int, column: int) -> int:
        """Returns the character at a line, from 1, and a column in bytes of UTF-8, from 0."""
        written = self._lines[line - 1]
        if not written.isascii():
            column = len(written.encode()[:column].decode())
        return self._starts[line - 1] + column

    def line_start(self, line: int) -> int:
        """Returns the first character of a line."""
        return self._starts[line - 1]


def line_of(text: str, offset: int) -> int:
    """Returns the line, from 1, of a character."""
    return len(re.findall(r'\r\n|\r|\n', text[:offset])) + 1


def newline_of(text: str) -> str:
    """Returns how the first line of a text ends."""
    found = re.search(r'\r\n|\r|\n', text)
    return found[0] if found else '\n'


def in_order(remarks: Iterable[Remark]) -> list[Remark]:
    """Sorts remarks by line, each said once."""
    return sorted(set(remarks))

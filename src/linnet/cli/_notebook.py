"""Moves the code of a Jupyter notebook, and leaves the rest of the file to the byte.

The cells are read as one program, in which lines that only IPython understands are blanks. Each
character of it is a stretch of the file: one letter, or an escape such as ``\\u00e9``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from linnet.cli import _python_source
from linnet.cli._edits import Changes, Edit, Places, Remark, line_of
from linnet.cli._requirements import move_command

_SPACE = re.compile(r'[ \t\r\n]*')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SCALAR = re.compile(r'[^,\]}\s]+')
_ESCAPE = re.compile(
    r'\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|.', re.DOTALL
)
# Lines that Python cannot read: magics, commands of the shell, questions.
_MAGIC = re.compile(r'\s*[%!?]|\s*[\w.]+\?+\s*$|\s*[\w, .]+=\s*[%!]')


class Character(NamedTuple):
    """Where a character of the program stands in the file, and in which of its strings."""

    start: int
    end: int
    string: int


def move(text: str, *, keep: bool = False) -> Changes:
    """Returns the changes that move a notebook to Linnet.

    Args:
        text: the file.
        keep: whether commands that install Flax still have to.

    Raises:
        ValueError: the file is not JSON.
        NotSafeError: a cell would not be Python any more.
    """
    notebook = json.loads(text)
    if _language(notebook) != 'python':
        return Changes()
    program, characters, cells = _program(text)
    changes = Changes()
    readable = ''.join(_readable(cell, text, characters, changes) for cell in cells)
    found = _python_source.move(program, readable)
    keep = keep or found.keeps_flax or changes.keeps_flax
    found.edits += _commands(program, readable, keep=keep)
    for edit in found.edits:
        changes.edits += _in_file(edit, characters)
    places = Places(program)
    for line, remark in found.remarks:
        place = characters[places.line_start(line)].start
        changes.remarks.append(Remark(line_of(text, place), remark))
    changes.keeps_flax |= found.keeps_flax
    return changes


def _language(notebook: Any) -> str:
    """Returns the language of the cells; Python where the notebook does not say."""
    metadata = notebook.get('metadata', {}) if isinstance(notebook, dict) else {}
    return metadata.get('kernelspec', {}).get('language', 'python')


class Cell(NamedTuple):
    """The code of a cell, which begins at a character of the program."""

    code: str
    first: int


def _program(text: str) -> tuple[str, list[Character], list[Cell]]:
    """Joins the code cells, and says where each character stands."""
    code: dict[int, list[tuple[int, int]]] = {}
    kinds: dict[int, str] = {}
    for path, start, end in strings(text):
        match path:
            case ['cells', int(number), 'cell_type']:
                kinds[number] = json.loads(text[start:end])
            case ['cells', int(number), 'source', *_]:
                code.setdefault(number, []).append((start, end))
    characters: list[Character] = []
    cells = []
    for number, pieces in sorted(code.items()):
        if kinds.get(number) != 'code':
            continue
        first = len(characters)
        source = ''
        for string, (start, end) in enumerate(pieces):
            source += json.loads(text[start:end])
            characters += _characters(text, start + 1, end - 1, 1000 * number + string)
        characters.append(Character(pieces[-1][1] - 1, pieces[-1][1] - 1, -1))
        cells.append(Cell(f'{source}\n', first))
    return ''.join(cell.code for cell in cells), characters, cells


def _characters(text: str, start: int, end: int, string: int) -> Iterator[Character]:
    for found in _ESCAPE.finditer(text, start, end):
        yield Character(found.start(), found.end(), string)


def strings(text: str) -> Iterator[tuple[list[str | int], int, int]]:
    """Yields each string of a JSON document that is a value, with its path and its span.

    >>> [(path, start) for path, start, _ in strings('{"a": ["b", 3, {"c": "d"}]}')]
    [(['a', 0], 7), (['a', 2, 'c'], 21)]
    """
    path: list[str | int] = []
    position = 0
    while True:
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        if position == len(text):
            return
        mark = text[position]
        if mark == '"':
            end = _STRING.match(text, position).end()  # type: ignore[union-attr]
            if path and path[-1] == '':
                path[-1] = json.loads(text[position:end]) or '(empty)'
            else:
                yield path.copy(), position, end
            position = end
            continue
        if mark in '{[':
            path.append('' if mark == '{' else 0)
        elif mark in '}]':
            path.pop()
        elif mark == ',':
            path[-1] = path[-1] + 1 if isinstance(path[-1], int) else ''
        elif mark != ':':
            position = _SCALAR.match(text, position).end() - 1  # type: ignore[union-attr]
        position += 1


def _readable(cell: Cell, text: str, characters: list[Character], changes: Changes) -> str:
    """Returns the code of a cell with blanks in place of what is not Python.

    A cell in another language is all blanks; so is one with a mistake, with a remark.
    """
    if cell.code.startswith('%%') and not re.match(r'%%(time|timeit|capture|prun)\b', cell.code):
        return _blank(cell.code)
    error = _error(cell.code)
    if error is None:
        return cell.code
    code = _without_magics(cell.code)
    if _error(code) is None:
        return code
    if 'flax' in cell.code:
        line = line_of(text, characters[cell.first].start) + (error.lineno or 1) - 1
        changes.remarks.append(Remark(line, f'this cell is not Python: {error.msg}'))
        changes.keeps_flax = True
    return _blank(cell.code)


def _error(code: str) -> SyntaxError | None:
    try:
        _python_source.parse(code)
    except SyntaxError as error:
        return error
    return None


def _blank(code: str) -> str:
    return re.sub(r'[^\r\n]', ' ', code)


def _without_magics(code: str) -> str:
    """Puts statements that do nothing in place of magics; a line may end in ``\\``."""
    lines, goes_on = [], False
    for line in code.splitlines(keepends=True):
        if goes_on or _MAGIC.match(line):
            indent = line[: len(line) - len(line.lstrip())]
            blank = _blank(line[len(indent) :])
            lines.append(indent + ('' if goes_on else '0') + blank[0 if goes_on else 1 :])
            goes_on = line.rstrip().endswith('\\')
        else:
            lines.append(line)
    return ''.join(lines)


def _commands(program: str, readable: str, *, keep: bool) -> Iterator[Edit]:
    """Changes commands such as ``!pip install flax`` among the lines that are not Python."""
    for line in re.finditer(r'[^\r\n]+', program):
        if readable[line.start() : line.end()] != line[0]:
            for edit in move_command(line[0], keep=keep):
                yield Edit(line.start() + edit.start, line.start() + edit.end, edit.text)


def _in_file(edit: Edit, characters: list[Character]) -> Iterator[Edit]:
    """Yields the changes of the file that change the program; one for each string touched."""
    text = json.dumps(edit.text)[1:-1]
    if edit.start == edit.end:
        place = characters[edit.start].start
        yield Edit(place, place, text)
        return
    first = characters[edit.start]
    begin = previous = first
    for character in characters[edit.start + 1 : edit.end]:
        if character.string != previous.string:
            yield Edit(begin.start, previous.end, text if begin is first else '')
            begin = character
        previous = character
    yield Edit(begin.start, previous.end, text if begin is first else '')

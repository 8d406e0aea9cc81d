"""``linnet migrate``: the imports of a code base, from Flax to Linnet."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from linnet.cli._files import File

_STYLES = {'+++': 'bold', '---': 'bold', '@@': 'cyan', '+': 'green', '-': 'red'}


@click.command()
@click.argument('paths', nargs=-1, required=True, metavar='PATH...', type=click.Path(exists=True))
@click.option('--write', is_flag=True, help='Change the files; without it, only show the changes.')
def migrate(paths: tuple[str, ...], write: bool) -> int:
    """Move the imports of programs from Flax Linen to Linnet.

    PATH is a file, or a folder whose Python files, notebooks and lists of requirements are looked
    at. Shows a unified diff. All else in a file stays as it is, to the byte; what Linnet does not
    have (NNX, and what came before Linen) goes on importing Flax and is listed.

    Exits with 1 where a file could not be read, understood or written.
    """
    from linnet.cli import _files

    found = _files.find(map(Path, paths))
    files = _files.move_all(found)
    for file in files:
        if file.changes and write:
            _files.write(file)
        elif file.changes:
            _show(file)
    _report(files, paths, write=write)
    return int(any(file.failure for file in files))


def _show(file: File) -> None:
    """Prints the difference that a change makes, in colours on a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for line in _difference(file):
        if console.is_terminal:
            style = next((_STYLES[mark] for mark in _STYLES if line.startswith(mark)), '')
            shown = line.encode(errors='surrogateescape').decode(errors='replace')
            console.print(Text(shown.rstrip('\r\n'), style))
        else:
            click.echo(line.encode(errors='surrogateescape'), nl=False)


def _difference(file: File) -> Iterator[str]:
    before, after = (
        re.findall(r'[^\n]*\n|[^\n]+', data.decode(errors='surrogateescape'))
        for data in (file.before, file.after)
    )
    name = file.path.as_posix().lstrip('/')
    for line in difflib.unified_diff(before, after, f'a/{name}', f'b/{name}'):
        yield line if line.endswith('\n') else f'{line}\n\\ No newline at end of file\n'


def _report(files: list[File], paths: tuple[str, ...], *, write: bool) -> None:
    """Says on the error stream what was or would be done, what was not, and why."""
    changed = [file for file in files if file.changes]
    remarks = [
        f'  {file.path}:{remark.line}: {remark.text}' for file in files for remark in file.remarks
    ]
    failures = [f'  {file.path}: {file.failure}' for file in files if file.failure]
    if remarks:
        _list('Not moved, or not wholly; these lines need a look:', remarks)
    if failures:
        _list('Failed; these files are as they were:', failures)
    places = _count(sum(file.edits for file in changed), 'place')
    if changed and write:
        click.echo(f'Moved {_count(len(changed), "file")}, {places}.', err=True)
    elif changed:
        text = f'{_count(len(changed), "file")}, {places}: add --write to make the change.'
        click.echo(text, err=True)
    elif not failures:
        where = ', '.join(paths)
        text = f'Nothing to move in {where}: looked at {_count(len(files), "file")}.'
        click.echo(text, err=True)


def _list(title: str, lines: list[str]) -> None:
    click.echo('\n'.join([title, *lines]), err=True)


def _count(number: int, noun: str) -> str:
    """Returns ``1 file``, ``2 files``."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'

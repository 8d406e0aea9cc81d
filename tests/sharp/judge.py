"""Runs a program that shows a pitfall, and judges what the library did.

A program begins with a line ``# 003 title`` and lines ``# Source:``, ``# Want:`` and ``# Says:``.
It prints ``OK: ...`` where it works or the library warned, raises
``AssertionError('SILENT: ...')`` where nothing was said, or lets the library's own exception out:
that must hold the words of ``# Says:``, groups set apart by ``;``, alternatives by ``|``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

from tests.architecture import ROOT

OWN = ROOT / 'tests' / 'sharp'
SHARED = ROOT.parent / 'shared' / 'sharp'
TABLE = ROOT / 'docs' / 'sharp_bits_table.md'

# Programs of the shared folder that correct ones look like while they are traced: the sanitizer
# watches their values. And one that is only about time.
BY_THE_SANITIZER = {'003', '007', '019', '025', '035', '093', '105', '111', '113'}
ABOUT_TIME = {'115', '117'}


@dataclass(frozen=True)
class Outcome:
    """What came of a program.

    Attributes:
        kind: ``works``, ``warning``, ``error``, or what is not wanted: ``silent``, ``cryptic``.
        text: what the library said.
        missing: groups of words that an error lacks, or what else it should be.
    """

    kind: str
    text: str
    missing: tuple[str, ...] = ()


def head(path: Path, key: str) -> str:
    """A line of a program's head."""
    found = re.search(rf'^# {key}: (.*)$', path.read_text(), re.M)
    return found[1] if found else ''


def title(path: Path) -> str:
    """What a program shows."""
    return path.read_text().partition('\n')[0][6:].strip()


def programs(folder: Path) -> list[Path]:
    """The programs of a folder, by number."""
    return sorted(folder.glob('[0-9][0-9][0-9]_*.py'))


def run(path: Path) -> Outcome:
    """Runs a program in this process."""
    out = io.StringIO()
    os.environ['LIB'] = 'linnet'
    try:
        with contextlib.redirect_stdout(out), warnings.catch_warnings():
            warnings.simplefilter('default')
            runpy.run_path(str(path), run_name='__main__')
    except AssertionError as error:
        return Outcome('silent', str(error))
    except Exception as error:
        return _judged(path, error)
    finally:
        del os.environ['LIB']
    text = out.getvalue().strip().rpartition('\n')[2]
    return Outcome('warning' if '[LN' in text else 'works', text.removeprefix('OK:').strip())


def _judged(path: Path, error: Exception) -> Outcome:
    text = str(error).partition('\n----------')[0]
    groups = [group.strip() for group in head(path, 'Says').split(';') if group.strip()]
    missing = tuple(
        group
        for group in groups
        if not any(word.strip().lower() in text.lower() for word in group.split('|'))
    )
    if error.__context__ is not None and not error.__suppress_context__:
        missing += ('an error that Python does not call another of the same moment',)
    return Outcome('cryptic' if missing else 'error', text, missing)


def row(path: Path, outcome: Outcome) -> str:
    """A line of the table."""
    said = ' '.join(outcome.text.split()).replace('|', '\\|').replace('`', "'")
    said = re.sub(rf'{re.escape(tempfile.gettempdir())}/[^/]+/', '', said)  # another each time
    code = re.search(r'LN\d{3}', said)
    cut = said if len(said) <= 160 else f'{said[:157]}...'
    return f'| {path.name[:3]} | {title(path)} | {outcome.kind} {code[0] if code else ""} | {cut} |'

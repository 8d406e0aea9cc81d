"""Runs libraries written for Flax on Flax and on Linnet, and compares what the programs print.

python -m tests.packages [NAME ...] [--keep FOLDER] [--list]

Each program beside this file is a user of one library, which its first line names. The library
gets an environment of its own, with this checkout of Linnet in it; the program then runs there by
``python`` and by ``linnet run``. Installing takes a network and minutes, so the tests leave this
out; with ``--keep`` the environments are made once.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.architecture import ROOT

HERE = Path(__file__).parent
CONSTRAINTS = ROOT / 'constraints.txt'
REQUIRES = '# requires: '
LONGEST = 900
"""Seconds that a program may take."""

VERSIONS = 'from importlib.metadata import version as v; print(v("flax"), v("jax"))'
WIDTHS = ('18', '20', '18', '>5', '>7', '>9', '')

# What would lead an environment to other code, or to what another run has compiled.
UNWANTED = {'JAX_COMPILATION_CACHE_DIR', 'PYTHONHOME', 'PYTHONPATH', 'PYTHONSAFEPATH'}


class NotInstalledError(Exception):
    """Pip does not install a library; the text is the last of what it says."""


@dataclasses.dataclass
class Program:
    """A file that uses one library."""

    path: Path

    @property
    def requirements(self) -> list[str]:
        """What the first line asks for; the library itself stands first."""
        with self.path.open() as file:
            first = file.readline()
        if not first.startswith(REQUIRES):
            raise ValueError(f'{self.path} does not begin with {REQUIRES!r}')
        return first.removeprefix(REQUIRES).split()


@dataclasses.dataclass
class Output:
    """What a run of a program left."""

    lines: list[str]
    complaints: list[str]
    status: int
    seconds: float


def programs() -> dict[str, Program]:
    """All programs by name."""
    paths = sorted(path for path in HERE.glob('[a-z]*.py') if path.name != 'conftest.py')
    return {path.stem: Program(path) for path in paths}


def environment() -> dict[str, str]:
    """The variables that both runs see."""
    inherited = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    return {**inherited, 'JAX_PLATFORMS': 'cpu', 'PYTHONHASHSEED': '0'}


@contextlib.contextmanager
def folder(keep: Path | None, name: str) -> Iterator[Path]:
    """Where an environment goes: a folder that stays, or one that is removed after its use."""
    if keep:
        place = keep.resolve() / name
        place.mkdir(parents=True, exist_ok=True)
        yield place
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def install(program: Program, place: Path) -> None:
    """Fills an environment with a library, Flax and Linnet, unless it holds them already."""
    stamp = place / 'installed'
    pins = [(ROOT / 'pyproject.toml').read_text(), CONSTRAINTS.read_text()]
    wanted = '\n'.join([sys.version, *program.requirements, *pins])
    if stamp.exists() and stamp.read_text() == wanted:
        return
    _call(sys.executable, '-m', 'venv', '--clear', str(place))
    packages = ['--editable', f'{ROOT}[cli]', 'flax', *program.requirements]
    try:
        _pip(place, '--constraint', str(CONSTRAINTS), *packages)
    except NotInstalledError:
        # A library may exclude a release that the tests use; then pip chooses another.
        _pip(place, *packages)
    stamp.write_text(wanted)


def _pip(place: Path, *words: str) -> None:
    pip = (str(place / 'bin' / 'python'), '-m', 'pip', '--disable-pip-version-check', 'install')
    _call(*pip, '-qq', '--retries', '10', *words)


def _call(*words: str) -> None:
    done = subprocess.run(words, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise NotInstalledError(_last([*done.stdout.splitlines(), *done.stderr.splitlines()]))


def run(place: Path, *words: str) -> Output:
    """Runs a command of an environment."""
    start = time.perf_counter()
    command = [str(place / 'bin' / words[0]), *words[1:]]
    try:
        done = subprocess.run(
            command, env=environment(), cwd=place, capture_output=True, text=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return Output([], [f'took more than {LONGEST} s'], 1, LONGEST)
    seconds = time.perf_counter() - start
    return Output(done.stdout.splitlines(), done.stderr.splitlines(), done.returncode, seconds)


def difference(flax: Output, ours: Output) -> str:
    """What tells a run on Linnet from one on Flax; empty if nothing does."""
    for name, output in (('Flax', flax), ('Linnet', ours)):
        if output.status:
            return f'ended with {output.status} on {name}: {_last(output.complaints)}'
    if not flax.lines:
        return 'printed nothing'
    pairs = itertools.zip_longest(flax.lines, ours.lines, fillvalue='(the end)')
    for number, (theirs, line) in enumerate(pairs, 1):
        if theirs != line:
            return f'line {number}: {theirs.strip()!r} on Flax, {line.strip()!r} on Linnet'
    warned = [line for line in ours.complaints if re.search(r'\[LN\d+\]', line)]
    return f'warned: {warned[0].strip()}' if warned else ''


def _last(lines: list[str]) -> str:
    # JAX ends a traceback with remarks of its own, so a line such as `TypeError: ...` goes first.
    said = [line.strip() for line in lines if line.strip()]
    return [*said, *(line for line in said if re.match(r'[\w.]+: ', line))][-1] if said else '?'


def compare(name: str, program: Program, keep: Path | None) -> bool:
    """Prints a row of the table; tells whether both runs are alike."""
    library = program.requirements[0].replace('==', ' ')
    with folder(keep, name) as place:
        try:
            install(program, place)
        except NotInstalledError as error:
            _say(name, library, '', '', '', '', f'not installed: {error}')
            return False
        versions = run(place, 'python', '-c', VERSIONS).lines[0]
        flax = run(place, 'python', str(program.path))
        ours = run(place, 'linnet', 'run', '-q', str(program.path))
    found = difference(flax, ours)
    seconds = [f'{output.seconds:.1f}' for output in (flax, ours)]
    _say(name, library, versions, str(len(flax.lines)), *seconds, found or 'same')
    return not found


def _say(*cells: str) -> None:
    *row, result = (f'{cell:{width}}' for cell, width in zip(cells, WIDTHS, strict=True))
    print(*row, result.rstrip(), sep='  ', flush=True)


def main() -> int:
    """Compares the programs that are named, or all; returns the status to exit with."""
    known = programs()
    parser = argparse.ArgumentParser(prog='python -m tests.packages', description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument('names', nargs='*', metavar='NAME', help='programs; all if none is named')
    parser.add_argument('--keep', type=Path, metavar='FOLDER', help='make environments here')
    parser.add_argument('--list', action='store_true', help='list the programs and stop')
    options = parser.parse_args()
    if unknown := sorted({*options.names} - known.keys()):
        parser.error(f'no program {", ".join(unknown)}; there are {", ".join(known)}')
    if options.list:
        for name, program in known.items():
            print(f'{name:20} {" ".join(program.requirements)}')
        return 0
    _say('program', 'library', 'Flax, JAX', 'lines', 'Flax, s', 'Linnet, s', 'result')
    alike = [compare(name, known[name], options.keep) for name in options.names or known]
    return 0 if all(alike) else 1


if __name__ == '__main__':
    sys.exit(main())

"""Measures Linnet, its peers and hand-written JAX, and prints one table.

python -m benchmarks                      all of it, five rounds of fresh processes
python -m benchmarks --quick              one round, smaller; about two minutes
python -m benchmarks --only transformer --libraries linnet floor

Needs JAX alone: a library that is not installed is left out, and it is said so.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import _machine, _processes, table
from benchmarks.cases import GROUPS, MODULES

# Not part of a quick run, which takes two minutes.
_SLOW = (
    'abstract init transformer',
    'abstract init ResNet-50',
    'init ResNet-50',
    'compiled transformer',
    'compiled ResNet-50',
    'compiled ResNet-50, blocks by name',
    'compiled seq2seq',
    'compiled seq2seq, gates apart',
    'attention',
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the table and writes the results; returns the status to exit with."""
    options = _options(arguments)
    groups = _groups(options)
    libraries = _installed(options.libraries)
    scale, rounds = ('quick', 1) if options.quick else ('full', 5)
    started = os.getloadavg()
    figures: dict[str, dict[str, _processes.Summary]] = {}
    failures: list[str] = []
    try:
        for group in groups:
            print(f'measuring {group} ...', file=sys.stderr, flush=True)
            values = _processes.interleaved(
                {
                    names: ('-m', 'benchmarks.cases', names, group, scale)
                    for names in _shares(group, libraries)
                },
                options.rounds or rounds,
                tell=failures.append,
            )
            figures |= table.by_figure(_processes.summaries(_by_library(values)))
    except KeyboardInterrupt:
        failures.append('interrupted: the table is not whole')
    given = sys.argv[1:] if arguments is None else arguments
    about = {
        **_machine.about(' '.join(['python -m benchmarks', *given])),
        'load': [started, os.getloadavg()],
    }
    print(table.markdown(figures))
    print(
        '\nMedian ± half of the range (median of the ratios to the floor, round by round). '
        + _machine.title(about)
    )
    for failure in failures:
        print(failure, file=sys.stderr)
    _write(figures, about, options)
    return 1 if failures else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='benchmarks', description=(__doc__ or '').partition('\n')[0]
    )
    parser.add_argument('--quick', action='store_true', help='one round, and less of it')
    parser.add_argument('--rounds', type=int, help='how often each process is started')
    groups = ', '.join(GROUPS)
    parser.add_argument('--only', nargs='+', metavar='GROUP', help=f'how it begins: {groups}')
    parser.add_argument('--libraries', nargs='+', choices=MODULES, default=list(MODULES))
    parser.add_argument(
        '--name', help='name of the result files; nothing is written if it is empty'
    )
    return parser.parse_args(arguments)


def _groups(options: argparse.Namespace) -> list[str]:
    """The groups that were asked for, by how their names begin."""
    if options.only is None:
        return [group for group in GROUPS if not (options.quick and group in _SLOW)]
    found = [group for group in GROUPS if group.startswith(tuple(options.only))]
    if not found:
        raise SystemExit(f'no group begins with {options.only}; there are: {", ".join(GROUPS)}')
    return found


def _shares(group: str, libraries: Sequence[str]) -> list[str]:
    """The libraries that a process takes, for each process."""
    names = [library for library in libraries if library in GROUPS[group].libraries]
    return [','.join(names)] if GROUPS[group].together and names else names


def _by_library(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Figures by library and name, of those that processes print as ``LIBRARY: NAME``."""
    found: dict[str, dict[str, Any]] = {}
    for figures in values.values():
        for named, series in figures.items():
            library, _, name = named.partition(': ')
            found.setdefault(library, {})[name] = series
    return found


def _installed(libraries: Sequence[str]) -> list[str]:
    """Those of the libraries that can be imported; says which cannot."""
    found = []
    for library in libraries:
        if library == 'linnet' or importlib.util.find_spec(MODULES[library].partition('.')[0]):
            found.append(library)
        else:
            print(f'{table.COLUMNS[library]} is not installed: left out', file=sys.stderr)
    return found


def _write(figures: Any, about: dict[str, Any], options: argparse.Namespace) -> None:
    kind = about['device'].partition(',')[0] + ('-quick' if options.quick else '')
    name = f'{about["date"][:10]}-{kind}' if options.name is None else options.name
    if not name:
        return
    table.write_json(figures, about, table.RESULTS / f'{name}.json')
    print(f'written: benchmarks/results/{name}.json', file=sys.stderr)
    try:
        table.write_plot(figures, _machine.title(about), table.RESULTS / f'{name}.png')
    except ImportError:
        print('Matplotlib is not installed: no plot', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())

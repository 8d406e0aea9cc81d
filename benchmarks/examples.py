"""Every example in full, each in a process of its own, and a table of what they reach.

    python -m benchmarks.examples [NAME ...] [--set NAME.key=value ...] [--steps N] [--out DIR]

An example that fails is told, and the others run. The table, with the machine and the versions, is
also written to `benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import _machine, _processes
from benchmarks.table import RESULTS

SECONDS = 'seconds'
Figures = dict[str, float]


def child(program: str, out: str, *pairs: str) -> Figures:
    """Runs a program in this process, as `linnet train` would; returns its figures."""
    from linnet.cli import _examples
    from linnet.train.settings import read_settings

    run, kind = _examples.load(Path(program))
    start = time.perf_counter()
    figures = run(kind(**{**read_settings(kind, pairs), 'out': Path(out)}))
    return {**{name: float(value) for name, value in figures.items()}, SECONDS: _since(start)}


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 1)


def table(found: Mapping[str, Figures]) -> str:
    """The figures as a table in Markdown."""
    lines = ['| example | what it reaches | time |', '| --- | --- | --- |']
    for name, figures in found.items():
        reached = ', '.join(f'{k} {v:.4g}' for k, v in figures.items() if k != SECONDS)
        lines.append(f'| {name} | {reached} | {figures[SECONDS]:.0f} s |')
    return '\n'.join(lines)


def _without_folder(argument: str) -> str:
    """An argument in which a folder of this machine is called FOLDER."""
    key, sign, value = argument.rpartition('=')
    return f'{key}{sign}FOLDER' if Path(value).is_absolute() else argument


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the examples; returns 0 where all came to their end."""
    options = parse(arguments)
    load, found, failed = [os.getloadavg()], {}, []
    for name, program in options.programs.items():
        print(f'running {name} ...', file=sys.stderr, flush=True)
        pairs = [pair.partition('.')[2] for pair in options.set if pair.startswith(f'{name}.')]
        pairs += [f'steps={options.steps}'] if options.steps else []
        given = ('--child', str(program), str(options.out / name), *pairs)
        try:
            found[name] = _processes.run_child(('-m', 'benchmarks.examples', *given))
        except _processes.ChildError as error:
            failed.append(str(error))
    print(table(found))
    for error in failed:
        print(error, file=sys.stderr)
    given = ' '.join(map(_without_folder, arguments or sys.argv[1:]))
    about = _machine.about(f'python -m benchmarks.examples {given}')
    about['load'] = [*load, os.getloadavg()]
    print(f'\n{_machine.title(about)}')
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f'{about["date"][:10]}-examples.json'
    file.write_text(json.dumps({**about, 'figures': found, 'failed': failed}, indent=1) + '\n')
    print(f'written: benchmarks/results/{file.name}', file=sys.stderr)
    return int(bool(failed))


def parse(arguments: Sequence[str] | None) -> Any:
    """Reads the command line."""
    from linnet.cli import _examples

    known = _examples.examples()
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('names', nargs='*', metavar='NAME', help=f'all of {", ".join(known)}')
    parser.add_argument('--set', action='append', default=[], metavar='NAME.KEY=VALUE')
    parser.add_argument('--steps', type=int, help='in place of the number of each example')
    parser.add_argument('--out', type=Path, default=Path('out/full'), help='folder for results')
    options = parser.parse_args(arguments)
    unknown = {*options.names, *(pair.partition('.')[0] for pair in options.set)} - {*known}
    if unknown:
        parser.error(f'there are no examples {sorted(unknown)}')
    options.programs = {name: known[name] for name in options.names or known}
    return options


if __name__ == '__main__':
    if sys.argv[1:2] == ['--child']:
        print(f'\n{json.dumps(child(*sys.argv[2:]))}')
        sys.exit()
    sys.exit(main())

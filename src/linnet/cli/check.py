"""``linnet check``: a program under the sanitizer, which reports what it probably does not mean."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click


@click.command(context_settings={'allow_interspersed_args': False})
@click.option('-m', 'as_module', is_flag=True, help='PROGRAM is the name of a module.')
@click.option(
    '--json',
    'as_json',
    is_flag=True,
    help='Print the findings as JSON, and what the program prints to the standard error.',
)
@click.argument('program')
@click.argument('arguments', nargs=-1, type=click.UNPROCESSED, metavar='[ARGS]...')
def check(
    program: str, arguments: Sequence[str], as_module: bool, as_json: bool
) -> Callable[[], int]:
    """Run a program and watch it: keys, state, gradients, numbers, compilation.

    What is found is printed as a table when the program ends, with the line, the module and the
    mend. The exit status is 1 if there is anything, else that of the program. A comment
    `# linnet: allow LN811` silences a finding in its line; `linnet explain LN811` tells more.

    \b
    linnet check train.py --epochs 1
    linnet check --json -m project.train > findings.json
    """
    if not as_module and not os.path.exists(program):
        raise click.BadParameter(f'there is no file {program!r}', param_hint='PROGRAM')
    return functools.partial(_check, program, arguments, as_module=as_module, as_json=as_json)


def _check(program: str, arguments: Sequence[str], *, as_module: bool, as_json: bool) -> int:
    from linnet.checks.watcher import Watcher
    from linnet.cli import _program

    start = _program.run_module if as_module else _program.run_file
    watcher = Watcher(warn=not as_json)
    status = 0
    with contextlib.ExitStack() as around:
        around.callback(_show, watcher.report, as_json, sys.stdout)
        if as_json:
            around.enter_context(contextlib.redirect_stdout(sys.stderr))
        watcher.start()
        around.callback(watcher.stop)
        try:
            start(program, arguments)
        except SystemExit as end:
            status = _status(end)
    return status or int(bool(watcher.report))


def _show(report: Any, as_json: bool, output: Any) -> None:
    """Prints what was found: data to the standard output, a table beside what a program prints."""
    if as_json:
        print(report.to_json(), file=output)
    else:
        print(report.table(), file=sys.stderr, end='')


def _status(end: SystemExit) -> int:
    """The status with which Python would have ended."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1

"""``linnet train``: an example, or a program of the same form."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from linnet.cli import _examples


@click.command(
    context_settings={'allow_interspersed_args': False},
    options_metavar='',
    short_help='Train an example, or a program of your own.',
)
@click.argument('name')
@click.argument('options', nargs=-1, type=click.UNPROCESSED, metavar='[OPTIONS]...')
def train(name: str, options: Sequence[str]) -> Callable[[], None]:
    """Train an example by its NAME, or a folder or train.py of your own.

    OPTIONS are --steps N, --seed N, --out DIR, --resume, and --set key=value for each setting of
    the program, as often as you like; linnet train NAME --help lists them. `linnet examples` lists
    the names. A program of your own has a function run(settings) and a subclass of
    linnet.train.Settings.

    \b
    linnet train seq2seq --steps 2000 --set features=64
    linnet train seq2seq --steps 4000 --set features=64 --resume
    """
    try:
        program = _examples.find(name)
        is_example = program in _examples.examples().values()
        if is_example and (lacking := _examples.missing(program)):
            raise click.ClickException(f'{name} needs {", ".join(lacking)}: {_examples.INSTALL}')
    except _examples.ProgramError as error:
        raise click.BadParameter(str(error), param_hint='NAME') from None
    return functools.partial(_train, name, program, options)


def _train(name: str, program: Path, options: Sequence[str]) -> None:
    from linnet.train.command import command

    try:
        run, settings = _examples.load(program)
    except _examples.ProgramError as error:
        raise SystemExit(f'linnet: {error}') from None
    sys.argv[:] = [str(program), *options]
    command(run, settings, options, program=f'linnet train {shlex.quote(name)}')

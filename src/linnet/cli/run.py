"""``linnet run``: an unchanged program that was written for Flax Linen, on Linnet."""

from __future__ import annotations

import atexit
import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from linnet.cli._serving import Finder


@click.command(context_settings={'allow_interspersed_args': False})
@click.option('-m', 'as_module', is_flag=True, help='PROGRAM is the name of a module.')
@click.option('-q', '--quiet', is_flag=True, help='Do not say at the end what was served.')
@click.argument('program')
@click.argument('arguments', nargs=-1, type=click.UNPROCESSED, metavar='[ARGS]...')
def run(program: str, arguments: Sequence[str], as_module: bool, quiet: bool) -> Callable[[], None]:
    """Run a program that was written for Flax Linen, as it is.

    Every import of flax, by the program or by a library, gets Linnet, whether Flax is installed
    or not. ARGS reach the program; its exit status is the one of this command.

    \b
    linnet run train.py --epochs 3
    linnet run -m project.train
    linnet run -m pytest tests
    """
    if not as_module and not os.path.exists(program):
        raise click.BadParameter(f'there is no file {program!r}', param_hint='PROGRAM')
    return functools.partial(_run, program, arguments, as_module=as_module, quiet=quiet)


def _run(program: str, arguments: Sequence[str], *, as_module: bool, quiet: bool) -> None:
    from linnet.cli import _program, _serving

    finder = _serving.serve()
    if not quiet:
        atexit.register(_say_what_was_served, finder, os.getpid())
    start = _program.run_module if as_module else _program.run_file
    try:
        start(program, arguments)
    except _program.NoProgramError:
        atexit.unregister(_say_what_was_served)
        raise


def _say_what_was_served(finder: Finder, process: int) -> None:
    """Prints one line, in the process that the command line began, not in its children."""
    if os.getpid() != process:
        return
    names = sorted(finder.served - {'flax'}) or sorted(finder.served)
    text = f'served {", ".join(names)}' if names else 'the program imported nothing of flax'
    if finder.absent:
        text += f'; libraries import {", ".join(sorted(finder.absent))}, which Linnet lacks'
    print(f'linnet run: {text}', file=sys.stderr)

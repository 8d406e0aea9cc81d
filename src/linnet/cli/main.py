"""Where the command line begins: ``linnet`` in a shell, or ``python -m linnet``.

A command returns its exit status, None for 0, or a function that does the work. Such a function
runs when the command line is done with, so that a user's program finds no trace of it: neither
its contexts, nor its handling of Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the words after ``linnet``; those of the process when left out.

    Returns:
        The exit status: 0, 1 for a failure, 2 for wrong usage, or the one of the user's program.
    """
    try:
        import click
    except ImportError:
        print("linnet: the command line needs click: pip install 'linnet[cli]'", file=sys.stderr)
        return 1
    from linnet.cli.commands import linnet

    try:
        outcome = linnet.main(arguments, prog_name='linnet', standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        print('linnet: stopped', file=sys.stderr)
        return INTERRUPTED
    if callable(outcome):
        outcome = outcome()
    return outcome or 0

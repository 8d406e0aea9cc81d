"""The command line: ``linnet run``, ``linnet migrate``, and what else ``linnet --help`` lists.

A command is a file here that defines a ``click`` command, and a line in ``commands.py``. It
imports what is heavy inside of its function, so that ``linnet --help`` stays quick.
"""

from linnet.cli.main import main

__all__ = ['main']

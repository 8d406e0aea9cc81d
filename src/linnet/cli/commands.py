"""All commands in one place.

To add one, write ``linnet/cli/<name>.py`` with a function of that name under ``@click.command()``,
and add it to the list below.
"""

from __future__ import annotations

import click

from linnet.cli import _surface
from linnet.cli.check import check
from linnet.cli.examples import examples
from linnet.cli.explain import explain
from linnet.cli.migrate import migrate
from linnet.cli.run import run
from linnet.cli.train import train

COMMANDS = [check, examples, explain, migrate, run, train]


@click.group(invoke_without_command=True, context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(_surface.version(), message='linnet %(version)s')
@click.pass_context
def linnet(context: click.Context) -> None:
    """Linnet, a neural-network library for JAX: the whole of Flax Linen, and tools around it."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in COMMANDS:
    linnet.add_command(_command)

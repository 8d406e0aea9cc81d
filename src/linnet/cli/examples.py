"""``linnet examples``: what there is to train."""

from __future__ import annotations

import click

from linnet.cli import _examples


@click.command()
def examples() -> None:
    """List the examples, each with what it does, and the packages that it needs and are missing.

    \b
    linnet train NAME
    """
    found = _examples.examples()
    if not found:
        raise click.ClickException(f'there are no examples in {_examples.PLACES[0]}')
    width = max(map(len, found))
    lacking: set[str] = set()
    for name, program in found.items():
        needed = _examples.missing(program)
        lacking.update(needed)
        rest = f' (needs {", ".join(needed)})' if needed else ''
        click.echo(f'{name:{width}}  {_examples.about(program)}{rest}')
    if lacking:
        click.echo(f'\nWhat is missing: {_examples.INSTALL}')

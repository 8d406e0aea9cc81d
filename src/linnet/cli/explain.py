"""``linnet explain``: the page of an error or a warning."""

from __future__ import annotations

from collections.abc import Sequence

import click


@click.command()
@click.option('--all', 'everything', is_flag=True, help='Print the document of all codes.')
@click.argument('codes', nargs=-1, metavar='[CODE]...')
def explain(codes: Sequence[str], everything: bool) -> None:
    """Print what an error or a warning means: the cause, a wrong program, a right one, the reason.

    Without CODE, list all codes.

    \b
    linnet explain LN101
    """
    from linnet.errors import pages
    from linnet.errors.settings import UnknownCodeError

    if everything:
        click.echo(pages.document(), nl=False)
    elif not codes:
        for code, cls in pages.codes().items():
            click.echo(f'{code}  {(cls.__doc__ or "").splitlines()[0].replace("``", "`")}')
    for code in codes:
        try:
            click.echo(pages.explain(code))
        except UnknownCodeError as error:
            raise click.UsageError(f'{error.what}; linnet explain lists them') from None

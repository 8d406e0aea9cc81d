"""The command line of a program that trains.

A program derives its settings from :class:`Settings`, gives each a default and a line of help with
:func:`setting`, and ends with ``command(run, MySettings)``. Then ``python train.py`` knows
``--steps``, ``--seed``, ``--out``, ``--resume`` and ``--help``, and ``--set key=value`` for each
setting; so does ``linnet train train.py``. Needs ``click``: ``pip install 'linnet[cli]'``.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from linnet.errors._base import LinnetError
from linnet.train.settings import Settings, describe_settings, read_settings

_INTERRUPTED = 130
_OPTIONS = ('steps', 'seed', 'out', 'resume')

Chosen = TypeVar('Chosen', bound=Settings)


def command(
    run: Callable[[Chosen], Mapping[str, float]],
    kind: type[Chosen],
    arguments: Sequence[str] | None = None,
    *,
    program: str | None = None,
) -> NoReturn:
    """Reads the command line, runs, and ends the process.

    The exit status is 0; 2 for wrong usage, also where the folder holds a run that ``--resume``
    does not ask for; or 130 when Ctrl-C ended the run, and then a line says how to go on.
    ``--resume`` with nothing to go on from says so and begins anew, so that one and the same
    command can be repeated until it comes to its end.

    Args:
        run: trains with these settings, prints its final figures, and returns them.
        kind: the class of its settings.
        arguments: the words of the command line; those of the process when left out.
        program: what is typed before them; ``python`` and the file when left out.

    Raises:
        SystemExit: always.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    program = program or f'python {shlex.quote(sys.argv[0])}'
    settings = _settings(kind, words, program)
    if settings.resume and settings.saved_step() is None:
        print(f'nothing to resume in {settings.out}: beginning anew', flush=True)
    try:
        run(settings)
    except KeyboardInterrupt:
        print(f'stopped; {_how_to_go_on(settings, words, program)}', flush=True)
        sys.exit(_INTERRUPTED)
    sys.exit(0)


def _how_to_go_on(settings: Settings, words: Sequence[str], program: str) -> str:
    saved = settings.saved_step()
    if saved is None:
        return 'there is no checkpoint to go on from'
    again = [*words, *(() if settings.resume else ('--resume',))]
    return f'to go on from step {saved}: {program} {shlex.join(again)}'


def _settings(kind: type[Chosen], words: Sequence[str], program: str) -> Chosen:
    """Makes settings of the words of a command line; ends the process where it cannot."""
    try:
        import click
    except ImportError:
        sys.exit("linnet: the command line needs click: pip install 'linnet[cli]'")
    try:
        settings = _parser(kind).main(list(words), prog_name=program, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    if not isinstance(settings, kind):  # --help was printed
        sys.exit(0)
    return settings


def _parser(kind: type[Settings]) -> Any:
    """Makes a command of ``click`` that returns settings."""
    import click

    fields = {field.name: field for field in dataclasses.fields(kind)}

    def make(pairs: Sequence[str], **options: Any) -> Settings:
        given = {name: value for name, value in options.items() if value is not None}
        try:
            settings = kind(**{**read_settings(kind, pairs), **given})
        except ValueError as error:
            raise click.UsageError(_text(error)) from None
        saved = settings.saved_step()
        if saved is not None and not settings.resume:
            raise click.UsageError(
                f'{settings.out} holds a run up to step {saved}: '
                '--resume goes on with it, --out names another folder'
            )
        return settings

    def option(name: str, **more: Any) -> Any:
        help = fields[name].metadata.get('help', '')
        shown = '' if more.get('is_flag') else f'  [{fields[name].default}]'
        return click.Option([f'--{name}'], help=f'{help}{shown}'.strip(), **more)

    rows = [f'  {line}' for line in describe_settings(kind, without=_OPTIONS)]
    return click.Command(
        'train',
        callback=make,
        params=[
            option('steps', type=int),
            option('seed', type=int),
            option('out', type=click.Path(path_type=Path), metavar='DIR'),
            option('resume', is_flag=True, default=None),
            click.Option(
                ['--set', 'pairs'],
                multiple=True,
                metavar='KEY=VALUE',
                help='a setting of the list below; as often as you like',
            ),
        ],
        help=sys.modules[kind.__module__].__doc__,
        epilog='\n'.join(['\b', 'Settings for --set:', *rows]) if rows else None,
        context_settings={'help_option_names': ['-h', '--help']},
    )


def _text(error: ValueError) -> str:
    """What an error says, with what mends it where it knows that."""
    if not isinstance(error, LinnetError):
        return str(error)
    return f'{error.what}; {error.mend}' if error.mend else error.what

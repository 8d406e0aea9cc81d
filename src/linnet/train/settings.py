"""Settings of a program that trains: a dataclass whose fields are written as ``key=value``."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from linnet.errors._suggest import did_you_mean, listing, sentences
from linnet.errors.training import TrainOptionError

_TRUTH = {'true': True, 'yes': True, 'on': True, '1': True}
_TRUTH |= {'false': False, 'no': False, 'off': False, '0': False}
_READABLE = (int, float, bool, str, Path, type(None))


def setting(default: Any, help: str = '') -> Any:
    """A field of settings.

    Args:
        default: its value unless another is asked for.
        help: what it is, in a few words.
    """
    return dataclasses.field(default=default, metadata={'help': help})


@dataclasses.dataclass(frozen=True)
class Settings:
    """What every run is told; derive from it to add the settings of a program.

    A field's type is ``int``, ``float``, ``bool``, ``str``, ``Path``, ``Literal[...]``, or one of
    these ``| None``. A ``ValueError`` of ``__post_init__`` is shown as wrong usage.

    Example::

        >>> @dataclasses.dataclass(frozen=True)
        ... class DigitSettings(Settings):
        ...     steps: int = setting(4000, 'of 128 digits each')
        ...     features: int = setting(128, 'width of the layers')
        >>> DigitSettings(features=64).steps
        4000

    Attributes:
        steps: the number of the last step.
        seed: of everything that is drawn at random.
        out: the folder for results.
        resume: whether to go on from the newest checkpoint, where there is one.

    Raises:
        TrainOptionError: ``steps`` is no count.
    """

    steps: int = setting(1000, 'the number of the last one')
    seed: int = setting(0, 'of everything drawn at random')
    out: Path = setting(Path('out'), 'folder for results')
    resume: bool = setting(False, 'go on from the newest checkpoint, where there is one')

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise TrainOptionError(f'steps={self.steps} is no count from 1', mend='--steps 1000')

    @property
    def checkpoints(self) -> Path:
        """The folder for checkpoints, inside of ``out``."""
        return self.out / 'checkpoints'

    def saved_step(self) -> int | None:
        """The newest step in the folder for checkpoints, None where there is none."""
        folder = self.checkpoints
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return max((int(name) for name in names if name.isdigit()), default=None)


def read_settings(kind: type[Settings], pairs: Iterable[str]) -> dict[str, Any]:
    """Reads ``key=value`` pairs as the types of the fields say.

    >>> read_settings(Settings, ['steps=20', 'out=results'])
    {'steps': 20, 'out': PosixPath('results')}

    Args:
        kind: the class of settings.
        pairs: what was written; the last one of a key counts.

    Raises:
        TrainOptionError: there is no such key, or the value is of another type.
    """
    wanted = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    found = {}
    for pair in pairs:
        key, equals, text = pair.partition('=')
        if not equals:
            raise TrainOptionError(f'{pair!r} is no pair', mend='--set key=value')
        if key not in known:
            table = '\n'.join(f'  {line}' for line in describe_settings(kind))
            raise TrainOptionError(
                sentences(f'there is no setting {key!r}.', did_you_mean(key, known))
                + f'\nThe settings are:\n{table}'
            )
        found[key] = _read(key, text, wanted[key])
    return found


def describe_settings(kind: type[Settings], *, without: Sequence[str] = ()) -> list[str]:
    """A line for each setting: its key, its default, and what it is.

    >>> describe_settings(Settings, without=('out', 'resume'))
    ['steps=1000  the number of the last one', 'seed=0      of everything drawn at random']
    """
    fields = [field for field in dataclasses.fields(kind) if field.name not in without]
    keys = [f'{field.name}={field.default}' for field in fields]
    width = max(map(len, keys), default=0)
    return [
        f'{key:{width}}  {field.metadata.get("help", "")}'.rstrip()
        for key, field in zip(keys, fields, strict=True)
    ]


def _read(key: str, text: str, wanted: Any) -> Any:
    """Reads one value.

    Raises:
        TrainOptionError: it is of another type, or the type is none that can be read.
    """
    for kind in _alternatives(wanted):
        if kind not in _READABLE and typing.get_origin(kind) is not Literal:
            raise TrainOptionError(
                f'{key} is {_name(kind)}, which no text can be read as',
                mend='int, float, bool, str, Path, Literal[...], or one of these | None',
            )
        try:
            return _read_as(text, kind)
        except (KeyError, ValueError):
            continue
    raise TrainOptionError(f'{key}={text} is not {_name(wanted)}')


def _alternatives(wanted: Any) -> tuple[Any, ...]:
    """The types that a value may have: None is looked for first, text last."""
    is_union = typing.get_origin(wanted) in (typing.Union, types.UnionType)
    kinds = typing.get_args(wanted) if is_union else (wanted,)
    return tuple(sorted(kinds, key=lambda kind: (kind in (str, Path), kind is not type(None))))


def _read_as(text: str, kind: Any) -> Any:
    """Reads a value of one type; a ``KeyError`` or ``ValueError`` says that it has another."""
    if typing.get_origin(kind) is Literal:
        return {str(value): value for value in typing.get_args(kind)}[text]
    if kind is type(None):
        return {'none': None, '': None}[text.lower()]
    return _TRUTH[text.lower()] if kind is bool else kind(text)


def _name(wanted: Any) -> str:
    """A type in words.

    >>> _name(int | None), _name(Literal['adam', 'sgd'])
    ('an int or None', "one of 'adam', 'sgd'")
    """
    words = {int: 'an int', float: 'a float', bool: 'true or false', type(None): 'None'}
    if typing.get_origin(wanted) is Literal:
        return f'one of {listing(typing.get_args(wanted))}'
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        return ' or '.join(map(_name, typing.get_args(wanted)))
    return words.get(wanted, f'a {getattr(wanted, "__name__", wanted)}')

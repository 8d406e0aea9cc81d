"""The examples that come with the library, and programs of the same form.

Each is a folder with a ``train.py``, which has a subclass of ``Settings`` and a function ``run``.
In an installed package the folders are inside of it; in a checkout they stand beside the source.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
PLACES = (PACKAGE / 'examples', PACKAGE.parents[1] / 'examples')
INSTALL = "pip install 'linnet[examples]'"
_DISTRIBUTIONS = {'sklearn': 'scikit-learn'}


class ProgramError(Exception):
    """There is no such program, or it is not of the form that it should have."""


def examples() -> dict[str, Path]:
    """The ``train.py`` of each example, by name."""
    folder = next((place for place in PLACES if place.is_dir()), None)
    found = sorted(folder.glob('*/train.py')) if folder else []
    return {path.parent.name: path for path in found}


def find(name: str) -> Path:
    """The program that is meant: an example by its name, a folder, or a file.

    Raises:
        ProgramError: there is none.
    """
    known = examples()
    if name in known:
        return known[name]
    path = Path(name)
    path = path / 'train.py' if path.is_dir() else path
    if path.is_file():
        return path
    from linnet.errors._suggest import did_you_mean, listing, sentences  # which import JAX

    raise ProgramError(
        sentences(
            f'there is no example {name!r}, and no such folder or file.',
            did_you_mean(name, known),
            f'The examples are {listing(known)}.',
        )
    )


def about(program: Path) -> str:
    """The first line of a program's docstring."""
    text = ast.get_docstring(ast.parse(program.read_text(encoding='utf-8'))) or ''
    return text.partition('\n')[0]


def missing(program: Path) -> list[str]:
    """The packages that the files of a program import, and that are not installed."""
    files = sorted(program.parent.glob('*.py'))
    own = {file.stem for file in files}
    names = {name for file in files for name in _imported(file)} - own
    lacking = [name for name in sorted(names) if importlib.util.find_spec(name) is None]
    return [_DISTRIBUTIONS.get(name, name) for name in lacking]


def _imported(file: Path) -> Iterator[str]:
    """The first parts of the names that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition('.')[0]


def load(program: Path) -> tuple[Callable[[Any], Any], type[Any]]:
    """Loads a program as Python would a script: its folder is where it finds its own modules.

    Returns:
        Its function ``run``, and its class of settings.

    Raises:
        ProgramError: it has none of them, or more than one class.
    """
    from linnet.train.settings import Settings

    sys.path.insert(0, str(program.resolve().parent))
    module = _module(program)
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Settings)
        and value.__module__ == module.__name__
    ]
    if not callable(getattr(module, 'run', None)) or len(classes) != 1:
        raise ProgramError(
            f'{program} has to define a function run(settings) and one subclass of Settings; '
            f'it has {len(classes)} of these'
        )
    return module.run, classes[0]


def _module(program: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(program.stem, program)
    if spec is None or spec.loader is None:
        raise ProgramError(f'{program} is no file of Python')
    module = importlib.util.module_from_spec(spec)
    sys.modules[program.stem] = module
    spec.loader.exec_module(module)
    return module

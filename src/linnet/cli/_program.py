"""Runs a program as ``python`` itself does.

The program finds what it would find otherwise: ``sys.argv``, ``sys.path[0]``, a module
``__main__`` that stays until the end, its exit status, and tracebacks that begin in its own file.
"""

from __future__ import annotations

import importlib.util
import io
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import CodeType, ModuleType, TracebackType
from typing import Any

Code = tuple[CodeType, ModuleType]


class NoProgramError(SystemExit):
    """There is nothing to run by the name that was given; ends the process with a line."""

    def __init__(self, text: str) -> None:
        super().__init__(f'linnet: {text}')


def run_file(path: str, arguments: Sequence[str]) -> None:
    """Runs a file, or a folder or zip archive that holds a ``__main__.py``.

    Raises:
        NoProgramError: the file cannot be opened, or the folder holds no program.
    """
    sys.argv[:] = [path, *arguments]
    path = os.path.abspath(path)
    inside = PathFinder.find_spec('__main__', [path])
    if inside is None and os.path.isdir(path):
        raise NoProgramError(f'the folder {sys.argv[0]} holds no __main__.py')
    _begin_path_with(path if inside else os.path.dirname(os.path.realpath(path)))
    _run(lambda: _from_spec(inside) if inside else _from_file(path))


def run_module(name: str, arguments: Sequence[str]) -> None:
    """Runs a module that Python finds by its name, as ``python -m`` does.

    Raises:
        NoProgramError: there is no such module, or it is a package without ``__main__``.
    """
    _begin_path_with(os.getcwd())
    sys.argv[:] = ['-m', *arguments]
    _run(lambda: _from_name(name))


def _begin_path_with(folder: str) -> None:
    """Puts a folder where Python put the one of this command line, unless it was told not to."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _from_file(path: str) -> Code:
    main = ModuleType('__main__')
    main.__file__ = path
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        raise NoProgramError(f'cannot open {sys.argv[0]}: {error.strerror}') from error
    return compile(source, path, 'exec', dont_inherit=True), main


def _from_name(name: str) -> Code:
    """Loads a module, or the ``__main__`` of a package."""
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f'{name}.__main__')
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        spec = None
    if spec is None or spec.origin is None:
        hint = '; without -m it would be a file' if name.endswith('.py') else ''
        raise NoProgramError(f'there is no module {name} to run{hint}')
    sys.argv[0] = spec.origin
    return _from_spec(spec)


def _from_spec(spec: ModuleSpec) -> Code:
    main = ModuleType('__main__')
    main.__spec__, main.__loader__, main.__file__ = spec, spec.loader, spec.origin
    main.__package__ = spec.parent
    return spec.loader.get_code(spec.name), main  # type: ignore[union-attr]


def _run(load: Callable[[], Code]) -> None:
    """Loads and executes a program; what it raises leaves Python as if it had run it."""
    try:
        code, main = load()
        sys.modules['__main__'] = sys.modules['__mp_main__'] = main
        _execute(code, vars(main))
    except SystemExit:
        raise
    except BaseException:
        _show_from_the_program_on()
        raise


def _execute(code: CodeType, namespace: dict[str, Any]) -> None:
    exec(code, namespace)


def _show_from_the_program_on() -> None:
    """Leaves our frames out when Python shows the error that ends the process."""
    show = sys.excepthook

    def show_trimmed(
        kind: type[BaseException], error: BaseException, frames: TracebackType | None
    ) -> None:
        error.__traceback__ = _trimmed(frames)
        show(kind, error, error.__traceback__)

    sys.excepthook = show_trimmed


def _trimmed(frames: TracebackType | None) -> TracebackType | None:
    """Drops the frames above the program, and ours below it, where an import is refused.

    Nothing is left of the error of a program that could not be compiled, as under Python.
    """
    while frames is not None and frames.tb_frame.f_code.co_filename != __file__:
        frames = frames.tb_next
    while frames is not None and _is_machinery(frames):
        frames = frames.tb_next
    below = list(_walk(frames))
    if below and _is_ours(below[-1]):
        for outer, inner in itertools.pairwise(below):
            if _is_ours(inner):
                outer.tb_next = None
                break
    return frames


def _walk(frames: TracebackType | None) -> Iterator[TracebackType]:
    while frames is not None:
        yield frames
        frames = frames.tb_next


def _is_ours(frame: TracebackType) -> bool:
    return os.path.dirname(frame.tb_frame.f_code.co_filename) == os.path.dirname(__file__)


def _is_machinery(frame: TracebackType) -> bool:
    """Whether a frame is ours, or of what looks for a module."""
    file = frame.tb_frame.f_code.co_filename
    return _is_ours(frame) or file == importlib.util.__file__ or file.startswith('<frozen ')

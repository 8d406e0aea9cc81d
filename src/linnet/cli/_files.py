"""The files of a code base: which there are, what becomes of each, and how they are written.

A file is read as bytes and written back as bytes: its encoding, byte-order mark and ends of lines
are what they were. A new version is written beside the file and takes its place in one step.
"""

from __future__ import annotations

import codecs
import contextlib
import fnmatch
import functools
import io
import os
import stat
import tempfile
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from linnet.cli import _notebook, _python_source, _requirements
from linnet.cli._edits import Changes, Remark, in_order

# Folders of tools and of what was built or installed; so are all whose names begin with a dot.
_SKIPPED = set('__pycache__ __pypackages__ build dist env node_modules site-packages venv'.split())

# What files that list requirements are called, and how each kind is moved.
_REQUIREMENTS: dict[str, Callable[..., Changes]] = {
    '*requirements*.txt': _requirements.move_lines,
    '*requirements*.in': _requirements.move_lines,
    'constraints*.txt': _requirements.move_lines,
    'environment*.yml': _requirements.move_conda,
    'environment*.yaml': _requirements.move_conda,
    'setup.cfg': _requirements.move_setup_cfg,
    'setup.py': _requirements.move_setup_py,
    'pyproject.toml': _requirements.move_pyproject,
}

Moved = tuple[bytes, Changes]


@dataclass
class File:
    """A file, and what becomes of it.

    Attributes:
        path: its name, as it was given or found.
        before: its bytes.
        after: its bytes after the change.
        edits: how many places change.
        remarks: what is left to a person.
        failure: why it could not be read, changed or written.
        keeps_flax: whether it still needs Flax.
    """

    path: Path
    before: bytes = b''
    after: bytes = b''
    edits: int = 0
    remarks: list[Remark] = field(default_factory=list)
    failure: str = ''
    keeps_flax: bool = False

    @property
    def changes(self) -> bool:
        """Whether there is something to write."""
        return self.before != self.after and not self.failure


def find(paths: Iterable[Path]) -> list[Path]:
    """Returns the files to look at: those named, and those of a known kind in folders named.

    A link in a folder is left alone: what it leads to is looked at where it is.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _walk(path) if path.is_dir() else [path]:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _walk(folder: Path) -> Iterator[Path]:
    unreadable: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not _is_skipped(Path(place, name)))
        for name in sorted(names):
            path = Path(place, name)
            if not path.is_symlink() and (path.suffix in ('.py', '.pyi', '.ipynb') or _kind(path)):
                yield path
    yield from (Path(error.filename) for error in unreadable)


def _is_skipped(folder: Path) -> bool:
    name = folder.name
    if name.startswith('.') or name in _SKIPPED or name.endswith('.egg-info'):
        return True
    return (folder / 'pyvenv.cfg').exists()


def _kind(path: Path) -> Callable[..., Moved] | None:
    """Returns how requirements in a file are moved; None for a program."""
    names = [path.name]
    if path.parent.name == 'requirements' and path.suffix in ('.txt', '.in'):
        names.append('requirements.txt')
    for pattern, mover in _REQUIREMENTS.items():
        if any(fnmatch.fnmatch(name, pattern) for name in names):
            return functools.partial(_move_requirements, mover=mover)
    return None


def move_all(paths: Iterable[Path]) -> list[File]:
    """Returns what becomes of files. Requirements come last: they follow what programs need."""
    lists = {path: mover for path in paths if (mover := _kind(path))}
    files = [_move(path, _move_program) for path in paths if path not in lists]
    keep = any(file.keeps_flax for file in files)
    files += [_move(path, functools.partial(mover, keep=keep)) for path, mover in lists.items()]
    return sorted(files, key=lambda file: str(file.path))


def _move(path: Path, mover: Callable[[bytes, Path], Moved]) -> File:
    """Reads a file and moves it, if it names Flax at all; keeps what goes wrong as its failure."""
    file = File(path)
    try:
        if path.is_dir():
            os.listdir(path)  # says why it could not be looked at before
        file.before = file.after = path.read_bytes()
        if b'flax' in file.before.lower():
            file.after, changes = mover(file.before, path)
            file.edits, file.remarks = len(set(changes.edits)), in_order(changes.remarks)
            file.keeps_flax = changes.keeps_flax
    except (OSError, ValueError, SyntaxError, RecursionError, _python_source.NotSafeError) as error:
        file.failure, file.keeps_flax = _reason(error), True
    return file


def _reason(error: Exception) -> str:
    match error:
        case OSError():
            return (error.strerror or str(error)).lower()
        case SyntaxError():
            where = f'line {error.lineno}: ' if error.lineno else ''
            return f'{where}not Python: {error.msg}'
        case UnicodeError():
            return f'its text cannot be read: {error}'
        case RecursionError():
            return 'it is nested too deeply'
        case _:
            return str(error)


def _move_program(data: bytes, path: Path) -> Moved:
    if path.suffix == '.ipynb':
        return _move_text(data, _notebook.move)
    return _move_text(data, _python_source.move, encoding=_declared(data))


def _move_requirements(
    data: bytes, path: Path, *, mover: Callable[..., Changes], keep: bool
) -> Moved:
    """Moves a list of requirements; a ``setup.py`` is a program besides."""
    if path.suffix != '.py':
        return _move_text(data, mover, keep=keep)
    data, program = _move_program(data, path)
    keep |= program.keeps_flax
    data, listed = _move_text(data, mover, encoding=_declared(data), keep=keep)
    return data, Changes(program.edits + listed.edits, program.remarks, program.keeps_flax)


def _declared(data: bytes) -> str:
    """Returns the encoding that a program declares."""
    return tokenize.detect_encoding(io.BytesIO(data).readline)[0].removesuffix('-sig')


def _move_text(
    data: bytes, mover: Callable[..., Changes], encoding: str = 'utf-8', **how: bool
) -> Moved:
    """Moves the text in some bytes, and leaves a byte-order mark where it is."""
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b''
    text = data[len(mark) :].decode(encoding)
    if text.encode(encoding) != data[len(mark) :]:
        raise ValueError(f'its encoding, {encoding}, does not come back as it was')
    changes = mover(text, **how)
    return mark + changes.applied_to(text).encode(encoding), changes


def write(file: File) -> None:
    """Puts a new version in the place of a file, whole or not at all; a failure is kept in it."""
    target = file.path.resolve()
    try:
        mode = target.stat().st_mode
        if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(
            target, os.W_OK
        ):
            file.failure = 'the file is read-only'
            return
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f'.{target.name}.')
        try:
            with os.fdopen(handle, 'wb') as beside:
                beside.write(file.after)
            os.chmod(name, stat.S_IMODE(mode))
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        file.failure = _reason(error)

"""File calls that take a local path or, where TensorFlow is installed, a remote one.

A path with a scheme, as ``gs://bucket/run``, is remote and goes through ``tensorflow.io.gfile``;
any other path goes through Python's own calls. ``set_mode(BackendMode.TF)`` sends every path
through TensorFlow. A file that is not there is a ``FileNotFoundError`` in either case.
"""

from __future__ import annotations

import contextlib
import glob as glob_module
import os
import re
import shutil
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from typing import Any

from linnet.errors.data import AlreadyExistsError, RemotePathError
from linnet.errors.settings import FlagValueError

PathLike = str | os.PathLike[str]

NotFoundError = FileNotFoundError

_REMOTE = re.compile(r'[a-zA-Z][\w+.-]*://')


class BackendMode(Enum):
    """Who makes the calls: Python for local paths, or TensorFlow for all."""

    DEFAULT = 0
    TF = 1


io_mode = BackendMode.DEFAULT


def set_mode(override: BackendMode) -> None:
    """Sets who makes the calls from now on."""
    global io_mode
    if not isinstance(override, BackendMode):
        raise FlagValueError('io_mode', override, wanted='a BackendMode', mend='BackendMode.TF')
    io_mode = override


@contextlib.contextmanager
def override_mode(override: BackendMode) -> Iterator[None]:
    """Sets who makes the calls within a ``with`` block."""
    before = io_mode
    set_mode(override)
    try:
        yield
    finally:
        set_mode(before)


def GFile(name: PathLike, mode: str) -> Any:
    """Opens a file; ``mode`` is that of ``open``."""
    return _run('GFile', open, name, mode)


def listdir(path: PathLike) -> list[str]:
    """Returns the names of what a folder holds."""
    return list(_run('listdir', os.listdir, path))


def isdir(path: PathLike) -> bool:
    """Returns whether the path is a folder."""
    return bool(_run('isdir', os.path.isdir, path))


def exists(path: PathLike) -> bool:
    """Returns whether the path is a file or a folder."""
    return bool(_run('exists', os.path.exists, path))


def getsize(path: PathLike) -> int:
    """Returns the size of a file in bytes."""
    stat = _run('stat', os.stat, path)
    return int(stat.st_size if isinstance(stat, os.stat_result) else stat.length)


def makedirs(path: PathLike) -> None:
    """Makes a folder and those above it, where they are missing."""
    _run('makedirs', partial(os.makedirs, exist_ok=True), path)


def glob(pattern: PathLike) -> list[str]:
    """Returns the paths that match a pattern of the shell."""
    return list(_run('glob', glob_module.glob, pattern))


def remove(path: PathLike) -> None:
    """Removes a file."""
    _run('remove', os.remove, path)


def rmtree(path: PathLike) -> None:
    """Removes a folder and all it holds."""
    _run('rmtree', shutil.rmtree, path)


def copy(src: PathLike, dst: PathLike, overwrite: bool = False) -> None:
    """Copies a file.

    Raises:
        AlreadyExistsError: if ``dst`` exists and ``overwrite`` is not set.
    """
    _refuse_existing(dst, overwrite)
    _run('copy', shutil.copy, src, dst)


def rename(src: PathLike, dst: PathLike, overwrite: bool = False) -> None:
    """Moves a file or a folder.

    Raises:
        AlreadyExistsError: if ``dst`` exists and ``overwrite`` is not set.
    """
    _refuse_existing(dst, overwrite)
    _run('rename', os.replace, src, dst)


def _refuse_existing(path: PathLike, overwrite: bool) -> None:
    if not overwrite and exists(path):
        raise AlreadyExistsError(path)


def _run(call: str, local: Callable[..., Any], path: PathLike, *others: PathLike) -> Any:
    """Runs a file call with Python, or with TensorFlow where a path is remote."""
    paths = [os.fspath(each) for each in (path, *others)]
    if io_mode is not BackendMode.TF and not any(map(_REMOTE.match, paths)):
        return local(*paths)
    try:
        import tensorflow as tf
    except ImportError:
        raise RemotePathError(paths[0]) from None
    replaces = {'overwrite': True} if call in ('copy', 'rename') else {}
    try:
        return getattr(tf.io.gfile, call)(*paths, **replaces)
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(str(error)) from error

"""The private parts of JAX that this library uses, and the only file that may name them."""

from __future__ import annotations

from collections.abc import Collection

from jax._src import traceback_util as _tracebacks

api_boundary = _tracebacks.api_boundary


def exclude_frames(path: str) -> None:
    """Leaves out of JAX's filtered tracebacks the frames of a file, or of all files in a folder."""
    if path not in _tracebacks._exclude_paths:
        _tracebacks.register_exclusion(path)


def include_frames(paths: Collection[str]) -> None:
    """Shows the frames of these paths again."""
    _tracebacks._exclude_paths[:] = [
        path for path in _tracebacks._exclude_paths if path not in paths
    ]

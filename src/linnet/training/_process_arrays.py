"""Arrays that several processes hold, in a folder beside the file of a checkpoint.

No process has the whole of such an array, so the file has a *placeholder* in its place, a string
with the path of the array in the tree. All processes write their parts under that path in the
folder ``checkpoint_3_gda``, and the file gets its name when all parts are there. The work is done
by a ``GlobalAsyncCheckpointManager`` of JAX, in the background.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import jax

from linnet import io
from linnet.errors.data import (
    MPACheckpointingRequiredError,
    MPARestoreDataCorruptedError,
    MPARestoreTargetRequiredError,
)
from linnet.training._checkpoint_files import MP_ARRAY_POSTFIX

MP_ARRAY_PH = '//GDAPlaceholder:'
COMMIT_SUCCESS_FILE = 'commit_success.txt'

Arrays = dict[str, jax.Array]


def is_spread(value: Any) -> bool:
    """Says whether a value is an array of which this process holds a part only."""
    return isinstance(value, jax.Array) and not value.is_fully_addressable


def take_out(state: Any, path: tuple[str, ...] = ()) -> tuple[Any, Arrays]:
    """Returns a state dict with placeholders, and the arrays that they stand for by path."""
    if isinstance(state, dict):
        parts = {key: take_out(value, (*path, key)) for key, value in state.items()}
        arrays = {name: array for _, found in parts.values() for name, array in found.items()}
        return {key: part for key, (part, _) in parts.items()}, arrays
    if not is_spread(state):
        return state, {}
    name = '/'.join(path)
    return MP_ARRAY_PH + name, {name: state}


def write(path: str, arrays: Arrays, manager: Any, finish: Callable[[], None]) -> None:
    """Writes arrays beside a checkpoint in the background, and then finishes the checkpoint."""

    def commit() -> None:
        with io.GFile(os.path.join(path + MP_ARRAY_POSTFIX, COMMIT_SUCCESS_FILE), 'w') as file:
            file.write(f'All processes have written their parts of {path}')
        finish()

    specs = _specs(path, arrays)
    manager.serialize(list(arrays.values()), specs, on_commit_callback=commit)


def wait_for_all(what: str) -> None:
    """Waits until all processes have come to this place."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)


def put_back(state: Any, target: Any, path: str, step: Any, manager: Any, *, partial: bool) -> Any:
    """Returns a state dict with arrays in the place of placeholders, laid out as a target's.

    Args:
        state: the state dict of a file.
        target: the state dict of the target, or None.
        path: the path of the file.
        step: the step that was asked for, for messages.
        manager: the manager, or None.
        partial: leave the placeholders that have no array in the target.

    Raises:
        MPACheckpointingRequiredError: there are placeholders and no manager.
        MPARestoreTargetRequiredError: there is no array in the target for one.
        MPARestoreDataCorruptedError: the folder of the arrays is not there, or not complete.
    """
    places = list(_placeholders(state, target))
    if not places:
        return state
    if manager is None:
        raise MPACheckpointingRequiredError(path, step)
    lacking = [name for name, array in places if not isinstance(array, jax.Array)]
    if lacking and not partial:
        raise MPARestoreTargetRequiredError(path, step, lacking[0])
    arrays: Arrays = {name: array for name, array in places if name not in lacking}
    _check_complete(path, step, arrays)
    read = manager.deserialize(
        [array.sharding for array in arrays.values()],
        _specs(path, arrays),
        global_shapes=[array.shape for array in arrays.values()],
        dtypes=[array.dtype for array in arrays.values()],
    )
    return _filled(state, dict(zip(arrays, read, strict=True)))


def _placeholders(state: Any, target: Any) -> Iterator[tuple[str, Any]]:
    """Yields the path of each placeholder, and what the target has in its place."""
    if isinstance(state, dict):
        for key, value in state.items():
            yield from _placeholders(value, target.get(key) if isinstance(target, dict) else None)
    elif isinstance(state, str) and state.startswith(MP_ARRAY_PH):
        yield state.removeprefix(MP_ARRAY_PH), target


def _filled(state: Any, arrays: dict[str, Any]) -> Any:
    if isinstance(state, dict):
        return {key: _filled(value, arrays) for key, value in state.items()}
    if isinstance(state, str) and state.startswith(MP_ARRAY_PH):
        return arrays.get(state.removeprefix(MP_ARRAY_PH), state)
    return state


def _check_complete(path: str, step: Any, arrays: Arrays) -> None:
    folder = path + MP_ARRAY_POSTFIX
    if not all(io.exists(os.path.join(folder, name, '.zarray')) for name in arrays):
        raise MPARestoreDataCorruptedError(step, folder)


def _specs(path: str, arrays: Arrays) -> list[dict[str, Any]]:
    from jax.experimental.array_serialization import serialization

    folder = (path if '://' in path else os.path.abspath(path)) + MP_ARRAY_POSTFIX
    return [serialization.get_tensorstore_spec(os.path.join(folder, name)) for name in arrays]

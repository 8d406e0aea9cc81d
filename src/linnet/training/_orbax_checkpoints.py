"""Checkpoints as folders of Orbax: saved beside what they replace, compared with the target.

Orbax writes under an unfinished name and renames at the end. Where the folder of the step is there
already, the new one is written beside it and takes its place when it is whole.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from linnet import io
from linnet.core.tracers import known
from linnet.errors._suggest import listing
from linnet.errors.data import CheckpointContentError, InvalidCheckpointError, ToolArgumentError
from linnet.errors.sharp_bits import PartialRestoreWarning
from linnet.serialization import from_state_dict, to_state_dict
from linnet.sharp_bits import warn
from linnet.training._checkpoint_files import Retention, Series, Step
from linnet.training.orbax_utils import (
    import_orbax,
    restore_args_from_target,
    save_args_from_target,
)

ORBAX_CKPT_FILENAME = 'checkpoint'
ORBAX_MANIFEST_OCDBT = 'manifest.ocdbt'
ORBAX_METADATA_FILENAME = '_METADATA'

_MARKS = (ORBAX_CKPT_FILENAME, ORBAX_MANIFEST_OCDBT, ORBAX_METADATA_FILENAME)
_KINDS = (jax.Array, np.ndarray, np.number, int, float, str)

Path = tuple[str, ...]


def is_orbax(path: str) -> bool:
    """Says whether a path is the folder of a checkpoint of Orbax."""
    return any(io.exists(os.path.join(path, name)) for name in _MARKS)


def save(series: Series, target: Any, step: Step, retention: Retention, checkpointer: Any) -> str:
    """Saves a tree at a step of a series; returns the path.

    Raises:
        InvalidCheckpointError: the step is there, or would not be kept.
        ToolArgumentError: the target is no tree, or Orbax cannot save it.
    """
    orbax = import_orbax()
    if not jax.tree.leaves(target) or jax.tree_util.treedef_is_leaf(jax.tree.structure(target)):
        raise ToolArgumentError(
            f'the target is a {type(target).__name__} without leaves, or a single leaf',
            why='Orbax saves trees',
            mend="save_checkpoint(folder, {'params': params}, step)",
        )
    checkpointer = checkpointer or orbax.PyTreeCheckpointer()
    _wait(checkpointer)
    _admit(series, step, retention)
    leads = jax.process_index() == 0
    if leads:
        series.clean()
    path = series.path(step)
    place = series.beside(step) if io.exists(path) else path
    _save_tree(checkpointer, place, target)
    is_behind = hasattr(checkpointer, 'wait_until_finished')
    if is_behind and (place != path or retention.overwrite):
        _wait(checkpointer)
        is_behind = False
    if leads and place != path:
        series.replace(place, step)
    if leads:
        series.retain(step, retention, is_behind=is_behind)
    return path


def _wait(checkpointer: Any) -> None:
    """Waits for the save that a checkpointer does in the background, if it is of that kind."""
    if hasattr(checkpointer, 'wait_until_finished'):
        checkpointer.wait_until_finished()


def _admit(series: Series, step: Step, retention: Retention) -> None:
    """Refuses a step that is there, or that would be removed at once."""
    series.recover()
    taken = io.exists(series.path(step)) and not retention.overwrite
    if taken or str(step) in series.outdated(step, retention):
        raise InvalidCheckpointError(series.latest(), step)


def _save_tree(checkpointer: Any, path: str, target: Any) -> None:
    target = jax.tree.map(known, target)
    try:
        checkpointer.save(_absolute(path), target, save_args=save_args_from_target(target))
    except (TypeError, ValueError) as error:
        unknown = [name for name, leaf in _leaves(target) if not isinstance(leaf, _KINDS)]
        leaves = f', for its leaves {listing("/".join(name) for name in unknown)}'
        raise ToolArgumentError(
            f'Orbax cannot save {path!r}{leaves if unknown else ""}',
            why=str(error).splitlines()[0],
            mend='mark such a field of a dataclass with struct.field(pytree_node=False), or '
            "linnet.config.update('flax_use_orbax_checkpointing', False)",
        ) from error


def _absolute(path: str) -> str:
    """Returns a local path from the root on, as Orbax wants it."""
    return path if '://' in path else os.path.abspath(path)


def restore(path: str, target: Any, checkpointer: Any, transforms: Any) -> Any:
    """Restores a tree of the structure of a target, or with the target None a state dict.

    Raises:
        CheckpointContentError: the folder is damaged, or holds no entry of the target.
    """
    orbax = import_orbax()
    checkpointer = checkpointer or orbax.PyTreeCheckpointer()
    _wait(checkpointer)
    kinds = _saved_kinds(path)
    if target is not None and kinds and not transforms:
        _compare_names(path, target, kinds)
    options: dict[str, Any] = {}
    if target is not None:
        args = _restore_args(orbax, target)
        options = {'item': target, 'restore_args': args, 'transforms': transforms or {}}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='Sharding info not provided')
            tree = checkpointer.restore(_absolute(path), **options)
    except Exception as error:
        raise CheckpointContentError(
            f'the checkpoint {path!r} cannot be restored',
            why=f'it is damaged, or does not fit the target: {str(error).splitlines()[0]}',
            mend='restore_checkpoint(folder, None, step=...) to see what a checkpoint holds',
        ) from error
    if target is None:
        return to_state_dict(tree)
    return from_state_dict(target, to_state_dict(_with_nones(tree, kinds)))


def _restore_args(orbax: Any, target: Any) -> Any:
    """Says how leaves are restored: scalars and strings as such in any tree."""
    args = restore_args_from_target(jax.tree.map(_plain, target))

    def mend(leaf: Any, arg: Any) -> Any:
        is_plain = type(leaf) in (bool, int, float, str)
        return orbax.RestoreArgs(restore_type=type(leaf)) if is_plain else arg

    return jax.tree.map(mend, target, args)


def _plain(leaf: Any) -> Any:
    return np.asarray(leaf) if isinstance(leaf, np.generic) else leaf


def _leaves(tree: Any) -> Iterator[tuple[Path, Any]]:
    """Yields the leaves of a tree, and their paths as Orbax writes them."""
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield _names(keys), leaf


def _names(keys: Any) -> Path:
    return tuple(jax.tree_util.keystr((key,), simple=True) for key in keys)


def _saved_kinds(path: str) -> dict[Path, str]:
    """Reads which entries a checkpoint has and of what kind; {} where it does not tell."""
    try:
        with io.GFile(os.path.join(path, ORBAX_METADATA_FILENAME), 'r') as file:
            entries = json.load(file)['tree_metadata'].values()
        return {
            tuple(str(key['key']) for key in entry['key_metadata']): entry['value_metadata'][
                'value_type'
            ]
            for entry in entries
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        name = os.path.join(path, ORBAX_METADATA_FILENAME)
        raise CheckpointContentError(f'the file {name!r} of a checkpoint is damaged') from error


def _compare_names(path: str, target: Any, kinds: dict[Path, str]) -> None:
    """Warns of entries that a checkpoint does not have; refuses one that has none."""
    wanted = [name for name, _ in _leaves(target)]
    lacking = ['/'.join(name) for name in wanted if name not in kinds]
    if not lacking:
        return
    what = f'the checkpoint {path!r} has no entries {listing(lacking)}'
    why = f'it has {listing("/".join(name) for name in kinds)}'
    if len(lacking) == len(wanted):
        raise CheckpointContentError(
            what, why=why, mend='restore_checkpoint(folder, target) with a target as was saved'
        )
    warn(PartialRestoreWarning(f'{what}; the values of the target are kept', why=why))


def _with_nones(tree: Any, kinds: dict[Path, str]) -> Any:
    """Returns a tree with None where that was saved, and not Orbax's note about it."""
    return jax.tree_util.tree_map_with_path(
        lambda keys, leaf: None if kinds.get(_names(keys)) == 'None' else leaf, tree
    )

"""Checkpoints of a training run: one file or folder for each step, the latest of them kept.

``checkpoint_100`` is the state at step 100. It is a folder of Orbax where Orbax is installed and
the flag ``flax_use_orbax_checkpointing`` is set, which it is by default; otherwise it is a file,
the msgpack of :mod:`linnet.serialization`. Both are read whatever the flag says, and Flax reads
and writes the same files.

A process may be killed at any moment: a checkpoint is written under another name and renamed when
it is whole, old ones are removed after that, and the next save removes what was left unfinished.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax

from linnet import io
from linnet._frozen_dict import FrozenDict
from linnet.configurations import config
from linnet.errors._suggest import listing
from linnet.errors.data import (
    CheckpointContentError,
    MPACheckpointingRequiredError,
    SerializationError,
    StateDictError,
    ToolArgumentError,
)
from linnet.errors.sharp_bits import MissingFolderWarning, PartialRestoreWarning
from linnet.serialization import (
    from_state_dict,
    msgpack_restore,
    msgpack_serialize,
    to_state_dict,
)
from linnet.sharp_bits import warn
from linnet.training import _orbax_checkpoints, _process_arrays
from linnet.training._checkpoint_files import (  # noqa: F401  (some are only offered here)
    MP_ARRAY_POSTFIX,
    SCHEME_RE,
    SIGNED_FLOAT_RE,
    UNSIGNED_FLOAT_RE,
    Retention,
    Series,
    Step,
    check_step,
    safe_normpath,
)
from linnet.training._orbax_checkpoints import (  # noqa: F401
    ORBAX_CKPT_FILENAME,
    ORBAX_MANIFEST_OCDBT,
    ORBAX_METADATA_FILENAME,
)
from linnet.training._process_arrays import COMMIT_SUCCESS_FILE, MP_ARRAY_PH  # noqa: F401
from linnet.training.orbax_utils import is_installed

PyTree = Any
MultiprocessArrayType = Any
PathLike = str | os.PathLike[str]

MODULE_NUM_RE = re.compile(r'(.*)_\d+$')

_logger = logging.getLogger(__name__)


class AsyncManager:
    """Writes checkpoints in a thread, one at a time, while the training goes on.

    What is written is taken from the devices before ``save_checkpoint`` returns.

    Args:
        max_workers: the number of threads.

    Example::

        >>> manager = AsyncManager()
        >>> manager.save_async(lambda: None)
        >>> manager.wait_previous_save()
    """

    def __init__(self, max_workers: int = 1) -> None:
        self.executor = ThreadPoolExecutor(max_workers=max_workers)
        self.save_future: Future[Any] | None = None

    def wait_previous_save(self) -> None:
        """Waits for the last save, and raises the error that it ended with, once."""
        future = self.save_future
        if future is None:
            return
        if not future.done():
            _logger.warning('waiting for the previous checkpoint to be written')
        error = future.exception()
        if error is not None:
            self.save_future = None
            raise error

    def save_async(self, task: Callable[[], Any]) -> None:
        """Runs a function in the thread, after the last one has ended."""
        self.wait_previous_save()
        self.save_future = self.executor.submit(task)


def save_checkpoint(
    ckpt_dir: PathLike,
    target: PyTree,
    step: Step,
    prefix: str = 'checkpoint_',
    keep: int = 1,
    overwrite: bool = False,
    keep_every_n_steps: int | None = None,
    async_manager: AsyncManager | None = None,
    orbax_checkpointer: Any = None,
) -> str:
    """Saves a tree as the checkpoint of a step, and removes those that are not kept.

    Args:
        ckpt_dir: the folder; it is made if it is not there.
        target: the tree, usually a ``TrainState``.
        step: the number of the step, an integer or a float.
        prefix: what comes before the step in the name.
        keep: how many of the latest checkpoints are kept.
        overwrite: save a step that is there already, or is before the latest, and remove all
            checkpoints of later steps.
        keep_every_n_steps: keep also one checkpoint in so many steps; never that of step 0.
        async_manager: write the file in the background. Orbax has checkpointers of its own for
            that, as ``orbax_checkpointer``.
        orbax_checkpointer: save with this checkpointer of Orbax, whatever the flag says.

    Returns:
        The path of the checkpoint.

    Raises:
        InvalidCheckpointError: the step is not after the latest one. With Orbax an earlier step
            may be saved, if ``keep`` does not remove it at once.
        ToolArgumentError: the step is no number, or ``keep`` is not positive.

    Example::

        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with config.temp_flip_flag('use_orbax_checkpointing', False):
        ...     for step in (1, 2, 3):
        ...         path = save_checkpoint(folder, {'step': step}, step, keep=2)
        >>> available_steps(folder)
        [2, 3]
        >>> restore_checkpoint(folder, None)
        {'step': 3}
    """
    series, step = Series.at(ckpt_dir, prefix), check_step(step)
    retention = Retention(keep, keep_every_n_steps, overwrite)
    if async_manager is not None:
        async_manager.wait_previous_save()
    if _uses_orbax(orbax_checkpointer):
        return _orbax_checkpoints.save(series, target, step, retention, orbax_checkpointer)
    series.admit(step, retention)
    state = to_state_dict(target)
    if any(map(_process_arrays.is_spread, jax.tree.leaves(state))):
        raise MPACheckpointingRequiredError(series.folder, step)
    data = msgpack_serialize(state, in_place=True)
    _write(series, step, data, retention, async_manager)
    return series.path(step)


def _uses_orbax(checkpointer: Any) -> bool:
    return checkpointer is not None or (config.flax_use_orbax_checkpointing and is_installed())


def _write(
    series: Series,
    step: Step,
    data: bytes,
    retention: Retention,
    async_manager: AsyncManager | None,
) -> None:
    def task() -> None:
        io.makedirs(series.folder)
        series.clean()
        series.write_unfinished(data)
        _finish(series, step, retention)

    if async_manager is None:
        task()
    else:
        async_manager.save_async(task)


def save_checkpoint_multiprocess(
    ckpt_dir: PathLike,
    target: PyTree,
    step: Step,
    prefix: str = 'checkpoint_',
    keep: int = 1,
    overwrite: bool = False,
    keep_every_n_steps: int | None = None,
    async_manager: AsyncManager | None = None,
    gda_manager: Any = None,
    orbax_checkpointer: Any = None,
) -> str:
    """Saves a tree whose arrays may be spread over several processes; each process calls it.

    The first process writes the file, all write their parts of the arrays that are spread. Where a
    checkpoint with such arrays is saved over, it is removed first: half of it would be of no use.

    Args:
        ckpt_dir: as for :func:`save_checkpoint`; all processes see it.
        target: the same.
        step: the same.
        prefix: the same.
        keep: the same.
        overwrite: the same.
        keep_every_n_steps: the same.
        async_manager: the same.
        gda_manager: a ``GlobalAsyncCheckpointManager`` of ``jax.experimental``, which writes
            arrays in the background. Orbax needs none.
        orbax_checkpointer: the same.

    Returns:
        The path of the checkpoint.

    Raises:
        MPACheckpointingRequiredError: there are spread arrays and no manager for them.
        InvalidCheckpointError: as for :func:`save_checkpoint`.
        ToolArgumentError: the same.
    """
    series, step = Series.at(ckpt_dir, prefix), check_step(step)
    retention = Retention(keep, keep_every_n_steps, overwrite)
    for manager, wait in (
        (async_manager, 'wait_previous_save'),
        (gda_manager, 'wait_until_finished'),
    ):
        if manager is not None:
            getattr(manager, wait)()
    if _uses_orbax(orbax_checkpointer):
        return _orbax_checkpoints.save(series, target, step, retention, orbax_checkpointer)
    series.admit(step, retention)
    state, arrays = _process_arrays.take_out(to_state_dict(target))
    if arrays and gda_manager is None:
        raise MPACheckpointingRequiredError(series.folder, step)
    data = msgpack_serialize(state)
    _process_arrays.wait_for_all(f'checkpoint {series.path(step)} is admitted')
    leads = jax.process_index() == 0
    if leads and not arrays:
        _write(series, step, data, retention, async_manager)
    if leads and arrays:
        io.makedirs(series.folder)
        series.clean()
        series.write_unfinished(data)
        series.clear_arrays(step)
    if arrays:
        _process_arrays.wait_for_all(f'{series.path(step)} is clear')
        _process_arrays.write(
            series.path(step), arrays, gda_manager, lambda: _finish(series, step, retention)
        )
    return series.path(step)


def _finish(series: Series, step: Step, retention: Retention) -> None:
    series.finish(step)
    series.retain(step, retention)


def restore_checkpoint(
    ckpt_dir: PathLike,
    target: PyTree | None,
    step: Step | None = None,
    prefix: str = 'checkpoint_',
    parallel: bool = True,
    gda_manager: Any = None,
    allow_partial_mpa_restoration: bool = False,
    orbax_checkpointer: Any = None,
    orbax_transforms: dict[str, Any] | None = None,
) -> PyTree:
    """Restores the latest checkpoint of a folder, or that of a step.

    Args:
        ckpt_dir: the folder, or the path of a checkpoint.
        target: a tree of the structure that was saved; None restores a state dict.
        step: the step; None is the latest one.
        prefix: what comes before the step in the name.
        parallel: has no effect; a file is read in one go.
        gda_manager: the manager for arrays that are spread over processes.
        allow_partial_mpa_restoration: leave such arrays out that are no arrays in the target.
        orbax_checkpointer: restore with this checkpointer of Orbax.
        orbax_transforms: how names that have changed are found, for Orbax.

    Returns:
        A tree like the target with the values of the checkpoint. The target itself where there is
        no checkpoint and ``step`` is None, as when a run begins.

    Raises:
        CheckpointNotFoundError: there is no checkpoint of the step.
        CheckpointContentError: the checkpoint is damaged, is none, or does not fit the target.
        MPARestoreTargetRequiredError: an array that is spread has no array in the target.
        MPARestoreDataCorruptedError: the parts of such an array are not there.
    """
    path = _path_to_restore(safe_normpath(ckpt_dir), prefix, step)
    if path is None:
        _warn_if_missing(ckpt_dir)
        return target
    if _orbax_checkpoints.is_orbax(path):
        result = _orbax_checkpoints.restore(path, target, orbax_checkpointer, orbax_transforms)
    else:
        result = _restore_file(path, target, step, gda_manager, allow_partial_mpa_restoration)
    if target is not None:
        _compare_shapes(path, target, result)
    return result


def _warn_if_missing(ckpt_dir: PathLike) -> None:
    """Warns of a folder that is not there; an empty one is that of a run that begins."""
    if not io.exists(safe_normpath(ckpt_dir)):
        warn(
            MissingFolderWarning(
                f'there is no folder {safe_normpath(ckpt_dir)!r}: the target is returned unchanged',
                mend='check the path; os.makedirs(path, exist_ok=True) where a run begins',
            )
        )


def _path_to_restore(ckpt_dir: str, prefix: str, step: Step | None) -> str | None:
    if step is not None:
        return Series.at(ckpt_dir, prefix).find(step)
    is_checkpoint = io.exists(ckpt_dir) and not io.isdir(ckpt_dir)
    if is_checkpoint or _orbax_checkpoints.is_orbax(ckpt_dir):
        return ckpt_dir
    return Series.at(ckpt_dir, prefix).latest()


def _restore_file(path: str, target: Any, step: Any, manager: Any, partial: bool) -> Any:
    """Restores a file of msgpack, and says which file it was when it does not fit."""
    if io.isdir(path):
        raise CheckpointContentError(
            f'{path!r} is a folder, and not that of a checkpoint',
            why='a folder of Orbax has a file _METADATA or manifest.ocdbt',
            mend='delete it, or pass the step of another checkpoint',
        )
    try:
        with io.GFile(path, 'rb') as file:
            state = msgpack_restore(file.read())
        state = _process_arrays.put_back(
            state,
            to_state_dict(target),
            path,
            step,
            manager,
            partial=partial,
        )
        return state if target is None else from_state_dict(target, state)
    except SerializationError as error:
        raise CheckpointContentError(
            f'the file {path!r} is damaged, or no checkpoint: {error.what}',
            why=error.why,
            mend='delete it, or pass the step of another checkpoint',
            where=error.where,
        ) from error
    except StateDictError as error:
        raise CheckpointContentError(
            f'the checkpoint {path!r} does not fit the target: {error.what}',
            why=error.why,
            mend='restore_checkpoint(folder, None) returns what was saved',
            where=error.where,
        ) from error


def _compare_shapes(path: str, target: Any, result: Any) -> None:
    """Warns of arrays that have another shape in a checkpoint than in the target."""
    structure: Any = jax.tree.structure(target)
    if structure != jax.tree.structure(result):
        return
    wanted = jax.tree_util.tree_leaves_with_path(target)
    differing = [
        f'{jax.tree_util.keystr(keys, simple=True, separator="/")}: {shape} was saved, '
        f'the target has {leaf.shape}'
        for (keys, leaf), value in zip(wanted, jax.tree.leaves(result), strict=True)
        if (shape := getattr(value, 'shape', None)) != getattr(leaf, 'shape', shape)
        and shape is not None
    ]
    if differing:
        what = f'the checkpoint {path!r} has arrays of other shapes, which are restored as saved'
        warn(PartialRestoreWarning(what, why=listing(differing)))


def latest_checkpoint(ckpt_dir: PathLike, prefix: str = 'checkpoint_') -> str | None:
    """Returns the path of the checkpoint of the highest step, or None where there is none.

    Args:
        ckpt_dir: the folder; it need not be there.
        prefix: what comes before the step in the name.
    """
    return Series.at(ckpt_dir, prefix).latest()


def available_steps(
    ckpt_dir: PathLike, prefix: str = 'checkpoint_', step_type: type = int
) -> list[Step]:
    """Returns the steps of the checkpoints in a folder, in order.

    Args:
        ckpt_dir: the folder; it need not be there.
        prefix: what comes before the step in the name.
        step_type: ``int``, or ``float`` where steps are floats.

    Raises:
        ToolArgumentError: a step is no integer, and ``step_type`` is ``int``.
    """
    steps = Series.at(ckpt_dir, prefix).steps()
    try:
        return [step_type(text) for text in steps]
    except ValueError as error:
        raise ToolArgumentError(
            f'not all steps in {os.fspath(ckpt_dir)!r} are of type {step_type.__name__}: '
            f'{listing(steps)}',
            mend='available_steps(folder, step_type=float)',
        ) from error


def natural_sort(file_list: Any, signed: bool = True) -> list[str]:
    """Sorts names so that the numbers in them are compared as numbers.

    Args:
        file_list: the names.
        signed: whether ``-`` and ``+`` before a number are its sign.

    Example::

        >>> natural_sort(['step_10', 'step_9', 'step_-1'])
        ['step_-1', 'step_9', 'step_10']
        >>> natural_sort(['step-10', 'step-9'], signed=False)
        ['step-9', 'step-10']
    """
    pattern = SIGNED_FLOAT_RE if signed else UNSIGNED_FLOAT_RE

    def key(name: Any) -> list[Any]:
        parts = pattern.split(str(name))
        return [float(part) if index % 2 else part for index, part in enumerate(parts)]

    return sorted(file_list, key=key)


def convert_pre_linen(params: PyTree) -> PyTree:
    """Returns parameters of Flax's old API with the names that modules have in Linen.

    The old API counted all submodules of a module together, Linen counts those of each class.

    Args:
        params: nested dicts; anything else is returned as it is.

    Example::

        >>> convert_pre_linen({'Conv_0': {'w': 1}, 'Dense_1': {'w': 2}, 'Dense_10': {'w': 3}})
        {'Conv_0': {'w': 1}, 'Dense_0': {'w': 2}, 'Dense_1': {'w': 3}}
    """
    if not isinstance(params, dict | FrozenDict):
        return params
    counts: dict[str, int] = {}
    renamed: dict[str, Any] = {}
    for name in natural_sort(params):
        value = params[name]
        if found := MODULE_NUM_RE.match(str(name)):
            cls = found.group(1)
            name = f'{cls}_{counts.get(cls, 0)}'
            counts[cls] = counts.get(cls, 0) + 1
        renamed[name] = convert_pre_linen(value)
    return FrozenDict(renamed) if isinstance(params, FrozenDict) else renamed

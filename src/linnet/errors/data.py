"""Errors about files, checkpoints, state dicts and nested data (LN6xx)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from linnet.errors._base import LinnetError
from linnet.errors._suggest import brief


class InvalidCheckpointError(LinnetError, ValueError):
    """A checkpoint would be saved at a step that is not after the latest one.

    Wrong::

        save_checkpoint(folder, state, step=100)
        save_checkpoint(folder, state, step=50)

    Right::

        save_checkpoint(folder, state, step=50, overwrite=True)

    Reason: the latest step is what a run resumes from. ``overwrite=True`` deletes all
    checkpoints from this step on.
    """

    code = 'LN601'

    def __init__(self, path: Any, step: Any) -> None:
        super().__init__(
            f'cannot save a checkpoint at step {step}: {path} holds one of this or a later step',
            why='checkpoints are saved in the order of their steps',
            mend=f'save_checkpoint(..., step={step}, overwrite=True), or another folder',
        )


class MPACheckpointingRequiredError(LinnetError):
    """An array spread over several processes was saved without a manager for such arrays.

    Wrong::

        save_checkpoint(folder, {'w': sharded_over_hosts}, step=1)

    Right::

        save_checkpoint_multiprocess(folder, {'w': sharded_over_hosts}, step=1)

    Reason: no single process holds the whole array, so all of them must write their part.
    """

    code = 'LN602'

    def __init__(self, path: Any, step: Any) -> None:
        super().__init__(
            f'the checkpoint at step {step} in {path} holds arrays spread over several processes',
            why='one process cannot save them alone',
            mend='save_checkpoint_multiprocess(folder, state, step), called by every process',
        )


class MPARestoreTargetRequiredError(LinnetError):
    """An array spread over several processes was restored without a target to lay it out like.

    Wrong::

        restore_checkpoint(folder, target=None)

    Right::

        restore_checkpoint(folder, target=state, gda_manager=manager)

    Reason: the sharding of such an array is not in the file; it is taken from the target.
    """

    code = 'LN603'

    def __init__(self, path: Any, step: Any, key: Any = None) -> None:
        entry = f', entry {key!r},' if key is not None else ''
        super().__init__(
            f'the checkpoint at step {step} in {path}{entry} holds arrays spread over processes '
            'and no target says how to lay them out',
            why='target is None, or holds no jax.Array at this entry',
            mend='restore_checkpoint(folder, target=state)',
        )


class MPARestoreDataCorruptedError(LinnetError):
    """The part of a checkpoint that holds arrays of several processes is incomplete.

    Wrong::

        restore_checkpoint(folder, state, step=3)    # the job died while it saved step 3

    Right::

        restore_checkpoint(folder, state, step=2)

    Reason: the folder of these arrays has no mark that the save came to its end.
    """

    code = 'LN604'

    def __init__(self, step: Any, path: Any) -> None:
        super().__init__(
            f'the checkpoint at step {step} in {path} is incomplete',
            why='the save of its multi-process arrays never finished',
            mend='restore an earlier step, and delete this one',
        )


class AlreadyExistsError(LinnetError):
    """A file would be written or moved to a path that exists already.

    Wrong::

        linnet.io.copy('a.msgpack', 'b.msgpack')     # b.msgpack exists

    Right::

        linnet.io.copy('a.msgpack', 'b.msgpack', overwrite=True)

    Reason: what is there is kept unless the caller says otherwise.
    """

    code = 'LN605'

    def __init__(self, path: Any) -> None:
        super().__init__(
            f'{str(path)!r} exists already',
            why='existing files are not replaced by default',
            mend='pass overwrite=True, or another path',
        )


class RemotePathError(LinnetError, ImportError):
    """A remote path was given and nothing that reads remote paths is installed.

    Wrong::

        linnet.io.exists('gs://bucket/run')          # without TensorFlow

    Right::

        linnet.io.exists('/mnt/bucket/run')          # the bucket, mounted

    Reason: remote files are read through ``tensorflow.io.gfile``. To answer that the file does
    not exist would start a run from scratch.
    """

    code = 'LN612'

    def __init__(self, path: Any) -> None:
        super().__init__(
            f'{str(path)!r} goes through tensorflow.io.gfile, and TensorFlow is not installed',
            mend='pip install tensorflow, or pass a local path',
        )


class CursorFindError(LinnetError):
    """A search with a cursor found nothing, or more than the one place it was to find.

    Wrong::

        cursor(params).find(lambda path, value: 'kernel' in path)     # two kernels

    Right::

        cursor(params).find_all(lambda path, value: 'kernel' in path)

    Reason: ``find`` returns exactly one cursor; ``find_all`` yields any number of them.
    """

    code = 'LN606'

    def __init__(self, cursor: Any = None, cursor2: Any = None) -> None:
        found = cursor is not None and cursor2 is not None
        what = 'the search found nothing'
        if found:
            what = f'the search found more than one place: {_place(cursor)} and {_place(cursor2)}'
        super().__init__(
            what,
            why='find() wants a condition that holds at exactly one place',
            mend='use find_all(cond_fn), or a condition that tells the two apart'
            if found
            else 'print the tree and mend the condition',
        )


def _place(cursor: Any) -> str:
    """The path of a cursor, or the cursor itself where it does not know its path."""
    return brief(getattr(cursor, '_path', cursor))


class TraverseTreeError(LinnetError):
    """A tree was to be traversed with both an update and a condition, or with neither.

    Wrong::

        _traverse_tree((), tree, update_fn=f, cond_fn=g)

    Right::

        _traverse_tree((), tree, update_fn=f)

    Reason: a traversal either changes the leaves or looks for places, not both.
    """

    code = 'LN607'

    def __init__(self, update_fn: Callable[..., Any] | None, cond_fn: Any) -> None:
        neither = update_fn is None and cond_fn is None
        given = 'neither' if neither else f'update_fn={brief(update_fn)}, cond_fn={brief(cond_fn)}'
        super().__init__(
            f'a traversal takes one of update_fn and cond_fn, got {given}',
            mend='pass exactly one of the two',
        )


class SerializationError(LinnetError, ValueError):
    """Bytes are not what this library writes, or a value has no form in bytes.

    Wrong::

        serialization.msgpack_restore(path.read_bytes()[:100])

    Right::

        serialization.msgpack_restore(path.read_bytes())

    Reason: the format is msgpack with arrays, NumPy scalars and complex numbers as extensions;
    a truncated file or another format is refused before anything is returned.
    """

    code = 'LN608'


class StateDictError(LinnetError, ValueError):
    """A state dict does not fit the target that it is to be restored into.

    Wrong::

        serialization.from_state_dict({'kernel': w}, {'kernal': w})

    Right::

        serialization.from_state_dict({'kernel': w}, {'kernel': w})

    Reason: the target gives the structure, the state dict gives the values; the names and the
    lengths must be the same, or values would be lost without a word.
    """

    code = 'LN609'


class FrozenDictError(LinnetError, ValueError):
    """A FrozenDict was changed in place.

    Wrong::

        frozen['kernel'] = kernel

    Right::

        frozen = frozen.copy({'kernel': kernel})     # an item added or replaced
        frozen, value = frozen.pop('kernel')         # an item taken out
        plain = frozen.unfreeze()                    # nested dicts that may be changed

    Reason: its items never change, so that it can be hashed and shared.
    """

    code = 'LN610'


class DictTypeError(LinnetError, TypeError):
    """A function on dicts was given something else than a dict or FrozenDict.

    Wrong::

        unfreeze(variables['params']['kernel'])

    Right::

        unfreeze(variables['params'])

    Reason: the functions work on the nested dicts of variables, not on one leaf of them.
    """

    code = 'LN611'


class TrainStateError(LinnetError, ValueError, TypeError):
    """The parts of a training state do not fit each other, or the gradients do not fit them.

    Wrong::

        state = state.replace(params=params_of_another_head)

    Right::

        state = state.replace(params=params, opt_state=state.tx.init(params))

    Reason: the state of an optimiser holds an array of the same shape for each parameter.
    """

    code = 'LN613'


class CursorPathError(LinnetError, KeyError, IndexError, AttributeError, TypeError):
    """A cursor was led to a place that the tree does not have, or that cannot be edited.

    Wrong::

        cursor(params)['kernal']
        cursor(params)['kernel'][0] = 1.0

    Right::

        cursor(params)['kernel']
        c = cursor(params)
        c['kernel'] = c['kernel'].build().at[0].set(1.0)

    Reason: a cursor goes into dicts, lists, tuples and dataclasses; an array or another object
    is replaced as a whole.
    """

    code = 'LN614'


class CheckpointNotFoundError(LinnetError, ValueError):
    """A checkpoint was asked for by its step or path, and there is none.

    Wrong::

        restore_checkpoint(folder, state, step=100)        # saved at the steps 90 and 110

    Right::

        restore_checkpoint(folder, state)                  # the latest one

    Reason: without a step an empty folder means that a run begins, and the target is returned;
    with one the caller counts on what was saved.
    """

    code = 'LN620'


class CheckpointContentError(LinnetError, ValueError):
    """A file or folder is no checkpoint, is damaged, or holds another tree than the target.

    Wrong::

        restore_checkpoint(folder, {'params': params})     # saved as {'model': params}

    Right::

        restore_checkpoint(folder, {'model': params})['model']

    Reason: what is restored must be whole. The message names the file and what does not match;
    with ``target=None`` the names come as they were saved.
    """

    code = 'LN621'


class ToolArgumentError(LinnetError, ValueError, TypeError):
    """An argument of a function for training has a value or a form that it cannot work with.

    Wrong::

        save_checkpoint(folder, state, step=10, keep=0)

    Right::

        save_checkpoint(folder, state, step=10, keep=1)

    Reason: the docstring of the function says what its arguments may be.
    """

    code = 'LN622'


class DeviceBatchError(LinnetError, ValueError, AssertionError):
    """Arrays do not fit the devices or each other along their leading axis.

    Wrong::

        common_utils.shard({'x': jnp.ones((30, 5))})       # on 8 devices

    Right::

        common_utils.shard({'x': jnp.ones((32, 5))})

    Reason: each device takes the same number of examples. ``jax_utils.pad_shard_unpad`` fills up
    a batch that does not divide.
    """

    code = 'LN623'


class MissingPackageError(LinnetError, ImportError):
    """A package that only this function needs is not installed.

    Wrong::

        SummaryWriter('runs/1')                            # without tensorboardX

    Right::

        SummaryWriter('runs/1')                            # pip install 'linnet[tensorboard]'

    Reason: what few programs need is left to them to install, so that the rest stays light.
    """

    code = 'LN624'

    def __init__(self, package: str, *, user: str, extra: str) -> None:
        super().__init__(
            f'{user} needs {package}, which is not installed',
            mend=f"pip install 'linnet[{extra}]'",
        )

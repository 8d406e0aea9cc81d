"""The files of a run: what they are called, how one is written whole, which are kept.

A *series* is the checkpoints of one prefix in one folder; the rest of a name is its *step*, a
number. A checkpoint is a file of msgpack, or a folder of Orbax; arrays that several processes hold
are in a folder beside it, which ends in ``_gda``. What is *unfinished* has a name that no reader
takes for a checkpoint, so it becomes one only by being renamed, and the next save removes it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from linnet import io
from linnet.errors._suggest import brief, listing
from linnet.errors.data import CheckpointNotFoundError, InvalidCheckpointError, ToolArgumentError

Step = int | float

SCHEME_RE = re.compile('^(?P<scheme>[a-z][a-z0-9.+-]+://)?(?P<path>.*)', re.IGNORECASE)
UNSIGNED_FLOAT_RE = re.compile(r'[-+]?((?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)')
SIGNED_FLOAT_RE = re.compile(r'([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)')
MP_ARRAY_POSTFIX = '_gda'

_UNFINISHED = 'tmp'
_UNFINISHED_FOLDER = '.orbax-checkpoint-tmp'
_REPLACED = _UNFINISHED_FOLDER + '-replaced'
_REMOVED = _UNFINISHED_FOLDER + '-removed'


def safe_normpath(path: str | os.PathLike[str]) -> str:
    """Returns a path without ``.``, ``..`` and doubled slashes; a scheme is left as it is.

    >>> safe_normpath('gs://bucket//run/../other/')
    'gs://bucket/other'
    """
    found = SCHEME_RE.match(os.fspath(path))
    scheme, rest = found.groups() if found else (None, os.fspath(path))
    return (scheme or '') + os.path.normpath(rest)


def to_step(text: str) -> Step:
    """Returns the number that the step of a name stands for."""
    return float(text) if re.search(r'[.eE]', text) else int(text)


@dataclass(frozen=True)
class Retention:
    """Which checkpoints are kept.

    Attributes:
        keep: how many of the latest.
        every: of those before, one in this many steps; None for none.
        overwrite: whether the steps after the one that is saved are removed.

    Raises:
        ToolArgumentError: ``keep`` is not a positive integer, or ``every`` is negative.
    """

    keep: int
    every: Step | None
    overwrite: bool

    def __post_init__(self) -> None:
        if not isinstance(self.keep, int | np.integer) or self.keep < 1:
            raise ToolArgumentError(
                f'keep is {brief(self.keep)}; it is the number of latest checkpoints to keep',
                mend='keep=1, or keep=10**6 to keep all',
            )
        every = self.every
        if every is not None and not (isinstance(every, int | float | np.number) and every >= 0):
            raise ToolArgumentError(
                f'keep_every_n_steps is {brief(every)}, which is not a positive number',
                mend='keep_every_n_steps=1000',
            )


@dataclass(frozen=True)
class Series:
    """The checkpoints of one prefix in one folder.

    Attributes:
        folder: the folder that holds them.
        prefix: what their names begin with.
    """

    folder: str
    prefix: str

    @classmethod
    def at(cls, ckpt_dir: str | os.PathLike[str], prefix: str) -> Series:
        """Returns the series of a prefix, which may begin with folders."""
        folder, name = os.path.split(os.path.join(safe_normpath(ckpt_dir), prefix))
        return cls(folder, name)

    def path(self, step: Any) -> str:
        """Returns the path of the checkpoint of a step."""
        return os.path.join(self.folder, f'{self.prefix}{step}')

    @property
    def unfinished(self) -> str:
        """The path at which a file is written."""
        return os.path.join(self.folder, self.prefix + _UNFINISHED)

    def steps(self) -> list[str]:
        """Returns the steps as the names have them, in the order of their numbers."""
        found = [name for name in self._rests() if SIGNED_FLOAT_RE.fullmatch(name)]
        return sorted(found, key=lambda text: (to_step(text), text))

    def _rests(self) -> list[str]:
        """Returns what follows the prefix in the names that begin with it."""
        if not io.exists(self.folder):
            return []
        names = (name.rstrip('/') for name in io.listdir(self.folder))
        return [name[len(self.prefix) :] for name in names if name.startswith(self.prefix)]

    def latest(self) -> str | None:
        """Returns the path of the checkpoint of the highest step."""
        self.recover()
        steps = self.steps()
        return self.path(steps[-1]) if steps else None

    def find(self, step: Any) -> str:
        """Returns the path of the checkpoint of a step.

        Raises:
            CheckpointNotFoundError: there is none.
        """
        self.recover()
        path = self.path(step)
        if not io.exists(path):
            raise CheckpointNotFoundError(
                f'there is no checkpoint {path!r}',
                why=f'{self.folder!r} holds the steps {listing(self.steps())}',
                mend='restore_checkpoint(folder, target), without a step, restores the latest',
            )
        return path

    def admit(self, step: Step, retention: Retention) -> None:
        """Refuses a step that is not after all others.

        Raises:
            InvalidCheckpointError: the step, or a later one, is there.
        """
        self.recover()
        steps = self.steps()
        if not retention.overwrite and steps and to_step(steps[-1]) >= step:
            raise InvalidCheckpointError(self.path(steps[-1]), step)

    def write_unfinished(self, data: bytes) -> None:
        """Writes a file to the disk under the name that no reader takes for a checkpoint."""
        with io.GFile(self.unfinished, 'wb') as file:
            file.write(data)
            if hasattr(file, 'fileno'):
                file.flush()
                os.fsync(file.fileno())

    def finish(self, step: Step) -> None:
        """Gives what was written the name of its checkpoint."""
        path = self.path(step)
        if io.isdir(path):
            self.replace(self.unfinished, step)
        else:
            io.rename(self.unfinished, path, overwrite=True)

    def replace(self, new: str, step: Step) -> None:
        """Puts a finished file or folder in the place of the folder of a checkpoint.

        A process that is killed between the two renames leaves both; :meth:`recover` mends it.
        """
        path = self.path(step)
        io.rename(path, path + _REPLACED)
        io.rename(new, path)
        _remove(path + _REPLACED)

    def beside(self, step: Step) -> str:
        """Returns the path at which a folder is written that will replace a checkpoint."""
        return self.path(step) + _UNFINISHED_FOLDER + '-new'

    def recover(self) -> None:
        """Puts back a checkpoint whose replacement did not come to its end."""
        for rest in self._rests():
            step = rest.removesuffix(_REPLACED)
            if step != rest and not io.exists(self.path(step)):
                io.rename(self.path(rest), self.path(step))

    def clean(self) -> None:
        """Removes what killed saves have left."""
        self.recover()
        for rest in self._rests():
            if rest == _UNFINISHED or _UNFINISHED_FOLDER in rest:
                _remove(self.path(rest))

    def clear_arrays(self, step: Step) -> None:
        """Removes folders of spread arrays that have no file, and the checkpoint of a step.

        Nobody may be writing such a folder meanwhile.
        """
        _remove(self.path(step))
        for rest in self._rests():
            text = rest.removesuffix(MP_ARRAY_POSTFIX)
            if text != rest and not io.exists(self.path(text)):
                _remove(self.path(rest))

    def retain(self, step: Step, retention: Retention, *, is_behind: bool = False) -> None:
        """Removes the checkpoints that are not kept, once the one of a step is there.

        Where it is not there yet since it is written in the background, one more is kept.
        """
        latest = self.steps()[-1:]
        outdated = self.outdated(to_step(latest[0]) if is_behind and latest else step, retention)
        for text in outdated:
            _remove(self.path(text))
            _remove(self.path(text) + MP_ARRAY_POSTFIX)

    def outdated(self, step: Step, retention: Retention) -> list[str]:
        """Returns the steps that are not kept, once a step is there.

        Of the steps before the last ``keep``, the first is kept and each that is ``every`` after
        the last one that was kept; step 0 is not counted.
        """
        steps = sorted({*self.steps(), str(step)}, key=lambda text: (to_step(text), text))
        later = [text for text in steps if retention.overwrite and to_step(text) > step]
        earlier = steps[: len(steps) - len(later)][: -retention.keep]
        last = float('-inf')
        for text in list(earlier) if retention.every else ():
            if to_step(text) and to_step(text) - last >= (retention.every or 0):
                last = to_step(text)
                earlier.remove(text)
        return earlier + later


def _remove(path: str) -> None:
    """Removes a file or a folder, if it is there; a folder is no checkpoint from the first on."""
    if io.isdir(path):
        if _UNFINISHED_FOLDER not in path:
            io.rename(path, path + _REMOVED)
            path += _REMOVED
        io.rmtree(path)
    elif io.exists(path):
        io.remove(path)


def check_step(step: Any) -> Step:
    """Returns a step as Python's number.

    Raises:
        ToolArgumentError: it is no finite number.
    """
    text = f'{step}'
    if not SIGNED_FLOAT_RE.fullmatch(text):
        raise ToolArgumentError(
            f'the step of a checkpoint is {brief(step)}, which is not a finite number',
            mend='save_checkpoint(folder, state, step=int(state.step))',
        )
    return to_step(text)

"""Checkpoints: the whole state of a run, saved beside the training and taken back bit for bit.

A *step* of a checkpoint folder holds the arrays of the state under their paths, the best variables
so far, and *about*: seed, position in the data, what is watched, and of each array the shape, dtype
and a checksum. Orbax writes it in the background and gives it its name only when all of it is on
the disk: a run that is killed at any moment leaves whole steps, and rubbish that nothing reads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from linnet.errors.training import (
    CheckpointDamagedError,
    CheckpointMismatchError,
    CheckpointWriteError,
    TrainOptionError,
)
from linnet.serialization import from_state_dict, to_state_dict
from linnet.train.state import RunState
from linnet.traverse_util import unflatten_dict

Arrays = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Report:
    """What of a checkpoint did not fit a state, by path.

    Attributes:
        missing: the state has it and the checkpoint does not; the state's value was kept.
        extra: the checkpoint has it and the state does not; it was left out.
        shape: of another shape; the state's value was kept.
        dtype: of another dtype; the state's value was kept.
    """

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    shape: tuple[str, ...] = ()
    dtype: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(dataclasses.astuple(self))

    def __str__(self) -> str:
        lines = [f'{name}: {", ".join(paths)}' for name, paths in vars(self).items() if paths]
        return '\n'.join(lines) or 'everything fits'


class Saved(NamedTuple):
    """What :meth:`Checkpoints.restore` gives back."""

    state: RunState
    about: dict[str, Any]
    best: Any
    report: Report


class Checkpoints:
    """A folder of checkpoints, each of one step.

    Args:
        folder: where; made when first written to.
        every: after how many steps a run saves its state.
        keep: how many steps to keep, the newest.

    Raises:
        TrainOptionError: ``every`` or ``keep`` is no count.
    """

    def __init__(self, folder: str | Path, *, every: int = 1000, keep: int = 3) -> None:
        for name, count in (('every', every), ('keep', keep)):
            if not isinstance(count, int) or count < 1:
                raise TrainOptionError(f'{name}={count!r} is no count from 1', mend=f'{name}=3')
        self.folder = Path(folder).absolute()
        self.every = every
        self.keep = keep
        self._open: Any = None
        self._writing_step: int | None = None

    def __str__(self) -> str:
        return f'the folder {self.folder}'

    def steps(self) -> list[int]:
        """The steps that are there, oldest first."""
        return sorted(self._manager().all_steps()) if self.folder.exists() else []

    def latest(self) -> int | None:
        """The newest step, None where there is none."""
        return max(self.steps(), default=None)

    def prepare(self) -> None:
        """Makes the folder and tries to write to it, so that a run fails before it has trained.

        Raises:
            CheckpointWriteError: nothing can be written there.
        """
        with self._writing('a checkpoint'):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._probe()

    def save(self, state: RunState, about: Mapping[str, Any], best: Any = None) -> None:
        """Begins to save a state; returns when its arrays are copied, before they are written.

        A step that is there already is left as it is.

        Raises:
            CheckpointWriteError: the folder cannot be written or is gone, or the step before was
                not written.
        """
        import orbax.checkpoint as ocp

        self.wait()
        step = int(state.step)
        with self._writing(f'step {step}'):
            if self._open is not None and not self.folder.is_dir():
                raise FileNotFoundError('the folder was removed while the run went on')
            manager = self._manager()
            self._probe()  # Orbax finds out in a thread, and others of its threads then wait long
        if step in manager.all_steps():
            return
        arrays = _arrays({'state': state, 'best': {} if best is None else best})
        arrays = jax.tree.map(jnp.copy, arrays)  # those of the state may be donated meanwhile
        table = {path: _describe(array) for path, array in arrays.items()}
        arrays = {path: array for path, array in arrays.items() if array.size}  # none are empty
        # A copy, since Orbax writes it while the run goes on.
        about = json.loads(json.dumps({**about, 'arrays': table}))
        args = ocp.args.Composite(
            arrays=ocp.args.StandardSave(arrays),
            about=ocp.args.JsonSave({**about, 'checksum': _checksum(about)}),
        )
        with self._writing(f'step {step}'):
            manager.save(step, args=args)
        self._writing_step = step

    def restore(self, state: RunState, step: int | None = None, *, strict: bool = True) -> Saved:
        """Takes a state back.

        Args:
            state: what to restore into: its structure, shapes, dtypes and devices.
            step: which step; the newest by default.
            strict: whether all must fit. If not, what does not fit is as in ``state``, and the
                report says what that is.

        Raises:
            CheckpointMismatchError: the checkpoint and the state do not fit each other.
            CheckpointDamagedError: there is no such step, or it cannot be read.
        """
        self.wait()
        step = self.latest() if step is None else step
        about, found = self._read(step)
        wanted = _arrays({'state': state})
        report = _compare(wanted, {p: a for p, a in found.items() if p.startswith('state/')})
        if report and strict:
            raise CheckpointMismatchError(
                f'step {step} in {self} does not fit the state\n{report}',
                mend='the model and optimiser that it was saved with, or restore(strict=False)',
            )
        taken = {
            p: found[p] if p in found and _fits(found[p], wanted[p]) else wanted[p] for p in wanted
        }
        best = {p: a for p, a in found.items() if p.startswith('best/')}
        return Saved(
            _rebuild(state, {path: _place(taken[path], wanted[path]) for path in wanted}),
            about,
            unflatten_dict(jax.tree.map(jnp.asarray, best), sep='/')['best'] if best else None,
            report,
        )

    def wait(self) -> None:
        """Waits until everything is on the disk.

        Raises:
            CheckpointWriteError: it could not be written.
        """
        if self._open is not None and self._writing_step is not None:
            step, self._writing_step = self._writing_step, None
            with self._writing(f'step {step}'):
                self._open.wait_until_finished()

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Says what could not be written, where, why, and what is left."""
        try:
            yield
        except Exception as error:
            with contextlib.suppress(Exception):
                self.close()  # what failed once fails again: the next save begins with a new one
            self._open, whole = None, self._whole_steps()
            denied = isinstance(error, PermissionError) or 'ermission denied' in str(error)
            mend = f'chmod u+w {self.folder}' if denied else 'make room'
            raise CheckpointWriteError(
                f'{what} cannot be written to {self}: {error!s:.300}',
                why=f'whole are the steps {whole}' if whole else 'there is no other step yet',
                mend=f'{mend}, or name another folder; then fit(..., resume=True)',
            ) from error

    def _probe(self) -> None:
        """Makes a file, and removes it."""
        with tempfile.TemporaryFile(dir=self.folder):
            pass

    def _whole_steps(self) -> list[int]:
        """The steps on the disk, as their names tell; asks nobody who may have failed."""
        with contextlib.suppress(OSError):
            return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())
        return []

    def close(self) -> None:
        """Waits, and lets go of the folder."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _manager(self) -> Any:
        """Orbax's manager of the folder."""
        if self._open is None:
            import orbax.checkpoint as ocp

            options = ocp.CheckpointManagerOptions(
                max_to_keep=self.keep, create=True, cleanup_tmp_directories=True
            )
            self._open = ocp.CheckpointManager(self.folder, options=options)
        return self._open

    def _read(self, step: int | None) -> tuple[dict[str, Any], Arrays]:
        """Reads a step and checks that its arrays are those that were written."""
        import orbax.checkpoint as ocp

        steps = self.steps()
        if step not in steps:
            raise CheckpointDamagedError(
                f'{self} holds no step {step}' if steps else f'{self} holds no checkpoint',
                why=f'its steps are {steps}' if steps else '',
                mend='trainer.fit(..., resume=True) begins anew where there is none',
            )
        args = ocp.args.Composite(arrays=ocp.args.StandardRestore(), about=ocp.args.JsonRestore())
        try:
            read = self._manager().restore(step, args=args)
            about, arrays = dict(read.about), dict(read.arrays)
            unharmed = about.pop('checksum', None) in (None, _checksum(about))
            table = about.pop('arrays')
            arrays |= {path: jnp.zeros(*row[:2]) for path, row in table.items() if 0 in row[0]}
            bad = sorted(
                path
                for path in {*table, *arrays}
                if path not in table
                or path not in arrays
                or list(table[path]) != _describe(arrays[path])
            )
        except Exception as error:
            raise self._damaged(step, steps, f'cannot be read: {error!s:.300}') from error
        bad += [] if unharmed else ['about']
        if bad:
            raise self._damaged(step, steps, f'has other bytes than were written: {bad}')
        return about, arrays

    def _damaged(self, step: int | None, steps: list[int], what: str) -> CheckpointDamagedError:
        older = [other for other in steps if other != step]
        return CheckpointDamagedError(
            f'step {step} in {self} {what}',
            why='the file is damaged, or was not written by a run',
            mend=f'restore(step={older[-1]}), and remove the folder {step}' if older else '',
        )


def _arrays(tree: Any) -> Arrays:
    """The arrays of a tree by path, keys of random streams as their words."""
    found: Arrays = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for name, child in node.items():
                walk(child, f'{path}/{name}' if path else name)
        elif node is not None:
            found[path] = jnp.asarray(_words(node))

    walk({name: to_state_dict(part) for name, part in tree.items()}, '')
    return found


def _words(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _is_key(leaf: Any) -> bool:
    dtype = getattr(leaf, 'dtype', None)
    return dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)


def _describe(array: Any) -> list[Any]:
    """Shape, dtype and checksum; no checksum of what other processes hold."""
    whole = getattr(array, 'is_fully_addressable', True)
    crc = zlib.crc32(np.ascontiguousarray(np.asarray(array)).view(np.uint8).data) if whole else None
    return [list(array.shape), str(array.dtype), crc]


def _checksum(about: Mapping[str, Any]) -> int:
    """The checksum of what JSON makes of it."""
    return zlib.crc32(json.dumps(about, sort_keys=True).encode())


def _fits(found: Any, wanted: Any) -> bool:
    return found.shape == wanted.shape and found.dtype == wanted.dtype


def _place(array: Any, like: Any) -> Any:
    """Puts an array where another is, in memory of its own: a step may be given it to reuse."""
    return jnp.copy(jax.device_put(array, like.sharding))


def _rebuild(state: RunState, arrays: Arrays) -> RunState:
    """Makes a state like another, of arrays by path."""

    def fill(node: Any, path: str) -> Any:
        if isinstance(node, dict):
            return {name: fill(child, f'{path}/{name}') for name, child in node.items()}
        if node is None:
            return None
        array = arrays[path]
        return (
            jax.random.wrap_key_data(array, impl=jax.random.key_impl(node))
            if _is_key(node)
            else array
        )

    rebuilt: RunState = from_state_dict(state, fill(to_state_dict(state), 'state'))
    return rebuilt


def _compare(wanted: Arrays, found: Arrays) -> Report:
    both = sorted(wanted.keys() & found.keys())
    return Report(
        missing=tuple(sorted(wanted.keys() - found.keys())),
        extra=tuple(sorted(found.keys() - wanted.keys())),
        shape=tuple(
            f'{path} {found[path].shape}, not {wanted[path].shape}'
            for path in both
            if found[path].shape != wanted[path].shape
        ),
        dtype=tuple(
            f'{path} {found[path].dtype}, not {wanted[path].dtype}'
            for path in both
            if found[path].dtype != wanted[path].dtype
        ),
    )

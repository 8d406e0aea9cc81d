"""Runs whose disk fails them: each prints, as a line of JSON, what it was told and what is left.

python -m tests.train.fault_program FOLDER FAULT ...

A run saves every third step; the fault comes when step 3 is whole. For ``full``, FOLDER must be a
small file system of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from linnet.errors import CheckpointWriteError
from linnet.train.checkpointing import Checkpoints
from linnet.train.trainer import Trainer
from tests.train.toys import Line, batches, regress


def make_trainer(folder: Path, hooks: Any = ()) -> Trainer:
    """A trainer that saves at steps 3, 6 and so on."""
    checkpoints = Checkpoints(folder, every=3)
    return Trainer(
        Line(),
        regress,
        optax.adam(0.1),
        checkpoints=checkpoints,
        log_every=5,
        progress='quiet',
        hooks=hooks,
    )


@contextlib.contextmanager
def limited(folder: Path) -> Iterator[None]:
    """Files may have 100 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """There is no room on the file system."""
    rubbish = folder.parent / 'rubbish'
    with contextlib.suppress(OSError), rubbish.open('wb', buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        rubbish.unlink()


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder may not be written to; the superuser gives up the right to do so all the same."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, rights) == 0
    fewer = (ctypes.c_uint32 * 6)(*rights)
    fewer[0] = fewer[3] = 0  # those in effect
    folder.chmod(0o555)
    assert libc.capset(header, fewer) == 0
    try:
        yield
    finally:
        assert libc.capset(header, rights) == 0
        folder.chmod(0o755)


@contextlib.contextmanager
def removed(folder: Path) -> Iterator[None]:
    """Somebody removes the folder."""
    shutil.rmtree(folder)
    yield


FAULTS: dict[str, Callable[[Path], Any]] = {
    function.__name__: function for function in (limited, full, read_only, removed)
}


def run(folder: Path, fault: str) -> dict[str, Any]:
    """Trains into a fault; tells the error, and whether the state of step 3 can be had."""
    context = contextlib.ExitStack()

    def strike(trainer: Trainer, row: Any) -> None:
        if row['step'] == 5:
            assert trainer.checkpoints is not None
            trainer.checkpoints.wait()
            context.enter_context(FAULTS[fault](folder))

    whole = make_trainer(folder.parent / f'whole-{fault}')
    whole.fit(batches(), steps=3)
    unbroken = digest(whole)
    trainer = make_trainer(folder, [strike])
    with context:
        try:
            trainer.fit(batches(), steps=9)
        except CheckpointWriteError as error:
            told = str(error)
    blank = make_trainer(folder)
    blank.init(batches()[0])
    steps = Checkpoints(folder).steps()
    same = bool(steps) and blank.restore().batch == 3 and digest(blank) == unbroken
    return {'told': told, 'steps': steps, 'same': same}


def digest(trainer: Trainer) -> list[float]:
    """All numbers of the state."""
    return [x for leaf in jax.tree.leaves(trainer.state.params) for x in np.ravel(leaf).tolist()]


def main(root: str, *faults: str) -> None:
    """Runs into each fault."""
    for fault in faults:
        print(json.dumps({'fault': fault, **run(Path(root) / fault, fault)}), flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])

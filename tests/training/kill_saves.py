"""Kills processes while they save checkpoints, and reads what they left.

    python -m tests.training.kill_saves --kills 200
    python -m tests.training.kill_saves --kills 20 --orbax

A child saves one checkpoint after the other, only the latest kept, each third one over the one
before, and tells of each save that has returned. Its disk is slow, so that it is often killed, at a
random moment, when half of a file is written. After that the
latest checkpoint must be whole, by a checksum in it, and not older than what the child told of;
and the next save must leave nothing but checkpoints.
"""

from __future__ import annotations

import argparse
import hashlib
import io as io_module
import itertools
import multiprocessing
import os
import random
import re
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from linnet import io
from linnet.configurations import config
from linnet.training import checkpoints

warnings.filterwarnings('ignore', message='.*fork', category=RuntimeWarning)
warnings.filterwarnings('ignore', message='.*fork', category=DeprecationWarning)

PIECES, DELAY = 16, 0.0005
CONTEXT = multiprocessing.get_context('fork')
SIZE = 300_000


def content(step: int) -> dict[str, Any]:
    """A state whose bytes have a checksum."""
    data = np.random.default_rng(time.time_ns()).bytes(SIZE)
    array = np.frombuffer(data, np.uint8)
    return {'step': np.array(step), 'data': array, 'digest': digest(step, array)}


def digest(step: int, array: Any) -> Any:
    """The checksum of a state, as an array."""
    hashed = hashlib.sha256(str(step).encode() + array.tobytes()).digest()
    return np.frombuffer(hashed, np.uint8)


def latest(folder: str) -> int:
    """Restores the latest checkpoint, compares its checksum, and returns its step; 0 for none."""
    state = checkpoints.restore_checkpoint(folder, None)
    if state is None:
        return 0
    step = int(state['step'])
    np.testing.assert_array_equal(state['digest'], digest(step, state['data']))
    assert state['data'].size == SIZE
    return step


def slow_file(name: str, mode: str) -> Any:
    """Opens a file that takes what is written in pieces, each after a while."""
    file = open(name, mode, buffering=0 if 'b' in mode else -1)  # noqa: SIM115
    if mode != 'wb':
        return file

    class Slow(io_module.RawIOBase):
        fileno = file.fileno

        def write(self, data: Any) -> int:
            for piece in np.array_split(np.frombuffer(data, np.uint8), PIECES):
                file.write(piece.tobytes())
                time.sleep(DELAY)
            return len(data)

        def close(self) -> None:
            file.close()

    return Slow()


def save_for_ever(folder: str, told: int) -> None:
    """Saves until it is killed."""
    io.GFile = slow_file
    first = latest(folder) + 1
    for step in itertools.count(first):
        checkpoints.save_checkpoint(folder, content(step), step, keep=1)
        os.write(told, b'%d\n' % step)
        if step % 3 == 0:
            checkpoints.save_checkpoint(folder, content(step), step, keep=1, overwrite=True)


def look(folder: str, told: int) -> None:
    """Tells of the latest step, and of what is not a checkpoint before and after another save."""
    step = latest(folder)
    before = leftovers(folder)
    checkpoints.save_checkpoint(folder, content(step + 1), step + 1, keep=1)
    assert latest(folder) == step + 1
    os.write(told, b'%d %d %d\n' % (step, before, leftovers(folder)))


def leftovers(folder: str) -> int:
    """Counts the names in a folder that are no checkpoints."""
    return sum(not re.fullmatch(r'checkpoint_\d+', name) for name in os.listdir(folder))


def run(task: Callable[[str, int], None], folder: str, seconds: float | None) -> tuple[int, str]:
    """Runs a task in a process, killed after some seconds; returns its status and what it told."""
    read, write = os.pipe()
    child = CONTEXT.Process(target=task, args=(folder, write))
    child.start()
    os.close(write)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child.pid, signal.SIGKILL)
    child.join()
    with os.fdopen(read) as pipe:
        return child.exitcode, pipe.read()


def kill(kills: int, seed: int, longest: float) -> dict[str, int]:
    """Kills so many children; returns the counts that :func:`main` prints."""
    random.seed(seed)
    counts = {'kills': 0, 'saves': 0, 'with leftovers': 0, 'without a save': 0}
    with tempfile.TemporaryDirectory() as folder:
        known = 0
        while counts['kills'] < kills:
            status, told = run(save_for_ever, folder, random.uniform(0, longest))
            assert status == -signal.SIGKILL, f'the child ended by itself, with {status}'
            returned = [int(line) for line in told.split('\n')[:-1]]
            status, told = run(look, folder, None)
            assert status == 0, f'the checkpoint after kill {counts["kills"]} is not whole'
            step, before, after = map(int, told.split())
            assert step >= max([known, *returned]), f'step {returned[-1:]} is lost: {step}'
            assert after == 0, 'a save left what killed saves had left'
            known = step + 1
            counts['kills'] += 1
            counts['saves'] += len(returned)
            counts['with leftovers'] += before > 0
            counts['without a save'] += not returned
    return counts


def main() -> None:
    """Reads the arguments, and prints what was counted."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--kills', type=int, default=200)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--longest', type=float, help='of the lives of children, in seconds')
    parser.add_argument('--orbax', action='store_true')
    options = parser.parse_args()
    config.update('flax_use_orbax_checkpointing', options.orbax)
    if options.orbax:
        import orbax.checkpoint  # noqa: F401  once, and not in each child
    start = time.time()
    counts = kill(options.kills, options.seed, options.longest or (1.0 if options.orbax else 0.15))
    print(*(f'{count} {name}' for name, count in counts.items()), sep=', ', end=', ')
    print(f'{time.time() - start:.0f} s: every checkpoint whole, none lost')


if __name__ == '__main__':
    main()

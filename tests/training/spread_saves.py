"""Saves arrays that two processes hold a half of each, and restores them with the other library.

    python -m tests.training.spread_saves

starts the two processes. Both save with Flax and restore with Linnet, and the other way round, as
files and as folders of Orbax.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def start(port: int, number: int, folder: str) -> subprocess.Popen[str]:
    """Starts one of the processes."""
    path = os.pathsep.join([str(ROOT / 'src'), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, '-m', 'tests.training.spread_saves', str(port), str(number), folder],
        env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': '', 'PYTHONPATH': path},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def run() -> list[str]:
    """Runs both processes; gives what they say when they fail, or ''."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        processes = [start(port, number, folder) for number in range(2)]
        said = [process.communicate()[1] for process in processes]
    return [
        text if process.returncode else '' for process, text in zip(processes, said, strict=True)
    ]


def save_and_restore(port: int, number: int, folder: str) -> None:
    """What each of the processes does."""
    import jax

    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    jax.distributed.initialize(f'localhost:{port}', 2, number)
    import flax
    import flax.training.checkpoints as theirs
    from jax.experimental.array_serialization import serialization

    import linnet
    from linnet.training import checkpoints as ours

    state, manager = spread_state(), serialization.GlobalAsyncCheckpointManager()
    for uses_orbax in (False, True):
        for library in (flax, linnet):
            library.config.update('flax_use_orbax_checkpointing', uses_orbax)
        for writer, reader in ((theirs, ours), (ours, theirs), (ours, ours)):
            place = f'{folder}/{uses_orbax}/{writer.__name__}/{reader.__name__}'
            for step in (1, 2):
                writer.save_checkpoint_multiprocess(place, state, step, gda_manager=manager)
            manager.wait_until_finished()
            restored = reader.restore_checkpoint(place, state, gda_manager=manager)
            jax.tree.map(assert_same, state, restored)
        if number == 0:
            names = {'checkpoint_2'} if uses_orbax else {'checkpoint_2', 'checkpoint_2_gda'}
            assert set(os.listdir(place)) == names


def spread_state() -> Any:
    """A tree with an array of which each process holds a half, and one of which each holds all."""
    import jax
    import numpy as np

    mesh = jax.make_mesh((2,), ('x',))
    values = np.arange(4, dtype=np.float32)

    def spread(spec: Any) -> jax.Array:
        sharding = jax.NamedSharding(mesh, spec)
        return jax.make_array_from_callback((4,), sharding, lambda index: values[index])

    return {'p': {'w': spread(jax.P('x')), 'l': [spread(jax.P('x'))]}, 'r': spread(jax.P()), 'n': 3}


def assert_same(one: Any, other: Any) -> None:
    """Compares the parts that this process holds."""
    import jax
    import numpy as np

    if not isinstance(one, jax.Array):
        assert one == other
        return
    for mine, others in zip(one.addressable_shards, other.addressable_shards, strict=True):
        np.testing.assert_array_equal(mine.data, others.data)
    assert one.sharding.is_equivalent_to(other.sharding, one.ndim)


if __name__ == '__main__':
    if len(sys.argv) > 1:
        warnings.simplefilter('ignore')
        save_and_restore(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    else:
        errors = ''.join(run())
        sys.exit(errors or None)

"""A run to be killed: trains, saving often, and goes on from what it finds.

python -m tests.train.kill_program FOLDER STEPS prints ``done`` and a digest of the last state.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import jax
import numpy as np
import optax

from linnet.train.checkpointing import Checkpoints
from linnet.train.stopping import Watch
from linnet.train.trainer import Trainer
from tests.train.toys import Net, batches, classify


def shuffled(epoch: int) -> list[Any]:
    """The batches in an order of the epoch's own."""
    found = batches()
    return [found[i] for i in np.random.default_rng(epoch).permutation(len(found))]


def digest(tree: Any) -> str:
    """SHA-256 of all arrays."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        sha.update(f'{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}'.encode())
        sha.update(np.asarray(leaf).tobytes())
    return sha.hexdigest()


def main(folder: str, steps: str) -> None:
    """Trains to the last step."""
    trainer = Trainer(
        Net(),
        classify,
        optax.adam(0.01),
        ema=0.9,
        accumulate=2,
        watch=Watch('valid_loss'),
        checkpoints=Checkpoints(folder, every=5),
        progress='quiet',
        hooks=[lambda _, row: print(row['step'], flush=True)],
        log_every=5,
    )
    trainer.fit(shuffled, steps=int(steps), valid=batches(), resume=True)
    state = trainer.state
    watched = trainer.watch.state() if trainer.watch else None
    print('done', digest((state.params, state.opt_state, state.collections, state.ema)), watched)
    print('best', digest(trainer.best_variables), flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])

"""Keys of a run: each stream's key at each step, from one seed.

The key of a stream at step ``n`` is the base key ``jax.random.key(seed)``, with the name of the
stream folded in as :func:`linnet.core.rng.fold` does, and then ``n``. It depends on the seed, the
name and the number alone: not on the steps before, on how many steps are compiled together, or on
where a run was interrupted. Step 0 is initialisation, 1 the first update.
"""

from __future__ import annotations

from collections.abc import Iterable

import jax

from linnet.core.materialize import fold_in
from linnet.core.rng import fold
from linnet.typing import PRNGKey


def stream_keys(key: PRNGKey, streams: Iterable[str], step: int | jax.Array) -> dict[str, PRNGKey]:
    """Derives the key of each stream at a step.

    Args:
        key: the base key of the run.
        streams: names of streams.
        step: 0 for initialisation, then the number of the step.

    Example::

        >>> keys = stream_keys(jax.random.key(0), ('params', 'dropout'), step=3)
        >>> sorted(keys)
        ['dropout', 'params']
    """
    return {name: fold_in(fold(key, (name,)), step) for name in streams}


def evaluation_key(key: PRNGKey) -> PRNGKey:
    """The base key of evaluation, whose streams are counted by batches from 1."""
    return fold(key, ('evaluation', 0))

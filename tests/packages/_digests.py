"""Prints trees of arrays so that two runs can be compared line by line."""

import hashlib

import jax
import numpy as np


def show(name, tree):
    """Prints a line for each array: its key path, shape, type, and a digest of its bytes."""
    print(name, type(tree).__name__, flush=True)
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if hasattr(leaf, 'dtype') and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        digest = hashlib.sha256(array.tobytes()).hexdigest()[:12]
        print(f'  {jax.tree_util.keystr(path)} {array.shape} {array.dtype} {digest}', flush=True)

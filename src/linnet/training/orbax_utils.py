"""What Orbax wants to know of a tree in order to save or to restore it.

Orbax takes beside a tree another of the same structure, which says of each leaf how it is saved or
restored. The functions here make that other tree.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import jax
import numpy as np

from linnet.errors.data import MissingPackageError

PyTree = Any


def is_installed() -> bool:
    """Says whether Orbax can be imported.

    >>> is_installed()
    True
    """
    return all(importlib.util.find_spec(name) for name in ('orbax', 'orbax.checkpoint'))


def import_orbax() -> Any:
    """Returns the package ``orbax.checkpoint``.

    Raises:
        MissingPackageError: it is not installed.
    """
    if not is_installed():
        raise MissingPackageError('orbax-checkpoint', user='this checkpoint', extra='checkpoints')
    import orbax.checkpoint

    return orbax.checkpoint


def is_multi_device_array(value: Any) -> bool:
    """Says whether a value is an array whose parts lie on several devices.

    An array of which each device has a copy is not meant.

    >>> is_multi_device_array(np.ones(2)), is_multi_device_array(jax.numpy.ones(2))
    (False, False)
    """
    return isinstance(value, jax.Array) and not value.is_fully_replicated


def save_args_from_target(target: PyTree) -> PyTree:
    """Returns for each leaf of a tree how Orbax saves it: as it does by default.

    >>> jax.tree.leaves(save_args_from_target({'w': np.ones(2)}))[0].aggregate
    False
    """
    orbax = import_orbax()
    return jax.tree.map(lambda _: orbax.SaveArgs(), target)


def restore_args_from_target(target: PyTree, mesh: jax.sharding.Mesh | None = None) -> PyTree:
    """Returns for each leaf of a tree how Orbax restores it: as the leaf is.

    An array of JAX comes back with its dtype and sharding, one of NumPy with its dtype, a scalar
    as its type. In a tree without arrays of JAX all leaves come back as arrays of NumPy.

    Args:
        target: the tree.
        mesh: lay out the arrays of JAX over this mesh, along the axes of the same names.

    Example::

        >>> args = restore_args_from_target({'w': jax.numpy.ones(2), 'step': 0})
        >>> args['w'].dtype, args['step'].restore_type
        (dtype('float32'), <class 'int'>)
    """
    orbax = import_orbax()
    if not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(target)):
        return jax.tree.map(lambda _: orbax.RestoreArgs(restore_type=np.ndarray), target)
    shardings = None
    if mesh is not None:
        shardings = jax.tree.map(lambda leaf: _on_mesh(leaf, mesh), target)
    return orbax.checkpoint_utils.construct_restore_args(target, shardings, set_global_shape=False)


def _on_mesh(leaf: Any, mesh: jax.sharding.Mesh) -> Any:
    if not isinstance(leaf, jax.Array):
        return None
    spec = getattr(leaf.sharding, 'spec', jax.sharding.PartitionSpec())
    return jax.sharding.NamedSharding(mesh, spec)


def maybe_construct_transformations(target: PyTree, transforms: PyTree | None) -> PyTree:
    """Returns the given transformations, or those that leave out what the target has as None.

    >>> list(maybe_construct_transformations({'a': None, 'b': 1}, None))
    ['a']
    """
    if transforms is not None:
        return transforms
    orbax = import_orbax()
    leaves = jax.tree_util.tree_leaves_with_path(target, is_leaf=lambda leaf: leaf is None)
    return {
        jax.tree_util.keystr(path, simple=True, separator='/'): orbax.Transform(use_fallback=True)
        for path, leaf in leaves
        if leaf is None
    }

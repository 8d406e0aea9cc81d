"""Small functions for training loops under ``jax.pmap``: batches split over devices, metrics read.

A batch that is *sharded* here has a leading axis over the devices of this process, of which each
takes one row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linnet.errors._suggest import described
from linnet.errors.data import DeviceBatchError, ToolArgumentError


def shard(xs: Any) -> Any:
    """Splits the leading axis of all arrays over the devices of this process.

    Args:
        xs: a tree of arrays ``[batch, ...]``.

    Returns:
        The tree with arrays ``[devices, batch / devices, ...]``.

    Raises:
        DeviceBatchError: the batch does not divide by the number of devices.

    Example::

        >>> shard({'x': np.zeros((6, 3))})['x'].shape    # on one device
        (1, 6, 3)
    """
    return jax.tree_util.tree_map_with_path(_split, xs)


def _split(path: Any, x: Any) -> Any:
    count = jax.local_device_count()
    shape = np.shape(x)
    if not shape or shape[0] % count:
        raise DeviceBatchError(
            f'{named(path)} has the shape {shape}, whose leading axis does not divide by the '
            f'{count} devices',
            mend='jax_utils.pad_shard_unpad(function) fills a batch up',
        )
    return x.reshape(count, shape[0] // count, *shape[1:])


def named(path: Any) -> str:
    """Returns how a message calls the array at a path of a tree.

    >>> named((jax.tree_util.DictKey('x'),))
    'the array /x'
    """
    keys = jax.tree_util.keystr(path, simple=True, separator='/')
    return f'the array /{keys}' if keys else 'the array'


def shard_prng_key(prng_key: Any) -> jax.Array:
    """Returns an array of different keys, one for each device of this process.

    Args:
        prng_key: one random key.
    """
    return jax.random.split(prng_key, num=jax.local_device_count())


def stack_forest(forest: Iterable[Any]) -> Any:
    """Stacks trees of one structure along a new leading axis.

    Args:
        forest: trees with arrays of the same shapes, or numbers.

    Raises:
        ToolArgumentError: there is no tree, or they have different structures or shapes.

    Example::

        >>> stack_forest([{'loss': 1.0}, {'loss': 2.0}])['loss'].shape
        (2,)
    """
    trees = list(forest)
    if not trees:
        raise ToolArgumentError('there are no trees to stack', mend='if metrics: stack_forest(...)')
    structures = {jax.tree.structure(tree): None for tree in trees}
    if len(structures) > 1:
        raise ToolArgumentError(
            f'the trees have different structures: {" and ".join(map(str, structures))}',
            mend='collect the same metrics in each step',
        )
    return jax.tree_util.tree_map_with_path(_stack, *trees)


def _stack(path: Any, *leaves: Any) -> jax.Array:
    shapes = {np.shape(leaf): None for leaf in leaves}
    if len(shapes) > 1:
        raise ToolArgumentError(
            f'{named(path)} has different shapes in the trees: {", ".join(map(str, shapes))}'
        )
    return jnp.stack(leaves)


def get_metrics(device_metrics: Iterable[Any]) -> Any:
    """Reads the metrics of several steps, of which each device has a copy, and stacks them.

    Args:
        device_metrics: for each step a tree of arrays ``[devices, ...]`` of a function under
            ``jax.pmap``.

    Returns:
        The tree with arrays ``[steps, ...]``.

    Raises:
        DeviceBatchError: an array has no row for each device.
        ToolArgumentError: there are no metrics.

    Example::

        >>> import jax.numpy as jnp
        >>> steps = [jax.pmap(lambda x: {'loss': x})(jnp.full(1, float(i))) for i in range(3)]
        >>> get_metrics(steps)
        {'loss': Array([0., 1., 2.], dtype=float32)}
    """
    firsts = [jax.tree_util.tree_map_with_path(first_copy, step) for step in device_metrics]
    return stack_forest(jax.device_get(firsts))


def first_copy(path: Any, x: Any) -> jax.Array:
    """Returns the row of an array ``[devices, ...]`` that is on the first device.

    Raises:
        DeviceBatchError: the device has no row, or more than one.
    """
    if not isinstance(x, jax.Array):
        raise DeviceBatchError(
            f'{named(path)} is {described(x)}, and not on devices',
            mend='stack_forest(metrics) stacks what is not on devices',
        )
    data = x.addressable_data(0)
    if not data.ndim or data.shape[0] != 1:
        raise DeviceBatchError(
            f'{named(path)} of shape {x.shape} has {data.shape} on a device, and not one row',
            why='arrays that are replicated over devices have a leading axis over these',
            mend='metrics of jax.jit are not replicated: stack_forest(jax.device_get(metrics))',
        )
    return data.squeeze(0)


def onehot(
    labels: Any, num_classes: int, on_value: float = 1.0, off_value: float = 0.0
) -> jax.Array:
    """Returns for each label a row with one value at its place, and another elsewhere.

    Args:
        labels: integers ``[...]``; one that is not below ``num_classes`` has no place.
        num_classes: the length of a row.
        on_value: the value at the place of the label.
        off_value: the value elsewhere.

    Returns:
        An array ``[..., num_classes]`` in float32.

    Example::

        >>> onehot([2, 0], 3, on_value=0.9, off_value=0.05)
        Array([[0.05, 0.05, 0.9 ],
               [0.9 , 0.05, 0.05]], dtype=float32)
    """
    is_on = jnp.asarray(labels)[..., None] == jnp.arange(num_classes)
    return jnp.where(is_on, on_value, off_value).astype(jnp.float32)

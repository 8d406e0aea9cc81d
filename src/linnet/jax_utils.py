"""Functions around JAX's transforms: copies on all devices, batches that do not divide, scans.

The functions for ``jax.pmap`` use a leading axis over devices: :func:`replicate` adds it,
:func:`unreplicate` takes it away, :func:`prefetch_to_device` and :func:`pad_shard_unpad` give each
device its part of a batch.
"""

from __future__ import annotations

import collections
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from linnet import _compat
from linnet.core.tracers import is_traced
from linnet.errors._suggest import brief, described
from linnet.errors.data import DeviceBatchError, ToolArgumentError
from linnet.training.common_utils import first_copy, named

_AXIS = '_device_put_sharded'


def replicate(
    tree: Any, devices: Sequence[jax.Device] | None = None, axis_name: str = _AXIS
) -> Any:
    """Copies arrays to several devices.

    Args:
        tree: a tree of arrays ``[...]`` and numbers.
        devices: the devices; by default all of this process.
        axis_name: the name of the new axis in the sharding of the results.

    Returns:
        The tree with arrays ``[devices, ...]``, of which each device has one row.

    Example::

        >>> replicate({'w': np.ones(3)})['w'].shape    # on one device
        (1, 3)
    """
    devices = devices or jax.local_devices()
    sharding = _over(devices, axis_name)

    def copy(x: Any) -> jax.Array:
        row = x[None] if isinstance(x, jax.Array) else np.asarray(x)[None]
        shape = (len(devices), *row.shape[1:])
        if is_traced(x):
            return jnp.broadcast_to(row, shape)
        if getattr(x, 'weak_type', False):  # which putting rows together would not keep
            return jax.device_put(jnp.broadcast_to(row, shape), sharding)
        rows = [jax.device_put(row, device) for device in devices]
        return jax.make_array_from_single_device_arrays(shape, sharding, rows)

    return jax.tree.map(copy, tree)


def _over(devices: Sequence[jax.Device], axis_name: str) -> jax.sharding.NamedSharding:
    """Returns the sharding that splits the leading axis over devices."""
    mesh = jax.sharding.Mesh(np.array(devices), (axis_name,))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(axis_name))


def unreplicate(tree: Any) -> Any:
    """Returns the copy of a tree that is on the first device.

    Args:
        tree: a tree of arrays ``[devices, ...]``; arrays of which each device has all are taken
            as they are.

    Raises:
        DeviceBatchError: an array has no row for each device.

    Example::

        >>> unreplicate(replicate({'w': np.ones(3)}))['w'].shape
        (3,)
    """
    return jax.tree_util.tree_map_with_path(_first, tree)


def _first(path: Any, x: Any) -> Any:
    is_array = isinstance(x, jax.Array) and not is_traced(x)
    if is_array and not x.ndim:
        return x
    if is_array and len(x.sharding.device_set) > 1:
        return x.addressable_data(0) if x.is_fully_replicated else first_copy(path, x)
    if not np.shape(x) or not np.shape(x)[0]:
        raise DeviceBatchError(
            f'{named(path)} is {described(x)}, which has no leading axis over devices'
        )
    return x[0]


def pmean(xs: Any, axis_name: str) -> Any:
    """Returns the mean of arrays over a mapped axis, as :func:`jax.lax.pmean`.

    Args:
        xs: a tree of arrays.
        axis_name: the name of an axis of ``jax.pmap`` or ``jax.vmap``.

    Example::

        >>> jax.vmap(lambda x: pmean(x, 'i'), axis_name='i')(jnp.array([1.0, 3.0]))
        Array([2., 2.], dtype=float32)
    """
    return jax.tree.map(lambda x: lax.pmean(x, axis_name), xs)


def prefetch_to_device(
    iterator: Iterable[Any],
    size: int,
    devices: Sequence[jax.Device] | None = None,
    axis_name: str = _AXIS,
) -> Iterator[Any]:
    """Puts batches on devices before they are asked for.

    Args:
        iterator: yields trees of arrays ``[devices, ...]``.
        size: how many batches are on the devices at a time; 2 is enough on most machines.
        devices: the devices; by default all of this process.
        axis_name: the name of the axis over devices in the sharding.

    Yields:
        The trees, with arrays on the devices.

    Raises:
        ToolArgumentError: ``size`` is not positive.
        DeviceBatchError: the leading axis of an array does not divide by the number of devices.

    Example::

        >>> batches = prefetch_to_device(iter([np.zeros((1, 4)), np.ones((1, 4))]), size=2)
        >>> [float(batch.sum()) for batch in batches]
        [0.0, 4.0]
    """
    if not isinstance(size, int) or size < 1:
        raise ToolArgumentError(
            f'size is {brief(size)}', why='no batch would ever be given', mend='size=2'
        )
    sharding = _over(devices or jax.local_devices(), axis_name)
    return _prefetched(iter(iterator), size, sharding)


def _prefetched(
    iterator: Iterator[Any], size: int, sharding: jax.sharding.NamedSharding
) -> Iterator[Any]:
    put = functools.partial(_put, sharding)
    queue: collections.deque[Any] = collections.deque()

    def fill(count: int) -> None:
        for batch in itertools.islice(iterator, count):
            queue.append(jax.tree_util.tree_map_with_path(put, batch))

    fill(size)
    while queue:
        yield queue.popleft()
        fill(1)


def _put(sharding: jax.sharding.NamedSharding, path: Any, x: Any) -> jax.Array:
    count = sharding.mesh.size
    if not np.shape(x) or np.shape(x)[0] % count:
        raise DeviceBatchError(
            f'{named(path)} is {described(x)}; its leading axis must divide by the {count} devices',
            mend='common_utils.shard(batch)',
        )
    return jax.device_put(x, sharding)


def partial_eval_by_shape(
    fn: Callable[..., Any], input_spec: Iterable[Any], *args: Any, **kwargs: Any
) -> Any:
    """Calls a function whose first arguments are known by their shapes only.

    Args:
        fn: called as ``fn(*inputs, *args, **kwargs)``.
        input_spec: for each of the inputs a shape, or a pair of shape and dtype; a shape alone is
            that of a float32 array.
        *args: further arguments.
        **kwargs: further arguments.

    Returns:
        The results of the function; what depends on the inputs is a ``jax.ShapeDtypeStruct``.

    Raises:
        ToolArgumentError: the specification is no list of shapes.

    Example::

        >>> fn = lambda x: {'kernel': jnp.zeros((x.shape[-1], 2)), 'x': 2 * x}
        >>> results = partial_eval_by_shape(fn, [(8, 3)])
        >>> results['kernel'].shape, results['x']
        ((3, 2), ShapeDtypeStruct(shape=(8, 3), dtype=float32))
    """
    specs = [_parse_spec(spec) for spec in input_spec]
    made: list[Any] = []
    structure: Any = None

    def whole(*inputs: Any) -> Any:
        nonlocal structure
        result = fn(*inputs, *args, **kwargs)
        made[:], structure = jax.tree.flatten(result)
        return [leaf for leaf in made if isinstance(leaf, jax.core.Tracer)]

    values = iter(_known_values(jax.make_jaxpr(whole)(*specs)))
    leaves = [next(values) if isinstance(leaf, jax.core.Tracer) else leaf for leaf in made]
    return jax.tree.unflatten(structure, leaves)


def _parse_spec(spec: Any) -> jax.ShapeDtypeStruct:
    """Reads a shape, or a pair of shape and dtype."""
    try:
        if len(spec) == 2 and not isinstance(spec[0], int | np.integer):
            return jax.ShapeDtypeStruct(tuple(spec[0]), spec[1])
        return jax.ShapeDtypeStruct(tuple(spec), jnp.float32)
    except TypeError as error:
        raise ToolArgumentError(
            f'input_spec has the entry {brief(spec)}, which is neither a shape nor a pair of '
            'shape and dtype',
            mend='input_spec=[(8, 28, 28, 1), ((8,), jnp.int32)]',
        ) from error


def _known_values(closed: Any) -> list[Any]:
    """Evaluates the outputs of a program that need no input; gives the shapes of the others."""
    outputs = closed.jaxpr.outvars
    alone = [[other is index for other in range(len(outputs))] for index in range(len(outputs))]
    known = [not any(_compat.dce_jaxpr(closed.jaxpr, wanted)[1]) for wanted in alone]
    program, _ = _compat.dce_jaxpr(closed.jaxpr, known)
    values = iter(_compat.eval_jaxpr(program, closed.consts, []))
    return [
        next(values) if is_known else jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype)
        for var, is_known in zip(outputs, known, strict=True)
    ]


def pad_shard_unpad(
    wrapped: Callable[..., Any],
    static_argnums: Sequence[int] = (0,),
    static_argnames: Sequence[str] = (),
    static_return: bool = False,
) -> Callable[..., Any]:
    """Lets a function of batches split over devices take batches of any size.

    Batches are filled up with zeros, split over the devices of this process, and the results are
    put together and cut to the size of the batch.

    Args:
        wrapped: a function of arrays ``[devices, batch / devices, ...]``, often under ``jax.pmap``.
        static_argnums: the positions of arguments that are passed as they are, such as parameters.
        static_argnames: the names of such keyword arguments.
        static_return: whether results are returned as they are.

    Returns:
        A function of arrays ``[batch, ...]``, which takes ``min_device_batch`` besides: a size to
        which batches are filled up at least, so that small ones of different sizes do not compile
        anew.

    Raises:
        DeviceBatchError: arguments have leading axes of different sizes or none, or a result is
            not of the form ``[devices, batch / devices, ...]``.

    Example::

        >>> double = pad_shard_unpad(jax.pmap(lambda x: 2 * x), static_argnums=())
        >>> double(np.arange(3.0))
        array([0., 2., 4.], dtype=float32)
    """
    positions = {static_argnums} if isinstance(static_argnums, int) else set(static_argnums)
    names = {static_argnames} if isinstance(static_argnames, str) else set(static_argnames)

    @functools.wraps(wrapped)
    def pad_shard_unpad_wrapper(*args: Any, min_device_batch: int | None = None, **kw: Any) -> Any:
        static = positions | {position + len(args) for position in positions if position < 0}
        batches = [arg for index, arg in enumerate(args) if index not in static]
        batches += [arg for name, arg in kw.items() if name not in names]
        size = _batch_size(batches)
        count = jax.local_device_count()
        rows = max(-(-size // count), min_device_batch or 0)
        pad = functools.partial(jax.tree.map, functools.partial(_pad, count, rows))
        result = wrapped(
            *(arg if index in static else pad(arg) for index, arg in enumerate(args)),
            **{name: arg if name in names else pad(arg) for name, arg in kw.items()},
        )
        if static_return:
            return result
        unpad = functools.partial(_unpad, count, rows, size)
        return jax.tree_util.tree_map_with_path(unpad, result)

    return pad_shard_unpad_wrapper


def _batch_size(batches: Any) -> int:
    """Returns the size of the leading axis that all arrays share."""
    sizes = {
        named(path): np.shape(x)[0] if np.shape(x) else None
        for path, x in jax.tree_util.tree_leaves_with_path(batches)
    }
    size = next(iter(sizes.values()), None)
    if size is None or len(set(sizes.values())) > 1:
        listed = ', '.join(f'{name}: {one}' for name, one in sizes.items())
        raise DeviceBatchError(
            f'the arguments have no one size of batch: {listed or "there are none"}',
            why='all arrays have a leading axis of the same size',
            mend='static_argnums=(0,) or static_argnames=("params",) for what is no batch',
        )
    return size


def _pad(count: int, rows: int, x: Any) -> Any:
    shape = np.shape(x)
    missing = np.zeros((count * rows - shape[0], *shape[1:]), x.dtype)
    padded = np.concatenate([x, missing]) if len(missing) else x
    return padded.reshape(count, rows, *shape[1:])


def _unpad(count: int, rows: int, size: int, path: Any, x: Any) -> Any:
    if np.shape(x)[:2] != (count, rows):
        raise DeviceBatchError(
            f'{named(path)} of the result has the shape {np.shape(x)}, and not '
            f'({count}, {rows}, ...)',
            mend='static_return=True returns results as they are',
        )
    return np.asarray(jax.device_get(x)).reshape(count * rows, *np.shape(x)[2:])[:size]


def scan_in_dim(
    body_fn: Callable[..., Any],
    init: Any,
    xs: Any,
    axis: int | Sequence[int] = (0,),
    unroll: int | Sequence[int] = (1,),
    keepdims: bool = False,
) -> tuple[Any, Any]:
    """Scans over any axes of arrays, the first of them slowest.

    Args:
        body_fn: ``body_fn(carry, x) -> (carry, y)``, of slices without the axes.
        init: the first carry.
        xs: a tree of arrays, of the same sizes along the axes.
        axis: the axes; negative ones count from the end of each array.
        unroll: how many steps are compiled in one go, for each of the axes or for all.
        keepdims: slices, in and out, have the axes with size 1.

    Returns:
        The last carry, and the results ``y`` stacked along the same axes.

    Raises:
        ToolArgumentError: an axis is out of range or comes twice, or there are none.

    Example::

        >>> carry, sums = scan_in_dim(
        ...     lambda carry, x: (carry + x, carry + x), jnp.zeros(2), jnp.ones((2, 3)), axis=1
        ... )
        >>> sums
        Array([[1., 2., 3.],
               [1., 2., 3.]], dtype=float32)
    """
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    unrolls = (unroll,) * len(axes) if isinstance(unroll, int) else tuple(unroll)
    if not axes or not jax.tree.leaves(xs):
        raise ToolArgumentError('there are no axes or no arrays to scan over', mend='axis=0')
    count = len(axes)

    def in_front(path: Any, x: Any) -> Any:
        return jnp.moveaxis(x, _places(path, axes, np.ndim(x)), range(count))

    def body(carry: Any, x: Any) -> tuple[Any, Any]:
        if keepdims:
            x = jax.tree.map(lambda leaf: jnp.expand_dims(leaf, axes), x)
        carry, y = body_fn(carry, x)
        return carry, jax.tree_util.tree_map_with_path(squeezed, y) if keepdims else y

    def squeezed(path: Any, y: Any) -> Any:
        places = _places(path, axes, np.ndim(y))
        if any(np.shape(y)[place] != 1 for place in places):
            raise ToolArgumentError(
                f'{named(path)} of the result has the shape {np.shape(y)}, and not 1 along {axes}',
                why='with keepdims=True slices have the axes, in and out',
            )
        return jnp.squeeze(y, places)

    def back(path: Any, y: Any) -> Any:
        return jnp.moveaxis(y, range(count), _places(path, axes, np.ndim(y)))

    for length in range(count):
        body = _scanned(body, (unrolls + (1,) * count)[count - 1 - length])
    carry, ys = body(init, jax.tree_util.tree_map_with_path(in_front, xs))
    return carry, jax.tree_util.tree_map_with_path(back, ys)


def _scanned(body: Callable[..., Any], unroll: int) -> Callable[..., Any]:
    """Returns the scan of a body over the leading axis."""
    return lambda carry, xs: lax.scan(body, carry, xs, unroll=unroll)


def _places(path: Any, axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Returns axes counted from the front."""
    places = tuple(axis + rank if axis < 0 else axis for axis in axes)
    if len(set(places)) < len(places) or not all(0 <= place < rank for place in places):
        raise ToolArgumentError(
            f'{named(path)} with {rank} axes cannot be scanned over the axes {tuple(axes)}',
            why='each must be one of its axes, and no two the same',
        )
    return places

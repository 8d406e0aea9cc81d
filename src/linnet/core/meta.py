"""Boxes around the arrays of variables, which carry what a lifted transform has to keep in step.

A *box* holds one array, or a tree of them, and metadata about its axes. When a lifted transform
such as ``scan`` gives the variable one more axis, it tells the box so; modules see the array
itself, since scopes *unbox* what they read. :class:`Partitioned` is the box that names each axis
by the axis of a device mesh over which it is sharded.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from linnet import struct
from linnet._compat import concrete_mesh
from linnet.core.materialize import initial_value
from linnet.errors.layers import InvalidOptionError
from linnet.errors.variables import PartitioningUnspecifiedError
from linnet.typing import LogicalNames

A = TypeVar('A')
B = TypeVar('B')
TAxisMetadata = TypeVar('TAxisMetadata', bound='AxisMetadata[Any]')

PARTITION_NAME = 'partition_name'
"""The entry of ``metadata_params`` that names the axis which a transform adds."""


class AxisMetadata(Generic[A], metaclass=abc.ABCMeta):
    """The interface of a box. A box is also a pytree, whose child is what it holds."""

    @abc.abstractmethod
    def unbox(self) -> A:
        """Returns what the box holds."""

    @abc.abstractmethod
    def replace_boxed(self, val: B) -> AxisMetadata[B]:
        """Returns a box with the same metadata around another value."""

    @abc.abstractmethod
    def add_axis(self: TAxisMetadata, index: int, params: dict[Any, Any]) -> TAxisMetadata:
        """Returns the box of the array with one more axis.

        Args:
            index: the position of the new axis.
            params: the ``metadata_params`` of the transform that adds it.
        """

    @abc.abstractmethod
    def remove_axis(self: TAxisMetadata, index: int, params: dict[Any, Any]) -> TAxisMetadata:
        """Returns the box of the array without an axis; the inverse of :meth:`add_axis`."""


def is_axis_metadata(val: Any) -> bool:
    """Says whether a value is a box."""
    return isinstance(val, AxisMetadata)


def map_axis_meta(fn: Callable[[Any], Any], tree: Any) -> Any:
    """Applies a function to each box of a tree; other leaves stay as they are.

    >>> map_axis_meta(lambda box: box.names, {'w': Partitioned(1.0, ('data',)), 'b': 2.0})
    {'b': 2.0, 'w': ('data',)}
    """
    return jax.tree.map(
        lambda x: fn(x) if is_axis_metadata(x) else x, tree, is_leaf=is_axis_metadata
    )


def add_axis(tree: Any, index: int, params: dict[Any, Any]) -> Any:
    """Tells each box of a tree that its array has one more axis."""
    return map_axis_meta(lambda box: box.add_axis(index, params), tree)


def remove_axis(tree: Any, index: int, params: dict[Any, Any]) -> Any:
    """Tells each box of a tree that its array has lost an axis."""
    return map_axis_meta(lambda box: box.remove_axis(index, params), tree)


def unbox(tree: Any) -> Any:
    """Returns the tree without boxes, also where a box holds another one.

    >>> unbox({'w': Partitioned(1.0, ('data',)), 'b': 2.0})
    {'b': 2.0, 'w': 1.0}
    """
    if isinstance(tree, jax.Array):  # as most parameters are
        return tree
    return map_axis_meta(lambda box: unbox(box.unbox()), tree)


def replace_boxed(tree: Any, updates: Any) -> Any:
    """Puts the leaves of ``updates`` into the boxes of a tree.

    Args:
        tree: a tree, some of whose leaves are boxes.
        updates: a tree of the structure that :func:`unbox` gives.

    >>> replace_boxed({'w': Partitioned(1.0, ('data',)), 'b': 2.0}, {'w': 3.0, 'b': 4.0})
    {'b': 4.0, 'w': Partitioned(value=3.0, names=('data',), mesh=None)}
    """

    def replace(box: Any, update: Any) -> Any:
        if not is_axis_metadata(box):
            return update
        return box.replace_boxed(replace_boxed(box.unbox(), update))

    return jax.tree.map(replace, tree, updates, is_leaf=is_axis_metadata)


def get_global_mesh() -> AbstractMesh | None:
    """Returns the mesh that ``jax.set_mesh`` has set, or None."""
    mesh = jax.sharding.get_abstract_mesh()
    return None if mesh.empty else mesh


def global_mesh_defined() -> bool:
    """Says whether ``jax.set_mesh`` has set a mesh."""
    return get_global_mesh() is not None


class Partitioned(struct.PyTreeNode, AxisMetadata[A]):
    """A box that names, for each axis of its array, the mesh axis over which it is sharded.

    Reading the variable then constrains the array to this sharding, if there is a mesh: the one
    of the box, or the one that ``jax.set_mesh`` has set.

    Attributes:
        value: the array.
        names: for each axis the name of a mesh axis, a tuple of names, or None for an axis that
            is not sharded.
        mesh: the mesh to use; by default the one in effect.

    Example::

        >>> box = Partitioned(jax.numpy.ones((2, 3)), names=('data', None))
        >>> box.add_axis(0, {PARTITION_NAME: 'layers'}).names
        ('layers', 'data', None)
        >>> tuple(box.get_partition_spec())
        ('data', None)
    """

    value: Any
    names: LogicalNames = struct.field(pytree_node=False)
    mesh: Mesh | None = struct.field(default=None, pytree_node=False)

    def unbox(self, apply_constraint: bool = True) -> Any:
        """Returns the array, constrained to its sharding if there is a mesh."""
        mesh = self.mesh or get_global_mesh()
        if mesh is None or not apply_constraint:
            return self.value
        return constrain(self.value, NamedSharding(mesh, self.get_partition_spec()))

    def replace_boxed(self, val: B) -> Partitioned[B]:
        """Returns a box with the same names around another value."""
        return self.replace(value=val)  # type: ignore[return-value]

    def add_axis(self, index: int, params: dict[Any, Any]) -> Partitioned[A]:
        """Returns the box with the name ``params[PARTITION_NAME]`` put in at ``index``.

        A negative index counts from the end; a gap is filled with None.

        Raises:
            PartitioningUnspecifiedError: ``params`` does not name the axis.
        """
        names = list(self.names)
        names.extend([None] * (index - len(names)))
        names.insert(index, self._axis_name(params))
        return self.replace(names=tuple(names))

    def remove_axis(self, index: int, params: dict[Any, Any]) -> Partitioned[A]:
        """Returns the box without the name at ``index``, which is ``params[PARTITION_NAME]``.

        Raises:
            PartitioningUnspecifiedError: ``params`` does not name the axis.
            InvalidOptionError: the axis has another name, or there is no such axis.
        """
        name = self._axis_name(params)
        names = list(self.names)
        if not -len(names) <= index < len(names) or names[index] != name:
            raise InvalidOptionError(
                f'axis {index} is to be removed as {name!r}, but the axes are named {self.names}',
                mend=f'metadata_params={{nn.PARTITION_NAME: ...}} with the name of axis {index}',
            )
        del names[index]
        return self.replace(names=tuple(names))

    def _axis_name(self, params: dict[Any, Any]) -> Any:
        if PARTITION_NAME not in params:
            raise PartitioningUnspecifiedError(self)
        return params[PARTITION_NAME]

    def get_partition_spec(self) -> PartitionSpec:
        """Returns the names as a partition spec."""
        return PartitionSpec(*self.names)

    def get_sharding(self, mesh: Mesh) -> NamedSharding:
        """Returns the sharding over a mesh."""
        return NamedSharding(mesh, self.get_partition_spec())


def constrain(tree: Any, sharding: NamedSharding) -> Any:
    """Constrains the arrays of a tree that are being traced, and moves those that are not."""
    return jax.tree.map(lambda leaf: _constrain_leaf(leaf, sharding), tree)


def _constrain_leaf(value: Any, sharding: NamedSharding) -> Any:
    if isinstance(value, jax.ShapeDtypeStruct):
        return value
    try:
        return jax.lax.with_sharding_constraint(value, sharding)
    except TypeError:
        # JAX moves an array from outside the mesh only to devices that it is told.
        mesh = concrete_mesh()
        if not isinstance(sharding.mesh, AbstractMesh) or mesh.empty:
            raise
        return jax.lax.with_sharding_constraint(value, NamedSharding(mesh, sharding.spec))


@dataclasses.dataclass(frozen=True)
class BoxedInit:
    """An initialiser whose result is boxed; equal to another one made of equal parts.

    Attributes:
        fn: the initialiser, ``(key, shape, dtype) -> array``.
        box: the class of the box.
        metadata: what the box is made of, after the array; hashable.
    """

    fn: Callable[..., Any]
    box: Callable[..., Any]
    metadata: tuple[Any, ...]

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        return self.fn

    @property
    def static_arguments(self) -> tuple[Any, ...]:
        """What tells it from others around the same initialiser."""
        return self.box, self.metadata

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Makes the array and boxes it."""
        return self.box(initial_value(self.fn, *args, **kwargs), *self.metadata)


def with_partitioning(
    fn: Callable[..., Any], names: LogicalNames, mesh: Mesh | None = None
) -> Callable[..., Partitioned[Any]]:
    """Returns an initialiser whose arrays come in a :class:`Partitioned` box.

    Args:
        fn: the initialiser, ``(key, shape, dtype) -> array``.
        names: the name of each axis, see :class:`Partitioned`.
        mesh: the mesh to use; by default the one in effect.

    Example::

        >>> init = with_partitioning(jax.nn.initializers.zeros, (None, 'model'))
        >>> init(jax.random.key(0), (2, 3)).names
        (None, 'model')
    """
    return BoxedInit(fn, Partitioned, (tuple(names), mesh))


def _leaf_partition_spec(x: Any) -> PartitionSpec | None:
    if hasattr(x, 'get_partition_spec'):
        return x.get_partition_spec()
    return PartitionSpec() if hasattr(x, 'shape') else None


def get_partition_spec(tree: Any) -> Any:
    """Returns the partition spec of each leaf: an array without a box has the empty one.

    A leaf that is no array has None.

    >>> specs = get_partition_spec({'w': Partitioned(1.0, ('data',)), 'b': jax.numpy.ones(2)})
    >>> tuple(specs['w']), tuple(specs['b'])
    (('data',), ())
    """
    return jax.tree.map(_leaf_partition_spec, tree, is_leaf=is_axis_metadata)


def get_sharding(tree: Any, mesh: Mesh) -> Any:
    """Returns the sharding of each leaf over a mesh, or None for a leaf that is no array."""

    def sharding(x: Any) -> NamedSharding | None:
        spec = _leaf_partition_spec(x)
        return None if spec is None else NamedSharding(mesh, spec)

    return jax.tree.map(sharding, tree, is_leaf=is_axis_metadata)

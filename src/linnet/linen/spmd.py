"""Logical names of axes, which rules turn into a sharding over a device mesh.

A model gives the axes of its arrays *logical names* that say what they mean, such as ``'batch'``
or ``'embed'``. A *rule* is a pair ``(logical name, mesh axis)``; the mesh axis may be a tuple of
axes, or None for an axis that is not sharded. So the same model runs on another mesh with other
rules. The rules are those in effect, see :mod:`linnet.core.spmd`, unless others are given.

Rules are tried in order. One counts for an axis if no other axis of the array has taken a mesh
axis that it names; a later rule for the same name is for the case that it does not.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from linnet import struct
from linnet.core.meta import A, BoxedInit, Partitioned, constrain, get_global_mesh
from linnet.core.spmd import get_logical_axis_rules
from linnet.errors._suggest import brief, did_you_mean
from linnet.errors.layers import InputShapeError, InvalidOptionError
from linnet.typing import (
    ArrayPytree,
    LogicalNames,
    LogicalPartitionSpec,
    LogicalPartitionSpecPytree,
    LogicalRules,
    PartitionSpecPytree,
)

__all__ = [
    'ArrayPytree',
    'LogicalNames',
    'LogicalPartitionSpec',
    'LogicalPartitionSpecPytree',
    'LogicalRules',
    'LogicallyPartitioned',
    'RulesFallback',
    'get_logical_axis_rules',
    'is_logical_spec',
    'logical_to_mesh',
    'logical_to_mesh_axes',
    'logical_to_mesh_sharding',
    'with_logical_constraint',
    'with_logical_partitioning',
]


class RulesFallback(enum.Enum):
    """What becomes of an axis whose logical name has no rule that counts."""

    AXIS_IS_UNSHARDED = 'axis_is_unsharded'
    RAISE_ERROR = 'raise_error'
    NO_CONSTRAINT = 'no_constraint'


class _Unassigned:
    """Stands for the mesh axis of a logical name that has no rule."""


_unassigned = _Unassigned()


def logical_to_mesh_axes(
    array_dim_names: Sequence[str | None] | None, rules: LogicalRules | None = None
) -> PartitionSpec | None:
    """Returns the mesh axes of an array whose axes have logical names.

    Args:
        array_dim_names: the logical name of each axis, None for an axis that is not sharded; or
            None, for which None is returned. A tuple of mesh axes stays as it is.
        rules: the rules; by default those in effect.

    Returns:
        A spec of as many entries; None for an axis that has no rule.

    Raises:
        InvalidOptionError: a name comes twice, or the rules are no sequence of pairs.

    >>> rules = (('batch', 'data'), ('heads', 'model'), ('embed', 'model'))
    >>> tuple(logical_to_mesh_axes(('batch', 'embed'), rules))
    ('data', 'model')
    >>> tuple(logical_to_mesh_axes(('embed', 'heads'), rules))    # the rule for heads is first
    (None, 'model')
    """
    if array_dim_names is None:
        return None
    return _as_spec(_assign(_checked_names(array_dim_names), _in_effect(rules)))


def _in_effect(rules: LogicalRules | None) -> LogicalRules:
    return get_logical_axis_rules() if rules is None else rules


def _as_spec(axes: Sequence[Any]) -> PartitionSpec:
    return PartitionSpec(*(None if axis is _unassigned else axis for axis in axes))


def _assign(names: tuple[Any, ...], rules: LogicalRules) -> list[Any]:
    """The mesh axis of each name, by the first rule whose mesh axes are free."""
    _check_rules(rules)
    axes = [_unassigned if isinstance(name, str) else name for name in names]
    waiting = {name: i for i, name in enumerate(names) if isinstance(name, str)}
    taken = {axis for name in axes if name is not _unassigned for axis in _each_axis(name)}
    for name, axis in rules:
        if name in waiting and taken.isdisjoint(_each_axis(axis)):
            axes[waiting.pop(name)] = tuple(axis) if isinstance(axis, list) else axis
            taken.update(_each_axis(axis))
    return axes


def _each_axis(entry: Any) -> list[Any]:
    """The mesh axes that one entry of a spec names."""
    axes = entry if isinstance(entry, (tuple, list)) else [entry]
    return [axis for axis in axes if axis is not None and axis is not PartitionSpec.UNCONSTRAINED]


def _checked_names(names: Any) -> tuple[Any, ...]:
    if isinstance(names, str):
        raise InvalidOptionError(
            f'the names of axes are the string {names!r}',
            why='each letter would be a name',
            mend=f'({names!r},)',
        )
    names = tuple(names)
    logical = [name for name in names if isinstance(name, str)]
    for name in logical:
        if logical.count(name) > 1:
            raise InvalidOptionError(
                f'the logical axis {name!r} comes twice in {names}',
                why='two axes of an array cannot be sharded over the same mesh axis',
                mend=f"give one of them another name, such as '{name}_out', and a rule",
            )
    return names


def _check_rules(rules: LogicalRules) -> None:
    pairs = isinstance(rules, Sequence) and not isinstance(rules, str)
    if not pairs or not all(isinstance(rule, (tuple, list)) and len(rule) == 2 for rule in rules):
        raise InvalidOptionError(
            f'{brief(rules)} are no rules for logical axes',
            why='rules are a sequence of pairs, (logical name, mesh axis)',
            mend='rules=tuple(rules.items())'
            if isinstance(rules, Mapping)
            else "rules=(('batch', 'data'), ('embed', None))",
        )


def logical_to_mesh(
    tree: LogicalPartitionSpecPytree, rules: LogicalRules | None = None
) -> PartitionSpecPytree:
    """Replaces each spec of logical names in a tree by that of mesh axes.

    Args:
        tree: a tree of partition specs, such as ``nn.get_partition_spec(variables)``; None stays.
        rules: the rules; by default those in effect.

    Raises:
        InvalidOptionError: a leaf is no partition spec, or see :func:`logical_to_mesh_axes`.

    >>> specs = logical_to_mesh({'w': PartitionSpec('batch', 'x')}, (('batch', 'data'),))
    >>> tuple(specs['w'])
    ('data', None)
    """
    return jax.tree.map(lambda spec: logical_to_mesh_axes(_checked_spec(spec), rules), tree)


def _checked_spec(leaf: Any) -> Any:
    if not isinstance(leaf, PartitionSpec):
        raise InvalidOptionError(
            f'a leaf of the tree is {brief(leaf)}, not a PartitionSpec',
            mend='nn.logical_to_mesh(nn.get_partition_spec(variables), rules)',
        )
    return leaf


def logical_to_mesh_sharding(
    tree: LogicalPartitionSpecPytree, mesh: Mesh, rules: LogicalRules | None = None
) -> Any:
    """Replaces each spec of logical names in a tree by a sharding over a mesh.

    Args:
        tree: a tree of partition specs, such as ``nn.get_partition_spec(variables)``; None stays.
        mesh: the mesh.
        rules: the rules; by default those in effect.

    Returns:
        A tree for ``jax.device_put``, or for ``in_shardings`` and ``out_shardings`` of
        ``jax.jit``.

    Raises:
        InvalidOptionError: a rule names an axis that the mesh does not have, or see
            :func:`logical_to_mesh`.

    Example::

        >>> mesh = Mesh(jax.devices()[:1], ('data',))
        >>> specs = {'w': PartitionSpec('batch', None)}
        >>> tuple(logical_to_mesh_sharding(specs, mesh, (('batch', 'data'),))['w'].spec)
        ('data', None)
    """

    def sharding(spec: Any) -> NamedSharding:
        names = _checked_names(_checked_spec(spec))
        return _named_sharding(mesh, names, _assign(names, _in_effect(rules)))

    return jax.tree.map(sharding, tree)


def _named_sharding(mesh: Any, names: Sequence[Any], axes: Sequence[Any]) -> NamedSharding:
    spec = _as_spec(axes)
    for name, axis in zip(names, spec, strict=True):
        for part in _each_axis(axis):
            if isinstance(part, str) and part not in mesh.axis_names:
                raise InvalidOptionError(
                    f'the logical axis {name!r} goes to the mesh axis {part!r}, and the mesh has '
                    f'the axes {mesh.axis_names}',
                    why=did_you_mean(part, mesh.axis_names),
                    mend=f'rules=(({name!r}, {next(iter(mesh.axis_names), None)!r}), ...)',
                )
    return NamedSharding(mesh, spec)


def with_logical_constraint(
    x: ArrayPytree,
    logical_axis_resources: LogicalPartitionSpecPytree,
    rules: LogicalRules | None = None,
    mesh: Mesh | None = None,
    fallback: RulesFallback = RulesFallback.AXIS_IS_UNSHARDED,
) -> Any:
    """Constrains the sharding of arrays whose axes have logical names.

    Arrays that are being traced are constrained, others are moved. Without rules, or without a
    mesh, nothing happens: so a model also runs on one device.

    Args:
        x: an array ``[axis...]``, or a tree of arrays.
        logical_axis_resources: the logical name of each of its first axes, in a tuple or a
            ``PartitionSpec``; or a tree of them, of which each counts for the part of ``x`` at
            its place. None leaves arrays as they are.
        rules: the rules; by default those in effect.
        mesh: the mesh; by default the one that ``jax.set_mesh`` has set.
        fallback: what becomes of an axis whose name has no rule that counts: it is not sharded,
            an error is raised, or the array is not constrained at all.

    Returns:
        The same values.

    Raises:
        InvalidOptionError: a name has no rule and ``fallback`` is ``RAISE_ERROR``; a name comes
            twice; a rule names an axis that the mesh does not have; the tree of names does not
            fit ``x``.
        InputShapeError: there are more names than axes.

    Example::

        >>> mesh = Mesh(jax.devices()[:1], ('data',))
        >>> rules = (('batch', 'data'), ('embed', None))
        >>> y = with_logical_constraint(jax.numpy.ones((4, 8)), ('batch', 'embed'), rules, mesh)
        >>> tuple(y.sharding.spec)
        ('data', None)
    """
    rules = _in_effect(rules)
    if not rules or logical_axis_resources is None:
        return x
    names = _broadcast_names(logical_axis_resources, x)
    return jax.tree.map(lambda leaf, part: _constrain(leaf, part, rules, mesh, fallback), x, names)


def is_logical_spec(x: Any) -> bool:
    """Says whether a value gives the names of the axes of one array, rather than of a tree."""
    if x is None or isinstance(x, PartitionSpec):
        return True
    unconstrained = PartitionSpec.UNCONSTRAINED
    return isinstance(x, tuple) and all(
        name is None or isinstance(name, str) or name is unconstrained for name in x
    )


def _broadcast_names(names: Any, x: Any) -> Any:
    """The names of the axes for each array of a tree."""
    if isinstance(names, str):
        _checked_names(names)
    try:
        return jax.tree.broadcast(names, x, is_leaf=is_logical_spec)
    except ValueError as error:
        raise InvalidOptionError(
            f'the names of axes {brief(names)} do not fit a value of the structure '
            f'{brief(jax.tree.structure(x))}',
            why='names are a tuple or a PartitionSpec, or a tree of them like the value',
            mend="nn.with_logical_constraint(x, ('batch', 'embed'))",
        ) from error


def _constrain(x: Any, names: Any, rules: LogicalRules, mesh: Any, fallback: Any) -> Any:
    """Constrains one array."""
    if names is None:
        return x
    names = _checked_names(names)
    axes = _assign(names, rules)
    if _unassigned in axes:
        fallback = RulesFallback(fallback)
        if fallback is RulesFallback.RAISE_ERROR:
            raise _no_rule(names, names[axes.index(_unassigned)], rules)
        if fallback is RulesFallback.NO_CONSTRAINT:
            return x
    mesh = mesh or get_global_mesh()
    if mesh is None:
        return x
    if len(names) > np.ndim(x):
        raise InputShapeError(
            f'an array of shape {np.shape(x)} has {np.ndim(x)} axes, and {len(names)} names: '
            f'{names}',
            mend='one name for each axis, from the first; None for one that is not sharded',
        )
    return constrain(x, _named_sharding(mesh, names, axes))


def _no_rule(names: Any, name: str, rules: LogicalRules) -> InvalidOptionError:
    """The error that says why a logical name has no mesh axis."""
    known = [rule[0] for rule in rules]
    taken = name in known
    return InvalidOptionError(
        f'no rule for the logical axis {name!r} of {names}'
        + (' counts: other axes of the array have its mesh axes' if taken else ''),
        why='' if taken else did_you_mean(name, known),
        mend=f'rules=(..., ({name!r}, None)) where it is not to be sharded, or name a mesh axis',
    )


class LogicallyPartitioned(Partitioned[A]):
    """A box that gives each axis of its array a logical name.

    Reading the variable then constrains the array to the sharding that the rules give, if there
    is a mesh. It behaves as :class:`~linnet.core.meta.Partitioned` in everything else: a lifted
    transform that adds an axis adds its name.

    Attributes:
        value: the array.
        names: for each axis its logical name, or None for an axis that is not sharded.
        mesh: the mesh to use; by default the one that ``jax.set_mesh`` has set.
        rules: the rules; by default those in effect when the array is read.

    Example::

        >>> box = LogicallyPartitioned(jax.numpy.ones((2, 3)), names=('embed', 'mlp'))
        >>> tuple(logical_to_mesh_axes(box.get_partition_spec(), (('mlp', 'model'),)))
        (None, 'model')
    """

    rules: LogicalRules | None = struct.field(default=None, pytree_node=False)

    def unbox(self, apply_constraint: bool = True) -> Any:
        """Returns the array, constrained by the rules if there is a mesh."""
        mesh: Any = self.mesh or get_global_mesh()
        if mesh is None or not apply_constraint:
            return self.value
        return with_logical_constraint(self.value, self.get_partition_spec(), self.rules, mesh)


def with_logical_partitioning(
    fn: Callable[..., Any],
    names: LogicalNames,
    mesh: Mesh | None = None,
    rules: LogicalRules | None = None,
) -> Callable[..., LogicallyPartitioned[Any]]:
    """Returns an initialiser whose arrays come in a :class:`LogicallyPartitioned` box.

    Args:
        fn: the initialiser, ``(key, shape, dtype) -> array``.
        names: the logical name of each axis.
        mesh: the mesh to use; by default the one in effect.
        rules: the rules; by default those in effect when the array is read.

    Example::

        >>> import linnet.linen as nn
        >>> layer = nn.Dense(
        ...     4, use_bias=False,
        ...     kernel_init=with_logical_partitioning(nn.initializers.zeros, ('embed', 'mlp')))
        >>> variables = layer.init(jax.random.key(0), jax.numpy.ones((1, 3)))
        >>> mesh = Mesh(jax.devices()[:1], ('model',))
        >>> specs = nn.get_partition_spec(variables)
        >>> shardings = logical_to_mesh_sharding(specs, mesh, (('mlp', 'model'),))
        >>> tuple(shardings['params']['kernel'].spec)
        (None, 'model')
    """
    if rules is not None:
        _check_rules(rules)
        rules = tuple(
            (name, tuple(axis) if isinstance(axis, list) else axis) for name, axis in rules
        )
    return BoxedInit(fn, LogicallyPartitioned, (tuple(names), mesh, rules))

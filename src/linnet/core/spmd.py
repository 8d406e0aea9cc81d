"""The rules in effect that map logical names of axes to axes of a device mesh.

A *rule* is a pair ``(logical name, mesh axis)``; the mesh axis may be a tuple of axes, or None for
an axis that is not sharded. Rules in effect are those of the current thread. A *sharding* here is
a tuple of names, a ``PartitionSpec``, or a ``NamedSharding``.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from jax.sharding import NamedSharding, PartitionSpec

from linnet.core.meta import constrain, get_global_mesh
from linnet.errors.layers import InvalidOptionError
from linnet.typing import LogicalRules, Sharding


class _AxisRules(threading.local):
    rules: LogicalRules = ()


_axis_rules = _AxisRules()


def set_logical_axis_rules(rules: LogicalRules) -> None:
    """Puts rules into effect, until others are set."""
    _axis_rules.rules = rules


def get_logical_axis_rules() -> LogicalRules:
    """Returns the rules in effect."""
    return _axis_rules.rules


@contextlib.contextmanager
def logical_axis_rules(rules: LogicalRules) -> Iterator[None]:
    """Puts rules into effect inside a ``with`` block.

    >>> with logical_axis_rules((('embed', 'model'),)):
    ...     tuple(get_pspec(('embed', None)))
    ('model', None)
    """
    saved = _axis_rules.rules
    _axis_rules.rules = rules
    try:
        yield
    finally:
        _axis_rules.rules = saved


def composite_rules(rule1: LogicalRules | None, rule2: LogicalRules | None) -> LogicalRules:
    """Returns the rules of both; of several for a name in ``rule1``, the last counts.

    Raises:
        InvalidOptionError: ``rule2`` maps a name to another axis than a rule before it.

    >>> composite_rules((('embed', 'model'),), (('batch', 'data'),))
    (('embed', 'model'), ('batch', 'data'))
    """
    if not rule1 or not rule2:
        return rule1 or rule2 or ()
    rules = dict(rule1)
    for name, axis in rule2:
        if rules.setdefault(name, axis) != axis:
            raise InvalidOptionError(
                f'the logical axis {name!r} is mapped to {rules[name]!r} by one rule and '
                f'to {axis!r} by another',
                mend=f'keep one rule for {name!r}',
            )
    return tuple(rules.items())


def from_sharding_rules(sharding: Sharding, sharding_rules: LogicalRules) -> Sharding:
    """Replaces each name for which there is a rule; others stay.

    >>> from_sharding_rules(('batch', 'x', None), (('batch', 'data'),))
    ('data', 'x', None)
    """
    rules = dict(sharding_rules)
    return tuple(rules.get(name, name) for name in sharding)  # type: ignore[arg-type]


def map_sharding(f: Callable[[Any], Any], sharding: Any) -> Any:
    """Applies a function to the names of a sharding, and returns None for anything else."""
    if isinstance(sharding, PartitionSpec | tuple):
        return PartitionSpec(*map(f, sharding))
    if isinstance(sharding, NamedSharding):
        return NamedSharding(sharding.mesh, map_sharding(f, sharding.spec))
    return None


def apply_rules(sharding: Any, sharding_rules: LogicalRules | None) -> Any:
    """Returns a sharding over mesh axes, by the rules in effect together with the given ones.

    Raises:
        InvalidOptionError: the two contradict each other.
    """
    rules = dict(composite_rules(get_logical_axis_rules(), sharding_rules))
    return map_sharding(lambda name: rules.get(name, name), sharding)


def get_pspec(sharding: Any, sharding_rules: LogicalRules | None = None) -> Any:
    """Returns names as a ``PartitionSpec`` over mesh axes; a ``NamedSharding`` stays one.

    >>> tuple(get_pspec(('batch', None), (('batch', 'data'),)))
    ('data', None)
    """
    return apply_rules(sharding, sharding_rules)


def get_mesh(sharding: Any) -> Any:
    """Returns the mesh of a ``NamedSharding``, or None."""
    return sharding.mesh if isinstance(sharding, NamedSharding) else None


def shard_value(
    value: Any, out_sharding: Any, sharding_rules: LogicalRules | None, mesh: Any
) -> Any:
    """Constrains the arrays of a tree to a sharding; without one they stay as they are.

    Args:
        value: a tree of arrays.
        out_sharding: the names of the axes, a ``PartitionSpec`` or a ``NamedSharding``.
        sharding_rules: rules besides those in effect.
        mesh: the mesh; by default that of ``out_sharding``, or the one in effect.

    Raises:
        InvalidOptionError: there are names and no mesh.
    """
    if not out_sharding:
        return value
    sharding = apply_rules(out_sharding, sharding_rules)
    mesh = mesh or get_mesh(sharding) or get_global_mesh()
    if mesh is None:
        raise InvalidOptionError(
            f'an array is to be sharded as {sharding}, and there is no mesh',
            mend='call it inside `with jax.set_mesh(mesh):`, or pass mesh=',
        )
    spec = sharding.spec if isinstance(sharding, NamedSharding) else sharding
    return constrain(value, NamedSharding(mesh, spec))

"""One call of a module that may be equal to another, and the key by which equal calls are found.

It is made for every call in a program that is being traced, so it is written to take little time:
loops stand in place of calls, and the fields of a module are compared first with those of the last
one of its class.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax

from linnet import _compat
from linnet.configurations import config
from linnet.core.ledger import crossings
from linnet.core.scope import Scope
from linnet.core.spmd import get_logical_axis_rules
from linnet.core.watching import watching
from linnet.linen.module.context import context, named_calls_enabled
from linnet.linen.module.purity import Proof, identities, identity, proof_of, require
from linnet.linen.module.state import SetupState

_OF_INSTANCES = frozenset({'_id', '_parent_ref', '_state', 'name', 'scope'})
_ARRAYS = (_compat.Tracer, jax.Array)  # in this order, which is much faster
_ARRAY = object()
"""Stands for an array in a key."""


class Meeting:
    """One call of a module.

    Attributes:
        key: what equal calls have in common, hashable.
        leaves: the arrays among the arguments and variables.

    Raises:
        Unproved: it cannot be told that an equal call does the same.
    """

    def __init__(self, fun: Any, module: Any, args: Any, kwargs: Any) -> None:
        require(_is_quiet(module))
        scope = module.scope
        self.module, self.scope = module, scope
        self.args, self.kwargs = args, kwargs
        self.leaves: list[Any] = []
        taken = _taken((args, *kwargs.items()), self.leaves)
        self._parts = {col: _shape_of(part, self.leaves) for col, part in scope.all_parts().items()}
        self.key = (
            proof_of(type(module)),
            fun,
            _identities_of_fields(module),
            taken,
            tuple(self._parts.items()),
            tuple([_compat.aval(leaf) for leaf in self.leaves]),
            _surroundings(),
        )

    def given(self, leaves: Iterable[Any]) -> tuple[Any, Any, dict[str, Any]]:
        """Arguments, keyword arguments and variables with other arrays."""
        arrays = iter(leaves)
        args, *items = _put_back((self.args, *self.kwargs.items()), arrays)
        parts = {col: _built(shape, arrays) for col, shape in self._parts.items()}
        return args, dict(items), parts


def is_array(value: Any) -> bool:
    """Tells arrays, those that are being traced among them, from other values."""
    return isinstance(value, _ARRAYS)


def _taken(values: tuple[Any, ...], leaves: list[Any]) -> tuple[Any, ...]:
    """What stands for arguments in the key; their arrays go to the leaves."""
    found: list[Any] = []
    for value in values:
        if type(value) is tuple:
            found.append(_taken(value, leaves))
        elif isinstance(value, _ARRAYS):
            leaves.append(value)
            found.append(_ARRAY)
        else:
            found.append(identity(value))
    return tuple(found)


def _put_back(value: Any, arrays: Iterator[Any]) -> Any:
    if isinstance(value, _ARRAYS):
        return next(arrays)
    if type(value) is tuple:
        return tuple([_put_back(item, arrays) for item in value])
    return value


def _shape_of(part: Any, leaves: list[Any]) -> Any:
    """The structure of variables, dicts in their order; the arrays go to the leaves."""
    if isinstance(part, (dict, Mapping)):
        shape: list[Any] = []
        for name, value in part.items():
            if isinstance(value, _compat.Tracer):
                leaves.append(value)
                shape.append((name, _ARRAY))
            else:
                shape.append((name, _shape_of(value, leaves)))
        return tuple(shape)
    if isinstance(part, jax.Array):
        leaves.append(part)
        return _ARRAY
    found, treedef = jax.tree_util.tree_flatten(part)
    require(all(map(is_array, found)))
    leaves.extend(found)
    return treedef


def _built(shape: Any, arrays: Iterator[Any]) -> Any:
    """The variables of a structure."""
    if shape is _ARRAY:
        return next(arrays)
    if isinstance(shape, tuple):
        return {name: _built(part, arrays) for name, part in shape}
    return jax.tree_util.tree_unflatten(shape, [next(arrays) for _ in range(shape.num_leaves)])


class _Fields:
    """The fields of a module, and what stands for them in a key.

    Args:
        values: the fields' values.
    """

    def __init__(self, values: list[Any]) -> None:
        self._values = values
        self.identities = identities(values)
        found = list(_flat(self.identities))
        self._proofs = [part for part in found if type(part) is Proof]
        # The keywords of a partial can be changed in place.
        self._is_constant = functools.partial not in found

    def are(self, values: list[Any]) -> bool:
        """Tells whether a module with these values has the same identities."""
        return (
            self._is_constant
            and all([a is b for a, b in zip(self._values, values, strict=True)])
            and all([proof.holds() for proof in self._proofs])
        )


def _flat(value: Any) -> Iterator[Any]:
    """The parts of nested tuples."""
    if type(value) is tuple:
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _identities_of_fields(module: Any) -> tuple[Any, ...]:
    """What stands for the values of a module's fields; the instance must have nothing else."""
    names, held, last = module._plan.fields, module.__dict__, module.scope.counts.fields
    require(held.keys() <= _OF_INSTANCES.union(names))
    values = [getattr(module, name) for name in names]
    fields = last.get(type(module))
    if fields is None or not fields.are(values):
        fields = last[type(module)] = _Fields(values)
    return fields.identities


def _surroundings() -> tuple[Any, ...]:
    """What else a program depends on."""
    return (
        _compat.trace_context(),
        tuple(config.__dict__.values()),
        named_calls_enabled(),
        str(get_logical_axis_rules()),
    )


def _is_quiet(module: Any) -> bool:
    """Tells whether nobody takes part in calls, and the module stands where it can be moved."""
    scope, state, plan = module.scope, module._state, module._plan
    return (
        type(scope) is Scope
        and scope.parent is not None
        and scope.root.boundary is None
        and not scope.flags
        and not crossings.stack
        and plan.is_plain
        and not (state.in_compact_method or state.in_setup)
        and (not plan.has_setup or state.setup_called == SetupState.NEW)
        and not (context.observers or context.interceptors)
        and watching.make_root is None
        and watching.on_attention is None
        and not type(module).__module__.startswith('linnet.')
    )

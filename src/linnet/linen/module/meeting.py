"""One call of a module that may be equal to another, and the key by which equal calls are found.

It is made for every call in a program that is being traced, so it is written to take little time:
loops stand in place of calls, and the fields of a module are compared first with those of the last
one of its class.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import jax

from linnet import _compat
from linnet.configurations import config
from linnet.core.ledger import crossings
from linnet.core.scope import Scope
from linnet.core.spmd import get_logical_axis_rules
from linnet.core.watching import watching
from linnet.linen.module.context import context, named_calls_enabled
from linnet.linen.module.purity import Proof, Unproved, identities, identity, proof_of, require
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
        arrays, self._parts = jax.tree_util.tree_flatten(scope.all_parts())
        self.leaves += arrays
        self.key = (
            proof_of(type(module)),
            fun,
            _identities_of_fields(module),
            taken,
            self._parts,
            _avals(self.leaves),
            _surroundings(),
        )

    def given(self, leaves: Iterable[Any]) -> tuple[Any, Any, dict[str, Any]]:
        """Arguments, keyword arguments and variables with other arrays."""
        arrays = iter(leaves)
        args, *items = _put_back((self.args, *self.kwargs.items()), arrays)
        return args, dict(items), jax.tree_util.tree_unflatten(self._parts, arrays)


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


def _avals(leaves: list[Any]) -> tuple[Any, ...]:
    """Shapes and dtypes; only arrays have them."""
    try:
        return tuple([leaf.aval for leaf in leaves])
    except AttributeError:
        raise Unproved from None


class _Fields:
    """The fields of a module, which the next one of its class has too, most often.

    Attributes:
        identities: what stands for their values in a key.

    Raises:
        Unproved: they cannot be compared, or the instance has something else.
    """

    def __init__(self, module: Any) -> None:
        names = module._plan.fields
        self._held = _OF_INSTANCES.union(names)
        require(module.__dict__.keys() <= self._held)
        self._values = [(name, getattr(module, name)) for name in names]
        self.identities = identities([value for _, value in self._values])
        found = list(_flat(self.identities))
        self._proofs = [part for part in found if type(part) is Proof]
        # The keywords of a partial can be changed in place.
        self._is_constant = not any(part is functools.partial for part in found)

    def are_of(self, module: Any) -> bool:
        """Tells whether another module of the class has these very values, and nothing else."""
        return (
            self._is_constant
            and module.__dict__.keys() <= self._held
            and all([getattr(module, name) is value for name, value in self._values])
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
    """What stands for the values of a module's fields."""
    cls, last = type(module), module.scope.counts.fields
    fields = last.get(cls)
    if fields is None or not fields.are_of(module):
        fields = last[cls] = _Fields(module)
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
        and plan.is_plain(type(module))
        and not (state.in_compact_method or state.in_setup)
        and (not plan.has_setup or state.setup_called == SetupState.NEW)
        and not (context.observers or context.interceptors)
        and watching.make_root is None
        and watching.on_attention is None
        and not type(module).__module__.startswith('linnet.')
    )

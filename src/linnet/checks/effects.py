"""Two operations by which a running program tells the host what it computes.

*Watching* hands small arrays to a function on the host, wherever the operation runs: compiled or
not, inside loops and branches, on any device. It has no result, so nothing that the program
computes depends on it. *Tapping* is the identity; when a program is differentiated, it watches the
cotangents that come back through it. Under ``jax.vmap`` both stay one operation: the host gets the
whole batch at once, and is told which operands had one value for the whole of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from linnet import _compat
from linnet.core.watching import watching


class Receiver(Protocol):
    """What watched values are handed to."""

    def receive(self, values: Sequence[np.ndarray]) -> None:
        """Takes the values of one run; a batch stands before the axes that were watched."""

    def mapped(self, which: Sequence[bool]) -> None:
        """Learns which operands differ along an axis of ``jax.vmap`` and which do not."""


def watch(values: Sequence[Any], receiver: Receiver) -> None:
    """Hands values to the receiver each time that the program gets here."""
    if not watching.muted:
        _watch_p.bind(*map(lax.stop_gradient, values), receiver=receiver)


def tap(
    values: Sequence[Any], arrived: Callable[[Sequence[Any], Sequence[int]], None]
) -> list[Any]:
    """The same values; ``arrived`` is told, while tracing, of their cotangents.

    Args:
        values: inexact arrays.
        arrived: called with cotangents, ``None`` for one that is zero whatever the input, and
            with the places of these among ``values``.
    """
    return _tap_p.bind(*values, arrived=arrived)


_watch_p = Primitive('linnet_watch')
_watch_p.multiple_results = True


def _report(*values: Any, receiver: Receiver) -> list[Any]:
    jax.debug.callback(lambda *arrays: receiver.receive([np.asarray(a) for a in arrays]), *values)
    return []


def _run_now(*values: Any, receiver: Receiver) -> list[Any]:
    receiver.receive([np.asarray(value) for value in values])
    return []


def _watch_batched(values: Any, dims: Any, *, receiver: Receiver) -> tuple[list[Any], list[Any]]:
    which = [dim is not None for dim in dims]
    receiver.mapped(which)
    moved = [
        jnp.moveaxis(value, dim, 0) if varies else value
        for value, dim, varies in zip(values, dims, which, strict=True)
    ]
    return _watch_p.bind(*moved, receiver=receiver), []


_watch_p.def_impl(_run_now)
_watch_p.def_effectful_abstract_eval(lambda *avals, receiver: ([], {_compat.debug_effect}))
ad.primitive_jvps[_watch_p] = lambda primals, tangents, *, receiver: (
    _watch_p.bind(*primals, receiver=receiver),
    [],
)
batching.primitive_batchers[_watch_p] = _watch_batched
mlir.register_lowering(_watch_p, mlir.lower_fun(_report, multiple_results=True))


_tap_p = Primitive('linnet_tap')
_tap_p.multiple_results = True
_cotangents_p = Primitive('linnet_cotangents')
_cotangents_p.multiple_results = True


def _is_zero(tangent: Any) -> bool:
    return type(tangent) is ad.Zero


def _tap_jvp(primals: Any, tangents: Any, *, arrived: Any) -> tuple[list[Any], list[Any]]:
    """Lets tangents through the operation that sees their cotangents."""
    places = tuple(i for i, tangent in enumerate(tangents) if not _is_zero(tangent))
    seen = _cotangents_p.bind(*(tangents[i] for i in places), arrived=arrived, places=places)
    out = list(tangents)
    for i, tangent in zip(places, seen, strict=True):
        out[i] = tangent
    return _tap_p.bind(*primals, arrived=arrived), out


def _cotangents_transpose(cotangents: Any, *tangents: Any, arrived: Any, places: Any) -> Any:
    arrived([None if _is_zero(c) else c for c in cotangents], places)
    return list(cotangents)


def _cotangents_jvp(primals: Any, tangents: Any, **params: Any) -> tuple[list[Any], list[Any]]:
    return _cotangents_p.bind(*primals, **params), list(tangents)


for _identity in (_tap_p, _cotangents_p):
    _identity.def_impl(lambda *values, **params: list(values))
    _identity.def_abstract_eval(lambda *avals, **params: list(avals))
    mlir.register_lowering(_identity, lambda ctx, *values, **params: list(values))


def _batched(primitive: Primitive) -> Callable[..., Any]:
    return lambda values, dims, **params: (primitive.bind(*values, **params), list(dims))


batching.primitive_batchers[_tap_p] = _batched(_tap_p)
batching.primitive_batchers[_cotangents_p] = _batched(_cotangents_p)
ad.primitive_jvps[_tap_p] = _tap_jvp
ad.primitive_jvps[_cotangents_p] = _cotangents_jvp
ad.primitive_transposes[_cotangents_p] = _cotangents_transpose

"""Blocks met again: a module that is equal to one traced before is not traced again.

In one ``apply`` a model often has many equal blocks. The first is traced as ever. When a second
one comes with the same class, fields, kinds of arguments and of variables, its operations are
kept as a *program*: a function of its arguments, its variables and the keys that it draws.
It is called in the trace for this block and for each that follows, and what a block does
beside, drawing keys, writing variables, reading parameters, is done again at the block's own path.

Only what :mod:`linnet.linen.module.purity` can prove is reused; all else is traced as ever. The
flag ``linnet_reuse_traces`` turns it off.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from linnet import _compat
from linnet.configurations import config
from linnet.core.ledger import Ledger
from linnet.core.repeated import Call
from linnet.core.rng import Counts, LazyRng, fold
from linnet.core.scope import Scope
from linnet.linen.module import binding
from linnet.linen.module.context import named_calls_enabled, profiling_name
from linnet.linen.module.meeting import Meeting, is_array
from linnet.linen.module.purity import Unproved, require

Draws = tuple[tuple[tuple[str, ...], str, int], ...]
"""Paths below a block, streams, and how many keys are drawn."""
_ORDINARY = object()
Run = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def may_reuse() -> bool:
    """Tells whether calls are looked at: a program is being made, and the flag is on."""
    return config.linnet_reuse_traces and _compat.is_compiled()


def run_or_reuse(
    fun: Any, module: Any, args: Any, kwargs: Any, as_ever: Callable[[], Any], bare: Run
) -> Any:
    """The result of a module's ``__call__``, by what is known of an equal one.

    Args:
        fun: the method.
        module: the module.
        args: arguments.
        kwargs: keyword arguments.
        as_ever: runs the call.
        bare: ``bare(module, args, kwargs)`` runs the method unwatched and unnamed.
    """
    met = _look_up(fun, module, args, kwargs)
    if met is None:
        return as_ever()
    meeting, known = met
    programs = meeting.scope.counts.programs
    if known is None:
        drawn = _drawn(meeting.scope)
        y = as_ever()
        programs[meeting.key] = _difference(drawn, meeting.scope)
        return y
    if type(known) is tuple:
        try:
            known = Known(meeting, known, bare)
        except Exception:  # whatever it is, the call itself will say it
            known = _ORDINARY
        programs[meeting.key] = known
    if known is _ORDINARY:
        return as_ever()
    name = profiling_name(module, '__call__')
    with jax.named_scope(name) if named_calls_enabled() else contextlib.nullcontext():
        return known.put(meeting)


def _look_up(fun: Any, module: Any, args: Any, kwargs: Any) -> tuple[Meeting, Any] | None:
    """A call, and what is known of an equal one; ``None`` where nothing can be known."""
    try:
        meeting = Meeting(fun, module, args, kwargs)
        return meeting, meeting.scope.counts.programs.get(meeting.key)
    except (Unproved, TypeError, ValueError):
        return None


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Stream:
    """Stands for the key of a stream, which differs from block to block."""

    name: str


class _Recording:
    """What a block does beside computing.

    Attributes:
        keys: for each stream and path of a draw, the key.
        written: the variables that it writes, in order, by path, collection and name.
    """

    def __init__(self, keys: dict[Any, Any]) -> None:
        self.keys = keys
        self.written: dict[tuple[tuple[str, ...], str, str], None] = {}


class _RecordedScope(Scope):
    """A scope inside of a block that is traced apart; its streams have no key."""

    recording: _Recording | None = None

    @property
    def _recording(self) -> _Recording | None:
        root: Any = self.root
        return root.recording

    def inner(self, *args: Any, **kwargs: Any) -> Scope:
        """The root inside a transform: of ``nn.remat``, it draws the same keys."""
        scope: Any = super().inner(*args, **kwargs)
        recording = self._recording
        if recording is not None and scope.boundary.name == 'nn.remat':
            scope.recording = _Recording(recording.keys)
        return scope

    def draw(self, name: str) -> LazyRng:
        """A key that is an input of the program."""
        lazy: Any = super().draw(name)
        recording = self._recording
        if recording is None or (lazy.rng, lazy.suffix) not in recording.keys:
            raise Unproved
        return LazyRng(recording.keys.pop((lazy.rng, lazy.suffix)), ())

    def get_variable(self, col: str, name: str, default: Any = None) -> Any:
        """The value of a variable, of which the order of no dict can be seen."""
        return _without_dicts(super().get_variable(col, name, default))

    def param(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """A parameter, of which the order of no dict can be seen."""
        return _without_dicts(super().param(name, *args, **kwargs))

    def put_variable(self, col: str, name: str, value: Any) -> None:
        """Writes a variable, and notes it."""
        super().put_variable(col, name, value)
        recording = self._recording
        if recording is not None:
            recording.written[self.path, col, name] = None


class Known:
    """A program, and what it does beside: all that a later block needs.

    Args:
        meeting: the block that it is traced of.
        draws: the keys that it draws.
        bare: runs the method.
    """

    def __init__(self, meeting: Meeting, draws: Draws, bare: Run) -> None:
        require(not meeting.module._plan.has_setup or all(path for path, _, _ in draws))
        self.draws = draws
        self._at = len(meeting.scope.path)
        ledger = Ledger()
        ledger.given = meeting.scope.counts.ledger.given
        self.counts = Counts(ledger)
        self.written: tuple[Any, ...] = ()
        bases = [meeting.scope.rngs[stream].rng for _, stream, n in draws for _ in range(n)]

        def pure(leaves: Any, keys: Any) -> Any:
            return self._run(meeting, leaves, keys, bare)

        pure.__name__ = type(meeting.module).__name__  # for profiles
        traced = jax.jit(pure).trace(meeting.leaves, bases)
        self.program = Call(traced)
        closed = traced.jaxpr
        require(not closed.effects)
        require(not any(isinstance(x, jax.core.Tracer) for x in closed.consts))
        require(not (ledger.shared or () in ledger.whole))
        params = meeting.scope.all_parts().get('params', {})
        self._notes = ledger.below(meeting.scope.path, params)

    def _run(self, meeting: Meeting, leaves: Any, keys: Any, bare: Run) -> Any:
        """Runs the method in a scope of its own; returns its result and what it has written."""
        args, kwargs, parts = meeting.given(leaves)
        recording = _Recording(dict(zip(_places(self.draws), keys, strict=True)))
        root = self._root(meeting.scope, parts)
        root.recording = recording
        y = bare(binding.clone(meeting.module, parent=root, name=None), args, kwargs)
        require(_is_of_arrays(y) and not recording.keys)
        self.written = tuple(recording.written)
        values = [_value_at(root, *place) for place in self.written]
        require(all(map(_is_of_arrays, values)))
        return y, values

    def _root(self, scope: Scope, parts: dict[str, Any]) -> Any:
        root = _RecordedScope(
            {**{col: {} for col in scope.root._parts}, **parts},
            {stream: LazyRng(_Stream(stream), ()) for stream in scope.rngs},  # type: ignore[arg-type]
            scope.name,
            scope.root.mutable,
            path=scope.path,
            debug_path=scope.debug_path,
        )
        root.counts = self.counts
        return root

    def put(self, meeting: Meeting) -> Any:
        """Puts the program into the trace for another block; returns its result."""
        keys = _draw(meeting.scope, self.draws)
        y, values = self.program.put([*meeting.leaves, *keys])
        meeting.scope.counts.ledger.repeat(self._notes, meeting.scope.path)
        for (path, col, name), value in zip(self.written, values, strict=True):
            scope = meeting.scope
            for part in path[self._at :]:
                scope = scope.descend(part)
            scope.put_variable(col, name, value)
        return y


def _is_of_arrays(value: Any) -> bool:
    """Tells whether a result is arrays, or tuples of them, or dicts in the order of their keys."""
    if type(value) is tuple:
        return all(map(_is_of_arrays, value))
    if type(value) is dict:
        return list(value) == sorted(value) and all(map(_is_of_arrays, value.values()))
    return value is None or is_array(value)


def _without_dicts(value: Any) -> Any:
    """A value; the order of dicts in it may differ from block to block, which no key tells."""
    if not is_array(value):
        parts = jax.tree_util.tree_leaves(value, is_leaf=lambda x: isinstance(x, Mapping))
        require(not any(isinstance(part, Mapping) for part in parts))
    return value


def _value_at(root: Any, path: tuple[str, ...], col: str, name: str) -> Any:
    part = root._parts[col]
    for below in path[len(root.path) :]:
        part = part[below]
    return part[name]


def _places(draws: Draws) -> list[Any]:
    """Stream and path of each draw, counted from 1."""
    return [(_Stream(stream), (*path, i + 1)) for path, stream, n in draws for i in range(n)]


def _draw(scope: Scope, draws: Draws) -> list[Any]:
    """The keys that a block draws, which are counted at its paths."""
    keys = []
    for path, stream, n in draws:
        base = scope.rngs[stream]
        counts = scope.counts.at((*scope.path, *path))
        first = counts.get(stream, 0) + 1
        counts[stream] = first + n - 1
        keys += [fold(base.rng, (*base.suffix, *path, first + i)) for i in range(n)]
    return keys


def _drawn(scope: Scope) -> dict[tuple[tuple[str, ...], str], int]:
    """How many keys were drawn from here downwards, by path below the scope and stream."""
    start = len(scope.path)
    below = scope.counts.below(scope.path) if scope.rngs else ()
    return {(path[start:], stream): n for path, counts in below for stream, n in counts}


def _difference(before: dict[Any, int], scope: Scope) -> Draws:
    """What was drawn since."""
    now = {place: n - before.get(place, 0) for place, n in _drawn(scope).items()}
    return tuple((path, stream, n) for (path, stream), n in now.items() if n)

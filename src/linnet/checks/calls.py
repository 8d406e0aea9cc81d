"""One call of ``apply`` or ``init``, as the sanitizer follows it.

A :class:`Call` begins with a root scope, :class:`WatchedScope`, which sees draws, reads and writes
at and below it, also inside lifted transforms. Values that rules ask for are gathered in a *frame*,
one for each trace that modules run in, and leave it together, in one operation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linnet import _compat, sharp_bits
from linnet.checks import effects
from linnet.checks.report import Line
from linnet.checks.values import as_words, key_words
from linnet.core._scope import Scope
from linnet.core.tracers import current_trace
from linnet.core.watching import watching
from linnet.typing import PRNGFoldable

Path = tuple[str, ...]
_TRAIN = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'train') + os.sep


@dataclasses.dataclass(frozen=True)
class Draw:
    """A key that was drawn.

    Attributes:
        stream: the stream.
        suffix: what was folded into the stream's base key.
        direct: whether the base is the one given to the call, not split by a transform.
        path: the scope that drew.
        line: the user's line.
        same_in: the transform of ours in which all slices draw this key, or ''.
    """

    stream: str
    suffix: tuple[PRNGFoldable, ...]
    direct: bool
    path: str
    line: Line
    same_in: str


class Arrival:
    """The values of one run of one frame, as they come in; rules leave notes for each other.

    Attributes:
        call: the call that asked for them.
        inputs: fingerprints of what the root module was called on, one for each slice.
        keys: for each stream, where it was drawn from, and the words of its key.
        broken: whether an output was not finite.
    """

    def __init__(self, call: Any) -> None:
        self.call = call
        self.inputs: np.ndarray = np.zeros((1, 1), np.uint32)
        self.keys: dict[str, Any] = {}
        self.broken = False


Receive = Callable[[np.ndarray, Arrival], None]


class Record:
    """What one watching operation hands over: which words are for whom."""

    def __init__(
        self,
        call: Call | Outside,
        parts: Sequence[tuple[int, int, Receive]],
        keys: Sequence[tuple[str, Receive]],
    ) -> None:
        self._call = call
        self._parts = parts
        self._keys = keys

    def receive(self, values: Sequence[np.ndarray]) -> None:
        """Deals the values of one run to those that asked for them, one row for each slice."""
        with self._call.watcher.receiving() as active:
            if not active:
                return
            arrival = Arrival(self._call)
            words = values[0].reshape(-1, values[0].shape[-1])
            for start, stop, receive in self._parts:
                receive(words[:, start:stop], arrival)
            for (_, receive), key in zip(self._keys, values[1:], strict=True):
                receive(key.reshape(-1, key.shape[-1]), arrival)

    def mapped(self, which: Sequence[bool]) -> None:
        """Tells the watcher of keys that are the same for all slices of what they are used on."""
        if which[0]:
            for (stream, _), varies in zip(self._keys, which[1:], strict=True):
                if not varies:
                    self._call.watcher.key_not_mapped(self._call, stream)


class Frame:
    """Values gathered in one trace."""

    def __init__(self, trace: Any, opened_by: Any = None) -> None:
        self.trace = trace
        self.opened_by = opened_by
        self._words: list[Any] = []
        self._receive: list[tuple[int, Receive]] = []
        self._keys: list[tuple[str, Any, Receive]] = []

    def add(self, value: Any, receive: Receive) -> None:
        """Gathers a vector of 32-bit numbers."""
        words = as_words(value)
        self._words.append(words)
        self._receive.append((words.shape[0], receive))

    def add_key(self, stream: str, key: Any, receive: Receive) -> None:
        """Gathers a key."""
        self._keys.append((stream, key_words(key), receive))

    def flush(self, call: Call | Outside) -> None:
        """Hands what was gathered to the host, in one operation."""
        if not self._words and not self._keys:
            return
        parts, start = [], 0
        for size, receive in self._receive:
            parts.append((start, start + size, receive))
            start += size
        words = jnp.concatenate(self._words) if self._words else jnp.zeros(1, jnp.uint32)
        keys = [key for _, key, _ in self._keys]
        record = Record(call, parts, [(stream, receive) for stream, _, receive in self._keys])
        effects.watch([words, *keys], record)


class Call:
    """One call of ``apply`` or ``init``, or the life of a bound module.

    Attributes:
        watcher: who follows it.
        root: the root scope, as long as the call lasts.
        name: the class of the first module that runs.
        line: the user's line that made the call.
        initializing: whether it is an ``init``.
        given: for each collection that was passed, the paths of its variables.
        streams: the base key of each stream that was passed.
        draws: keys that were drawn.
        read: variables that were read, as collection and path.
        written: collections that were written.
        carried: those of them that a loop inside of the call hands on.
        lines: for each module's path, the user's line that called it first.
        notes: what rules remember while it lasts.
        differentiated: whether a gradient was taken of it.
        in_trainer: whether a trainer of ours makes the call, which names streams by default.
        evaluates: whether it evaluates, with the same keys each time.
        program: the compiled function that it is part of, or ''.
        first_draws: for each stream, where it was first drawn from, and the user's line.
    """

    def __init__(self, watcher: Any, root: WatchedScope) -> None:
        self.watcher = watcher
        self.root: Any = root
        self.name = ''
        self.line = sharp_bits.user_line()
        self.initializing = bool(root.get_flag('initializing', False))
        self.given = {col: leaf_paths(part) for col, part in root._parts.items()}
        self.streams = {stream: lazy.rng for stream, lazy in root.rngs.items()}
        self.draws: list[Draw] = []
        self.read: set[tuple[str, Path]] = set()
        self.written: set[str] = set()
        self.carried: set[str] = set()
        self.lines: dict[str, Line] = {}
        self.notes: dict[str, Any] = {}
        self.first_draws: dict[str, tuple[str, Line]] = {}
        self.is_apply = False
        self.differentiated = False
        self.program = _program(root._trace)
        self.in_trainer = _in_trainer()
        self.evaluates = watching.evaluates
        self.modules: list[Any] = []
        self.frames = [Frame(root._trace)]

    @property
    def frame(self) -> Frame:
        """Where values are gathered now."""
        return self.frames[-1]

    def ask(self, value: Any, receive: Receive) -> None:
        """Asks for a vector of 32-bit numbers, each time that the program gets here."""
        if current_trace() is self.frame.trace:
            self.frame.add(value, receive)
        else:
            emit(self, value, receive)

    def enter(self, module: Any) -> None:
        """A method of a module begins."""
        trace = current_trace()
        if trace is not self.frame.trace:
            self.frames.append(Frame(trace, module))
        self.modules.append(module)
        self.name = self.name or type(module).__name__
        self.lines.setdefault(module.scope.path_text, sharp_bits.user_line())

    def exit(self, module: Any) -> None:
        """A method of a module ended; the outermost in a trace hands over what was gathered."""
        while self.modules and self.modules.pop() is not module:
            pass
        frame = self.frame
        if frame.opened_by is module and module not in self.modules:
            self.frames.pop()
            frame.flush(self)
        elif len(self.frames) == 1 and not self.modules and not self.is_apply:
            self.watcher.end(self)
            frame.flush(self)
            self.frames = [Frame(frame.trace)]
            self.notes.clear()
            self.draws.clear()

    def close(self) -> None:
        """Ends an ``apply``: hands over the rest, and lets go of all that is traced."""
        self.watcher.end(self)
        self.frames[0].flush(self)
        self.root = None
        self.streams = {}
        self.modules = self.frames = []
        self.notes.clear()

    def place(self) -> tuple[str, Line]:
        """Path and class of the running module, and the user's line that called it."""
        if not self.modules:
            return self.name, self.line
        module = self.modules[-1]
        path = module.scope.path_text
        return f'{path} ({type(module).__name__})', self.lines.get(path, self.line)

    def was_read(self, col: str, path: Path) -> bool:
        """Tells whether a variable was read, by itself or with all that is around it."""
        return any((col, path[:n]) in self.read for n in range(len(path) + 1))


class Outside:
    """What happens in no module: a function of ours called by itself."""

    def __init__(self, watcher: Any) -> None:
        self.watcher = watcher
        self.name = ''
        self.line = sharp_bits.user_line()

    def ask(self, value: Any, receive: Receive) -> None:
        """Asks for a vector of 32-bit numbers, each time that the program gets here."""
        emit(self, value, receive)

    def place(self) -> tuple[str, Line]:
        """What messages call this place, and the user's line."""
        return 'no module', self.line


def emit(call: Call | Outside, value: Any, receive: Receive) -> None:
    """Hands one value over at once."""
    frame = Frame(None)
    frame.add(value, receive)
    frame.flush(call)


class WatchedScope(Scope):
    """A scope that tells the call of which it is part what happens at it."""

    @property
    def call(self) -> Call:
        """The call that the scope is part of."""
        return self.root.__dict__['_call']

    @call.setter
    def call(self, call: Call) -> None:
        self.__dict__['_call'] = call

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Scope]:
        """Ends the call, where it succeeds, before the scope is closed."""
        self.call.is_apply = True
        with super().temporary():
            yield self
            self.call.close()

    def inner(self, *args: Any, **kwargs: Any) -> Scope:
        """The root inside a transform, of the same call."""
        scope: Any = super().inner(*args, **kwargs)
        scope.call = self.call
        if scope.boundary.name == 'nn.map_variables':  # it reads what it maps
            self.call.read.update((col, ()) for col in self.call.given)
        return scope

    def draw(self, name: str) -> Any:
        """Draws a key, and tells of it."""
        key = super().draw(name)
        stream = name if name in self.rngs else 'params'
        lazy = self.rngs[stream]
        call = self.call
        direct = lazy.rng is call.streams.get(stream)
        line = sharp_bits.user_line()
        same_in = _shared_by(self.root.boundary, lazy.rng)
        call.draws.append(Draw(stream, key.suffix, direct, self.path_text, line, same_in))
        call.watcher.draw(call, call.draws[-1])
        return key

    def has_rng(self, name: str) -> bool:
        """Tells whether a stream was given, which is a use of it."""
        self.call.notes.setdefault('asked', set()).add(name)
        return super().has_rng(name)

    def param(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Reads or makes a parameter, and tells which."""
        existed = name in self._collection('params')
        value = super().param(name, *args, **kwargs)
        call = self.call
        if existed:
            call.read.add(('params', (*self.path, name)))
        else:
            call.watcher.made(call, (*self.path, name), value)
        return value

    def get_variable(self, col: str, name: str, default: Any = None) -> Any:
        """Reads a variable, and tells of it."""
        self.call.read.add((col, (*self.path, name)))
        return super().get_variable(col, name, default)

    def put_variable(self, col: str, name: str, value: Any) -> None:
        """Writes a variable, and tells of it."""
        super().put_variable(col, name, value)
        self.call.written.add(col)
        boundary = self.root.boundary
        if boundary is not None and boundary.name in _LOOPS and not boundary.slices(col):
            self.call.carried.add(col)

    def variables(self) -> Any:
        """Reads all variables from here downwards."""
        self.call.read.update((col, self.path) for col in self.root._parts)
        return super().variables()


_LOOPS = ('nn.scan', 'nn.while_loop')


def _shared_by(boundary: Any, key: Any) -> str:
    """The transform in which all slices have one key, though they should not; or ''.

    A loop over time may repeat its mask; a loop over layers, each with its own parameters, not.
    """
    if boundary is None or boundary.name not in ('nn.vmap', 'nn.scan'):
        return ''
    if isinstance(key, jax.core.Tracer) and _compat.trace_of(key) is current_trace():
        return ''
    if boundary.name == 'nn.scan' and not _maps_parameters(boundary.variables[2:]):
        return ''
    return boundary.name


def _maps_parameters(groups: Any) -> bool:
    return any(part.get('params') for group in groups for part in group)


def _in_trainer() -> bool:
    """Tells whether the frames between here and the user's are of :mod:`linnet.train`."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and sharp_bits.is_inner(frame.f_code.co_filename):
        if frame.f_code.co_filename.startswith(_TRAIN):
            return True
        frame = frame.f_back
    return False


def _program(trace: Any) -> str:
    jitted = _compat.jitted(trace)
    return '' if jitted is None else _compat.traced_function(jitted)


def leaf_paths(tree: Any) -> list[Path]:
    """Paths of the leaves of nested dicts."""
    if not isinstance(tree, Mapping):
        return [()]
    return [(name, *path) for name, part in tree.items() for path in leaf_paths(part)]


def leaf_arrays(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The arrays of nested dicts in the order of the dicts; arrays in a box share its path."""
    if isinstance(tree, Mapping):
        for name, part in tree.items():
            yield from leaf_arrays(part, (*path, name))
    else:
        for leaf in jax.tree_util.tree_leaves(tree):
            yield path, leaf


def is_concrete(tree: Any) -> bool:
    """Tells whether no value in a tree is traced."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree_util.tree_leaves(tree))

"""Rules about keys: who draws what, from which key, and how often.

What is drawn follows from the key that a call was given and from what is folded into it on the
host: path and count. So it is enough to watch the keys of a call, once for each run.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from linnet import _compat
from linnet.checks.calls import Arrival, Call, Draw
from linnet.checks.report import Line, Report
from linnet.checks.rules import Rule
from linnet.checks.values import arrays_in, fingerprint
from linnet.errors.findings import (
    CollidingDrawsFinding,
    RepeatedKeyFinding,
    SharedMaskFinding,
    SharedModelKeyFinding,
    SharedStreamKeyFinding,
    UndrawnStreamFinding,
)

_ENOUGH = 3  # runs with one key on one input: a loss and its gradient may be computed apart
_REMEMBERED = 1 << 16  # keys, the oldest of which are forgotten


@dataclasses.dataclass
class _Uses:
    """How a key was used at one line, and in which call first."""

    call: Call
    runs: int = 0
    inputs: set[int] = dataclasses.field(default_factory=set)


@dataclasses.dataclass
class _Streams:
    """What is known of the streams that calls of one model were given."""

    given: dict[str, Line] = dataclasses.field(default_factory=dict)
    drawn: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True)
class _Site:
    """What a run needs to know of one stream of a call, when its key comes in."""

    stream: str
    where: str
    line: Line
    suffixes: frozenset[Any]
    devices: tuple[Any, ...]


class Randomness(Rule):
    """The same key where there should be two, and a key where there should be none."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._uses: dict[Any, dict[Line, _Uses]] = {}
        self._models: dict[Any, dict[str, set[Any]]] = {}
        self._streams: dict[str, _Streams] = {}
        self._elsewhere: dict[tuple[Line, Line], tuple[Call, _Site, Call]] = {}

    def enter(self, call: Call, module: Any, method: str, args: Any, kwargs: Any) -> None:
        """Remembers what the first module is called on, and keys that are handed on by hand."""
        if call.streams and 'inputs' not in call.notes:
            call.notes['inputs'] = True
            if arrays_in((args, kwargs)):
                call.ask(fingerprint((args, kwargs)), _note_inputs)
        option = getattr(module, 'rng_collection', None)
        if option is not None:
            call.notes.setdefault('asked', set()).add(option)
        if method == '__call__' and _is_ours(module):
            self._handed_on(call, module, args, kwargs)

    def _handed_on(self, call: Call, module: Any, args: Any, kwargs: Any) -> None:
        where = module.scope.path_text
        for key in _keys_in(args, kwargs):
            known = call.notes.setdefault('handed on', {})
            _, other = known.setdefault(id(key), (key, where))  # held, so that the id stays its
            if other != where and not call.initializing:
                self.found(
                    CollidingDrawsFinding,
                    f'{other} and {where} are called with the same key',
                    why='both draw the same numbers',
                    mend='let each draw its own: leave rng= out, or jax.random.split(key)',
                    where=f'{where} ({type(module).__name__})',
                    line=call.lines[where],
                )

    def draw(self, call: Call, draw: Draw) -> None:
        """Looks, while tracing, at a draw that a transform of ours makes the same for all."""
        if draw.same_in and not call.initializing:
            self._same_for_all(call, draw.stream, draw.path, draw.line, draw.same_in)

    def key_not_mapped(self, call: Call, stream: str) -> None:
        """A call under ``jax.vmap`` has one key for all slices of its input."""
        if call.initializing:
            return
        where, line = call.first_draws[stream]
        self._same_for_all(call, stream, where, line, 'jax.vmap')

    def _same_for_all(
        self, call: Call, stream: str, where: str, line: Line, transform: str
    ) -> None:
        ours = transform.startswith('nn.')
        self.found(
            SharedMaskFinding,
            f'stream {stream!r} has one key for all slices of the batch that {transform} maps over',
            why='every slice draws the same mask',
            mend=f"split_rngs={{'{stream}': True}}"
            if ours
            else 'keys = jax.random.split(key, len(xs)), mapped along with xs',
            where=where,
            line=line,
            other_lines=(call.line,),
        )

    def end(self, call: Call) -> None:
        """Watches the keys that were drawn from."""
        asked = call.notes.get('asked', set())
        drawn: dict[str, list[Draw]] = {}
        for draw in call.draws:
            drawn.setdefault(draw.stream, []).append(draw)
        known = self._streams.setdefault(call.name, _Streams())
        known.drawn.update(drawn, asked)
        if not call.initializing and not call.in_trainer:
            for stream in call.streams:
                if stream != 'params':
                    known.given.setdefault(stream, call.line)
        call.first_draws = {s: (draws[0].path, draws[0].line) for s, draws in drawn.items()}
        made = frozenset(call.notes.get('made', ()))
        for stream, draws in drawn.items():
            if stream not in call.streams:
                continue
            site = _Site(
                stream,
                draws[0].path,
                draws[0].line,
                frozenset(draw.suffix for draw in draws if draw.direct),
                _compat.axis_names(),
            )
            call.frame.add_key(stream, call.streams[stream], self._receiver(site, made))

    def made(self, call: Call, path: tuple[str, ...], value: Any) -> None:
        """Remembers from which draw a parameter was made."""
        shape = tuple(getattr(value, 'shape', ()))
        if call.initializing and call.draws and len(shape) > 1:
            call.notes.setdefault('made', set()).add((call.draws[-1].suffix, path, shape))

    def _receiver(self, site: _Site, made: frozenset[Any]) -> Any:
        def receive(words: np.ndarray, arrival: Arrival) -> None:
            self._arrived(site, made, words, arrival)

        return receive

    def _arrived(
        self, site: _Site, made: frozenset[Any], words: np.ndarray, arrival: Arrival
    ) -> None:
        call = arrival.call
        for other, (other_site, others) in arrival.keys.items():
            if site.suffixes & other_site.suffixes and np.array_equal(words, others):
                self._two_streams(call, other, other_site, site)
        arrival.keys[site.stream] = (site, words)
        if call.initializing:
            if site.stream == 'params':
                self._two_models(call, words[0].tobytes(), made, site)
            return
        inputs = arrival.inputs.ravel()
        seen: set[bytes] = set()
        for row, key in enumerate(words):
            name = key.tobytes()
            if name in seen:
                self._same_for_all(call, site.stream, site.where, site.line, 'jax.vmap')
                continue
            seen.add(name)
            self._used(call, site, name, int(inputs[min(row, len(inputs) - 1)]))

    def _used(self, call: Call, site: _Site, key: bytes, inputs: int) -> None:
        """A key was used on an input."""
        by_line = self._uses.setdefault((call.name, site.stream, key), {})
        if len(self._uses) > _REMEMBERED:
            self._uses.pop(next(iter(self._uses)))
        uses = by_line.setdefault(call.line, _Uses(call))
        uses.runs += 1
        others = set().union(*(u.inputs for at, u in by_line.items() if at != call.line))
        news = bool(uses.inputs) and inputs not in uses.inputs
        uses.inputs.add(inputs)
        if call.evaluates:
            return
        if news or uses.runs >= _ENOUGH:
            if site.devices:
                self._on_devices(call, site)
            else:
                self._repeated(call, site)
        elif others and inputs not in others and uses.runs == 1:
            other = next(u.call for at, u in by_line.items() if at != call.line)
            self._elsewhere[call.line, other.line] = (call, site, other)

    def _repeated(self, call: Call, site: _Site) -> None:
        self.found(
            RepeatedKeyFinding,
            f'stream {site.stream!r} was given the same key in two steps of {call.name}',
            why='a key gives the same mask each time that it is used',
            mend=f"rngs={{'{site.stream}': jax.random.fold_in(key, step)}}",
            where=site.where,
            line=call.line,
            other_lines=(site.line,),
        )

    def _on_devices(self, call: Call, site: _Site) -> None:
        axis = site.devices[0]
        self.found(
            SharedMaskFinding,
            f'stream {site.stream!r} has the same key in two replicas, or in two steps',
            why=f'slices along {axis!r} draw the same mask',
            mend=f'jax.random.fold_in(key, jax.lax.axis_index({axis!r}))',
            where=site.where,
            line=call.line,
            other_lines=(site.line,),
        )

    def _judge_elsewhere(self, call: Call, site: _Site, other: Call) -> None:
        """Two lines had one key; an evaluation may have that of a step, or of another."""
        if not (call.differentiated and other.differentiated):
            return
        self.found(
            CollidingDrawsFinding,
            f'stream {site.stream!r} of {call.name} was given the key that another call had '
            'for another input',
            why=f'the call at {other.line[0]}:{other.line[1]} drew the same mask',
            mend='key_1, key_2 = jax.random.split(key)',
            where=site.where,
            line=call.line,
            other_lines=(site.line, other.line),
        )

    def _two_streams(self, call: Call, other: str, other_site: _Site, site: _Site) -> None:
        self.found(
            SharedStreamKeyFinding,
            f'streams {other!r} and {site.stream!r} hold the same key, and {site.where} draws '
            'from both: the draws are equal',
            mend=f'{other}_key, {site.stream}_key = jax.random.split(key)',
            where=site.where,
            line=call.line,
            other_lines=(site.line, other_site.line),
        )

    def _two_models(self, call: Call, key: bytes, made: frozenset[Any], site: _Site) -> None:
        models = self._models.setdefault(key, {})
        for name, others in models.items():
            equal = others & made
            if name != call.name and equal:
                path = '/'.join(min(path for _, path, _ in equal))
                self.found(
                    SharedModelKeyFinding,
                    f'{name} and {call.name} were initialised with the same key: {path} is the '
                    'same numbers in both',
                    mend='key_1, key_2 = jax.random.split(key)',
                    where=call.name,
                    line=call.line,
                )
        models.setdefault(call.name, set()).update(made)

    def finish(self) -> None:
        """Names the streams that no call of a model drew from, and calls that shared a key."""
        for call, site, other in self._elsewhere.values():
            self._judge_elsewhere(call, site, other)
        for name, streams in self._streams.items():
            for stream in streams.given.keys() - streams.drawn:
                self.found(
                    UndrawnStreamFinding,
                    f'{name} was given a key for stream {stream!r}, and never drew from it',
                    mend=f'drop {stream!r} from rngs, or name a stream that a module draws from',
                    where=name,
                    line=streams.given[stream],
                )


def _note_inputs(words: np.ndarray, arrival: Arrival) -> None:
    arrival.inputs = words


def _is_ours(module: Any) -> bool:
    return type(module).__module__.startswith('linnet.linen.')


def _keys_in(args: Any, kwargs: Any) -> list[Any]:
    """Keys among the arguments of a call: typed ones, and raw ones by their name."""
    keys = [value for value in (*args, *kwargs.values()) if _is_typed_key(value)]
    raw = (kwargs.get(name) for name in ('rng', 'dropout_rng'))
    return keys + [key for key in raw if key is not None and not _is_typed_key(key)]


def _is_typed_key(value: Any) -> bool:
    dtype = getattr(value, 'dtype', None)
    return dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)

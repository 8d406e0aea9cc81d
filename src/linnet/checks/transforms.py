"""Rules about modules under transforms: what is captured, what leaks, what is made too late."""

from __future__ import annotations

import gc
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linnet import sharp_bits
from linnet.checks.calls import Arrival, Call, Path, is_concrete, leaf_arrays
from linnet.checks.report import Line, Report
from linnet.checks.rules import Rule
from linnet.errors.program_findings import (
    EqualParametersFinding,
    LeakedTracerFinding,
    MadeInApplyFinding,
    StaleParametersFinding,
)

_OWN = ('jax', 'jaxlib', 'linnet', 'weakref', 'gc', 'threading')
_DEEP = 4  # containers inside each other, between a name and a tracer


class Transforms(Rule):
    """Parameters that are constants, copies, or made in ``apply``; and values that leak."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._traced: list[tuple[weakref.ref[Any], str, Line]] = []

    def begin(self, call: Call) -> None:
        """Looks at the parameters that a call is given."""
        params = call.root._parts.get('params')
        if not params or call.initializing:
            return
        self._look_for_copies(call, params)
        if call.program and is_concrete(params):
            self._look_for_names(call, params)

    def _look_for_copies(self, call: Call, params: Any) -> None:
        """One array at two paths is no tie: each has a gradient of its own."""
        places: dict[int, Path] = {}
        for path, leaf in leaf_arrays(params):
            first = places.setdefault(id(leaf), path)
            if first != path and np.ndim(leaf) > 1:
                one, other = '/'.join(first), '/'.join(path)
                self.found(
                    EqualParametersFinding,
                    f'parameters {one} and {other} are one array',
                    why='they are not tied: each gets its own gradient, and they part',
                    mend='use one module in both places, or copy the array',
                    where=f'/{other} in {call.name}',
                    line=call.line,
                )

    def _look_for_names(self, call: Call, params: Any) -> None:
        """Under ``jit`` parameters are constants: remembers the names that they have now."""
        frame, _ = sharp_bits.user_frame()
        found = None if frame is None else _holder(frame, params)
        if found is None:
            return
        name, current = found

        def receive(words: np.ndarray, arrival: Arrival) -> None:
            if current() is not params:
                self.found(
                    StaleParametersFinding,
                    f'a compiled function still uses the parameters that {name!r} held when it was '
                    f'traced; {name!r} has been set since',
                    why='what a jitted function closes over is a constant of the program',
                    mend='pass the parameters as an argument: jax.jit(model.apply)(params, x)',
                    where=call.name,
                    line=call.line,
                )

        call.ask(jnp.zeros(1, jnp.uint32), receive)

    def made(self, call: Call, path: tuple[str, ...], value: Any) -> None:
        """A parameter is made in ``apply`` beside others that were passed."""
        if call.initializing or not any(call.given.get('params', ())):
            return
        self.found(
            MadeInApplyFinding,
            f'apply made the parameter {"/".join(path)}, which was not passed',
            why='params is mutable in this call, so that what is missing is initialised anew',
            mend="mutable=['batch_stats'], or init the model again",
            where=call.place()[0],
            line=call.place()[1],
            other_lines=(call.line,),
        )

    def exit(self, call: Call, module: Any, method: str, output: Any) -> None:
        """Remembers, weakly, traced outputs."""
        for leaf in jax.tree_util.tree_leaves(output):
            if isinstance(leaf, jax.core.Tracer):
                where, line = call.place()
                self._traced.append((weakref.ref(leaf), where, line))

    def finish(self) -> None:
        """Looks for traced values that are still held, and for who holds them."""
        alive = [entry for entry in self._traced if entry[0]() is not None]
        if not alive:
            return
        gc.collect()
        told: set[int] = set()
        for ref, where, line in alive:
            tracer = ref()
            holder = '' if tracer is None or id(tracer) in told else _who_holds(tracer)
            if holder:
                told.add(id(tracer))
                self.found(
                    LeakedTracerFinding,
                    f'the traced output of {where} is still held by {holder}',
                    why='it is a placeholder of a trace that has ended',
                    mend='return it from the traced function, or self.sow it',
                    where=where,
                    line=line,
                )


def _holder(frame: types.FrameType, params: Any) -> tuple[str, Callable[[], Any]] | None:
    """The name by which a user's function reaches parameters, and how to look it up again."""
    cells = _cells(frame.f_code)
    for name, value in [*frame.f_locals.items(), *frame.f_globals.items()]:
        for suffix, read in _ways_to(value, params):
            if name in cells:
                cell = cells[name]
                return f'{name}{suffix}', lambda: read(cell.cell_contents)  # noqa: B023
            if name not in frame.f_locals:
                names = frame.f_globals
                return f'{name}{suffix}', lambda: read(names.get(name))  # noqa: B023
            if suffix.startswith('.'):
                return f'{name}{suffix}', lambda: read(value)  # noqa: B023
    return None


def _cells(code: types.CodeType) -> dict[str, Any]:
    """The variables around a function that it uses, if the function is the only one of its code."""
    functions = [f for f in gc.get_referrers(code) if isinstance(f, types.FunctionType)]
    if len(functions) != 1 or not functions[0].__closure__:
        return {}
    return dict(zip(code.co_freevars, functions[0].__closure__, strict=True))


def _ways_to(value: Any, params: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """How a value leads to parameters: itself, an entry, an attribute, or an attribute's entry."""
    if value is params:
        yield '', lambda v: v
    elif _entry(value) is params:
        yield '', _entry
    elif not isinstance(value, type | types.ModuleType):
        for name, attribute in getattr(value, '__dict__', {}).items():
            if attribute is params:
                yield f'.{name}', lambda v: getattr(v, name, None)  # noqa: B023
            elif _entry(attribute) is params:
                yield f'.{name}', lambda v: _entry(getattr(v, name, None))  # noqa: B023


def _entry(value: Any) -> Any:
    return value.get('params') if isinstance(value, Mapping) else None


def _who_holds(value: Any) -> str:
    """What messages call that which holds a value: a global, an attribute, a variable; or ''."""
    layer, seen = [value], {id(value)}
    for _ in range(_DEEP):
        following = []
        for held in layer:
            for holder in gc.get_referrers(held):
                if id(holder) in seen or holder is layer or isinstance(holder, types.FrameType):
                    continue
                seen.add(id(holder))
                name = _named(holder, held)
                if name:
                    return name
                if isinstance(holder, list | tuple | dict | set):
                    following.append(holder)
        layer = following
    return ''


def _named(holder: Any, held: Any) -> str:
    """A name for a holder, if it is one that a user wrote."""
    if isinstance(holder, dict):
        key = next((k for k, v in holder.items() if v is held), None)
        module = holder.get('__name__')
        if isinstance(module, str) and '__builtins__' in holder:
            return '' if module.split('.')[0] in _OWN else f'the global {key!r}'
        return ''
    if isinstance(holder, types.CellType):
        return 'a variable of an enclosing function'
    attributes = getattr(holder, '__dict__', None)
    if isinstance(attributes, dict) and type(holder).__module__.split('.')[0] not in _OWN:
        key = next((k for k, v in attributes.items() if v is held), None)
        return f'the attribute {key!r} of a {type(holder).__name__}' if key else ''
    return ''

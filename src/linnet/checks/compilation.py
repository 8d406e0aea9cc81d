"""Rules about compilation: what was traced how often, and what differed between the times.

A function under ``jax.jit`` is traced once for each set of shapes, dtypes and static values; so a
call that is traced again was given something new, or belongs to a new function.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator
from typing import Any

import jax

from linnet import _compat
from linnet.checks.calls import Call
from linnet.checks.report import Line, Report
from linnet.checks.rules import Rule
from linnet.core.tracers import current_trace
from linnet.errors.program_findings import (
    ManyShapesFinding,
    RepeatedCompilationFinding,
)

_MANY_SHAPES = 6  # a few sizes, and the last batch of an epoch, are as they should be
_MANY_STATIC = 6  # sweeps over options
_REPEATED = 5  # a loss, its gradient, and both in evaluation

_Signature = tuple[tuple[str, str], ...]


@dataclasses.dataclass
class _Program:
    """How one line was traced.

    Attributes:
        traces: signatures of the arrays, and of what is static, in the order of tracing.
        last: the trace that was counted last; one may hold several calls.
    """

    traces: list[tuple[_Signature, _Signature]] = dataclasses.field(default_factory=list)
    last: Any = None


class Compilation(Rule):
    """A model that is compiled again and again."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._programs: dict[tuple[str, str, Line], _Program] = {}

    def enter(self, call: Call, module: Any, method: str, args: Any, kwargs: Any) -> None:
        """Notes what the first module of a call is traced on."""
        if 'traced' in call.notes:
            return
        call.notes['traced'] = True
        trace = _compat.jitted(current_trace())
        if trace is None or call.initializing or not _compat.is_jit(trace):
            return
        program = self._programs.setdefault((call.program, call.name, call.line), _Program())
        if program.last is not None and program.last() is trace:
            return
        program.last = weakref.ref(trace)
        arrays, static = _signature(args, kwargs)
        program.traces.append((arrays, (*static, *_options(module))))
        self._judge(call, program)

    def _judge(self, call: Call, program: _Program) -> None:
        shapes = [arrays for arrays, _ in program.traces]
        if len(set(shapes)) >= _MANY_SHAPES:
            self._many(call, len(set(shapes)), *_change(shapes))
        again = [static for arrays, static in program.traces if arrays == shapes[-1]]
        if len(set(again)) == 1 and len(again) >= _REPEATED:
            self.found(
                RepeatedCompilationFinding,
                f'{call.name} was compiled {len(again)} times for the same shapes, dtypes and '
                'options',
                why='jax.jit was given a new function, or a static argument without __eq__',
                mend='call jax.jit once, outside of the loop',
                where=call.name,
                line=call.line,
            )
        elif len(set(again)) >= _MANY_STATIC:
            name, values = _change(again)
            self.found(
                RepeatedCompilationFinding,
                f'{call.name} was compiled {len(again)} times for the same shapes: '
                f'{name} was {values}',
                why='a static value is part of the program',
                mend=f'pass {name} as an array, or let it take few values',
                where=call.name,
                line=call.line,
            )

    def _many(self, call: Call, times: int, name: str, values: str) -> None:
        self.found(
            ManyShapesFinding,
            f'{call.name} was compiled {times} times for different shapes: {name} was {values}',
            mend='pad to a few shapes, and cut the result',
            where=call.name,
            line=call.line,
        )


def _signature(args: Any, kwargs: Any) -> tuple[_Signature, _Signature]:
    """What compiled programs are told apart by: the arrays of a call, and the rest."""
    arrays, static = [], []
    leaves, _ = jax.tree_util.tree_flatten_with_path((args, kwargs))
    for path, leaf in leaves:
        name = _name(path)
        if hasattr(leaf, 'shape') and hasattr(leaf, 'dtype'):
            arrays.append((name, f'{leaf.dtype}{list(leaf.shape)}'))
        else:
            static.append((name, repr(leaf)))
    return tuple(arrays), tuple(static)


def _name(path: Any) -> str:
    """What messages call an argument."""
    group, *rest = path
    text = jax.tree_util.keystr(tuple(rest))
    return f'argument {text}' if group.idx == 0 else f'keyword {text}'


def _options(module: Any) -> Iterator[tuple[str, str]]:
    """The options of a module, as text; functions by their names."""
    for field in dataclasses.fields(module):
        if field.name not in ('parent', 'name'):
            value = getattr(module, field.name, None)
            yield field.name, getattr(value, '__qualname__', None) or repr(value)


def _change(signatures: list[_Signature]) -> tuple[str, str]:
    """The entry that took the most values, and the last few of them."""
    values: dict[str, list[str]] = {}
    for signature in signatures:
        for name, value in signature:
            seen = values.setdefault(name, [])
            if value not in seen:
                seen.append(value)
    name = max(values, key=lambda key: len(values[key]), default='an argument')
    return name, ', '.join(['...', *values.get(name, [])[-3:]])

"""The rule about errors that end a program far from their cause: it looks for it in the frames."""

from __future__ import annotations

import linecache
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from linnet import sharp_bits
from linnet.checks.calls import Call
from linnet.checks.report import Line, Report
from linnet.checks.rules import Rule
from linnet.errors.program_findings import DonatedArrayFinding, ReturnedPairFinding

_DELETED = 'has been deleted'  # of JAX's error, which names shape and dtype alone


class Failures(Rule):
    """A donated array that is read, and the pair that ``apply`` returns used as an array."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._returned_pairs = False

    def begin(self, call: Call) -> None:
        """Notes whether ``apply`` returns pairs in this program."""
        self._returned_pairs |= not call.initializing and call.root.mutable is not False

    def failed(self, error: BaseException) -> None:
        """Looks for the cause, by the names that the program has for its values."""
        said = str(error)
        for line, frame in _frames(error.__traceback__):
            if isinstance(error, RuntimeError) and _DELETED in said:
                found = self._donated(said, line, frame)
            elif isinstance(error, TypeError | AttributeError) and 'tuple' in said:
                found = self._returned_pairs and self._pair(line, frame)
            else:
                return
            if found:
                return

    def _donated(self, said: str, line: Line, frame: types.FrameType) -> bool:
        text = linecache.getline(*line)
        # Of several names the one in the line, then one of an array such as JAX speaks of.
        gone = sorted(_deleted(frame), key=lambda one: (one[0] not in text, one[1] not in said))
        if gone:
            name = gone[0][0]
            self.found(
                DonatedArrayFinding,
                f'{name} was read after a step that it was donated to',
                why='donate_argnums lets the step reuse the memory of its arguments',
                mend=f'{re.split(r"[.[]", name)[0]} = step(...)    # go on with what it returns',
                where=name,
                line=line,
            )
        return bool(gone)

    def _pair(self, line: Line, frame: types.FrameType) -> bool:
        names = set(re.findall(r'\w+', linecache.getline(*line)))
        for name in names.intersection(frame.f_locals):
            value = frame.f_locals[name]
            if type(value) is tuple and len(value) == 2 and isinstance(value[1], Mapping):
                self.found(
                    ReturnedPairFinding,
                    f'{name} is the tuple (output, variables) that apply returned, and is used as '
                    'the output',
                    why='with mutable= given, even empty, apply returns both',
                    mend=f'{name}, updates = model.apply(..., mutable=[...])',
                    where=name,
                    line=line,
                )
                return True
        return False


def _frames(trace: types.TracebackType | None) -> Iterator[tuple[Line, types.FrameType]]:
    """The frames of the user's program, the innermost first."""
    frames = []
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if not sharp_bits.is_inner(filename):
            frames.append(((filename, trace.tb_lineno), trace.tb_frame))
        trace = trace.tb_next
    return reversed(frames)


def _deleted(frame: types.FrameType) -> Iterator[tuple[str, str]]:
    """The arrays that a frame's names hold and that are gone; each with its dtype and shape."""
    for name, value in list(frame.f_locals.items()):
        try:
            leaves: list[Any] = jax.tree_util.tree_leaves_with_path(value)
        except Exception:  # of a class of the user's, which cannot be flattened
            continue
        for path, leaf in leaves:
            is_array = isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer)
            if is_array and leaf.is_deleted():
                yield f'{name}{jax.tree_util.keystr(path)}', leaf.aval.str_short()

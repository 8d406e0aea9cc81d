"""The rule about arrays that are gone: a step was given their memory, and somebody reads them."""

from __future__ import annotations

import linecache
import types
from collections.abc import Iterator
from typing import Any

import jax

from linnet import sharp_bits
from linnet.checks.report import Line
from linnet.checks.rules import Rule
from linnet.errors.program_findings import DonatedArrayFinding

_SAID = 'has been deleted'  # of JAX's error, which names shape and dtype alone


class Donation(Rule):
    """An array that was donated is read, which ends the program."""

    def failed(self, error: BaseException) -> None:
        """Looks for the array, by the names that the program has for it."""
        if not isinstance(error, RuntimeError) or _SAID not in str(error):
            return
        for line, frame in _frames(error.__traceback__):
            text = linecache.getline(*line)
            # Of several names the one in the line, then one of an array such as JAX speaks of.
            gone = sorted(
                _deleted(frame), key=lambda one: (one[0] not in text, one[1] not in str(error))
            )
            if gone:
                name, _ = gone[0]
                self.found(
                    DonatedArrayFinding,
                    f'{name} was read after a step that it was donated to',
                    why='donate_argnums lets the step reuse the memory of its arguments',
                    mend=f'{name.partition(".")[0].partition("[")[0]} = step(...)    '
                    '# go on with what the step returns',
                    where=name,
                    line=line,
                )
                return


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

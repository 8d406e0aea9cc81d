"""Rules about numbers: what modules return, and what they are called on.

Of each output one number travels to the host, its largest magnitude, which is NaN or infinite if
any is. Modules end in the order of the computation, so the first of them is the one to look at.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from linnet.checks.calls import Arrival, Call, Outside
from linnet.checks.report import Line, Report
from linnet.checks.rules import Rule
from linnet.checks.values import (
    arrays_in,
    as_floats,
    as_integers,
    is_half,
    is_inexact,
    largest,
    share_too_small,
)
from linnet.errors.program_findings import (
    AdditiveMaskFinding,
    IdRangeFinding,
    MaskedRowFinding,
    NonfiniteOutputFinding,
    OverflowFinding,
    UnderflowFinding,
    UpcastFinding,
)
from linnet.linen._embed import Embed

_MUCH = 0.5  # share of an output
_OUTPUTS = 4  # of one module, at most so many are looked at


class Numbers(Rule):
    """Outputs that are not finite, or too small; layers that widen their input; ids and masks."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._broken: dict[str, str] = {}

    def enter(self, call: Call, module: Any, method: str, args: Any, kwargs: Any) -> None:
        """Looks at what a module is called on."""
        given = [x for x in arrays_in((args, kwargs)) if is_inexact(x)]
        half = bool(given) and all(is_half(x.dtype) for x in given)
        call.notes.setdefault('half', {})[id(module)] = half
        if call.initializing:
            return
        if given and 'looked' not in call.notes:
            call.ask(jnp.stack([largest(x) for x in given[:_OUTPUTS]]), self._inputs_arrived)
        call.notes['looked'] = True
        if isinstance(module, Embed) and method == '__call__' and args:
            self._look_at_ids(call, module, args[0])

    def _look_at_ids(self, call: Call, module: Any, ids: Any) -> None:
        if not hasattr(ids, 'size') or not ids.size or module.num_embeddings == 1:
            return
        where, size = module.scope.path_text, module.num_embeddings
        line = call.lines[where]

        def receive(words: np.ndarray, arrival: Arrival) -> None:
            bounds = as_integers(words)
            low, high = int(bounds[:, 0].min()), int(bounds[:, 1].max())
            if low < 0 or high >= size:
                worst = high if high >= size else low
                self.found(
                    IdRangeFinding,
                    f'{where} (Embed) looked up id {worst}, out of range: num_embeddings={size}',
                    why='an id past the end gives NaN, a negative one counts from the end',
                    mend=f'nn.Embed(num_embeddings={max(high + 1, size)}, ...), or mend the ids',
                    where=f'{where} (Embed)',
                    line=line,
                    other_lines=(call.line,),
                )

        call.ask(jnp.stack([ids.min(), ids.max()]).astype(jnp.int32), receive)

    def exit(self, call: Call, module: Any, method: str, output: Any) -> None:
        """Looks at what a module returns."""
        outputs = [x for x in arrays_in(output)[:_OUTPUTS] if is_inexact(x)]
        self._look_at_dtype(call, module, outputs)
        if call.initializing:
            return
        seen = call.notes.setdefault('seen', {})
        new = [x for x in outputs if id(x) not in seen]
        seen.update((id(x), x) for x in new)  # held, so that the id stays its
        if not new:
            return
        facts = [largest(x) for x in new]
        half = [x for x in new if is_half(x.dtype)]
        facts += [share_too_small(x) for x in half]
        receive = self._receiver(call, module, len(new), half[0].dtype if half else None)
        call.ask(jnp.stack(facts), receive)

    def _look_at_dtype(self, call: Call, module: Any, outputs: list[Any]) -> None:
        half = call.notes.get('half', {}).get(id(module), False)
        widened = any(x.dtype == jnp.float32 for x in outputs)
        silent = getattr(module, 'dtype', '') is None and _is_ours(module)
        if not (half and widened and silent) or 'widened' in call.notes:
            return
        call.notes['widened'] = True
        where, name = module.scope.path_text, type(module).__name__
        self.found(
            UpcastFinding,
            f'{where} ({name}) has dtype=None and float32 parameters: half precision became '
            'float32, and so did all that follows',
            mend=f'nn.{name}(..., dtype=jnp.bfloat16)',
            where=f'{where} ({name})',
            line=call.lines[where],
            other_lines=(call.line,),
        )

    def _receiver(self, call: Call, module: Any, number: int, half: Any) -> Any:
        where, name = module.scope.path_text, type(module).__name__
        line, ours = call.lines.get(where, call.line), _is_ours(module)

        def receive(words: np.ndarray, arrival: Arrival) -> None:
            values = as_floats(words)
            size = float(np.max(values[:, :number]))
            if not math.isfinite(size) and (ours or math.isnan(size)):
                self._not_finite(arrival, where, name, line, size, half)
            small = values[:, number:]
            if small.size and float(np.min(small)) > _MUCH:
                self.found(
                    UnderflowFinding,
                    f'most of what {where} ({name}) returns is below the smallest normal {half}',
                    mend='compute it in float32 or bfloat16, or scale it up',
                    where=f'{where} ({name})',
                    line=line,
                    other_lines=(call.line,),
                )

        return receive

    def _inputs_arrived(self, words: np.ndarray, arrival: Arrival) -> None:
        size = float(np.max(as_floats(words)))
        if not math.isnan(size):
            return
        call = arrival.call
        arrival.broken = True
        self.found(
            NonfiniteOutputFinding,
            f'{call.name} was called on NaN',
            why='no module has made it: it is in the data, or was computed before',
            mend='jnp.isfinite(x).all() tells which batch',
            where=call.name,
            line=call.line,
        )

    def _not_finite(
        self, arrival: Arrival, where: str, name: str, line: Line, size: float, half: Any
    ) -> None:
        call = arrival.call
        first = self._broken.setdefault(call.name, where)
        if arrival.broken or first != where:
            return
        arrival.broken = True
        what = 'NaN' if math.isnan(size) else 'infinity'
        overflow = half is not None and what == 'infinity'
        self.found(
            OverflowFinding if overflow else NonfiniteOutputFinding,
            f'{where} ({name}) is the first module whose output holds {what}'
            + (f', in {half}' if half is not None else ''),
            mend='scale its input down, or use bfloat16' if overflow else 'look at its input and '
            'its parameters: a logarithm, a root, a division by zero, a learning rate too high',
            where=f'{where} ({name})',
            line=line,
            other_lines=(call.line,),
        )  # fmt: skip

    def attention(self, call: Call | Outside, bias: Any, mask: Any) -> None:
        """Looks at rows that forbid everything, and at masks that are biases."""
        where, line = call.place()
        if mask is not None and hasattr(mask, 'shape') and len(mask.shape) >= 2:
            self._look_at_mask(call, mask, where, line)
        elif is_inexact(bias) and bias.ndim >= 2:
            empty = jnp.isneginf(bias).all(-1).sum()

            def receive(words: np.ndarray, arrival: Arrival) -> None:
                self._empty_rows(int(words.sum()), 'bias', where, line)

            call.ask(empty.astype(jnp.uint32), receive)

    def _look_at_mask(self, call: Call | Outside, mask: Any, where: str, line: Line) -> None:
        additive = (mask < 0).any() if is_inexact(mask) else jnp.zeros((), bool)
        facts = jnp.stack([_empty_rows(mask != 0), additive]).astype(jnp.uint32)

        def receive(words: np.ndarray, arrival: Arrival) -> None:
            rows, negative = words.sum(axis=0)
            if negative:
                self.found(
                    AdditiveMaskFinding,
                    'the mask of attention holds negative numbers: nonzero means "attend", so '
                    'it is read the wrong way round',
                    mend='pass an additive mask as bias=, or a boolean one as mask=',
                    where=where,
                    line=line,
                )
            else:
                self._empty_rows(int(rows), 'mask', where, line)

        call.ask(facts, receive)

    def _empty_rows(self, number: int, kind: str, where: str, line: Line) -> None:
        if not number:
            return
        self.found(
            MaskedRowFinding,
            f'{number} row{"s" if number > 1 else ""} of the attention {kind} forbid every key'
            + (' with -inf: NaN, also in every gradient' if kind == 'bias' else ''),
            mend='jnp.finfo(dtype).min in place of -inf, and no query without a key',
            where=where,
            line=line,
        )


def _empty_rows(allowed: Any) -> Any:
    """How many queries may attend to nothing, though they are no padding.

    A token that no query attends to is padding, and its own row does not matter. Where queries and
    keys are not the same tokens, only a mask that forbids everything is certainly wrong.
    """
    rows = ~allowed.any(-1)  # [..., queries]
    if allowed.shape[-2] == allowed.shape[-1]:
        return (rows & allowed.any(-2)).sum()
    return jnp.where(rows.all(), rows.size, 0)


def _is_ours(module: Any) -> bool:
    return type(module).__module__.startswith('linnet.linen.')

"""Rules about gradients, found by themselves: cotangents of parameters are watched as they arrive.

The parameters of each call pass through an identity that sees their cotangents when the program
is differentiated, under ``jit``, ``vmap`` and ``scan`` too. :func:`gradients` judges a tree of
gradients that a program has already.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linnet.checks import effects
from linnet.checks.calls import Arrival, Call, Path, Record, is_concrete, leaf_arrays
from linnet.checks.report import Line, Report
from linnet.checks.rules import Rule
from linnet.checks.values import as_floats, as_words, is_half, is_inexact, largest, share_too_small
from linnet.errors.findings import (
    Finding,
    NonfiniteGradientFinding,
    UnusedParameterFinding,
    ZeroGradientFinding,
)
from linnet.errors.program_findings import (
    UnderflowFinding,
)

_ENOUGH = 3  # steps in which a gradient is zero: layers that begin with zeros let none through
_SHOWN = 3
_MUCH = 0.5  # share of a gradient


@dataclasses.dataclass
class _Leaf:
    """What is known of one parameter's gradient."""

    line: Line
    steps: int = 0
    nonzero: bool = False


class Gradients(Rule):
    """Gradients that are zero, not finite, too small, or that nothing ever sends."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._leaves: dict[str, dict[Path, _Leaf]] = {}

    def begin(self, call: Call) -> None:
        """Lets the parameters pass through the identity that sees their cotangents."""
        root, params = call.root, call.root._parts.get('params')
        if call.initializing or not params or root.is_mutable_collection('params'):
            return
        if is_concrete(params):
            return
        entries = [(path, leaf) for path, leaf in leaf_arrays(params) if is_inexact(leaf)]
        paths = [path for path, _ in entries]

        def arrived(cotangents: Sequence[Any], places: Sequence[int]) -> None:
            self._differentiated(call, [paths[i] for i in places], cotangents)

        tapped = iter(effects.tap([leaf for _, leaf in entries], arrived))
        root._parts['params'] = _replaced(params, tapped)

    def _differentiated(self, call: Call, paths: list[Path], cotangents: Sequence[Any]) -> None:
        """A gradient is traced: watches the cotangents that there are."""
        call.differentiated = True
        leaves = self._leaves.setdefault(call.name, {})
        for path in paths:
            leaves.setdefault(path, _Leaf(call.line))
        sent = [(p, c) for p, c in zip(paths, cotangents, strict=True) if is_inexact(c)]
        if not sent:
            return
        facts = jnp.stack([jnp.stack(_facts(c)) for _, c in sent]).ravel()
        names = [path for path, _ in sent]
        dtypes = [c.dtype for _, c in sent]

        def receive(words: np.ndarray, arrival: Arrival) -> None:
            values = as_floats(words).reshape(len(words), len(names), 2)
            self._arrived(call, names, dtypes, values)

        words = as_words(facts)
        effects.watch([words], Record(call, [(0, words.shape[0], receive)], []))

    def _arrived(self, call: Call, paths: list[Path], dtypes: list[Any], values: Any) -> None:
        """The cotangents of one step: of each, the largest magnitude and the share too small."""
        size, small = np.max(values[..., 0], axis=0), np.min(values[..., 1], axis=0)
        leaves = self._leaves[call.name]
        for path, value in zip(paths, size, strict=True):
            leaves[path].steps += 1
            leaves[path].nonzero |= bool(value != 0)
        bad = [path for path, value in zip(paths, size, strict=True) if not np.isfinite(value)]
        if bad:
            nan = any(np.isnan(v) for v in size)
            self._report(
                NonfiniteGradientFinding, call.name, call.line, bad,
                f'{"NaN" if nan else "infinity"} in the gradient of {_listed(bad)} '
                f'({len(bad)} of {len(paths)})',
                mend='look for the first output that is not finite, and at what where() hides',
            )  # fmt: skip
        tiny = [p for p, share in zip(paths, small, strict=True) if share > _MUCH]
        if tiny:
            dtype = dtypes[paths.index(tiny[0])]
            self._report(
                UnderflowFinding, call.name, call.line, tiny,
                f'most of the gradient of {_listed(tiny)} is below the smallest normal {dtype}',
                mend='scale the loss up and the gradient down, or use bfloat16',
            )  # fmt: skip

    def finish(self) -> None:
        """Names the parameters that never got a gradient, and those that got zeros alone."""
        for name, leaves in self._leaves.items():
            idle = {path: leaf for path, leaf in leaves.items() if not leaf.nonzero}
            unsent = [path for path, leaf in idle.items() if not leaf.steps]
            zeros = [path for path, leaf in idle.items() if leaf.steps >= _ENOUGH]
            if unsent:
                self._report(
                    UnusedParameterFinding, name, idle[unsent[0]].line, unsent,
                    f'no gradient reaches {_listed(unsent)}: the loss does not depend on it',
                    mend='use what the module computes, or leave it out of what is trained',
                )  # fmt: skip
            if zeros:
                steps = min(idle[path].steps for path in zeros)
                self._report(
                    ZeroGradientFinding, name, idle[zeros[0]].line, zeros,
                    f'the gradient of {_listed(zeros)} was exactly zero in all {steps} steps',
                    mend='look for units that never fire, stop_gradient, or rounding after it',
                )  # fmt: skip

    def _report(
        self, kind: type[Finding], name: str, line: Line, paths: list[Path], what: str, mend: str
    ) -> None:  # fmt: skip
        where = '/' + '/'.join(paths[0][:-1])
        self.found(kind, what, mend=mend, where=f'{where} in {name}', line=line)


def _facts(cotangent: Any) -> list[jax.Array]:
    share = share_too_small(cotangent) if is_half(cotangent.dtype) else jnp.zeros(())
    return [largest(cotangent), share]


def _replaced(tree: Any, values: Iterator[Any]) -> Any:
    """The same tree with other inexact arrays, dicts in their order."""
    if isinstance(tree, Mapping):
        return type(tree)({name: _replaced(part, values) for name, part in tree.items()})  # type: ignore[call-arg]
    return jax.tree_util.tree_map(lambda x: next(values) if is_inexact(x) else x, tree)


def _listed(paths: Sequence[Path]) -> str:
    names = ['/'.join(path) for path in paths[:_SHOWN]]
    more = len(paths) - _SHOWN
    return ', '.join(names) + (f' and {more} more' if more > 0 else '')


def gradients(grads: Any) -> dict[str, str]:
    """What is wrong in a tree of gradients: for each path, ``'zero'`` or ``'not finite'``.

    Args:
        grads: nested dicts of concrete arrays.

    >>> gradients({'dense': {'kernel': np.ones(2), 'bias': np.zeros(2)}})
    {'dense/bias': 'zero'}
    """
    found = {}
    for path, leaf in leaf_arrays(grads):
        size = float(largest(jnp.asarray(leaf))) if is_inexact(leaf) else 1.0
        if size == 0 or not np.isfinite(size):
            found['/'.join(path)] = 'zero' if size == 0 else 'not finite'
    return found

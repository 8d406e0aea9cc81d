"""The watcher: it follows a program, and tells its rules what happens.

It takes part in three ways, none of which is there when nothing is watched: as an observer of the
methods of modules, as the maker of root scopes, and in the context by which JAX tells compiled
programs apart, so that a program traced while it was watched is never run when it is not, nor the
other way round.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections.abc import Iterator
from typing import Any

import jax

from linnet import sharp_bits
from linnet.checks.calls import Call, Draw, Outside, WatchedScope
from linnet.checks.compilation import Compilation
from linnet.checks.failures import Failures
from linnet.checks.gradients import Gradients
from linnet.checks.numbers import Numbers
from linnet.checks.randomness import Randomness
from linnet.checks.report import Line, Report
from linnet.checks.rules import Rule
from linnet.checks.state import State
from linnet.checks.transforms import Transforms
from linnet.core.watching import watching
from linnet.errors._base import SharpBitWarning
from linnet.errors.sharp_bits import ManyShapesWarning
from linnet.linen.module.context import context

_in_programs = jax.make_user_context(None)
_numbers = itertools.count(1)

RULES: tuple[type[Rule], ...] = (
    Randomness,
    State,
    Gradients,
    Numbers,
    Transforms,
    Failures,
    Compilation,
)


class Watcher:
    """Follows a program in this thread, from :meth:`start` to :meth:`stop`.

    Args:
        warn: whether findings are given as warnings when they are made.
    """

    follows_apply = True

    def __init__(self, warn: bool = False) -> None:
        self.report = Report(warn)
        self._rules = [rule(self.report) for rule in RULES]
        self._lock = threading.RLock()
        self._active = False
        self._around = contextlib.ExitStack()

    def start(self) -> None:
        """Begins to watch."""
        before = watching.make_root, watching.on_attention, context.observers
        self._around.callback(self._restore, *before)
        self._around.enter_context(_in_programs(next(_numbers)))
        watching.make_root, watching.on_attention = self._make_root, self._on_attention
        context.observers = [*context.observers, self]
        sharp_bits.listeners.append(self._said)
        self._around.callback(sharp_bits.listeners.remove, self._said)
        self._active = True

    def _said(self, warning: SharpBitWarning, line: Line) -> None:
        """Takes into the report what is said at once, while a program is traced."""
        if warning.code != ManyShapesWarning.code:  # a rule tells the same, and more
            self.report.add(warning, line, warned=True)

    @staticmethod
    def _restore(make_root: Any, on_attention: Any, observers: Any) -> None:
        watching.make_root, watching.on_attention = make_root, on_attention
        context.observers = observers

    def stop(self, error: BaseException | None = None) -> None:
        """Ends watching, when all that runs has ended, and judges the whole.

        Args:
            error: what ended the program, if an error did.
        """
        jax.effects_barrier()
        self._around.close()
        with self._lock:
            self._active = False
            for rule in self._rules:
                if error is not None:
                    rule.failed(error)
                rule.finish()

    @contextlib.contextmanager
    def receiving(self) -> Iterator[bool]:
        """Values come in, from any thread; gives whether anybody waits for them."""
        with self._lock:
            yield self._active

    def _make_root(self, *args: Any, **kwargs: Any) -> WatchedScope:
        root = WatchedScope(*args, **kwargs)
        root.call = call = Call(self, root)
        for rule in self._rules:
            rule.begin(call)
        return root

    def _on_attention(self, bias: Any, mask: Any) -> None:
        module = context.module_stack[-1]
        call = self._call_of(module) or Outside(self)
        for rule in self._rules:
            rule.attention(call, bias, mask)

    def _call_of(self, module: Any) -> Call | None:
        scope = getattr(module, 'scope', None)
        if isinstance(scope, WatchedScope) and scope.call.watcher is self:
            return scope.call if scope.call.root is not None else None
        return None

    def enter(self, module: Any, method: str, args: Any, kwargs: Any) -> None:
        """A method of a module begins."""
        call = self._call_of(module)
        if call is not None:
            call.enter(module)
            for rule in self._rules:
                rule.enter(call, module, method, args, kwargs)

    def exit(self, module: Any, method: str, output: Any) -> None:
        """A method of a module ended."""
        call = self._call_of(module)
        if call is not None:
            for rule in self._rules:
                rule.exit(call, module, method, output)
            call.exit(module)

    def draw(self, call: Call, draw: Draw) -> None:
        """A key was drawn."""
        for rule in self._rules:
            rule.draw(call, draw)

    def made(self, call: Call, path: tuple[str, ...], value: Any) -> None:
        """A parameter was made."""
        for rule in self._rules:
            rule.made(call, path, value)

    def end(self, call: Call) -> None:
        """A call ends."""
        for rule in self._rules:
            rule.end(call)

    def key_not_mapped(self, call: Call, stream: str) -> None:
        """A key is the same for all slices of a mapped call."""
        for rule in self._rules:
            if isinstance(rule, Randomness):
                rule.key_not_mapped(call, stream)


@contextlib.contextmanager
def sanitize(*, warn: bool = False, show: bool = True) -> Iterator[Report]:
    """Watches the program in the ``with`` block, and reports what probably means something else.

    Args:
        warn: whether a finding is also given as a warning, at the moment that it is made.
        show: whether what was found is printed when the block ends.

    >>> import jax, jax.numpy as jnp
    >>> import linnet
    >>> import linnet.linen as nn
    >>> net, key = nn.Dropout(0.5, deterministic=False), jax.random.key(0)
    >>> with linnet.sanitize(show=False) as report:
    ...     for x in (jnp.ones(4), jnp.zeros(4)):
    ...         y = net.apply({}, x, rngs={'dropout': key})
    >>> [found.code for found in report.findings]
    ['LN811']
    """
    watcher = Watcher(warn)
    watcher.start()
    error: BaseException | None = None
    try:
        yield watcher.report
    except BaseException as raised:
        error = raised
        raise
    finally:
        watcher.stop(error)
        if show and watcher.report:
            print(watcher.report.table(), file=sys.stderr, end='')

"""Counts the cases that the tests run of each layer, and writes them down as a page.

A plugin of pytest, which does nothing without ``--layer-table=PAGE``. A *case* is one passing run
of a test's body: a test, one choice of its parameters, or one example that hypothesis drew. It
counts at most once for a layer and a *kind*: ``forward``, the layer returned; ``gradient``, what it
returned was being differentiated; ``dtypes``, it returned, and an input, its ``dtype`` or its
``param_dtype`` was another than float32; ``bad input``, it raised one of our errors.
Nothing is declared by the tests: an observer of module calls sees what runs, wherever in a model.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import numpy as np
import pytest

import linnet.linen as nn
from linnet.errors import LinnetError
from linnet.linen.module.context import context

KINDS = ('forward', 'gradient', 'dtypes', 'bad input')
FUNCTIONS = ('avg_pool', 'max_pool', 'min_pool', 'pool')
BASES = {nn.Module, nn.RNNCellBase}
CLASSES = {
    cls
    for cls in (getattr(nn, name) for name in nn.__all__)
    if isinstance(cls, type) and (issubclass(cls, nn.Module) or cls is nn.BatchApply)
} - BASES
LAYERS = sorted([*FUNCTIONS, *(cls.__name__ for cls in CLASSES)], key=str.lower)

HOME = Path(nn.__file__).parent  # of layers; the module system is further down
OTHER_DTYPES = {'bfloat16', 'float16', 'complex64'}
DOUBLE = {'float64', 'complex128'}  # which are float32 and complex64 unless switched on
TANGENTS = {'JVPTracer', 'LinearizeTracer'}

HEAD = f"""\
# What the tests run of each layer

`make layer-table` ran `tests/linen` and `tests/parity` and wrote this page; nothing in it is
written by hand. A case is one test, one choice of its parameters, or one example that hypothesis
drew, and counts for every layer that ran in it, alone or inside of a model. *Gradient*: it was
differentiated, by its parameters or by its input. *Dtypes*: an input, `dtype` or `param_dtype` was
another floating or complex dtype than float32. *Bad input*: it refused what it was given, with one
of our errors. Under `tests/parity` the oracle ran the same case, and every bit is the same.

| layer | {' | '.join(KINDS)} |
| --- |{' ---: |' * len(KINDS)}
"""


class Counter:
    """Sees every call of a module's method, and every error of ours."""

    follows_apply = True

    def __init__(self) -> None:
        self.totals: collections.Counter[tuple[str, str]] = collections.Counter()
        self.seen: set[tuple[str, str]] = set()
        self.other: dict[int, bool] = {}

    @contextlib.contextmanager
    def case(self) -> Iterator[None]:
        """Counts what runs in the ``with`` block, unless it fails."""
        self.seen = set()
        context.observers.append(self)
        try:
            yield
        finally:
            context.observers.remove(self)
        self.totals.update(self.seen)

    def each(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """A function each of whose calls is a case."""

        @functools.wraps(body)
        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.case():
                return body(*args, **kwargs)

        return counted

    def enter(self, layer: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remembers whether a call has another dtype, until the method at this depth returns."""
        self.other[len(context.module_stack)] = has_other_dtype(layer, (args, kwargs))

    def exit(self, layer: Any, method: str, output: Any) -> None:
        """Notes that a module returned."""
        self.returned(layer, output, self.other[len(context.module_stack)])

    def returned(self, layer: Any, output: Any, other: bool) -> None:
        self.note(layer, 'forward')
        if other:
            self.note(layer, 'dtypes')
        if any(type(x).__name__ in TANGENTS for x in arrays(output)):
            self.note(layer, 'gradient')

    def note(self, layer: Any, kind: str) -> None:
        if name := name_of(layer):
            self.seen.add((name, kind))

    def refused(self, frame: FrameType | None) -> None:
        """Notes the layers whose code an error leaves, up to a module that is none of ours."""
        while frame is not None:
            layer, code = frame.f_locals.get('self'), frame.f_code
            if isinstance(layer, nn.Module) and not type(layer).__module__.startswith('linnet.'):
                return
            if Path(code.co_filename).parent == HOME:
                self.note(code.co_name if code.co_name in FUNCTIONS else layer, 'bad input')
            frame = frame.f_back

    def watch(self) -> None:
        """Watches what no observer sees: errors, and the layers that are no modules."""
        make_error = LinnetError.__init__

        @functools.wraps(make_error)
        def raised(error: LinnetError, *args: Any, **kwargs: Any) -> None:
            self.refused(sys._getframe(1))
            make_error(error, *args, **kwargs)

        LinnetError.__init__ = raised  # type: ignore[method-assign]
        nn.BatchApply.__call__ = self.watched(nn.BatchApply.__call__)  # type: ignore[method-assign]
        for name in FUNCTIONS:
            function = self.watched(getattr(nn.pooling, name), name)
            for module in (nn, nn.pooling):
                if hasattr(module, name):
                    setattr(module, name, function)

    def watched(self, function: Callable[..., Any], name: str = '') -> Callable[..., Any]:
        """A function that is seen as if it were a method of its first argument, or of ``name``."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            layer = name or args[0]
            output = function(*args, **kwargs)
            self.returned(layer, output, has_other_dtype(layer, (args, kwargs)))
            return output

        return call


def name_of(layer: Any) -> str:
    """The name in the table of a layer, or of the layer that its class is derived from."""
    if isinstance(layer, str):
        return layer
    return next((cls.__name__ for cls in type(layer).__mro__ if cls in CLASSES), '')


def has_other_dtype(layer: Any, given: Any) -> bool:
    """Whether an input or an option is of a floating or complex dtype other than float32."""
    dtypes = [getattr(layer, field, None) for field in ('dtype', 'param_dtype')]
    dtypes += [x.dtype for x in arrays(given)]
    names = {str(getattr(dtype, 'name', getattr(dtype, '__name__', dtype))) for dtype in dtypes}
    return bool(names & (OTHER_DTYPES | (DOUBLE if jax.config.jax_enable_x64 else set())))


def arrays(tree: Any) -> Iterator[Any]:
    """The arrays in nested containers, which a test may have made to be no proper tree."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        for part in tree:
            yield from arrays(part)
    elif isinstance(tree, jax.Array | np.ndarray):
        yield tree


class LayerTable:
    """The plugin: counts in each process, adds up in the first, and writes the page there."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.counter = Counter()
        self.counter.watch()

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Iterator[Any]:
        drawn = getattr(pyfuncitem.obj, 'hypothesis', None)
        if drawn is None:
            with self.counter.case():
                return (yield)
        body = drawn.inner_test
        drawn.inner_test = self.counter.each(body)
        try:
            return (yield)
        finally:
            drawn.inner_test = body

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if hasattr(self.config, 'workeroutput'):
            counts = [(*key, number) for key, number in self.counter.totals.items()]
            self.config.workeroutput['layer_table'] = counts
        elif exitstatus == pytest.ExitCode.OK:
            Path(self.config.getoption('layer_table')).write_text(page(self.counter.totals))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        for layer, kind, number in getattr(node, 'workeroutput', {}).get('layer_table', ()):
            self.counter.totals[layer, kind] += number


def page(totals: dict[tuple[str, str], int]) -> str:
    """The page, in Markdown."""
    rows = [[f'`{name}`', *(str(totals.get((name, k), 0)) for k in KINDS)] for name in LAYERS]
    return HEAD + ''.join(f'| {" | ".join(row)} |\n' for row in rows)


def read(text: str) -> dict[str, dict[str, int]]:
    """The counts on a page, by layer and kind."""
    rows = [line.strip('| \n').split(' | ') for line in text.splitlines() if line.startswith('| `')]
    return {
        name.strip('`'): dict(zip(KINDS, map(int, counts), strict=True)) for name, *counts in rows
    }


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--layer-table', metavar='PAGE', help='count the cases of each layer and write them to PAGE'
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption('layer_table'):
        config.pluginmanager.register(LayerTable(config), 'layer-table')

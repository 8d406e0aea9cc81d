"""Runs one program under two libraries and compares what comes out, bit for bit.

Words: the *oracle* is flax, the other library is the one under test; ``LINNET_PARITY`` names the
pair (``flax,linnet`` unless set; ``flax,flax`` tests the tests). A *builder* ``build(nn)`` makes a
module out of the ``linen`` module of either library, a *program* ``program(lib)`` does anything
at all with a :class:`Library` and returns a tree of results. An *outcome* is what a program
returned or the class of the error that it raised.

    compare(lambda nn: nn.Dense(3), (np.ones((2, 4)),))       # a model, in every mode
    same(lambda lib: lib.nn.Dense(3) == lib.nn.Dense(3))      # any program
    same_error(lambda lib: lib.nn.Dense(3)(np.ones(4)))       # both must raise, errors alike
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip('flax', reason='the parity tests need flax, the oracle, which is not installed')

Tree = Any
Builder = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Library:
    """One of the two libraries, by the name of its top package."""

    name: str

    def load(self, path: str = '') -> ModuleType:
        """Imports a submodule, as ``lib.load('training.train_state')``."""
        return importlib.import_module(f'{self.name}.{path}' if path else self.name)

    @property
    def nn(self) -> Any:
        return self.load('linen')

    @property
    def core(self) -> Any:
        return self.load('core')

    @property
    def errors(self) -> Any:
        return self.load('errors')

    @property
    def struct(self) -> Any:
        return self.load('struct')

    @classmethod
    def of(cls, nn: Any) -> Library:
        """The library to which a module such as ``flax.linen`` belongs."""
        return cls(nn.__name__.split('.')[0])


ORACLE, OURS = (Library(name) for name in os.environ.get('LINNET_PARITY', 'flax,linnet').split(','))
PAIR = (ORACLE, OURS)


# What two trees have in common is decided by structure, never by class identity: each library has
# a FrozenDict and boxes of its own.


def assert_same_tree(a: Tree, b: Tree, what: str = '', *, ordered: bool = True) -> None:
    """Asserts that two trees agree in structure, dtypes, weak types, shapes and bits.

    Args:
        a: the oracle's tree.
        b: the other library's tree.
        what: said first in the message of a failure.
        ordered: whether dicts must hold their keys in the same order too.
    """
    _same(a, b, what or 'tree', ordered)


def _same(a: Any, b: Any, at: str, ordered: bool) -> None:
    assert kind_of(a) == kind_of(b), f'{at}: {kind_of(a)} became {kind_of(b)}: {a!r} -> {b!r}'
    if isinstance(a, Mapping):
        _same_mapping(a, b, at, ordered)
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), f'{at}: length {len(a)} became {len(b)}'
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            _same(x, y, f'{at}[{i}]', ordered)
    elif isinstance(a, jax.Array | np.ndarray | np.generic):
        _same_array(a, b, at)
    elif isinstance(a, jax.ShapeDtypeStruct):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), f'{at}: {a} became {b}'
    elif (parts := _parts(a)) is not None:
        _same(parts, _parts(b), f'{at}.<{kind_of(a)}>', ordered)
    else:
        _same_plain(a, b, at)


def kind_of(x: Any) -> str:
    """The name of a value's class; all concrete and traced arrays are of one kind."""
    if isinstance(x, jax.Array):
        return 'jax.Array'
    if type(x).__name__ == 'FrozenField':  # a frozen dict that is a dict too
        return 'FrozenDict'
    return 'function' if inspect.isroutine(x) else type(x).__name__


def _same_mapping(a: Mapping[Any, Any], b: Mapping[Any, Any], at: str, ordered: bool) -> None:
    ours, theirs = list(b), list(a)
    if not ordered:
        ours, theirs = sorted(ours, key=str), sorted(theirs, key=str)
    assert theirs == ours, f'{at}: keys {theirs} became {ours}'
    for key in a:
        _same(a[key], b[key], f'{at}/{key}', ordered)


def _parts(x: Any) -> Any:
    """The children and static data of a registered pytree node or dataclass, or None for a leaf."""
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return {field.name: getattr(x, field.name, None) for field in dataclasses.fields(x)}
    if jax.tree_util.all_leaves([x]) or x is None:
        return None
    children, static = jax.tree_util.default_registry.flatten_one_level(x)
    return list(children), repr_without_library(static)


def _same_plain(a: Any, b: Any, at: str) -> None:
    if a is b or (isinstance(a, float) and math.isnan(a) and math.isnan(b)):
        return
    if inspect.isroutine(a) or isinstance(a, type):
        assert a.__qualname__ == b.__qualname__, f'{at}: {a!r} became {b!r}'
        return
    try:
        equal = bool(a == b)
    except (TypeError, ValueError):
        equal = False
    assert equal or repr_without_library(a) == repr_without_library(b), f'{at}: {a!r} became {b!r}'


def repr_without_library(x: Any) -> str:
    """``repr``, with neither the name of either library nor addresses in memory."""
    text = re.sub(r' at 0x[0-9a-f]+', '', repr(x))
    return re.sub(r'\b(?:flax|linnet)\.(?:\w+\.)*', '', text)


def _same_array(a: Any, b: Any, at: str) -> None:
    assert a.dtype == b.dtype, f'{at}: dtype {a.dtype} became {b.dtype}'
    assert a.shape == b.shape, f'{at}: shape {a.shape} became {b.shape}'
    weak_a, weak_b = getattr(a, 'weak_type', False), getattr(b, 'weak_type', False)
    assert weak_a == weak_b, f'{at}: weak_type {weak_a} became {weak_b}'
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        assert jax.random.key_impl(a) == jax.random.key_impl(b), f'{at}: another kind of key'
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    bits_a, bits_b = bits(a), bits(b)
    if not np.array_equal(bits_a, bits_b):
        raise AssertionError(f'{at}: {_difference(np.asarray(a), np.asarray(b), bits_a, bits_b)}')


def bits(x: Any) -> np.ndarray:
    """The bits of an array as unsigned integers, with every NaN the same."""
    x = np.asarray(x)
    if x.dtype == jax.dtypes.float0:
        return np.zeros(x.shape, bool)
    if x.dtype.kind == 'c':
        return np.stack([bits(x.real), bits(x.imag)])
    if jnp.issubdtype(x.dtype, np.floating):
        unsigned = np.ascontiguousarray(x).view(f'u{x.dtype.itemsize}')
        return np.where(np.isnan(x.astype(np.float32)), ~unsigned.dtype.type(0), unsigned)
    return x if x.dtype.kind in 'biuOSU' else x.astype(np.int64)


def _difference(a: np.ndarray, b: np.ndarray, bits_a: np.ndarray, bits_b: np.ndarray) -> str:
    wrong = np.argwhere(bits_a != bits_b)
    first = tuple(wrong[0])[-a.ndim :] if a.ndim else ()
    return (
        f'{len(wrong)} of {a.size} elements of {a.dtype}{list(a.shape)} differ, '
        f'the first at {tuple(map(int, first))}: {a[first]} became {b[first]}'
    )


# Programs.


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a program returned, or the error that it raised."""

    value: Any = None
    error: Exception | None = None

    @classmethod
    def of(cls, program: Callable[[Library], Any], lib: Library) -> Outcome:
        try:
            return cls(value=program(lib))
        except Exception as error:
            return cls(error=error)


def same(program: Callable[[Library], Any], what: str = '', *, ordered: bool = True) -> None:
    """Asserts that a program returns the same tree under both libraries."""
    assert_same_tree(program(ORACLE), program(OURS), what, ordered=ordered)


def same_as_some_run(program: Callable[[Library], Any], what: str = '', runs: int = 8) -> None:
    """Asserts that a program returns the same tree twice, and that of some run of the oracle.

    The keys that the oracle draws in functions lifted by ``jit`` or ``fold_rngs`` depend on where
    objects happen to lie in memory: one run in ten or so gives other keys than the rest.
    """
    ours = program(OURS)
    for _ in range(runs - 1):
        try:
            assert_same_tree(program(ORACLE), ours, what)
            break
        except AssertionError:
            assert_same_tree(ours, program(OURS), f'{what}, a second run')
    else:
        assert_same_tree(program(ORACLE), ours, what)


def same_outcome(program: Callable[[Library], Any], what: str = '') -> None:
    """Asserts that a program returns the same tree, or is refused alike, under both libraries."""
    theirs = Outcome.of(program, ORACLE)
    if theirs.error is None:
        assert_same_tree(theirs.value, program(OURS), what)
        return
    if not isinstance(theirs.error, ORACLE.errors.FlaxError):
        raise theirs.error
    same_error(program)


def same_error(program: Callable[[Library], Any]) -> Exception:
    """Asserts that a program fails under both libraries, ours with the same class or a subclass.

    Returns:
        The error that the library under test raised.
    """
    theirs, ours = (Outcome.of(program, lib) for lib in PAIR)
    assert theirs.error is not None, f'{ORACLE.name} returns {theirs.value!r}'
    assert ours.error is not None, (
        f'{OURS.name} returns {ours.value!r}; {ORACLE.name} raises {theirs.error!r}'
    )
    names = [cls.__name__ for cls in type(ours.error).__mro__]
    assert type(theirs.error).__name__ in names, f'{theirs.error!r} became {ours.error!r}'
    return ours.error


# Models, in every mode.


@dataclasses.dataclass(frozen=True)
class Case:
    """A model with all that running it takes.

    Attributes:
        build: makes the module out of ``nn``.
        args: positional arguments of the method; arrays, or anything static.
        kwargs: its keyword arguments; these stay static under ``jit``.
        streams: names of the streams that both ``init`` and ``apply`` are given.
        init: keyword arguments of ``init`` alone, as ``method`` or ``mutable``.
        apply: keyword arguments of ``apply`` alone.
        mutable: what the second ``apply`` of a mode may change.
        modes: names out of :data:`MODES`.
    """

    build: Builder
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    streams: Sequence[str] = ()
    init: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    apply: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    mutable: Any = True
    modes: Sequence[str] = (
        'eager_typed',
        'eager_raw',
        'jit_typed',
        'jit_raw',
        'grad',
        'vmap',
        'scan',
    )


def make_rngs(
    streams: Sequence[str], new_key: Callable[[int], Any] = jax.random.key
) -> dict[str, Any]:
    """One key for each stream: the seed is the stream's place in the list, from 1."""
    return {name: new_key(seed) for seed, name in enumerate(streams, 1)}


def _everything(case: Case, lib: Library, args: tuple[Any, ...], rngs: dict[str, Any]) -> Tree:
    """Runs init with its output, apply, and apply that may change variables."""
    module = case.build(lib.nn)
    streams = {name: key for name, key in rngs.items() if name != 'params'}
    y0, variables = module.init_with_output(rngs, *args, **case.kwargs, **case.init)
    keywords = {'rngs': streams, **case.kwargs, **case.apply}
    y1 = module.apply(variables, *args, **{'mutable': False, **keywords})
    changed = module.apply(variables, *args, **{**keywords, 'mutable': case.mutable})
    return {'init': (y0, variables), 'apply': y1, 'mutable': changed}


def _run_plain(case: Case, lib: Library, new_key: Callable[[int], Any], jit: bool) -> Tree:
    rngs = make_rngs(['params', *case.streams], new_key)
    run = functools.partial(_everything, case, lib)
    return _jit_arrays(run)(case.args, rngs) if jit else run(case.args, rngs)


def _jit_arrays(fn: Callable[..., Any]) -> Callable[..., Any]:
    """``jax.jit``, where leaves that are no arrays stay static, in the arguments and the result."""

    def jitted(*args: Any) -> Any:
        leaves, treedef = jax.tree_util.tree_flatten(args)
        dynamic = [x if _is_array(x) else None for x in leaves]
        static_out: list[Any] = []

        def inner(dynamic: list[Any]) -> Any:
            merged = [s if d is None else d for d, s in zip(dynamic, leaves, strict=True)]
            out, out_tree = jax.tree_util.tree_flatten(fn(*treedef.unflatten(merged)))
            static_out[:] = [out_tree, [None if _is_array(x) else x for x in out]]
            return [x if _is_array(x) else None for x in out]

        out = jax.jit(inner)(dynamic)
        out_tree, static = static_out
        return out_tree.unflatten([s if d is None else d for d, s in zip(out, static, strict=True)])

    return jitted


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array | np.ndarray | np.generic)


def _variables(case: Case, lib: Library) -> Tree:
    rngs = make_rngs(['params', *case.streams])
    return case.build(lib.nn).init(rngs, *case.args, **case.kwargs, **case.init)


def _loss(tree: Tree) -> jax.Array:
    """A number in which every inexact element of the tree counts with a weight of its own."""
    total = jnp.zeros(())
    for x in jax.tree_util.tree_leaves(tree):
        if _is_array(x) and jnp.issubdtype(x.dtype, jnp.floating):
            weights = np.linspace(0.5, 1.5, x.size, dtype=np.float32).reshape(x.shape)
            total = total + jnp.sum(x.astype(jnp.float32) * weights)
    return total


def _run_grad(case: Case, lib: Library) -> Tree:
    """The gradient with respect to the parameters."""
    variables = dict(_variables(case, lib))
    module, rngs = case.build(lib.nn), make_rngs(case.streams)
    params = variables.pop('params', {})
    keywords = {'rngs': rngs, **case.kwargs, **case.apply, 'mutable': case.mutable}

    def loss(params: Tree) -> jax.Array:
        return _loss(module.apply({**variables, 'params': params}, *case.args, **keywords)[0])

    return jax.jit(jax.value_and_grad(loss, allow_int=True))(params)


def _apply_one(case: Case, lib: Library) -> Callable[..., Tree]:
    variables, module = _variables(case, lib), case.build(lib.nn)
    keywords = {**case.kwargs, **case.apply, 'mutable': case.mutable}

    def apply_one(args: tuple[Any, ...], rngs: dict[str, Any]) -> Tree:
        out = module.apply(variables, *args, **{'rngs': rngs, **keywords})
        return jax.tree_util.tree_map(lambda x: x if _is_array(x) else None, out)

    return apply_one


def _stacked(case: Case) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Two examples of the arguments and of the keys, along a new first axis."""
    args = jax.tree_util.tree_map(lambda x: np.stack([x, np.flip(x)]), case.args)
    rngs = {name: jax.random.split(key) for name, key in make_rngs(case.streams).items()}
    return args, rngs


def _run_vmap(case: Case, lib: Library) -> Tree:
    args, rngs = _stacked(case)
    return jax.jit(jax.vmap(_apply_one(case, lib), axis_size=2))(args, rngs)


def _run_scan(case: Case, lib: Library) -> Tree:
    apply_one = _apply_one(case, lib)

    def body(carry: int, xs: Tree) -> tuple[int, Tree]:
        return carry + 1, apply_one(*xs)

    return jax.jit(lambda xs: jax.lax.scan(body, 0, xs, length=2))(_stacked(case))


MODES: dict[str, Callable[[Case, Library], Tree]] = {
    'eager_typed': lambda case, lib: _run_plain(case, lib, jax.random.key, jit=False),
    'eager_raw': lambda case, lib: _run_plain(case, lib, jax.random.PRNGKey, jit=False),
    'jit_typed': lambda case, lib: _run_plain(case, lib, jax.random.key, jit=True),
    'jit_raw': lambda case, lib: _run_plain(case, lib, jax.random.PRNGKey, jit=True),
    'grad': _run_grad,
    'vmap': _run_vmap,
    'scan': _run_scan,
}


def run_mode(case: Case, mode: str) -> None:
    """Asserts that a model gives the same under both libraries in one mode."""
    same(lambda lib: MODES[mode](case, lib), mode)


def compare(
    build: Builder,
    args: Sequence[Any] = (),
    rngs: Sequence[str] = (),
    modes: Sequence[str] | None = None,
    **more: Any,
) -> None:
    """Asserts that ``build(nn)`` gives the same under both libraries, in all modes or those named.

    Args:
        build: makes the module out of the ``linen`` module of a library.
        args: the arguments of its method.
        rngs: names of the streams it draws from besides ``params``.
        modes: names out of :data:`MODES`; all of them unless given.
        **more: other attributes of :class:`Case`.
    """
    case = Case(build, tuple(args), streams=tuple(rngs), **more)
    for mode in case.modes if modes is None else modes:
        run_mode(case, mode)

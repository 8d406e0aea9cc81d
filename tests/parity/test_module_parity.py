"""The classes themselves: signatures, fields, refusals, equality, copies, threads."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import re
import threading
from typing import Any

import jax
import numpy as np
import pytest

import linnet.linen.module
from tests.parity import mistakes, models
from tests.parity.harness import (
    MODES,
    ORACLE,
    OURS,
    Library,
    Outcome,
    assert_same_tree,
    repr_without_library,
    same,
    same_error,
)
from tests.parity.models import X

KEY = jax.random.key(0)


# Signatures and fields.


def _module_classes() -> list[str]:
    """The public module classes that the library under test has."""
    theirs = vars(ORACLE.nn)
    names = [
        n for n, c in theirs.items() if isinstance(c, type) and issubclass(c, ORACLE.nn.Module)
    ]
    return sorted(name for name in names if hasattr(OURS.nn, name) and not name.startswith('_'))


def _described(value: Any) -> Any:
    """A default value by what a reader of the signature sees."""
    if value is inspect.Parameter.empty or value is dataclasses.MISSING:
        return 'required'
    if value in (linnet.linen.module.tuple_init, linnet.linen.module.tuple_reduce):
        return '<lambda>'  # as the oracle calls its own
    if inspect.isroutine(value) or isinstance(value, type):
        return value.__name__
    if isinstance(value, str | int | float | bool | tuple | None):
        return value
    return re.sub(r'\W+', ' ', repr_without_library(value)).strip()


OWN_FIELDS = {'fast_mask', 'hoist_inputs', 'num_key_value_heads'}
"""Fields that only our classes have; they go by keyword."""


def _signature(function: Any) -> list[Any]:
    """Names, kinds and defaults; of ``parent`` only that it may be left out."""
    parameters = inspect.signature(function).parameters.values()
    return [
        (p.name, p.kind.name, p.name == 'parent' or _described(p.default))
        for p in parameters
        if p.name not in OWN_FIELDS
    ]


def _keywords_last(parameter: Any) -> tuple[bool, str]:
    """Sorts keyword-only parameters, whose order cannot be seen in a call, by name."""
    name, kind, _ = parameter
    return kind == 'KEYWORD_ONLY', name if kind == 'KEYWORD_ONLY' else ''


def _public_methods(cls: type) -> list[str]:
    names = [name for name, value in vars(cls).items() if inspect.isroutine(value)]
    return sorted(name for name in names if not name.startswith('_') or name == '__call__')


@pytest.mark.parametrize('name', [n for n in _module_classes() if n != 'Module'])
def test_signature_of_class(name: str) -> None:
    same(lambda lib: _signature(getattr(lib.nn, name)))


@pytest.mark.parametrize('name', _module_classes())
def test_signatures_of_methods(name: str) -> None:
    methods = _public_methods(getattr(ORACLE.nn, name))

    def program(lib: Library) -> Any:
        cls = getattr(lib.nn, name)
        return {method: _signature(getattr(cls, method)) for method in methods}

    same(program)


@pytest.mark.parametrize('name', [n for n in _module_classes() if n != 'Module'])
def test_fields_of_class(name: str) -> None:
    def program(lib: Library) -> Any:
        fields = [f for f in dataclasses.fields(getattr(lib.nn, name)) if f.name not in OWN_FIELDS]
        flags = [(f.name, f.init, f.repr, f.compare, f.hash, f.kw_only) for f in fields]
        factories = [f.default_factory is not dataclasses.MISSING for f in fields]
        defaults = [f.name == 'parent' or _described(f.default) for f in fields]
        return flags, defaults, factories

    same(program)


def test_fields_of_our_own_go_by_keyword() -> None:
    classes = [getattr(OURS.nn, name) for name in _module_classes() if name != 'Module']
    own = [f for cls in classes for f in dataclasses.fields(cls) if f.name in OWN_FIELDS]
    assert {f.name for f in own} == OWN_FIELDS
    assert all(f.kw_only for f in own)


@pytest.mark.parametrize('name', ['Module', 'Dense', 'BatchNorm', 'Sequential'])
def test_public_attributes(name: str) -> None:
    """What the oracle's class offers, ours offers too."""
    public = {a for a in dir(getattr(ORACLE.nn, name)) if not a.startswith('_')}
    assert public <= set(dir(getattr(OURS.nn, name)))


@pytest.mark.parametrize(
    'name',
    [
        'compact',
        'nowrap',
        'compact_name_scope',
        'intercept_methods',
        'share_scope',
        'merge_param',
        'apply',
        'init',
        'init_with_output',
        'override_named_call',
        'enable_named_call',
        'disable_named_call',
    ],
)
def test_signature_of_function(name: str) -> None:
    same(lambda lib: _signature(getattr(lib.nn, name)))


def test_signature_of_own_classes() -> None:
    def program(lib: Library) -> Any:
        class Base(lib.nn.Module):
            a: int
            b: Any = None

        class Child(Base, kw_only=True):
            c: int
            d: list[int] = dataclasses.field(default_factory=list)

        class Custom(lib.nn.Module):
            a: int = 1

            def __init__(self, a, *, extra=2):
                self.a = a

        signatures = [_signature(cls) for cls in (Base, Child, Custom)]
        return [sorted(s, key=_keywords_last) for s in signatures], Child.__match_args__

    same(program)


# Refusals.

mistakes.load_all()


@pytest.mark.parametrize('name', mistakes.MISTAKES)
def test_mistake(name: str) -> None:
    """Both libraries refuse, with the same class; an assertion of the oracle's own is no class."""
    run = mistakes.MISTAKES[name]
    theirs = Outcome.of(run, ORACLE).error
    if isinstance(theirs, AssertionError):
        assert isinstance(Outcome.of(run, OURS).error, Exception)
    else:
        same_error(run)


# Representation, attributes, equality.


def _holder(nn: Any) -> Any:
    class Holder(nn.Module):
        sub: Any
        layers: Any = ()
        text: str = 'a'

        def setup(self):
            self.made = nn.Dense(2)

        def __call__(self, x):
            return self.made(self.sub(x))

    return Holder(nn.Dense(3, name='given'), [nn.LayerNorm(), {'k': nn.Dense(1)}])


def _words(text: str) -> list[str]:
    """The words of a representation in order, with its layout and signs left out."""
    return re.findall(r'\w+', text)


_NAMES = ('Holder', 'Dense', 'LayerNorm', 'sub', 'layers', 'features', 'made')


def test_repr_of_nested_modules() -> None:
    """Classes and chosen options come in the same order; ours leaves defaults out."""

    def program(lib: Library) -> Any:
        return [word for word in _words(repr(_holder(lib.nn))) if word in _NAMES]

    same(program)


def test_repr_of_bound_modules() -> None:
    """A bound module shows what setup made and what its fields hold, under their names."""

    def program(lib: Library) -> Any:
        bound = _holder(lib.nn).bind(_holder(lib.nn).init(KEY, X))
        bound(X)
        return [name in _words(repr(bound)) for name in _NAMES]

    same(program)


def test_repr_leaves_out_the_parent() -> None:
    for lib in (ORACLE, OURS):
        assert 'parent' not in _words(repr(lib.nn.Dense(3, name='x')))


def test_repr_shows_what_merely_has_a_shape_by_its_own_text() -> None:
    class Box:
        shape, dtype = (6,), 'float32'

        def __repr__(self) -> str:
            return 'Box(low=-1)'

    def program(lib: Library) -> Any:
        class Agent(lib.nn.Module):
            space: Any

        return [word in _words(repr(Agent(Box()))) for word in ('Box', 'low', 'float32')]

    same(program)


def test_dir_of_instances() -> None:
    def program(lib: Library) -> Any:
        module = _holder(lib.nn)
        bound = module.bind(module.init(KEY, X))
        bound(X)
        asked = ('sub', 'layers', 'text', 'made', 'name', 'parent', 'scope', 'apply', 'setup')
        return [[name in dir(m) for name in asked] for m in (module, bound)]

    same(program)


def test_equality_of_bound_modules() -> None:
    def program(lib: Library) -> Any:
        net = lib.nn.Dense(3)
        variables = net.init(KEY, X)
        one, two = net.bind(variables), net.bind(variables)
        return [one == one, one == two, one == net, net == net.clone(), net != one]

    same(program)


def test_hash_follows_the_fields() -> None:
    def program(lib: Library) -> Any:
        one, two, three = (lib.nn.Dense(n) for n in (3, 3, 4))
        named = lib.nn.Dense(3, name='x')
        return hash(one) == hash(two), hash(one) == hash(three), hash(one) == hash(named)

    same(program)


def test_unhashable_field() -> None:
    def program(lib: Library) -> Any:
        class Net(lib.nn.Module):
            value: Any

        return hash(Net(np.ones(2)))

    error = same_error(program)
    assert isinstance(error, TypeError)
    assert "Net has no hash, for 'value'" in str(error)


# Copies.


def test_deepcopy() -> None:
    def program(lib: Library) -> Any:
        net = _holder(lib.nn)
        deep, shallow = copy.deepcopy(net), copy.copy(net)
        parts = [deep == net, shallow == net, deep.sub is net.sub, shallow.sub is net.sub]
        return parts, deep.init(KEY, X), shallow.init(KEY, X)

    same(program)


def test_deepcopy_of_bound() -> None:
    def program(lib: Library) -> Any:
        net = _holder(lib.nn)
        bound = net.bind(net.init(KEY, X))
        return copy.deepcopy(bound)(X), bound(X)

    same(program)


def test_cloudpickle_round_trip() -> None:
    cloudpickle = pytest.importorskip('cloudpickle')

    def program(lib: Library) -> Any:
        net = cloudpickle.loads(cloudpickle.dumps(_holder(lib.nn)))
        return net.init(KEY, X), net.text

    same(program)


# Threads.


def test_threads_do_not_disturb_each_other() -> None:
    """Eight threads that run different models at once get what one thread gets."""
    models.load_all()
    names = ['compact_mlp', 'nested_three_deep', 'several_streams', 'sow_default']
    names += ['counter_in_a_collection', 'shared_by_passing_in_setup', 'batch_norm', 'perturb']
    runs = [functools.partial(MODES['eager_typed'], models.MODELS[name], OURS) for name in names]
    expected = [run() for run in runs]
    barrier = threading.Barrier(len(runs))
    results: list[Any] = [None] * len(runs)

    def work(i: int) -> None:
        barrier.wait()
        for _ in range(3):
            results[i] = runs[i]()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(runs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, one, many in zip(names, expected, results, strict=True):
        assert_same_tree(one, many, name)

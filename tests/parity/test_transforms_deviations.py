"""Where lifting differs from the oracle on purpose: programs it refuses by accident, or breaks.

Each deviation has a reason, what the oracle raises, and a check that what ours returns is right.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity.harness import ORACLE, OURS, Library, assert_same_tree, same_error
from tests.parity.models import X
from tests.parity.transforms import numbers

KEY = jax.random.key(0)
XS = np.stack([X, X + 1])
Program = Callable[[Library], Any]

WORKS: dict[str, tuple[Program, Program, str]] = {}
"""By name: a program that the oracle refuses, one that does the same in its way, and why."""


def works(instead: Program, why: str) -> Callable[[Program], Program]:
    def enter(program: Program) -> Program:
        WORKS[program.__name__] = (program, instead, why)
        return program

    return enter


def run(module: Any, *args: Any, mutable: Any = False, **rngs: Any) -> Any:
    variables = module.init({'params': KEY, **rngs}, *args)
    return variables, module.apply(variables, *args, mutable=mutable, rngs=rngs)


def _pair(nn: Any, **options: Any) -> Any:
    class Pair(nn.Module):
        @nn.compact
        def encode(self, x):
            return nn.Dense(4, kernel_init=numbers)(x)

        def __call__(self, x):
            return self.encode(x)

    return nn.remat(Pair, **options)()


@works(
    lambda lib: run(_pair(lib.nn, methods=['encode']), X),
    'one name stands for a list of one, as everywhere else',
)
def methods_as_one_name(lib: Library) -> Any:
    return run(_pair(lib.nn, methods='encode'), X)


def _counting_loop(nn: Any, kind: str) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = nn.Dense(4, kernel_init=numbers)
            count = self.variable('state', 'n', lambda: jnp.zeros(()))
            if self.is_initializing():
                return dense(x)

            def step(self, c, x=None):
                if self.is_mutable_collection('state'):
                    self.put_variable('state', 'n', count.value)
                c = dense(c) + self.get_variable('state', 'n')
                return c, None

            if kind == 'scan':
                shared = {'variable_carry': 'state', 'variable_broadcast': 'params'}
                return nn.scan(step, **shared)(self, x, XS)[0]
            return nn.while_loop(
                lambda self, c: c[0] < 2,
                lambda self, c: (c[0] + 1, step(self, c[1])[0]),
                self,
                (0, x),
                carry_variables='state',
            )[1]

    return Net()


for _kind in ('scan', 'while_loop'):

    def _read_only(lib: Library, kind: str = _kind) -> Any:
        return run(_counting_loop(lib.nn, kind), X)

    def _written(lib: Library, kind: str = _kind) -> Any:
        variables, (y, _) = run(_counting_loop(lib.nn, kind), X, mutable=['state'])
        return variables, y

    _read_only.__name__ = f'read_only_carry_of_{_kind}'
    works(_written, 'state that nobody may change need not travel in the carry')(_read_only)


def _mapped(nn: Any, init: bool) -> Any:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            count = self.variable('state', 'n', lambda: jnp.zeros(()))
            if self.is_mutable_collection('state'):
                count.value += 1
            return nn.Dense(4, kernel_init=numbers)(x)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.map_variables(Body, 'params', init=init or self.is_initializing())()(x)

    return Net()


@works(
    lambda lib: run(_mapped(lib.nn, init=False), X, mutable=['state']),
    'the pass that makes variables loses those it may not change',
)
def mapped_params_while_state_changes(lib: Library) -> Any:
    return run(_mapped(lib.nn, init=True), X, mutable=['state'])


def _jvp(nn: Any, tangents: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = nn.Dense(4, kernel_init=numbers)
            return nn.jvp(lambda mdl, x: mdl(x), dense, (x,), tangents(x), {})

    return Net()


@works(lambda lib: run(_jvp(lib.nn, lambda x: (x,)), X), 'a list of tangents is as good')
def tangents_as_a_list(lib: Library) -> Any:
    return run(_jvp(lib.nn, lambda x: [x]), X)


def _with_field(nn: Any, value: Any) -> Any:
    class Body(nn.Module):
        weights: Any

        @nn.compact
        def __call__(self, x):
            return nn.Dense(4, kernel_init=numbers)(x) * self.weights

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.jit(Body)(value)(x)

    return Net()


@works(
    lambda lib: run(_with_field(lib.nn, np.arange(4.0, dtype=np.float32)), X),
    'an array of JAX in a field is told from others by identity, as one of NumPy is',
)
def array_in_a_field_under_jit(lib: Library) -> Any:
    return run(_with_field(lib.nn, jnp.arange(4.0)), X)


def _subclass(nn: Any, lift: Any) -> Any:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4, kernel_init=numbers)(x)

    class Net(lift(Body)):
        width: int = 3

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.width, name='own', kernel_init=numbers)(super().__call__(x))

    return Net(width=2)


@works(
    lambda lib: run(_subclass(lib.nn, lambda cls: cls), X),
    'inside, the module is of its own class, not of the one that was lifted',
)
def subclass_with_a_field_of_a_lifted_class(lib: Library) -> Any:
    return run(_subclass(lib.nn, lib.nn.remat), X)


def _custom(nn: Any, custom: bool) -> Any:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.Dense(4, kernel_init=numbers)(x)
            mean = self.variable('state', 'mean', jnp.zeros, (4,))
            if self.is_mutable_collection('state'):
                mean.value = mean.value + y.mean(0)
            return y - mean.value

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            def fn(mdl, x):
                return mdl(x)

            def forward(mdl, x):
                return nn.vjp(fn, mdl, x)

            run = nn.custom_vjp(fn, forward, lambda back, y_bar: back(y_bar)) if custom else fn
            mdl = Body()
            return run(mdl, run(mdl, x))

    return Net()


def _gradient(lib: Library, custom: bool) -> Any:
    net = _custom(lib.nn, custom)
    variables = net.init(KEY, X)

    def loss(params: Any) -> Any:
        variables_now = {**variables, 'params': params}
        y, _ = net.apply(variables_now, X, mutable='state')
        return y.sum()

    return jax.tree_util.tree_map(lambda g: g.shape, jax.grad(loss)(variables['params']))


@works(lambda lib: _gradient(lib, custom=False), 'state leaks a tracer of the derivative')
def custom_vjp_with_state_called_twice(lib: Library) -> Any:
    return _gradient(lib, custom=True)


def _compact_above(nn: Any, lift: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        @lift
        def __call__(self, x):
            return nn.Dense(4, kernel_init=numbers)(nn.Dense(4, kernel_init=numbers)(x))

    return Net()


def _compact_below(nn: Any, lift: Any) -> Any:
    class Net(nn.Module):
        @lift
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4, kernel_init=numbers)(nn.Dense(4, kernel_init=numbers)(x))

    return Net()


for _name in ('remat', 'jit', 'fold_rngs'):

    def _above(lib: Library, name: str = _name) -> Any:
        return run(_compact_above(lib.nn, getattr(lib.nn, name)), X)

    def _below(lib: Library, name: str = _name) -> Any:
        return run(_compact_below(lib.nn, getattr(lib.nn, name)), X)

    _above.__name__ = f'compact_above_{_name}'
    works(_below, 'the order of two decorators of one method does not matter')(_above)


def _lifted_twice(nn: Any, outer: str, inner: str, sets_up: bool) -> Any:
    class SetUp(nn.Module):
        def setup(self):
            self.scale = self.param('scale', numbers, (4,))

        def __call__(self, x):
            return x * self.scale

    class Compact(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x * self.param('scale', numbers, (4,))

    body = SetUp if sets_up else Compact
    if inner == 'remat_scan':
        lifted = nn.remat_scan(body, lengths=(2, 1))
    else:
        lifted = nn.vmap(body, {'params': 0}, {'params': True}, in_axes=None, axis_size=2)
    return getattr(nn, outer)(lifted)()


for _outer, _inner in itertools.product(('jit', 'fold_rngs'), ('vmap', 'remat_scan')):

    def _set_up(lib: Library, outer: str = _outer, inner: str = _inner) -> Any:
        return run(_lifted_twice(lib.nn, outer, inner, sets_up=True), X)

    def _compact(lib: Library, outer: str = _outer, inner: str = _inner) -> Any:
        return run(_lifted_twice(lib.nn, outer, inner, sets_up=False), X)

    _set_up.__name__ = f'setup_under_{_outer}_of_{_inner}'
    works(_compact, 'setup belongs into the innermost transform, as a compact method does')(_set_up)


@pytest.mark.parametrize('name', WORKS)
def test_that_ours_works(name: str) -> None:
    program, instead, why = WORKS[name]
    assert why
    with pytest.raises(Exception):  # noqa: B017, PT011  of many kinds, most of them accidents
        program(ORACLE)
    assert_same_tree(instead(ORACLE), program(OURS), name, ordered=False)


# Programs that both run, with other results: the oracle's depend on what ran before.


def _helper_called_twice(lib: Library, name: str) -> Any:
    nn = lib.nn
    lift = getattr(nn, name)

    class Net(nn.Module):
        before: int = 0

        @lift
        def helper(self, x):
            return nn.Dense(4, kernel_init=numbers)(x)

        @nn.compact
        def __call__(self, x):
            for _ in range(self.before):
                x = nn.Dense(4, kernel_init=numbers)(x)
            return self.helper(self.helper(x))

    return Net


@pytest.mark.parametrize('name', ['jit', 'fold_rngs'])
def test_names_in_a_compiled_helper_go_on(name: str) -> None:
    """The oracle keeps the automatic names that the first call ever began with."""
    theirs, ours = (_helper_called_twice(lib, name) for lib in (ORACLE, OURS))
    assert list(theirs().init(KEY, X)['params']) == ['Dense_0']
    assert list(theirs(1).init(KEY, X)['params']) == ['Dense_0']
    assert list(ours().init(KEY, X)['params']) == ['Dense_0', 'Dense_1']
    assert list(ours(1).init(KEY, X)['params']) == ['Dense_0', 'Dense_1', 'Dense_2']


def test_keyword_arguments_of_vmap_are_left_out_with_a_warning() -> None:
    def program(lib: Library) -> Any:
        class Body(lib.nn.Module):
            @lib.nn.compact
            def __call__(self, x, scale=1.0):
                return lib.nn.Dense(4, kernel_init=numbers)(x) * scale

        vmapped = lib.nn.vmap(Body, {'params': None}, {'params': False})
        return vmapped().init_with_output(KEY, XS, scale=3.0)

    with pytest.warns(RuntimeWarning, match='scale'):
        theirs = program(ORACLE)
    with pytest.warns(OURS.errors.SharpBitWarning, match=r'nn\.vmap .*scale'):
        ours = program(OURS)
    assert_same_tree(theirs, ours)


# Programs that both refuse.

REFUSED: dict[str, Program] = {}


def refused(program: Program) -> Program:
    REFUSED[program.__name__] = program
    return program


def _dense_loop(lib: Library, body: Any = None, **options: Any) -> Any:
    nn = lib.nn

    class Body(nn.Module):
        @nn.compact
        def __call__(self, c, x):
            y = nn.Dense(4, kernel_init=numbers)(c) + x
            return (y, y.sum()) if body is None else body(self, y)

    return nn.scan(Body, **{'split_rngs': {'params': True}, **options})().init(KEY, X, XS)


@refused
def scan_that_says_nothing_of_params(lib: Library) -> Any:
    return _dense_loop(lib)


@refused
def scan_that_hides_a_stream(lib: Library) -> Any:
    return _dense_loop(
        lib, lambda self, y: (y, self.make_rng('noise')), variable_axes={True: 0}, split_rngs={}
    )


@refused
def scan_of_other_sizes(lib: Library) -> Any:
    nn = lib.nn
    loop = nn.scan(nn.Dense, {'params': 0}, split_rngs={'params': True})
    return loop(4).init(KEY, X, (XS, X[:1]))


@refused
def vmap_without_a_size(lib: Library) -> Any:
    nn = lib.nn
    return nn.vmap(nn.Dense, {'params': 0}, {'params': True}, in_axes=None)(4).init(KEY, X)


@refused
def vmap_that_hides_params(lib: Library) -> Any:
    return lib.nn.vmap(lib.nn.Dense, {}, {'params': True})(4).init(KEY, XS)


@refused
def boxes_without_a_name(lib: Library) -> Any:
    nn = lib.nn
    init = nn.with_partitioning(numbers, ('in', 'out'))
    vmapped = nn.vmap(nn.Dense, {'params': 0}, {'params': True})
    return vmapped(4, kernel_init=init).init(KEY, XS)


@refused
def while_loop_that_makes_params(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = nn.Dense(4, kernel_init=numbers)
            return nn.while_loop(lambda mdl, c: c.sum() < 9, lambda mdl, c: mdl(c), dense, x)

    return Net().init(KEY, X)


@refused
def map_variables_without_init(lib: Library) -> Any:
    return lib.nn.map_variables(lib.nn.Dense, 'params')(4).init(KEY, X)


@refused
def writing_to_what_is_mapped(lib: Library) -> Any:
    nn = lib.nn

    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.put_variable('state', 'x', x)
            return x

    mapped = nn.map_variables(Body, 'state')()
    return mapped.apply({'state': {'x': X}}, X, mutable=True)


@refused
def returning_a_module(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.remat
        def make(self):
            return nn.Dense(4)

        @nn.compact
        def __call__(self, x):
            return self.make()(x)

    return Net().init(KEY, X)


@refused
def returning_a_variable(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.remat
        def make(self):
            return self.variable('state', 's', jnp.zeros, ())

        @nn.compact
        def __call__(self, x):
            return self.make().value

    return Net().init(KEY, X)


for _name in ('jit', 'remat', 'vmap', 'scan', 'fold_rngs', 'map_variables', 'remat_scan'):
    REFUSED[f'{_name}_of_an_instance'] = lambda lib, name=_name: getattr(lib.nn, name)(
        lib.nn.Dense(4)
    )
    REFUSED[f'{_name}_of_a_number'] = lambda lib, name=_name: getattr(lib.nn, name)(3)


@pytest.mark.parametrize('name', [n for n in REFUSED if 'scan_of' not in n and 'size' not in n])
def test_that_both_refuse(name: str) -> None:
    error = same_error(REFUSED[name])
    assert isinstance(error, OURS.errors.LinnetError)


@pytest.mark.parametrize('name', ['scan_of_other_sizes', 'vmap_without_a_size'])
def test_that_both_refuse_in_words_of_jax(name: str) -> None:
    for lib in (ORACLE, OURS):
        with pytest.raises((ValueError, TypeError)):
            REFUSED[name](lib)

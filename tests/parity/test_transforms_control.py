"""``nn.cond``, ``nn.switch`` and ``nn.while_loop``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity.harness import Library, same
from tests.parity.models import X
from tests.parity.transforms import FORWARD_MODES, STATE, STREAMS, Table, numbers

# The branches of one program share a layer by its automatic name, which is what it tests.
pytestmark = pytest.mark.filterwarnings('ignore::linnet.errors.SharedNameWarning')

TABLE = Table()


def body(nn: Any) -> Any:
    """Parameters, state, keys and sown values."""

    class Body(nn.Module):
        @nn.compact
        def __call__(self, x, scale=1.0):
            y = nn.Dense(4, kernel_init=numbers)(x) * scale
            y = y + numbers(self.make_rng('noise'), y.shape)
            mean = self.variable('state', 'mean', jnp.zeros, (4,))
            if self.is_mutable_collection('state'):
                mean.value = mean.value + y.mean(0)
            return y - mean.value

    return Body


def _net(run: Callable[[Any, Any, Any], Any], make: Any = body) -> Callable[[Any], Any]:
    """A model that runs ``run(nn, module, x)``, uses the module again and draws keys."""

    def build(nn: Any) -> Any:
        class Net(nn.Module):
            @nn.compact
            def __call__(self, x):
                mdl = make(nn)()
                before = mdl(x)
                y = run(nn, mdl, x)
                return y, before, mdl(x), self.make_rng('noise'), mdl.make_rng('noise')

        return Net()

    return build


def _call(mdl: Any, *args: Any) -> Any:
    return mdl(*args)


def _other(mdl: Any, *args: Any) -> Any:
    return -mdl(*args) * 2


def _twice(mdl: Any, *args: Any) -> Any:
    return mdl(mdl(*args))


RUNS: dict[str, Callable[[Any, Any, Any], Any]] = {
    'cond_true': lambda nn, mdl, x: nn.cond(True, _call, _other, mdl, x),
    'cond_false': lambda nn, mdl, x: nn.cond(False, _call, _other, mdl, x),
    'cond_traced': lambda nn, mdl, x: nn.cond(x.sum() > 100, _call, _twice, mdl, x),
    'cond_of_a_number': lambda nn, mdl, x: nn.cond(np.int32(2), _call, _twice, mdl, x),
    'cond_of_two_operands': lambda nn, mdl, x: nn.cond(x[0, 0] > 0, _call, _other, mdl, x, 2.0),
    'cond_of_no_operand': lambda nn, mdl, x: nn.cond(
        True, lambda mdl: mdl(x), lambda mdl: mdl(-x), mdl
    ),
    'cond_of_a_tree': lambda nn, mdl, x: nn.cond(
        True,
        lambda mdl, t: {'y': mdl(t['x']), 'n': (t['n'], None)},
        lambda mdl, t: {'y': t['x'], 'n': (t['n'] + 1, None)},
        mdl,
        {'x': x, 'n': 3},
    ),
    'cond_of_some_collections': lambda nn, mdl, x: nn.cond(
        True, _call, _other, mdl, x, variables=['params', 'state']
    ),
    'cond_of_some_streams': lambda nn, mdl, x: nn.cond(
        True, _call, _other, mdl, x, rngs=['noise', 'params']
    ),
    'cond_in_cond': lambda nn, mdl, x: nn.cond(
        True, lambda mdl, x: nn.cond(x.sum() > 0, _call, _other, mdl, x), _other, mdl, x
    ),
    'cond_of_methods': lambda nn, mdl, x: nn.cond(
        True, type(mdl).__call__, type(mdl).__call__, mdl, x
    ),
    'switch_first': lambda nn, mdl, x: nn.switch(0, [_call, _other, _twice], mdl, x),
    'switch_traced': lambda nn, mdl, x: nn.switch(
        (x.sum() * 0).astype(int) + 2, [_call, _other, _twice], mdl, x
    ),
    'switch_out_of_range': lambda nn, mdl, x: nn.switch(7, (_call, _other), mdl, x),
    'switch_below_range': lambda nn, mdl, x: nn.switch(-7, (_call, _other), mdl, x),
    'switch_of_one': lambda nn, mdl, x: nn.switch(0, [_twice], mdl, x),
    'switch_of_two_operands': lambda nn, mdl, x: nn.switch(1, [_call, _other], mdl, x, 0.5),
    'switch_of_some_collections': lambda nn, mdl, x: nn.switch(
        1, [_call, _other], mdl, x, variables=['params', 'state'], rngs=['noise', 'params']
    ),
}
for _name, _run in RUNS.items():
    TABLE.add(_name, _net(_run))


@TABLE.case(X)
def branches_that_make_submodules(nn: Any) -> Any:
    """Each branch makes its own in ``init``; only one runs in ``apply``."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            wide, narrow = nn.Dense(8, kernel_init=numbers), nn.Dense(2, kernel_init=numbers)
            last = nn.Dense(4, kernel_init=numbers)

            def one(self, x):
                return last(wide(x)[:, :2])

            def two(self, x):
                return last(narrow(x))

            if self.is_initializing():
                return one(self, x) + two(self, x)
            return nn.cond(x.sum() > 0, one, two, self, x)

    return Net()


@TABLE.case(X)
def branches_of_self(nn: Any) -> Any:
    """Both branches make a submodule of one name; automatic names go on afterwards."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            def one(self, x):
                return nn.Dense(4, kernel_init=numbers)(x)

            def two(self, x):
                return nn.Dense(4, kernel_init=numbers)(x) * 2

            y = nn.cond(x.sum() > 0, one, two, self, nn.Dense(4)(x))
            y = nn.switch(1, [one, two], self, y)
            return nn.Dense(4)(y)

    return Net()


@TABLE.case(X)
def branches_in_setup_style(nn: Any) -> Any:
    class Net(nn.Module):
        def setup(self):
            self.heads = [nn.Dense(4, kernel_init=numbers) for _ in range(3)]

        def __call__(self, x):
            branches = [functools.partial(lambda i, self, x: self.heads[i](x), i) for i in range(3)]
            if self.is_initializing():
                for branch in branches:
                    branch(self, x)
            return nn.switch(2, branches, self, x), nn.cond(True, *branches[:2], self, x)

    return Net()


@TABLE.case(X)
def branches_that_sow(nn: Any) -> Any:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.Dense(4, kernel_init=numbers)(x)
            self.sow('intermediates', 'y', y)
            self.sow('losses', 'l', y.sum(), reduce_fn=jnp.add, init_fn=lambda: jnp.zeros(()))
            return y

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            mdl = Body()
            return nn.cond(x.sum() > 0, _call, _other, mdl, mdl(x)), mdl(x)

    return Net()


# while_loop: it has no gradient.


def _counted(nn: Any, mdl: Any, x: Any, step: Any = None, times: int = 3, **options: Any) -> Any:
    def go_on(mdl: Any, state: Any) -> Any:
        return state[0] < times

    def once(mdl: Any, state: Any) -> Any:
        return state[0] + 1, mdl(state[1])

    return nn.while_loop(go_on, step or once, mdl, (0, x), **options)


def _own_test(nn: Any, mdl: Any, x: Any) -> Any:
    """The condition runs the module as well, and draws keys."""

    def go_on(mdl: Any, state: Any) -> Any:
        return (state[0] < 3) & (mdl(state[1]).sum() < 1e6)

    def once(mdl: Any, state: Any) -> Any:
        return state[0] + 1, mdl(state[1])

    shared = ('params', 'state')
    return nn.while_loop(
        go_on, once, mdl, (0, x), broadcast_variables=shared, split_rngs={STREAMS: True}
    )


CARRY = {'carry_variables': 'state', 'broadcast_variables': 'params'}
LOOPS: dict[str, Callable[[Any, Any, Any], Any]] = {
    'state_in_the_carry': functools.partial(_counted, **CARRY, split_rngs={'noise': True}),
    'state_in_the_carry_and_one_key': functools.partial(
        _counted, **CARRY, split_rngs={'noise': False}
    ),
    'everything_in_the_carry': functools.partial(
        _counted, carry_variables=['params', 'state'], split_rngs={True: True}
    ),
    'no_iteration': functools.partial(_counted, **CARRY, times=0, split_rngs={'noise': True}),
    'one_iteration': functools.partial(_counted, **CARRY, times=1, split_rngs={'noise': True}),
    'module_in_the_condition': _own_test,
    'loop_in_loop': lambda nn, mdl, x: _counted(
        nn,
        mdl,
        x,
        lambda mdl, state: (
            state[0] + 1,
            _counted(nn, mdl, state[1], **CARRY, split_rngs={'noise': True}, times=2)[1],
        ),
        **CARRY,
        split_rngs={'noise': True},
    ),
    'cond_in_loop': lambda nn, mdl, x: _counted(
        nn,
        mdl,
        x,
        lambda mdl, state: (
            state[0] + 1,
            nn.cond(state[0] > 1, _call, _other, mdl, state[1]),
        ),
        **CARRY,
        split_rngs={'noise': True},
    ),
}
for _name, _run in LOOPS.items():
    TABLE.add(
        _name,
        _net(_run),
        modes=FORWARD_MODES,
        apply={'mutable': ['params', 'state']},  # a carry that changes, see also the deviations
        mutable=['params', *STATE],
    )


@TABLE.case(X, modes=FORWARD_MODES, mutable='state', apply={'mutable': 'state'})
def counter_until_a_limit(nn: Any) -> Any:
    """State alone decides when the loop ends."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            count = self.variable('state', 'n', lambda: jnp.zeros((), jnp.int32))
            dense = nn.Dense(4, kernel_init=numbers, name='dense')
            y = dense(x)
            if self.is_initializing():
                return y

            def go_on(self, c):
                return self.get_variable('state', 'n') < 4

            def step(self, c):
                self.put_variable('state', 'n', self.get_variable('state', 'n') + 1)
                return nn.tanh(dense(c))

            return nn.while_loop(go_on, step, self, y, carry_variables='state'), count.value

    return Net()


def reading_a_variable_handle(lib: Library) -> Any:
    """A variable made outside of a branch is one of the branch's when it is handed over."""
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            var = self.variable('state', 'v', jnp.ones, (4,))

            def one(self, var, x):
                var.value = var.value + x.sum(0)
                return x * var.value

            def two(self, var, x):
                return x * var.value

            y = nn.cond(x.sum() > 0, one, two, self, var, x)
            return y, nn.remat(lambda self, var, x: var.value * x)(self, var, y), var.value

    variables = Net().init(jax.random.key(0), X)
    return (
        variables,
        Net().apply(variables, X, mutable=True),
        Net().apply(variables, -X, mutable=True),
    )


def test_reading_a_variable_handle() -> None:
    same(reading_a_variable_handle)


@pytest.mark.parametrize(('name', 'mode'), TABLE.runs())
def test_control(name: str, mode: str) -> None:
    TABLE.run(name, mode)

"""``nn.scan``: every argument, around bodies with parameters, state, keys and sown values."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity.harness import Library
from tests.parity.models import X
from tests.parity.transforms import CARRIED, STREAMS, Table, numbers

# Some programs ask for members that start equal, which is what they test.
pytestmark = pytest.mark.filterwarnings('ignore::linnet.errors.EqualMembersWarning')

TABLE = Table()
XS = np.stack([X, X + 1, X - 1])
MUTABLE = {'mutable': ['state', 'intermediates', 'perturbations']}


def cell(nn: Any) -> Any:
    """A body that uses everything: ``([2, 4], [2, 4]) -> ([2, 4], [2])``."""

    class Cell(nn.Module):
        features: int = 4

        @nn.compact
        def __call__(self, carry, x):
            h = nn.Dense(self.features, kernel_init=numbers)(carry) + x
            h = h + numbers(self.make_rng('noise'), h.shape)
            mean = self.variable('state', 'mean', jnp.zeros, (4,))
            if self.is_mutable_collection('state'):
                mean.value = mean.value + h.mean(0)
            self.sow('intermediates', 'h', h)
            return nn.tanh(h) - mean.value, h.sum(1)

    return Cell


def _scanned(inputs: tuple[Any, ...] = (X, XS), **options: Any) -> Any:
    """A builder that lifts the class and calls it twice, then draws a key in the parent."""

    def build(nn: Any) -> Any:
        class Net(nn.Module):
            @nn.compact
            def __call__(self, *inputs):
                mdl = nn.scan(cell(nn), **options)()
                first = mdl(*inputs)
                return first, mdl(*inputs), self.make_rng('noise'), nn.Dense(2)(inputs[0])

        return Net()

    return build, inputs


LAYERS = {'variable_axes': {True: 0}, 'split_rngs': {True: True}}
OPTIONS: dict[str, Any] = {
    'one_set_per_iteration': LAYERS,
    'one_key': {'variable_axes': {True: 0}, 'split_rngs': {True: False}},
    'params_on_the_last_axis': {**LAYERS, 'variable_axes': {'params': -1, 'state': 0}},
    'state_on_axis_1': {**LAYERS, 'variable_axes': {'params': 0, 'state': 1, 'intermediates': 0}},
    'params_shared': {
        'variable_axes': {('state', 'intermediates'): 0},
        'variable_broadcast': 'params',
        'split_rngs': {'params': False, STREAMS: True},
    },
    'params_shared_and_one_key': {
        'variable_axes': {('state', 'intermediates'): 0},
        'variable_broadcast': ['params'],
        'split_rngs': {'params': False, 'noise': False},
    },
    'sown_values_dropped': {
        'variable_axes': {'params': 0, 'state': 0},
        'split_rngs': {'params': True, 'noise': True},
    },
    'reverse': {**LAYERS, 'reverse': True},
    'unroll': {**LAYERS, 'unroll': 2},
    'split_transpose': {**LAYERS, '_split_transpose': True},
    'length': {**LAYERS, 'length': 3},
    'without_the_first_pass': {**LAYERS, 'check_constancy_invariants': False},
    'metadata_params_that_nothing_uses': {**LAYERS, 'metadata_params': {'partition_name': 'x'}},
    'out_axes_1': {**LAYERS, 'out_axes': 1},
    'out_axes_last': {**LAYERS, 'out_axes': -1},
    'methods_as_a_list': {**LAYERS, 'methods': ['__call__']},
}

for _name, _options in OPTIONS.items():
    _build, _inputs = _scanned(**_options)
    TABLE.add(_name, _build, *_inputs)
for _axis in (1, 2, -1):
    _build, _inputs = _scanned((X, np.moveaxis(XS, 0, _axis)), **LAYERS, in_axes=_axis)
    TABLE.add(f'in_axes_{_axis}', _build, *_inputs)


def _carrying(nn: Any, **options: Any) -> Any:
    """A loop that hands state on; the state is made before it."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, c, xs):
            mdl = cell(nn)()
            if self.is_initializing():
                return mdl(c, xs[0])
            loop = nn.scan(
                lambda mdl, c, x: mdl(c, x),
                variable_broadcast='params',
                variable_carry=CARRIED,
                split_rngs={STREAMS: True},
                **options,
            )
            return loop(mdl, c, xs), loop(mdl, c, xs), mdl(c, xs[0])

    return Net()


for _name, _options in {
    'state_in_the_carry': {},
    'state_in_the_carry_in_reverse': {'reverse': True, 'variable_axes': {'intermediates': 0}},
    'state_in_the_carry_without_the_first_pass': {'check_constancy_invariants': False},
}.items():
    TABLE.add(_name, functools.partial(_carrying, **_options), X, XS, apply=MUTABLE)


# Carries, inputs and outputs.


def _plain(nn: Any, body: Any, **options: Any) -> Any:
    """``body(dense, carry, *xs)`` as a loop whose parameters are shared."""

    class Body(nn.Module):
        @nn.compact
        def __call__(self, carry, *xs):
            return body(nn.Dense(4, kernel_init=numbers), carry, *xs)

    options = {'variable_broadcast': 'params', 'split_rngs': {'params': False}, **options}
    return nn.scan(Body, **options)()


def _tree_carry(dense: Any, c: Any, x: Any) -> Any:
    h = dense(c['h'][0]) + x
    return {'h': (h, None), 'n': c['n'] + 1, 'log': c['log']}, {'h': h, 'none': None}


def _several_inputs(dense: Any, c: Any, x: Any, tree: Any, scale: Any) -> Any:
    h = dense(c) + x * scale
    return h, (h.sum(), tree['a'] + tree['b'])


def _constant_output(dense: Any, c: Any, x: Any) -> Any:
    w = dense(jnp.ones((2, 4)))
    return dense(c) + x, (w.sum(0), c.sum())


BODIES: dict[str, Any] = {
    'carry_is_a_tree': (
        _tree_carry,
        ({'h': (X, None), 'n': jnp.asarray(0), 'log': np.array([True])}, XS),
        {},
    ),
    'carry_is_none': (lambda dense, c, x: (None, dense(x)), (None, XS), {}),
    'carry_is_empty': (lambda dense, c, x: ((), dense(x)), ((), XS), {}),
    'output_is_none': (lambda dense, c, x: (dense(c) + x, None), (X, XS), {}),
    'no_inputs': (lambda dense, c: (dense(c), c.sum()), (X,), {'length': 3}),
    'input_is_none': (lambda dense, c, x: (dense(c), x), (X, None), {'length': 3}),
    'no_iterations': (lambda dense, c, x: (dense(c) + x, x), (X, XS[:0]), {}),
    'one_iteration': (lambda dense, c, x: (dense(c) + x, x), (X, XS[:1]), {}),
    'several_inputs': (
        _several_inputs,
        (X, XS, {'a': np.ones((5, 3)), 'b': np.float32(2.0)}, 0.5),
        {'in_axes': (0, {'a': 1, 'b': None}, None)},
    ),
    'constant_outputs': (_constant_output, (X, XS), {}),
    'carry_of_half_precision': (
        lambda dense, c, x: ((dense(c) + x).astype(jnp.bfloat16), c),
        (jnp.asarray(X, jnp.bfloat16), XS),
        {},
    ),
    'carry_of_integers': (
        lambda dense, c, x: (c + 1, dense(x).sum() * c),
        (np.int32(3), XS),
        {},
    ),
    'weak_carry': (lambda dense, c, x: (c * 1.5, dense(x).sum() * c), (2.0, XS), {}),
    'weak_carry_that_gets_strong': (lambda dense, c, x: (c + x.sum(), dense(x)), (2.0, XS), {}),
}
BODIES['several_inputs'][2]['in_axes'] = None  # depends on the library, see below


def _broadcasting(nn: Any) -> Any:
    axes = (0, {'a': 1, 'b': nn.broadcast}, nn.broadcast)
    return _plain(nn, _several_inputs, in_axes=axes, out_axes=(0, {'a': 0}['a']))


def _broadcast_output(nn: Any) -> Any:
    return _plain(nn, _constant_output, out_axes=(nn.broadcast, 0))


for _name, (_body, _inputs, _options) in BODIES.items():
    if _name not in ('several_inputs', 'constant_outputs'):
        TABLE.add(_name, lambda nn, b=_body, o=_options: _plain(nn, b, **o), *_inputs, streams=())
TABLE.add('several_inputs', _broadcasting, *BODIES['several_inputs'][1], streams=())
TABLE.add('constant_outputs', _broadcast_output, X, XS, streams=())


# Variables.


@TABLE.case(X, XS)
def broadcast_parameters_beside_others(nn: Any) -> Any:
    """Two collections of parameters; the shared one is made in the first pass."""

    class Body(nn.Module):
        @nn.compact
        def __call__(self, c, x):
            gain = self.variable('shared', 'gain', lambda: numbers(self.make_rng('other'), (4,)))
            return nn.Dense(4, kernel_init=numbers)(c) * gain.value + x, c.sum()

    return nn.scan(
        Body,
        {'params': 0},
        variable_broadcast='shared',
        split_rngs={'params': True, 'other': False},
    )()


@TABLE.case(X, XS)
def in_and_out(nn: Any) -> Any:
    """Variables with an axis in one direction only."""
    lift = Library.of(nn).load('core.lift')

    class Body(nn.Module):
        @nn.compact
        def __call__(self, c, x):
            if self.is_mutable_collection('cache'):
                self.put_variable('cache', 'x', x.sum(0))
            return nn.Dense(4, kernel_init=numbers)(c) + x, None

    axes = {'params': 0, 'cache': lift.Out(1)}
    return nn.scan(Body, axes, split_rngs={'params': True})()


@TABLE.case(X, XS)
def data_transform(nn: Any) -> Any:
    """A function of the groups of variables and keys, applied in each iteration."""

    def halve(variables: Any, rngs: Any) -> Any:
        scale = lambda x: x * 0.5 if jnp.issubdtype(x.dtype, jnp.floating) else x  # noqa: E731
        return jax.tree_util.tree_map(scale, variables), rngs

    options = {**LAYERS, 'data_transform': halve}
    return _scanned(**options)[0](nn)


def _boxed(nn: Any, box: Any, axis: int) -> Any:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, c, x):
            w = self.param('w', box(numbers, ('in', 'out')), (4, 4))
            raw = self.param('raw', box(numbers, (None, 'out')), (4, 4), unbox=False)
            state = self.variable('state', 's', box(jnp.zeros, ('s',)), (4,))
            if self.is_mutable_collection('state'):
                state.value = state.value + c.sum(0)
            return c @ w @ raw.unbox() + x, state.value

    names = {nn.PARTITION_NAME: 'layers'}
    axes = {'params': axis, 'state': 0}
    return nn.scan(Body, axes, split_rngs={'params': True}, metadata_params=names)()


for _axis in (0, 1):
    TABLE.add(
        f'partitioned_on_axis_{_axis}',
        lambda nn, axis=_axis: _boxed(nn, nn.with_partitioning, axis),
        X,
        XS,
    )
TABLE.add('logically_partitioned', lambda nn: _boxed(nn, nn.with_logical_partitioning, 0), X, XS)


@TABLE.case(X, XS)
def setup_style_cell(nn: Any) -> Any:
    class Cell(nn.Module):
        def setup(self):
            self.gates = [nn.Dense(4, kernel_init=numbers) for _ in range(2)]
            self.start = self.param('start', numbers, (4,))

        def __call__(self, c, x):
            c = self.gates[0](c) + self.gates[1](x) + self.start
            return c, nn.relu(c)

    class Net(nn.Module):
        def setup(self):
            shared = {'variable_broadcast': 'params', 'split_rngs': {'params': False}}
            self.cell = nn.scan(Cell, **shared, in_axes=1, out_axes=1)()

        def __call__(self, c, xs):
            return self.cell(c, jnp.moveaxis(xs, 0, 1))

    return Net()


@TABLE.case(X, XS)
def method_as_decorator(nn: Any) -> Any:
    class Net(nn.Module):
        @functools.partial(nn.scan, variable_axes={'params': 0}, split_rngs={'params': True})
        @nn.compact
        def __call__(self, c, x):
            return nn.Dense(4, kernel_init=numbers)(c) + x, c

    class Outer(nn.Module):
        @nn.compact
        def __call__(self, c, xs):
            return Net()(c, xs), Net(name='other')(c, xs)

    return Outer()


@TABLE.case(X, XS)
def arguments_for_each_method(nn: Any) -> Any:
    common = {'variable_broadcast': 'params', 'split_rngs': {'params': False}}

    class Pair(nn.Module):
        def setup(self):
            self.dense = nn.Dense(4, kernel_init=numbers)

        def forward(self, c, x):
            c = self.dense(c) + x
            return c, c

        def backward(self, c, x):
            c = self.dense(c) - x
            return c, c

    class Net(nn.Module):
        @nn.compact
        def __call__(self, c, xs):
            methods = {'forward': common, 'backward': {**common, 'reverse': True, 'out_axes': 1}}
            pair = nn.scan(Pair, methods=methods)()
            return pair.forward(c, xs), pair.backward(c, xs)

    return Net()


@TABLE.case(X, XS)
def loop_that_makes_its_submodules_by_function(nn: Any) -> Any:
    """Names in the module go on after the loop."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, c, xs):
            def body(self, c, x):
                return nn.Dense(4, kernel_init=numbers)(c) + x, None

            loop = nn.scan(body, {'params': 0}, split_rngs={'params': True})
            c, _ = loop(self, c, xs)
            return loop(self, c, xs), nn.Dense(4, parent=None).name

    return Net()


@TABLE.case(X, XS)
def loop_over_a_module_used_outside(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, c, xs):
            dense = nn.Dense(4, kernel_init=numbers)
            loop = nn.scan(
                lambda mdl, c, x: (mdl(c) + x, mdl(x)),
                variable_broadcast='params',
                split_rngs={'params': False},
            )
            return loop(dense, dense(c), xs), dense(c)

    return Net()


@TABLE.case(X, XS)
def loop_in_a_loop(nn: Any) -> Any:
    class Outer(nn.Module):
        @nn.compact
        def __call__(self, c, x):
            inner = nn.scan(cell(nn), **LAYERS)()
            c, y = inner(c, jnp.stack([x, x + 1]))
            return c + numbers(self.make_rng('noise'), c.shape), y

    return nn.scan(Outer, **LAYERS)()


@TABLE.case(X, XS)
def names_of_class(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, c, xs):
            cls = nn.scan(cell(nn), **LAYERS)
            return cls()(c, xs)[0] + cls()(c, xs)[0], cls.__name__, cls(name='z')(c, xs)[1]

    return Net()


@pytest.mark.parametrize(('name', 'mode'), TABLE.runs())
def test_scan(name: str, mode: str) -> None:
    TABLE.run(name, mode)

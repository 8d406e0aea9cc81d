"""``nn.vmap``: every argument, around bodies with parameters, state, keys, sown values, boxes."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity.harness import Library
from tests.parity.models import X
from tests.parity.transforms import STATE, STREAMS, Table, numbers

# Some programs ask for members that start equal, which is what they test.
pytestmark = pytest.mark.filterwarnings('ignore::linnet.errors.EqualMembersWarning')

TABLE = Table()
XS = np.stack([X, X + 1, X - 1])
SHARED = {'params': None, STATE: 0}
SPLIT = {'params': False, STREAMS: True}


def body(nn: Any) -> Any:
    """A class of ``[..., n] -> [..., 4]`` that uses everything; nothing in it is a scalar."""

    class Body(nn.Module):
        features: int = 4

        @nn.compact
        def __call__(self, x, shift=0.0):
            y = nn.Dense(self.features, kernel_init=numbers)(x) + shift
            y = y + numbers(self.make_rng('noise'), y.shape)
            mean = self.variable('state', 'mean', jnp.zeros, (self.features,))
            if self.is_mutable_collection('state'):
                mean.value = mean.value + y.reshape(-1, self.features).mean(0)
            self.sow('intermediates', 'y', y)
            return self.perturb('p', y) - mean.value

    return Body


def _vmapped(axes: Any, splits: Any, *args: Any, **kwargs: Any) -> Any:
    """A builder that lifts the class and calls it twice, then draws a key in the parent."""
    inputs = args or (XS,)

    def build(nn: Any) -> Any:
        class Net(nn.Module):
            @nn.compact
            def __call__(self, *inputs):
                mdl = nn.vmap(body(nn), axes, splits, **kwargs)()
                return mdl(*inputs), mdl(*inputs), self.make_rng('noise'), nn.Dense(2)(inputs[0])

        return Net()

    return build, inputs


ONES: dict[str, Any] = {
    'ensemble': ({True: 0}, {True: True}),
    'ensemble_with_one_key': ({True: 0}, {True: False}),
    'params_shared': (SHARED, SPLIT),
    'nothing_split': (SHARED, {'params': False, STREAMS: False}),
    'params_on_axis_1_or_last': ({'params': -1, STATE: 0}, {True: True}),
    'state_on_the_last_axis': ({'params': None, STATE: -1}, SPLIT),
    'filters_as_deny_lists': None,
    'streams_by_name': (SHARED, {'params': False, 'noise': True, 'dropout': False, 'other': True}),
}
OPTIONS: dict[str, Any] = {
    'in_axes_1': {'in_axes': 1},
    'in_axes_last': {'in_axes': -1},
    'in_axes_of_a_tuple': {'in_axes': (0,)},
    'out_axes_1': {'out_axes': 1},
    'out_axes_last': {'out_axes': -1},
    'axis_size': {'axis_size': 3},
    'axis_name': {'axis_name': 'batch'},
    'spmd_axis_name': {'spmd_axis_name': 'data'},
    'metadata_params_that_nothing_uses': {'metadata_params': {'partition_name': 'x'}},
    'methods_as_a_list': {'methods': ['__call__']},
}


def _enter() -> None:
    for name, axes in ONES.items():
        if axes is not None:
            build, inputs = _vmapped(*axes)
            TABLE.add(name, build, *inputs)
    for name, options in OPTIONS.items():
        build, inputs = _vmapped(SHARED, SPLIT, **options)
        TABLE.add(name, build, *inputs)


_enter()


@TABLE.case(XS)
def filters_as_deny_lists(nn: Any) -> Any:
    deny = Library.of(nn).core.DenyList
    axes = {deny(('params', 'state')): 0, 'state': 0, 'params': None}
    return nn.vmap(body(nn), axes, {deny('params'): True, 'params': False})()


@TABLE.case(X, np.arange(3.0, dtype=np.float32))
def arguments_with_axes_of_their_own(nn: Any) -> Any:
    return nn.vmap(body(nn), {True: 0}, {True: True}, in_axes=(None, 0), out_axes=1)()


@TABLE.case(X)
def size_from_the_variables(nn: Any) -> Any:
    """No argument has the axis: in apply the variables tell its size, in init axis_size does."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            size = 3 if self.is_initializing() else None
            many = nn.vmap(body(nn), {True: 0}, {True: False}, in_axes=None, axis_size=size)
            return many()(x)

    return Net()


@TABLE.case({'a': XS, 'b': X, 'c': [XS, None]})
def trees_of_axes(nn: Any) -> Any:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, tree):
            a = nn.Dense(4)(tree['a'] + tree['b'])
            return {'a': a, 'rest': (tree['c'][0] * 2, tree['b'])}, a.sum()

    in_axes = ({'a': 0, 'b': None, 'c': [0, None]},)
    out_axes = ({'a': 1, 'rest': (0, None)}, 0)
    return nn.vmap(Body, {'params': None}, {'params': False}, in_axes, out_axes)()


@TABLE.case(XS)
def state_that_only_goes_in(nn: Any) -> Any:
    """With ``In`` what a slice writes is dropped."""
    lift = Library.of(nn).load('core.lift')

    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            s = self.variable('state', 's', jnp.ones, (4,))
            if self.is_mutable_collection('state'):
                s.value = s.value + x.sum(0)
            return nn.Dense(4)(x) * s.value

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            mdl = Body()
            axes = {'params': None, 'state': lift.In(None)}
            run = nn.vmap(lambda mdl, x: mdl(x), axes, {'params': False})
            return mdl(x[0]) if self.is_initializing() else run(mdl, x)

    return Net()


@TABLE.case(XS)
def state_that_only_comes_out(nn: Any) -> Any:
    lift = Library.of(nn).load('core.lift')

    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            if self.is_mutable_collection('cache'):
                self.put_variable('cache', 'x', x.sum(0))
            return nn.Dense(4)(x), self.has_variable('cache', 'x')

    axes = {'params': None, 'cache': lift.Out(1)}
    return nn.vmap(Body, axes, {'params': False}, out_axes=(0, None))()


@TABLE.case(XS)
def batch_norm_over_the_mapped_axis(nn: Any) -> Any:
    """Collectives see the axis by its name; the statistics are the same in every slice."""

    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            average = not self.is_mutable_collection('batch_stats') or self.is_initializing()
            y = nn.BatchNorm(average, axis_name='batch', momentum=0.5)(nn.Dense(4)(x))
            return jax.lax.psum(y, 'batch') + jax.lax.axis_index('batch')

    axes = {'params': None, 'batch_stats': None}
    return nn.vmap(Body, axes, {'params': False}, axis_name='batch')()


def _boxed(nn: Any, box: Any, out_axis: int, names: Any) -> Any:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            w = self.param('w', box(numbers, ('in', 'out')), (4, 4))
            raw = self.param('raw', box(numbers, (None, 'out')), (4, 4), unbox=False)
            state = self.variable('state', 's', box(jnp.zeros, ('s',)), (4,))
            if self.is_mutable_collection('state'):
                state.value = state.value + 1
            return x @ w @ raw.unbox() + state.value

    axes = {'params': out_axis, 'state': 0}
    return nn.vmap(Body, axes, {'params': True}, metadata_params={nn.PARTITION_NAME: names})()


for _axis in (0, 1, 2):
    TABLE.add(
        f'partitioned_on_axis_{_axis}',
        lambda nn, axis=_axis: _boxed(nn, nn.with_partitioning, axis, 'new'),
        XS,
    )
TABLE.add(
    'logically_partitioned', lambda nn: _boxed(nn, nn.with_logical_partitioning, 0, 'heads'), XS
)
TABLE.add('partitioned_without_a_name', lambda nn: _boxed(nn, nn.with_partitioning, 1, None), XS)


@TABLE.case(XS)
def metadata_of_the_users_own_class(nn: Any) -> Any:
    """A box that keeps a record of the axes it was told about."""
    meta = Library.of(nn).load('core.meta')

    @Library.of(nn).struct.dataclass
    class Box(meta.AxisMetadata):
        value: Any
        told: Any = Library.of(nn).struct.field(default=(), pytree_node=False)

        def unbox(self):
            return self.value

        def replace_boxed(self, val):
            return self.replace(value=val)

        def add_axis(self, index, params):
            return self.replace(told=(*self.told, ('add', index, tuple(params.items()))))

        def remove_axis(self, index, params):
            return self.replace(told=(*self.told, ('remove', index, tuple(params.items()))))

    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            w = self.param('w', lambda key: Box(numbers(key, (4, 4))))
            return x @ w

    return nn.vmap(Body, {'params': 1}, {'params': True}, metadata_params={'a': 1, 'b': 2})()


def _pair(nn: Any) -> Any:
    class Pair(nn.Module):
        def setup(self):
            self.encoder = nn.Dense(4, kernel_init=numbers)
            self.decoder = nn.Dense(4, kernel_init=numbers)

        def encode(self, x):
            return self.encoder(x) + numbers(self.make_rng('noise'), x.shape)

        def decode(self, x, scale):
            return self.decoder(x) * scale

    return Pair


@TABLE.case(XS)
def several_methods(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            pair = nn.vmap(
                _pair(nn), {'params': 0}, {True: True}, in_axes=0, methods=('encode', 'decode')
            )()
            return pair.decode(pair.encode(x), jnp.arange(3.0)), pair.encode(x)

    return Net()


@TABLE.case(XS)
def arguments_for_each_method(nn: Any) -> Any:
    common = {'variable_axes': {'params': None}, 'split_rngs': {'params': False, 'noise': True}}
    methods = {
        'encode': {**common, 'out_axes': -1},
        'decode': {**common, 'in_axes': (-1, None), 'axis_name': 'b'},
    }

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            pair = nn.vmap(_pair(nn), methods=methods)()
            return pair.decode(pair.encode(x), 3.0)

    return Net()


@TABLE.case(XS)
def function_of_two_modules(nn: Any) -> Any:
    """One is ``self`` of the function, the other an argument that is not mapped."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            one, two = nn.Dense(4), nn.Dense(4, name='two')

            def run(one, two, x):
                return two(one(x)) + one(x)

            lifted = nn.vmap(run, SHARED, SPLIT, in_axes=(None, 0))
            return lifted(one, two, x), two(one(x[0]))

    return Net()


@TABLE.case(XS)
def method_as_decorator(nn: Any) -> Any:
    class Net(nn.Module):
        @functools.partial(
            nn.vmap, variable_axes=SHARED, split_rngs=SPLIT, in_axes=(0, None), out_axes=1
        )
        @nn.compact
        def __call__(self, x, scale):
            return body(nn)()(x) * scale + body(nn)()(x)

    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Net()(x, 2.0), nn.Dense(2)(x)

    return Outer()


@TABLE.case(np.stack([XS, XS + 2]))
def nested(nn: Any) -> Any:
    """An ensemble over examples over groups; keys split twice."""
    inner = nn.vmap(body(nn), SHARED, SPLIT, out_axes=1)
    return nn.vmap(inner, {True: 0}, {True: True}, axis_name='group')()


@TABLE.case(X)
def one_slice(nn: Any) -> Any:
    return nn.vmap(body(nn), {True: 0}, {True: True}, in_axes=None, axis_size=1)()


@TABLE.case(XS.astype(np.float16))
def half_precision(nn: Any) -> Any:
    dense = nn.vmap(nn.Dense, {'params': 0}, {'params': True})
    return dense(4, dtype=jnp.bfloat16, param_dtype=jnp.float16)


@TABLE.case(XS)
def parameters_that_are_scalars(nn: Any) -> Any:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            a = self.param('a', lambda key: jnp.asarray(2.0))
            return x * a * self.param('b', lambda key: numbers(key, ()))

    return nn.vmap(Body, {'params': 0}, {'params': True})()


@TABLE.case(XS)
def no_variables_at_all(nn: Any) -> Any:
    class Body(nn.Module):
        def __call__(self, x):
            return x * 2, self.has_variable('params', 'w')

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.vmap(lambda mdl, x: mdl(x)[0])(Body(), x), nn.vmap(Body, {}, {})()(x)[0]

    return Net()


@TABLE.case(XS)
def hidden_collections(nn: Any) -> Any:
    """What is sown into a collection that is not named is dropped."""
    return nn.vmap(body(nn), {'params': None, 'state': 0}, {'params': False, 'noise': True})()


@TABLE.case(XS)
def names_of_class(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            cls = nn.vmap(nn.Dense, {'params': 0}, {'params': True})
            return cls(2)(x) + cls(2)(x), cls.__name__, cls(2, name='z')(x), cls.__qualname__

    return Net()


@pytest.mark.parametrize(('name', 'mode'), TABLE.runs())
def test_vmap(name: str, mode: str) -> None:
    TABLE.run(name, mode)

"""What is warned of while a program is traced, and what looks alike and is no mistake."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import linnet.linen as nn
from linnet import errors
from linnet.configurations import config
from linnet.errors import pages

KEY = jax.random.key(0)
X = jnp.ones((2, 3))


def codes_of(run: Callable[[], Any]) -> list[str]:
    """The codes of the warnings that a program gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        run()
    return [warning.message.code for warning in caught]  # type: ignore[union-attr]


def net(body: Callable[..., Any]) -> nn.Module:
    """A module whose ``__call__`` is ``body(self, *args)``."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, *args):
            return body(self, *args)

    return Net()


WARNINGS = [
    errors.StreamFallbackWarning,
    errors.EqualMembersWarning,
    errors.PathCollisionWarning,
    errors.UnreadParametersWarning,
    errors.UnknownCollectionWarning,
    errors.StateRestartedWarning,
    errors.SownAgainWarning,
    errors.StatisticsShapeWarning,
    errors.SharedWriteWarning,
    errors.OptimizedStateWarning,
    errors.SharedNameWarning,
    errors.SharedDefaultWarning,
    errors.SameInstanceWarning,
    errors.UncalledModuleWarning,
    errors.ClosedOverWarning,
    errors.IgnoredKeywordsWarning,
    errors.ManyShapesWarning,
    errors.SingleElementWarning,
    errors.AttentionMaskWarning,
    errors.DecodeCacheWarning,
    errors.UnusedOptionWarning,
    errors.WidthWarning,
    errors.LeftOutWarning,
    errors.MissingFolderWarning,
]


@pytest.mark.parametrize('kind', WARNINGS, ids=lambda kind: kind.code)
def test_a_kind_has_a_program_and_words(kind: type[errors.SharpBitWarning]) -> None:
    assert pages.examples()[kind.code]
    assert issubclass(kind, pages.Message)
    assert str(kind('it happens', mend='do this')) == f'[{kind.code}] it happens. Mend: do this'


# Streams.


def test_a_stream_that_falls_back_and_has_no_near_miss() -> None:
    layer = nn.Dropout(0.5, deterministic=False)
    assert codes_of(lambda: layer.apply({}, X, rngs={'params': KEY, 'noise': KEY})) == []
    assert codes_of(lambda: layer.apply({}, X, rngs={'dropout': KEY, 'dropout2': KEY})) == []
    assert codes_of(lambda: layer.apply({}, X, rngs=KEY)) == []


def test_paths_that_join_alike() -> None:
    def body(self, x):
        for outer, inner in (('ab', 'cdef'), ('abc', 'def')):
            part = net(lambda m, x, inner=inner: nn.Dense(3, name=inner)(x))
            x = part.copy(name=outer)(x)
        return x

    assert codes_of(lambda: net(body).init(KEY, X)) == ['LN153']
    with config.temp_flip_flag('fix_rng_separator', True):
        assert codes_of(lambda: net(body).init(KEY, X)) == []


# Parameters that nothing reads.


class Coder(nn.Module):
    def setup(self):
        self.encoder = nn.Dense(4)
        self.decoder = nn.Dense(3)

    def encode(self, x):
        return self.encoder(x)

    def __call__(self, x):
        return self.decoder(self.encode(x))


def test_parameters_that_a_call_does_not_need() -> None:
    variables = Coder().init(KEY, X)
    assert codes_of(lambda: Coder().apply(variables, X, method='encode')) == []
    more = {**variables['params'], 'encoder': {**variables['params']['encoder'], 'lora': X}}
    with pytest.warns(errors.UnreadParametersWarning, match="never read: 'encoder/lora'"):
        Coder().apply({'params': more}, X)


def test_parameters_of_a_branch_that_init_has_made() -> None:
    def body(self, x, train):
        y = nn.Dense(3)(x)
        return (y, nn.Dense(3)(x)) if train else y

    model = net(body)
    variables = model.init(KEY, X, True)
    assert codes_of(lambda: model.apply(variables, X, False)) == []


def test_parameters_of_a_model_that_was_not_made_here() -> None:
    kernel = {'kernel': jnp.ones((3, 3)), 'bias': jnp.ones(3)}
    given = {'Dense_0': kernel, 'Dense_1': kernel, 'head': kernel}
    model = net(lambda self, x: nn.Dense(3)(x))
    assert codes_of(lambda: model.apply({'params': given}, X)) == []
    given = {'Dense_0': kernel, 'Dense_0_lora': kernel}
    assert codes_of(lambda: net(lambda s, x: nn.Dense(3)(x)).apply({'params': given}, X)) == [
        'LN251'
    ]


def test_parameters_that_are_read_as_a_whole() -> None:
    model = net(lambda self, x: (nn.Dense(3)(x), self.variables['params'].keys()))
    params = model.init(KEY, X)['params']
    assert codes_of(lambda: model.apply({'params': {**params, 'other': X}}, X)) == []
    model = net(lambda self, x: self.get_variable('params', 'a')['b'])
    assert codes_of(lambda: model.apply({'params': {'a': {'b': X}}}, X)) == []


@pytest.mark.parametrize('lift', [nn.jit, nn.remat])
def test_parameters_that_lifted_modules_read(lift: Any) -> None:
    model = net(lambda self, x: lift(nn.Dense)(3)(x))
    variables = model.init(KEY, X)
    for _ in range(2):
        assert codes_of(lambda: model.apply(variables, X)) == []


def test_stray_parameters_of_an_inner_module() -> None:
    inner = net(lambda self, x: nn.Dense(3)(x))
    kernel = {'kernel': jnp.ones((3, 3)), 'bias': jnp.ones(3)}
    given = {'params': {'part': {'Dense_0': kernel, 'Dense_0_lora': kernel}}}
    model = net(lambda self, x: inner.copy(name='part')(x))
    assert codes_of(lambda: model.apply(given, X)) == ['LN251']


# Collections.


def test_collections_that_a_model_does_not_have() -> None:
    layer = nn.Dense(3)
    variables = layer.init(KEY, X)
    run = layer.apply
    assert codes_of(lambda: run(variables, X, mutable=['batch_stats', 'intermediates'])) == []
    assert codes_of(lambda: run({**variables, 'cache': {}}, X, mutable='caches')) == ['LN252']


def test_state_that_is_made_at_its_first_call() -> None:
    def body(self, x):
        n = self.variable('state', 'n', lambda: jnp.zeros(()))
        n.value += 1
        return nn.Dense(3)(x)

    model = net(body)
    variables = model.init(KEY, X)
    assert codes_of(lambda: model.apply(variables, X, mutable=['state'])) == []
    counter = net(lambda self: setattr(self.variable('s', 'n', lambda: 0), 'value', 1))
    assert codes_of(lambda: counter.apply({}, mutable=['s'])) == []
    given = {'params': variables['params']}
    with pytest.warns(errors.StateRestartedWarning, match="'state' was not passed.*/ made it"):
        model.apply(given, X, mutable=['state'])
    cached = net(lambda self, x: (self.variable('cache', 'x', lambda: x), nn.Dense(3)(x))[1])
    given = cached.init(KEY, X)
    assert codes_of(lambda: cached.apply({'params': given['params']}, X, mutable=['cache'])) == []


_LIFTS = {
    'remat': nn.remat,
    'jit': nn.jit,
    'vmap': lambda cls: nn.vmap(
        cls, {'params': None, 'cache': 0}, {'params': False}, in_axes=None, axis_size=2
    ),
    'map_variables': lambda cls: nn.map_variables(cls, 'other', mutable=True),
}


@pytest.mark.parametrize('name', _LIFTS)
def test_state_that_is_made_under_a_transform_and_perhaps_changed(name: str) -> None:
    class Layer(nn.Module):
        changes: bool

        @nn.compact
        def __call__(self, x):
            cache = self.variable('cache', 'x', jnp.zeros, (2,))
            if self.changes:
                cache.value += 1
            return nn.Dense(2)(x)

    for changes in (False, True):
        model = _LIFTS[name](Layer)(changes)
        given = {'params': model.init(KEY, X)['params']}
        found = codes_of(lambda m=model, v=given: m.apply(v, X, mutable=['cache']))
        assert found == ['LN253'] * changes


def test_state_that_is_written_and_not_read_did_not_begin_anew() -> None:
    """A conversion for serving is such a program: it is called once, and returns what it made."""

    def body(self, x):
        kernel = self.param('kernel', nn.initializers.ones, (3, 2))
        stored = self.variable('quantized', 'kernel', jnp.zeros, (3, 2))
        stored.value = kernel
        return x @ stored.value

    params = {'params': net(body).init(KEY, X)['params']}
    assert codes_of(lambda: net(body).apply(params, X, mutable=True)) == []


def test_what_a_map_of_variables_makes_twice_has_not_changed() -> None:
    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(x) + self.variable('cache', 'x', jnp.zeros, (2,)).value

    model = nn.map_variables(Layer, 'params', init=True)()
    given = {'params': model.init(KEY, X)['params']}
    assert codes_of(lambda: model.apply(given, X, mutable=['cache'])) == []


def test_values_that_one_call_sows_several_times() -> None:
    def body(self, x):
        self.sow('intermediates', 'x', x)
        self.sow('intermediates', 'x', x)
        self.sow('sums', 'x', x, reduce_fn=lambda a, b: a + b, init_fn=lambda: 0)

    _, sown = net(body).apply({}, X, mutable=['intermediates', 'sums'])
    assert codes_of(lambda: net(body).apply({}, X, mutable=['intermediates'])) == []
    sums = {'sums': sown['sums']}
    assert codes_of(lambda: net(body).apply(sums, X, mutable=['sums'])) == []
    assert codes_of(lambda: net(body).apply(sown, X, mutable=['sums'])) == []
    assert set(codes_of(lambda: net(body).apply(sown, X, mutable=True))) == {'LN254'}


# Names.


def test_a_line_that_runs_several_times() -> None:
    def body(self, x):
        for _ in range(3):
            x = nn.Dense(3)(x)
        return x

    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            part = net(body)
            return part(part(x))

    assert codes_of(lambda: Twice().init(KEY, X)) == []


def test_two_lines_with_one_name() -> None:
    def body(self, x, mode):
        if mode:
            return nn.Dense(3, name='dense')(x)
        return nn.Dense(3, name='dense')(x)

    both = nn.init(lambda m, x: (m(x, True), m(x, False)), net(body))
    assert codes_of(lambda: both(KEY, X)) == []

    def unnamed(self, x, mode):
        if mode:
            return nn.Dense(3)(x)
        return nn.Dense(3)(x)

    both = nn.init(lambda m, x: (m(x, True), m(x, False)), net(unnamed))
    with pytest.warns(errors.SharedNameWarning) as caught:
        both(KEY, X)
    first = unnamed.__code__.co_firstlineno
    assert re.findall(r'test_checks.py:(\d+)', str(caught[0].message)) == [
        str(first + 2),
        str(first + 3),
    ]


def test_defaults_that_are_not_shared() -> None:
    class Block(nn.Module):
        layer: Any = nn.Dense(3)

        def __call__(self, x):
            return self.layer(x)

    assert codes_of(lambda: Block().init(KEY, X)) == []
    own = net(lambda self, x: Block(nn.Dense(3, use_bias=False))(Block()(x)))
    assert codes_of(lambda: own.init(KEY, X)) == []
    held = nn.Sequential([Block(), Block()])
    assert codes_of(lambda: held.init(KEY, X)) == ['LN352']


def test_layers_that_stand_in_two_places() -> None:
    drop = nn.Dropout(0.5, deterministic=True)
    assert codes_of(lambda: nn.Sequential([drop, nn.Dense(3), drop, nn.relu]).init(KEY, X)) == []
    assert codes_of(lambda: nn.Sequential([nn.Dense(3)] * 3).init(KEY, X)) == ['LN353']


def test_modules_that_are_results() -> None:
    assert codes_of(lambda: nn.apply(lambda m: m, nn.Dense(3))({})) == []
    assert codes_of(lambda: nn.Dense(3).apply({}, method=lambda m: m)) == []
    assert codes_of(lambda: net(lambda self: nn.Dense(3)).apply({})) == ['LN354']


# Transforms.


def test_members_that_are_equal_anyway() -> None:
    axes, one = {'params': 0}, {'params': False}
    scale = net(lambda self, x: x * self.param('scale', nn.initializers.ones, (3,)))
    many = nn.vmap(type(scale), axes, one, in_axes=None, axis_size=2)
    assert codes_of(lambda: many().init(KEY, X)) == []
    shared = nn.vmap(nn.Dense, {'params': None}, one)
    assert codes_of(lambda: shared(3).init(KEY, X)) == []


def test_modules_that_are_closed_over() -> None:
    def body(self, x, axes, split):
        dense = nn.Dense(3)
        run = nn.vmap(lambda module, x: dense(x), variable_axes=axes, split_rngs=split)
        return run(self, x)

    shared = {'params': None}, {'params': False}
    assert codes_of(lambda: net(lambda s, x: body(s, x, *shared)).init(KEY, X)) == []
    plain = net(lambda self, x: jax.vmap(nn.Dense(3))(x))
    assert codes_of(lambda: plain.init(KEY, X)) == []
    own = {'params': 0}, {'params': True}
    assert set(codes_of(lambda: net(lambda s, x: body(s, x, *own)).init(KEY, X))) == {'LN451'}

    def inside(self, x):
        other = nn.Dense(3).init_with_output(KEY, x)[0]  # a call of its own
        return nn.vmap(lambda m, x: m(x) + other[0], *own)(nn.Dense(3), x)

    assert codes_of(lambda: net(inside).init(KEY, X)) == []

    class Noise(nn.Module):
        def __call__(self, x):
            return x + jax.random.normal(self.make_rng('noise'))

    mapped = nn.vmap(nn.map_variables(Noise, 'params'), split_rngs={'noise': True})()
    assert codes_of(lambda: mapped.apply({}, X, rngs={'noise': KEY})) == []


def test_shared_variables_that_a_loop_leaves_alone() -> None:
    class Step(nn.Module):
        write: bool = False

        @nn.compact
        def __call__(self, carry, x):
            n = self.variable('state', 'n', jnp.zeros, ())
            if self.write:
                n.value += 1
            return nn.remat(nn.Dense)(3)(carry) + n.value, x

    def loop(**options):
        return nn.scan(Step, variable_broadcast=['params', 'state'], split_rngs={'params': False})(
            **options
        )

    assert codes_of(lambda: loop().init(KEY, X[0], X)) == []
    variables = loop().init(KEY, X[0], X)
    run = loop().apply
    assert codes_of(lambda: run(variables, X[0], X, mutable=['state'])) == []
    run = loop(write=True).apply
    assert set(codes_of(lambda: run(variables, X[0], X, mutable=['state']))) == {'LN256'}


def test_programs_for_few_shapes() -> None:
    layer = nn.Dropout(0.5, deterministic=True)
    run = jax.jit(layer.apply)

    def calls(sizes):
        for size in sizes:
            run({}, jnp.ones(size))

    assert codes_of(lambda: calls(range(1, 12))) == []
    assert codes_of(lambda: calls(range(1, 12))) == []
    assert codes_of(lambda: calls(range(12, 16))) == ['LN453']

    def eagerly():
        for size in range(1, 15):
            layer.apply({}, jnp.ones(size))

    assert codes_of(eagerly) == []


# What is said where JAX or Python would speak of their own affairs.


def test_a_list_that_has_become_a_tuple() -> None:
    class Net(nn.Module):
        def setup(self):
            self.layers = [nn.Dense(3)]
            self.layers.index(3)

        def __call__(self):
            return self.layers

    with pytest.raises(ValueError, match='not in tuple'):
        Net().apply({})


def test_a_tuple_that_was_one_before() -> None:
    with pytest.raises(AttributeError, match="'tuple' object has no attribute 'first'"):
        net(lambda self: (1, 2).first).apply({})  # type: ignore[attr-defined]


def test_layers_that_were_not_called() -> None:
    with pytest.raises(errors.InputDtypeError, match='a Dense that has not been called'):
        net(lambda self, x: nn.Dense(3)(nn.Dense(3))).init(KEY, X)
    with pytest.raises(errors.ModuleArgumentError, match=r'got an array for rate.*'):
        jax.jit(lambda layer: 0)(nn.Dropout(X))

    def unknown(self, x):
        nn.Dense(3)
        raise TypeError('of linnet. itself')

    with pytest.raises(TypeError, match='of linnet'):
        net(unknown).init(KEY, X)


def test_an_initialiser_that_does_not_tell_its_arguments() -> None:
    with pytest.raises(TypeError, match='dict'):
        net(lambda self: self.param('w', dict, 3, 4)).init(KEY)


def test_shapes_of_a_module_that_does_not_hash() -> None:
    class Scaled(nn.Module):
        scale: Any

        def __call__(self, x):
            return self.scale * x

    run = jax.jit(Scaled(jnp.ones(1)).apply)
    assert codes_of(lambda: [run({}, jnp.ones(size)) for size in range(1, 14)]) == []


def test_an_error_of_the_users_own_stays() -> None:
    def refuse(key):
        raise TypeError('my own')

    with pytest.raises(TypeError, match='my own'):
        net(lambda self: self.param('w', refuse)).init(KEY)
    with pytest.raises(TypeError, match='my own'):
        net(lambda self: self.variable('s', 'w', lambda: refuse(0))).init(KEY)
    with pytest.raises(TypeError, match='must be a str'):
        net(lambda self: self.param(3, refuse)).init(KEY)
    with pytest.raises(errors.InvalidInitializerError, match=r'called as refuse\(key, 3\)'):
        net(lambda self: self.param('w', refuse, 3)).init(KEY)


def test_a_flag_given_by_keyword() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return x if train else 2 * x

    with pytest.raises(
        errors.TracedFlagError, match=r'static_argnums=\(2,\)\), with train given by'
    ):
        nn.jit(Net)().apply({}, X, train=True)
    with pytest.raises(errors.TracedFlagError, match="static_argnames='train'"):
        jax.jit(Net().apply)({}, X, True)
    assert nn.jit(Net, static_argnums=(2,))().apply({}, X, True).shape == (2, 3)


def test_parameters_that_apply_itself_makes_are_read() -> None:
    class Growing(nn.Module):
        wide: bool = False

        @nn.compact
        def __call__(self, x):
            x = nn.Dense(3)(x)
            return nn.Dense(3, name='extra')(x) if self.wide else x

    variables = Growing().init(KEY, X)
    _, made = Growing(wide=True).apply(variables, X, rngs={'params': KEY}, mutable=True)
    assert set(made['params']) == {'Dense_0', 'extra'}

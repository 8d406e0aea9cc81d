"""Blocks met again: the same program, numbers, keys and trees as when each block is traced."""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.configurations import config
from linnet.errors.variables import ScopeParamShapeError
from linnet.linen.module import reuse
from linnet.sharp_bits import silence

X = jnp.arange(8.0).reshape(2, 4) / 8
KEYS = {'params': jax.random.key(0), 'dropout': jax.random.key(1)}


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Turns the flag on; the paths of the modules that were not traced."""
    paths: list[str] = []
    put = reuse.Known.put

    def counted(self: Any, meeting: Any) -> Any:
        paths.append('/'.join(meeting.scope.path))
        return put(self, meeting)

    monkeypatch.setattr(reuse.Known, 'put', counted)
    with config.temp_flip_flag('linnet_reuse_traces', True):
        yield paths


class MLP(nn.Module):
    width: int = 8

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.Dense(x.shape[-1])(nn.gelu(nn.Dense(self.width)(x)))


class Block(nn.Module):
    rate: float = 0.0
    norm: Callable[..., Any] = nn.LayerNorm

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        x = x + MLP()(self.norm()(x))
        return nn.Dropout(self.rate, deterministic=not train)(x)


class Sown(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        y = nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(x))
        self.sow('intermediates', 'y', y)
        self.sow('intermediates', 'sums', y.sum())
        count = self.variable('state', 'count', lambda: jnp.zeros(()))
        if self.is_mutable_collection('state'):
            count.value = count.value + y.mean()
        return y


class WithSetup(nn.Module):
    def setup(self) -> None:
        self.mlp = MLP()
        self.out = nn.Dense(4)

    def __call__(self, x: Any, train: bool = False) -> Any:
        return self.out(self.mlp(x))


RematBlock = nn.remat(Block, static_argnums=(2,))
RematSown = nn.remat(Sown, static_argnums=(2,), policy=jax.checkpoint_policies.dots_saveable)
RematSetup = nn.remat(WithSetup)


class Around(nn.Module):
    """Has a block under ``nn.remat``, and draws beside it."""

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        return nn.Dropout(0.5, deterministic=not train)(x) + RematBlock(0.5)(x, train)


@dataclasses.dataclass(frozen=True)
class Sizes:
    width: int = 3


class Configured(nn.Module):
    sizes: Sizes
    act: Callable[..., Any] = nn.relu

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        return nn.Dense(4)(self.act(nn.Dense(self.sizes.width)(x)))


class Stack(nn.Module):
    """Applies a block made anew ``n`` times, or what ``make`` gives for a number."""

    make: Callable[[int], Any]
    n: int = 4

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        for i in range(self.n):
            x = self.make(i)(x, train)
        return x


MODELS: dict[str, Callable[[], nn.Module]] = {
    'plain': lambda: Stack(lambda i: Block()),
    'dropout': lambda: Stack(lambda i: Block(0.5)),
    'norm class': lambda: Stack(lambda i: Block(0.5, nn.RMSNorm)),
    'sown': lambda: Stack(lambda i: Sown()),
    'setup': lambda: Stack(lambda i: WithSetup()),
    'configured': lambda: Stack(lambda i: Configured(Sizes(3))),
    'two kinds': lambda: Stack(lambda i: Configured(Sizes(3 + i % 2)), 6),
    'named': lambda: Stack(lambda i: Block(0.5, name=f'block_{i}')),
    'remat': lambda: Stack(lambda i: RematBlock(0.5)),
    'remat made anew': lambda: Stack(lambda i: nn.remat(Block, static_argnums=(2,))(0.5)),
    'remat of a partial': lambda: Stack(
        lambda i: nn.remat(functools.partial(Block, 0.5), static_argnums=(2,))()
    ),
    'remat sown': lambda: Stack(lambda i: RematSown()),
    'remat setup': lambda: Stack(lambda i: RematSetup()),
    'remat in a block': lambda: Stack(lambda i: Around()),
}


def compiled(lowered: Any) -> list[str]:
    """The operations that XLA makes of a program, without names and places in the source."""
    text = re.sub(r', metadata={[^}]*}', '', lowered.compile().as_text())
    text = re.sub(r'%[\w.-]+|\b[a-z_]+[\w-]*[.][\w.-]+', 'n', text)
    return sorted(line for line in text.splitlines() if ' = ' in line)


def train_and_evaluate(model: nn.Module, variables: Any) -> Callable[[], Any]:
    """What a jitted call in training returns, and the program of one in evaluation."""

    def run() -> Any:
        def train(variables: Any, key: Any) -> Any:
            return model.apply(variables, X, True, rngs={'dropout': key}, mutable=True)

        def evaluate(variables: Any) -> Any:
            return model.apply(variables, X, mutable=['intermediates'])

        program = compiled(jax.jit(evaluate).lower(variables))
        return jax.jit(train)(variables, KEYS['dropout']), program

    return run


@pytest.mark.parametrize('name', MODELS)
def test_numbers_trees_and_programs_are_the_same(name: str, puts: list[str]) -> None:
    model = MODELS[name]()
    variables = model.init(KEYS, X)
    run = train_and_evaluate(model, variables)
    reused, program = run()
    assert len(puts) >= 6
    with config.temp_flip_flag('linnet_reuse_traces', False):
        traced, wanted = run()
    assert program == wanted
    assert jax.tree.structure(reused) == jax.tree.structure(traced)
    jax.tree.map(np.testing.assert_array_equal, reused, traced)


def test_profiles_tell_the_path_of_each_block(puts: list[str]) -> None:
    model = MODELS['plain']()
    variables = model.init(KEYS, X)
    text = jax.jit(lambda v: model.apply(v, X)).lower(variables).compile().as_text()
    assert 'Block_0/MLP_0/Dense_1/dot_general' in text
    assert 'Block_3/jit(Block)/MLP_0/Dense_1/dot_general' in text


def test_each_block_has_a_mask_of_its_own(puts: list[str]) -> None:
    class Masked(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.Dropout(0.5, deterministic=False)(x)

    class Masks(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            twice = Masked()
            return jnp.stack([Masked()(x) for _ in range(3)] + [twice(x), twice(x)])

    masks = jax.jit(lambda key: Masks().apply({}, jnp.ones(64), rngs={'dropout': key}))(
        KEYS['params']
    )
    assert puts == ['Masked_2', 'Masked_3', 'Masked_0', 'Masked_0']
    assert len(np.unique(masks, axis=0)) == 5
    with config.temp_flip_flag('linnet_reuse_traces', False):
        np.testing.assert_array_equal(
            masks, Masks().apply({}, jnp.ones(64), rngs={'dropout': KEYS['params']})
        )


def program_of(model: nn.Module, variables: Any) -> list[str]:
    """The program of a model's ``apply``."""
    return compiled(jax.jit(lambda v, x: model.apply(v, x)).lower(variables, X))


def reuses(make: Callable[[int], Any]) -> bool:
    """Whether blocks are reused; the programs are compared in any case."""
    model = Stack(make, 4)
    with config.temp_flip_flag('linnet_reuse_traces', False):
        variables = model.init(KEYS, X)
        wanted = program_of(model, variables)
    seen: list[Any] = []
    put = reuse.Known.put
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reuse.Known, 'put', lambda *args: [seen.append(args), put(*args)][1])
        assert program_of(model, variables) == wanted
    return bool(seen)


COUNTER = 0
SEEN: list[Any] = []
TABLE = {'scale': 2.0}
ARRAY = np.ones(4)
FACTOR = 2.0
SHARED = nn.Dense(4)
draw = np.random.default_rng(0).normal


def remember(x: Any) -> Any:
    SEEN.append(x.shape)
    return x


def set_factor(factor: float) -> None:
    global FACTOR
    FACTOR = factor


def scaled(x: Any) -> Any:
    return x * FACTOR


class Reads(nn.Module):
    """A block that calls a function on itself and its input."""

    @nn.compact
    def __call__(self, x: Any, train: Any = False) -> Any:
        return nn.Dense(4)(x)


def block(body: Callable[[Any, Any], Any], **fields: Any) -> type[Reads]:
    """A class of blocks whose ``__call__`` is ``body``."""
    call = types.FunctionType(body.__code__, globals(), '__call__', None, body.__closure__)
    call.__defaults__ = (False,)
    space = {'__call__': nn.compact(call), '__module__': __name__, **fields}
    return type('Made', (Reads,), space)


def plain(self: Any, x: Any, train: Any = False) -> Any:
    return scaled(nn.Dense(4)(x))


def count_up(self: Any, x: Any, train: Any = False) -> Any:
    global COUNTER
    COUNTER += 1
    return nn.Dense(4)(x) * COUNTER


def own_name(self: Any, x: Any, train: Any = False) -> Any:
    return x * int(self.name[-1])


def own_path(self: Any, x: Any, train: Any = False) -> Any:
    return x * len('/'.join(self.path))


def through_a_helper(self: Any, x: Any, train: Any = False) -> Any:
    return remember(nn.Dense(4)(x))


def of_a_table(self: Any, x: Any, train: Any = False) -> Any:
    return x * TABLE['scale']


def of_an_array(self: Any, x: Any, train: Any = False) -> Any:
    return x * ARRAY


def of_numpy(self: Any, x: Any, train: Any = False) -> Any:
    return x + np.random.random() * 0


def of_a_generator(self: Any, x: Any, train: Any = False) -> Any:
    return x + abs(draw()) * 0


def printing(self: Any, x: Any, train: Any = False) -> Any:
    print(end='')
    return x + 1


def calling_back(self: Any, x: Any, train: Any = False) -> Any:
    jax.debug.callback(remember, x)
    return x + 1


def importing(self: Any, x: Any, train: Any = False) -> Any:
    import math

    return x * math.pi


def by_getattr(self: Any, x: Any, train: Any = False) -> Any:
    return x * len(getattr(self, 'na' + 'me'))


def returning_a_dict(self: Any, x: Any, train: Any = False) -> Any:
    return {'y': x['y'] + 1} if isinstance(x, dict) else {'y': x}


def returning_a_number(self: Any, x: Any, train: Any = False) -> Any:
    return 1.0


def with_a_class(self: Any, x: Any, train: Any = False) -> Any:
    class Inner:
        scale = 2.0

    return x * Inner.scale


def of_a_dict_of_parameters(self: Any, x: Any, train: Any = False) -> Any:
    for scale in self.param('scales', lambda key: {'b': X[0], 'a': X[1]}).values():
        x = x * scale + 1
    return x


def of_a_dict_in_a_variable(self: Any, x: Any, train: Any = False) -> Any:
    for scale in self.variable('params', 'scales', lambda: {'b': X[0], 'a': X[1]}).value.values():
        x = x * scale + 1
    return x


def of_class_state(self: Any, x: Any, train: Any = False) -> Any:
    self.state['n'] = self.state.get('n', 0) + 1
    return x * self.state['n']


IMPURE = (
    own_name,
    own_path,
    through_a_helper,
    of_a_table,
    of_an_array,
    of_numpy,
    of_a_generator,
    printing,
    calling_back,
    importing,
    by_getattr,
    returning_a_dict,
    returning_a_number,
    with_a_class,
    of_a_dict_of_parameters,
    of_a_dict_in_a_variable,
)


@pytest.mark.parametrize('body', IMPURE, ids=lambda body: body.__name__)
def test_what_cannot_be_proved_is_traced_as_ever(body: Any, puts: list[str]) -> None:
    cls, control = block(body), block(plain)
    assert not reuses(lambda i: cls())
    assert reuses(lambda i: control())


def test_state_outside_of_a_block_counts_on(puts: list[str]) -> None:
    global COUNTER
    for cls in (block(count_up), block(of_class_state, state={})):
        COUNTER = 0
        getattr(cls, 'state', {}).clear()
        model = Stack(lambda i, cls=cls: cls())
        variables = model.init(KEYS, X)
        factors = []
        for reuse_traces in (False, True):
            COUNTER = 0
            getattr(cls, 'state', {}).clear()
            with config.temp_flip_flag('linnet_reuse_traces', reuse_traces):
                factors.append(jax.jit(lambda v, m=model: m.apply(v, X))(variables))
        np.testing.assert_array_equal(*factors)
    assert not puts


class Scaled(nn.Module):
    factor: Any = 1

    @nn.compact
    def __call__(self, x: Any, train: Any = False) -> Any:
        return nn.Dense(4)(x) * jnp.asarray(self.factor)


class Holding(nn.Module):
    inner: nn.Module

    @nn.compact
    def __call__(self, x: Any, train: Any = False) -> Any:
        return self.inner(x)


class Constructed(Scaled):
    def __post_init__(self) -> None:
        self.factor = self.factor + 1
        super().__post_init__()


class Attributes(Scaled):
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


@pytest.mark.parametrize(
    'make',
    [
        lambda i: Scaled(jnp.ones(4)),
        lambda i: Scaled(np.ones(4)),
        lambda i: Holding(nn.Dense(4)),
        lambda i: Constructed(1),
        lambda i: Attributes(1),
        lambda i: Scaled(SHARED.features + i),
        lambda i: Scaled((1, True, 1.0, np.float32(1))[i]),
        lambda i: nn.Dense(4),
        lambda i: nn.remat(MLP, policy=lambda *args, **kwargs: False)(),
    ],
)
def test_other_fields_and_classes_are_traced_as_ever(make: Any, puts: list[str]) -> None:
    def call(i: int) -> Any:
        made = make(i)
        return lambda x, train: made(x)

    assert not reuses(call)


def test_fields_that_are_equal_and_of_one_type_are_reused(puts: list[str]) -> None:
    assert reuses(lambda i: Scaled(1.5))
    assert reuses(lambda i: Scaled(np.float32(2)))
    assert reuses(lambda i: Configured(Sizes(2), nn.initializers.normal(0.1) and nn.gelu))


def test_a_name_that_stands_for_something_else_is_seen(puts: list[str]) -> None:
    cls = block(plain)

    def make(i: int) -> Any:
        set_factor(2.0 + i // 2)
        return cls()

    assert not reuses(make)
    set_factor(2.0)
    assert reuses(lambda i: cls())


@pytest.mark.parametrize('sizes', [lambda: Sizes(2), Sizes], ids=['equal', 'the same'])
def test_a_name_that_a_function_in_a_field_mentions_is_seen(
    sizes: Callable[[], Sizes], puts: list[str]
) -> None:
    same = Sizes(2)
    fields = (sizes() if sizes is not Sizes else same, scaled)

    def make(i: int) -> Any:
        set_factor(2.0 + i // 2)
        return Configured(*fields)

    assert not reuses(make)
    set_factor(2.0)
    assert reuses(lambda i: Configured(*fields))


def test_a_partial_in_a_field_that_is_changed_in_place_is_seen(puts: list[str]) -> None:
    act = functools.partial(nn.leaky_relu, negative_slope=0.0)

    def make(i: int) -> Any:
        act.keywords['negative_slope'] = i / 8
        return Configured(Sizes(2), act)

    assert not reuses(make)
    assert reuses(lambda i: Configured(Sizes(2), act))


@pytest.mark.parametrize('traced', [False, True])
def test_closures_are_seen(traced: bool, puts: list[str]) -> None:
    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            offset: Any = x.sum() if traced else 1.0

            class Inner(nn.Module):
                @nn.compact
                def __call__(self, x: Any) -> Any:
                    return nn.Dense(4)(x) + offset

            for _ in range(3):
                x = Inner()(x)
            offset = 2.0
            for _ in range(3):
                x = Inner()(x)
            return Inner()(x)

    variables = Outer().init(KEYS, X)
    reused = jax.jit(Outer().apply)(variables, X)
    assert puts == ([] if traced else [f'Inner_{i}' for i in (1, 2, 4, 5, 6)])
    with config.temp_flip_flag('linnet_reuse_traces', False):
        np.testing.assert_array_equal(reused, jax.jit(Outer().apply)(variables, X))


def test_other_kinds_of_arguments_make_other_programs(puts: list[str]) -> None:
    class Mixed(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            y = [Block()(x), Block()(x.astype(jnp.bfloat16)), Block()(x[:1]), Block()(x, True)]
            return y, Block()(x), [Pair()((x, None)), Pair()([x, None]), Pair()((x, None))]

    class Pair(nn.Module):
        @nn.compact
        def __call__(self, pair: Any) -> Any:
            return nn.Dense(3)(pair[0])

    variables = Mixed().init(KEYS, X)
    reused = jax.jit(Mixed().apply)(variables, X)
    assert puts == ['Block_1/MLP_0', 'Block_3/MLP_0', 'Block_4', 'Pair_2']
    with config.temp_flip_flag('linnet_reuse_traces', False):
        wanted = jax.jit(Mixed().apply)(variables, X)
    jax.tree.map(np.testing.assert_array_equal, reused, wanted)


MODEL = MODELS['dropout']()


def apply(variables: Any, **options: Any) -> Any:
    return MODEL.apply(variables, X, True, rngs={'dropout': KEYS['dropout']}, **options)


def intercepted(variables: Any) -> Any:
    with nn.intercept_methods(lambda fn, args, kwargs, context: fn(*args, **kwargs)):
        return apply(variables)


class Heads(nn.Module):
    """Uses its input several times."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        heads = [jnp.tanh(nn.Dense(4)(x)) for _ in range(3)]
        return heads[0] * heads[1] + heads[2] * jnp.where(x > 0.5, x, x * x) / 3


class Residual(nn.Module):
    """Uses its input in a block and outside of it."""

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        return x / 3 + Heads()(x) * jnp.sin(x)


TRANSFORMED: dict[str, Callable[[Any], Any]] = {
    'grad': lambda f: jax.grad(lambda v, x: f(v, x).sum(), (0, 1)),
    'grad of a compiled function': lambda f: jax.grad(jax.jit(lambda v, x: f(v, x).sum()), (0, 1)),
    'grad of remat': lambda f: jax.grad(jax.checkpoint(lambda v, x: f(v, x).sum()), (0, 1)),
    'vmap': lambda f: jax.vmap(f, (None, 0)),
    'grad of vmap': lambda f: jax.grad(lambda v, x: jax.vmap(f, (None, 0))(v, x).sum(), (0, 1)),
    'jvp': lambda f: lambda v, x: jax.jvp(lambda x: f(v, x), (x,), (x,)),
    'hessian': lambda f: jax.hessian(lambda v, x: f(v, x).sum(), 1),
}


RematResidual = nn.remat(Residual, static_argnums=(2,))
MADE: dict[str, Callable[[], nn.Module]] = {
    'residual': Residual,
    'block': lambda: Block(0.5),
    'remat residual': RematResidual,
    'remat block': lambda: RematBlock(0.5),
    'around': Around,
}


@pytest.mark.parametrize('how', TRANSFORMED)
@pytest.mark.parametrize('make', MADE.values(), ids=MADE)
def test_derivatives_and_maps_are_the_same_to_the_bit(make: Any, how: str, puts: list[str]) -> None:
    model = Stack(lambda i: make())
    variables = model.init(KEYS, X)

    def apply(variables: Any, x: Any) -> Any:
        return model.apply(variables, x, True, rngs={'dropout': KEYS['dropout']})

    reused = jax.jit(TRANSFORMED[how](apply))(variables, X)
    assert len(puts) >= 3
    with config.temp_flip_flag('linnet_reuse_traces', False):
        traced = jax.jit(TRANSFORMED[how](apply))(variables, X)
    jax.tree.map(np.testing.assert_array_equal, reused, traced)


WATCHED: dict[str, Callable[[Any], Any]] = {
    'eager': apply,
    'eager grad': jax.grad(lambda v: apply(v).sum()),
    'interceptor': jax.jit(intercepted),
    'intermediates': jax.jit(lambda v: apply(v, capture_intermediates=True)),
    'init': lambda v: jax.jit(lambda key: MODEL.init(key, X))(KEYS['params']),
}


@pytest.mark.parametrize('how', WATCHED)
def test_under_observation_and_other_transforms_all_is_traced(how: str, puts: list[str]) -> None:
    WATCHED[how](MODEL.init(KEYS, X))
    assert not puts


@pytest.mark.parametrize('transform', ['remat', 'scan', 'grad'])
def test_around_and_inside_of_transforms_the_numbers_are_the_same(
    transform: str, puts: list[str]
) -> None:
    class Scanned(nn.Module):
        @nn.compact
        def __call__(self, x: Any, train: bool = False) -> Any:
            def body(layer: Any, x: Any) -> Any:
                return layer(layer(x)), None

            layers = nn.scan(body, {'params': 0}, split_rngs={'params': True}, length=2)
            return layers(MLP(), x)[0]

    class Remat(nn.Module):
        @nn.compact
        def __call__(self, x: Any, train: bool = False) -> Any:
            return nn.remat(lambda layer, x: layer(x))(MLP(), x)

    make = {'remat': Remat, 'scan': Scanned, 'grad': Block}[transform]
    model = Stack(lambda i: make())
    variables = model.init(KEYS, X)

    def run(variables: Any) -> Any:
        if transform == 'grad':
            inner = jax.checkpoint(lambda v: model.apply(v, X).sum())
            return jax.grad(inner)(variables)
        return model.apply(variables, X)

    reused = jax.jit(lambda v: run(v))(variables)
    with config.temp_flip_flag('linnet_reuse_traces', False):
        wanted = jax.jit(lambda v: run(v))(variables)
    jax.tree.map(np.testing.assert_array_equal, reused, wanted)


def test_what_init_and_apply_find_odd_is_still_said(puts: list[str]) -> None:
    model = MODELS['dropout']()
    variables = model.init(KEYS, X)
    stray = {'params': {**variables['params'], 'Block_9': {'w': X}}}

    def apply(v: Any) -> Any:
        return model.apply(v, X)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        jax.jit(apply)(stray)
    assert len(puts) == 3
    assert [type(w.message).__name__ for w in said] == ['UnreadParametersWarning']
    assert 'Block_9' in str(said[0].message)


def test_a_name_that_two_lines_give_is_still_seen_in_blocks_that_were_not_traced(
    puts: list[str],
) -> None:
    class Inner(nn.Module):
        @nn.compact
        def __call__(self, x: Any, twice: bool = False) -> Any:
            if twice:
                return nn.relu(nn.Dense(4)(x))
            return nn.Dense(4)(x)

    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x: Any, twice: bool = False) -> Any:
            for _ in range(3):
                inner = Inner()
                x = inner(x)
            return inner(x, twice=twice)

    class Most(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            for _ in range(3):
                outer = Outer()
                x = outer(x)
            return outer(x, twice=True)

    with silence('LN351'):
        variables = jax.eval_shape(Most().init, KEYS, X)
    said = []
    for reuse_traces in (True, False):
        with (
            config.temp_flip_flag('linnet_reuse_traces', reuse_traces),
            warnings.catch_warnings(record=True) as found,
        ):
            warnings.simplefilter('always')
            jax.make_jaxpr(lambda v: Most().apply(v, X))(variables)
        said.append([str(w.message) for w in found])
    assert {'Outer_1', 'Outer_2'} <= set(puts)
    assert said[0] == said[1]
    assert 'Dense_0 is made in two lines' in said[0][0]


def test_an_error_in_a_later_block_is_the_one_it_always_was(puts: list[str]) -> None:
    variables = MODEL.init(KEYS, X)
    kernel = variables['params']['Block_3']['MLP_0']['Dense_0']['kernel']
    variables['params']['Block_3']['MLP_0']['Dense_0']['kernel'] = kernel[:2]
    said = []
    for reuse_traces in (True, False):
        flag = config.temp_flip_flag('linnet_reuse_traces', reuse_traces)
        with flag, pytest.raises(ScopeParamShapeError) as error:
            jax.jit(lambda v: apply(v))(variables)
        assert error.value.__context__ is None
        said.append(str(error.value))
    assert said[0] == said[1]
    assert '/Block_3/MLP_0' in said[0]

"""Sequential, BatchApply, WeightNorm and SpectralNorm against the oracle."""

from __future__ import annotations

import functools
from collections import OrderedDict, namedtuple
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.parity.harness import Library, compare, same, same_error

# Some programs put one layer in two places, which is what they test.
pytestmark = pytest.mark.filterwarnings('ignore::linnet.errors.SameInstanceWarning')

KEY = jax.random.key(0)
Pair = namedtuple('Pair', 'a b')


def array(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


# Sequential.

NEXT = st.sampled_from(
    [
        3,
        None,
        (1, 2),
        (),
        [1, 2],
        Pair(1, 2),
        {'a': 1},
        {},
        OrderedDict(a=1, b=2),
        'text',
    ]
)


@given(
    st.lists(NEXT, min_size=1, max_size=4),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from('xyz'), st.integers(), max_size=2),
    st.booleans(),
)
def test_how_arguments_travel(results: Any, args: Any, kwargs: Any, as_tuple: bool) -> None:
    def program(lib: Library) -> Any:
        calls: list[Any] = []

        def spy(result: Any) -> Any:
            return lambda *args, **kwargs: calls.append((list(args), kwargs)) or result

        layers = [spy(result) for result in results]
        model = lib.nn.Sequential(tuple(layers) if as_tuple else layers)
        return model.apply({}, *args, **kwargs), calls

    same(program)


def nested(nn: Any) -> Any:
    shared = nn.Dense(4)
    return nn.Sequential(
        [
            nn.Dense(4, name='first'),
            nn.relu,
            nn.Sequential([shared, lambda x: nn.Dense(4)(x), shared]),
            nn.Dropout(0.5, deterministic=False),
            nn.BatchNorm(False),
        ]
    )


def inside_compact(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.Sequential([nn.Dense(3), nn.relu, nn.Dense(2, name='last')], name='model')(x)

    return Net()


def inside_setup(nn: Any) -> Any:
    class Net(nn.Module):
        def setup(self) -> None:
            self.model = nn.Sequential([nn.Dense(3), nn.relu, nn.Dense(2)])

        def __call__(self, x: Any) -> Any:
            return self.model(x), len(self.model.layers)

    return Net()


@pytest.mark.parametrize('build', [nested, inside_compact, inside_setup])
def test_every_mode_of_sequential(build: Any) -> None:
    stats = ['batch_stats']
    compare(build, (array(3, 4),), ['dropout'], apply={'mutable': stats}, mutable=stats)


@pytest.mark.parametrize(
    'program',
    [
        lambda nn: nn.Sequential([]).init(KEY, 1),
        lambda nn: nn.Sequential(3),
        lambda nn: nn.Sequential({'a': nn.relu}),
        lambda nn: nn.Sequential(layer for layer in [nn.relu]),
    ],
)
def test_errors_of_sequential_are_of_the_same_kind(program: Any) -> None:
    same_error(lambda lib: program(lib.nn))


# BatchApply.


@pytest.mark.filterwarnings('ignore::linnet.errors.WidthWarning')
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
    st.integers(-3, 4).filter(bool),
    st.data(),
)
def test_batch_apply(shape: Any, num_dims: int, data: Any) -> None:
    few = data.draw(st.integers(0, len(shape)))
    args = (array(*shape), array(*shape[:few]))
    assume(num_dims <= len(shape))
    assume(all(np.ndim(x) < num_dims or np.shape(x)[:num_dims] for x in args))

    def program(lib: Library) -> Any:
        seen: list[Any] = []

        def f(x: Any, y: Any, *, z: Any) -> Any:
            seen.append([list(a.shape) for a in (x, y, z)])
            return {'x': x * 2, 'z': z}

        return lib.nn.BatchApply(f, num_dims)(*args, z=args[0]), seen

    same(program)


def test_every_mode_of_batch_apply() -> None:
    def build(nn: Any) -> Any:
        class Net(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                return nn.BatchApply(nn.BatchNorm(False))(nn.BatchApply(nn.Dense(3))(x))

        return Net()

    stats = ['batch_stats']
    compare(build, (array(2, 3, 4),), apply={'mutable': stats}, mutable=stats)


def test_the_functions_of_batch_apply() -> None:
    def program(lib: Library) -> Any:
        functions = lib.load('linen.batch_apply')
        x = array(2, 3, 4)
        return [
            functions.merge_leading_dims(x, 2),
            functions.merge_leading_dims(x, 4),
            functions.merge_leading_dims(3, 2),
            functions.split_leading_dim(array(6, 4), (2, 3)),
            functions.arbitrary_mergeable_leaf(2, (array(3), x), {'a': array(5, 5)}),
            functions.arbitrary_mergeable_leaf(2, (array(3),), {'a': x}),
            functions.arbitrary_mergeable_leaf(2, (array(3),), {}),
            [functions.ndim_at_least(y, n) for y in (x, 1, [1, 2]) for n in (0, 1, 3, 4)],
        ]

    same(program)


def test_errors_of_batch_apply_are_of_the_same_kind() -> None:
    same_error(lambda lib: lib.nn.BatchApply(lambda x: x, 3)(array(2, 3)))


# WeightNorm and SpectralNorm.


def random_init(key: Any, shape: Any, dtype: Any) -> Any:
    return jax.random.normal(key, tuple(shape), dtype)


def two_layers(nn: Any) -> Any:
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.Dense(2, bias_init=random_init)(nn.relu(nn.Dense(3, name='a')(x)))

    return Two()


def weight_norm(**options: Any) -> Any:
    def build(nn: Any) -> Any:
        class Net(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                x = nn.WeightNorm(nn.Dense(4), **options)(x)
                return nn.WeightNorm(two_layers(nn), **options, name='second')(x)

        return Net()

    return build


def spectral_norm(*, both: bool = True, **options: Any) -> Any:
    def build(nn: Any) -> Any:
        class Net(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                x = nn.SpectralNorm(nn.Dense(4), **options)(x, update_stats=True)
                return nn.SpectralNorm(two_layers(nn), **options)(x, update_stats=both)

        return Net()

    return build


def same_program(build: Any, mutable: Any) -> None:
    """The same variables, and the same traced program: equal programs give equal bits."""

    def program(lib: Library) -> Any:
        model, x = build(lib.nn), array(3, 4)
        variables = model.init(KEY, x)
        apply = functools.partial(model.apply, mutable=mutable)
        return variables, str(jax.make_jaxpr(apply)(variables, x))

    same(program)


OPTIONAL = dict(
    epsilon=st.sampled_from((1e-3, 1e-6)),
    dtype=st.sampled_from(('float32', 'bfloat16')),
    param_dtype=st.sampled_from((jnp.float32, jnp.bfloat16)),
)


@given(
    st.fixed_dictionaries(
        {},
        optional=dict(
            OPTIONAL,
            use_scale=st.booleans(),
            scale_init=st.just(random_init),
            feature_axes=st.sampled_from((None, -1, 0, ())),
            variable_filter=st.sampled_from(
                [None, frozenset(), {'kernel'}, ['second', 'kernel'], {'Dense_0/k'}, {'nowhere'}]
            ),
        ),
    )
)
def test_weight_norm(options: Any) -> None:
    if options.get('variable_filter', True) in (None, frozenset()):
        options['feature_axes'] = -1  # which a bias has too
    same_program(weight_norm(**options), ['params'])


@given(
    st.booleans(),
    st.fixed_dictionaries(
        {},
        optional=dict(
            OPTIONAL,
            n_steps=st.integers(-1, 3),
            collection_name=st.sampled_from(('batch_stats', 'spectral')),
        ),
    ),
)
def test_spectral_norm(both: bool, options: Any) -> None:
    mutable = [options.get('collection_name', 'batch_stats')]
    same_program(spectral_norm(both=both, **options), mutable)


@pytest.mark.parametrize(
    'build',
    [weight_norm(), weight_norm(variable_filter=None), spectral_norm(), spectral_norm(n_steps=2)],
)
def test_every_mode_of_normalised_parameters(build: Any) -> None:
    stats = ['batch_stats']
    compare(build, (array(3, 4),), apply={'mutable': stats}, mutable=stats)


def test_a_convolution() -> None:
    stats = ['batch_stats']
    compare(
        lambda nn: nn.SpectralNorm(nn.Conv(3, (2, 2))),
        (array(1, 4, 4, 2),),
        modes=['eager_raw', 'grad'],
        kwargs={'update_stats': True},
        apply={'mutable': stats},
        mutable=stats,
    )
    compare(lambda nn: nn.WeightNorm(nn.Conv(3, (2,))), (array(2, 4, 2),), modes=['eager_raw'])


@pytest.mark.parametrize('norm', ['WeightNorm', 'SpectralNorm'])
def test_layers_that_draw_and_layers_that_keep_state(norm: str) -> None:
    def build(nn: Any) -> Any:
        class Inner(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                x = nn.Dropout(0.5, deterministic=False)(nn.Dense(4)(x))
                return nn.BatchNorm(norm == 'WeightNorm')(x)

        return getattr(nn, norm)(Inner())

    mutable = ['batch_stats', 'intermediates']
    more = {'update_stats': True} if norm == 'SpectralNorm' else {}
    compare(
        build,
        (array(3, 4),),
        ['dropout'],
        modes=['eager_typed', 'jit_raw'],
        kwargs=more,
        apply={'mutable': mutable},
        mutable=mutable,
    )


def test_boxed_parameters() -> None:
    def build(nn: Any) -> Any:
        init = nn.with_partitioning(nn.initializers.lecun_normal(), ('in', 'out'))
        return nn.WeightNorm(nn.Dense(3, kernel_init=init))

    compare(build, (array(2, 4),), modes=['jit_typed'])


@pytest.mark.parametrize(
    'program',
    [
        lambda nn, x: nn.SpectralNorm(nn.Dense(3)).init(KEY, x),
        lambda nn, x: nn.SpectralNorm(nn.Conv(3, (2, 2)), error_on_non_matrix=True).init(
            KEY, x[None, None], update_stats=True
        ),
    ],
)
def test_errors_of_normalised_parameters_are_of_the_same_kind(program: Any) -> None:
    same_error(lambda lib: program(lib.nn, array(2, 4)))


# Layers that only pass on what other layers compute, in other dtypes.


def batch_apply(nn: Any, **dtypes: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.BatchApply(nn.Dense(2, **dtypes))(x)

    return Net()


def bidirectional(nn: Any, **dtypes: Any) -> Any:
    cell = nn.SimpleCell(2, recurrent_kernel_init=nn.initializers.lecun_normal(), **dtypes)
    return nn.Bidirectional(nn.RNN(cell), nn.RNN(cell.copy()))


PASSING_ON = {
    'BatchApply': batch_apply,
    'Bidirectional': bidirectional,
    'SelfAttention': lambda nn, **dtypes: nn.SelfAttention(num_heads=2, **dtypes),
    'Sequential': lambda nn, **dtypes: nn.Sequential(
        [nn.Dense(3, **dtypes), nn.tanh, nn.LayerNorm(**dtypes)]
    ),
}


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
@pytest.mark.parametrize('option', ['', 'dtype', 'param_dtype'])
@pytest.mark.parametrize('name', PASSING_ON)
@pytest.mark.filterwarnings('ignore:.*SelfAttention:DeprecationWarning')
def test_other_dtypes(name: str, option: str, dtype: str) -> None:
    x = jnp.asarray(array(2, 3, 4)).astype('float32' if option else dtype)
    dtypes = {option: jnp.dtype(dtype)} if option else {}
    if name == 'Bidirectional' and option:  # a carry keeps its dtype
        dtypes = {'dtype': jnp.dtype(dtype), 'param_dtype': jnp.dtype(dtype)}
    compare(lambda nn: PASSING_ON[name](nn, **dtypes), (x,), modes=['jit_typed'])

"""Dense, DenseGeneral, Einsum, the convolutions and Embed against the oracle.

Drawn configurations are compared by what they initialise, and by the program that JAX traces of
their ``apply`` and of its gradient: equal programs give equal bits on every backend. Some chosen
configurations are run in every mode.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from tests.parity.harness import Library, compare, same, same_error

FLOATS = ('float32', 'bfloat16', 'float16')


def array(*shape: int, dtype: Any = 'float32') -> Any:
    """Reproducible numbers, of both signs."""
    values = np.random.default_rng(0).normal(size=shape) * 3
    return jnp.asarray(values).astype(dtype)


def same_layer(build: Any, *args: Any, method: str | None = None) -> None:
    """The same parameters from both kinds of key, the same output and the same programs."""

    def program(lib: Library) -> Any:
        layer = build(lib.nn)
        call = functools.partial(layer.apply, method=method)
        typed = layer.init_with_output(jax.random.key(3), *args, method=method)
        raw = layer.init(jax.random.PRNGKey(3), *args, method=method)
        programs = [str(jax.make_jaxpr(call)(raw, *args))]
        if all(jnp.issubdtype(p.dtype, jnp.floating) for p in jax.tree.leaves(raw)):
            programs.append(str(jax.make_jaxpr(jax.grad(loss(call)))(raw, *args)))
        return typed, raw, programs

    same(program)


def loss(call: Any) -> Any:
    return lambda *args: jnp.sum(jnp.abs(call(*args))).astype(jnp.float32)


def chosen(**options: Any) -> Any:
    """Keyword arguments of which each is drawn or left out."""
    return st.fixed_dictionaries({}, optional=options)


MIXED = dict(
    dtype=st.sampled_from(FLOATS),
    param_dtype=st.sampled_from((jnp.float32, jnp.bfloat16)),
    precision=st.sampled_from(('high', 'highest', lax.Precision.DEFAULT)),
    use_bias=st.booleans(),
)
INPUT_DTYPES = st.sampled_from((*FLOATS, 'int32'))


@given(
    chosen(**MIXED),
    st.integers(1, 4),
    st.lists(st.integers(0, 3), max_size=2),
    st.integers(1, 3),
    INPUT_DTYPES,
)
def test_dense(options: Any, features: int, batch: list[int], width: int, dtype: str) -> None:
    x = array(*batch, width, dtype=dtype)
    same_layer(lambda nn: nn.Dense(features, **options), x)


@pytest.mark.parametrize('name', ['Dense', 'DenseGeneral', 'Conv', 'ConvTranspose'])
@pytest.mark.parametrize(('width', 'features'), [(0, 3), (3, 0)])
def test_no_channels(name: str, width: int, features: int) -> None:
    args = () if 'Dense' in name else ((2,),)
    same_layer(
        lambda nn: getattr(nn, name)(features, *args, kernel_init=nn.initializers.zeros),
        array(2, 4, width),
    )


@given(chosen(**MIXED), st.data(), INPUT_DTYPES)
def test_dense_general(options: Any, data: Any, dtype: str) -> None:
    shape = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    n_batch = data.draw(st.integers(0, len(shape) - 1))
    axes = data.draw(st.lists(st.integers(n_batch, len(shape) - 1), min_size=1, unique=True))
    axes = [axis - len(shape) * data.draw(st.integers(0, 1)) for axis in axes]
    features = data.draw(st.integers(1, 3) | st.lists(st.integers(1, 3), min_size=1, max_size=2))
    same_layer(
        lambda nn: nn.DenseGeneral(features, axes, tuple(range(n_batch)), **options),
        array(*shape, dtype=dtype),
    )


EINSUMS = [
    ('ab,bc->ac', (2, 3), (3, 4)),
    ('...a,ab->...b', (2, 5, 3), (3, 4)),
    ('...a,ab->...b', (3,), (3, 4)),
    ('abc,cde->abde', (2, 5, 3), (3, 2, 4)),
    ('ac,cde->ad', (2, 3), (3, 4, 5)),
    ('bac,bcd->bad', (2, 5, 3), (2, 3, 4)),
    ('ab,bcd->dac', (2, 3), (3, 4, 2)),
    ('ab,...bc->...ac', (2, 3), (5, 3, 4)),
    ('...ab,...bc->...ac', (5, 2, 3), (1, 3, 4)),
    ('...ab,...bc->...ca', (6, 5, 2, 3), (5, 3, 4)),
    ('aa,ab->ab', (3, 3), (3, 3)),
    ('ab,ab->', (2, 3), (2, 3)),
    (' ab , bc -> ac ', (2, 3), (3, 4)),
    ('ab,cd->abcd', (2, 3), (3, 4)),
]


@given(chosen(**MIXED), st.sampled_from(EINSUMS), INPUT_DTYPES)
def test_einsum(options: Any, case: Any, dtype: str) -> None:
    equation, shape, kernel = case
    same_layer(lambda nn: nn.Einsum(kernel, equation, **options), array(*shape, dtype=dtype))


@pytest.mark.parametrize('case', EINSUMS, ids=lambda case: case[0])
def test_every_equation(case: Any) -> None:
    equation, shape, kernel = case
    same_layer(lambda nn: nn.Einsum(kernel, equation), array(*shape))


def test_einsum_with_the_equation_at_the_call() -> None:
    same(lambda lib: lib.nn.Einsum((3, 4)).init(jax.random.key(0), array(2, 3), 'ab,bc->ac'))


def one_or_each(rank: int, sizes: Any) -> Any:
    """An option of a convolution: an int or one for each axis."""
    return sizes | st.lists(sizes, min_size=rank, max_size=rank).map(tuple)


def explicit_padding(rank: int) -> Any:
    side = st.integers(-1, 3)
    return side | st.lists(side | st.tuples(side, side), min_size=rank, max_size=rank)


@st.composite
def conv_cases(draw: Any, names: tuple[str, ...] = ('SAME', 'VALID', 'CIRCULAR', 'REFLECT')) -> Any:
    """Options of a convolution and an input for it."""
    rank = draw(st.integers(1, 3))
    kernel = draw(st.integers(1, 4) if rank == 1 else st.tuples(*[st.integers(1, 3)] * rank))
    batch = draw(st.lists(st.integers(0, 2), max_size=2))
    spatial = draw(st.lists(st.integers(4, 6), min_size=rank, max_size=rank))
    groups = draw(st.sampled_from((1, 1, 2)))
    causal = ('CAUSAL',) if rank == 1 else ()
    options = draw(
        chosen(
            strides=st.none() | one_or_each(rank, st.integers(1, 3)),
            kernel_dilation=st.none() | one_or_each(rank, st.integers(1, 2)),
            padding=st.sampled_from((*names, *causal)) | explicit_padding(rank),
            **MIXED,
        )
    )
    if not isinstance(options.get('padding', 'SAME'), str) and draw(st.booleans()):
        options['input_dilation'] = draw(one_or_each(rank, st.integers(1, 2)))
    x = array(*batch, *spatial, 2 * groups, dtype=draw(INPUT_DTYPES))
    return {'features': 2, 'kernel_size': kernel, 'feature_group_count': groups, **options}, x


@given(conv_cases())
def test_conv(case: Any) -> None:
    options, x = case
    same_layer(lambda nn: nn.Conv(**options), x)


@given(conv_cases())
def test_conv_local(case: Any) -> None:
    options, x = case
    options['feature_group_count'] = 1
    same_layer(lambda nn: nn.ConvLocal(**options, kernel_init=nn.initializers.normal()), x)


@given(st.data())
def test_conv_transpose(data: Any) -> None:
    options, x = data.draw(conv_cases(('SAME', 'VALID', 'CIRCULAR')))
    options.pop('input_dilation', None)
    options.pop('feature_group_count')
    if options.get('padding') in ('CAUSAL', 'CIRCULAR'):  # the oracle divides by an empty batch
        options['padding'] = 'CIRCULAR' if x.size else 'VALID'
    options |= data.draw(
        chosen(transpose_kernel=st.booleans(), preferred_element_type=st.just(jnp.float32))
    )
    same_layer(lambda nn: nn.ConvTranspose(**options), x)


@pytest.mark.parametrize('kernel', [1, 5, 20])
@pytest.mark.parametrize('strides', [1, 3])
@pytest.mark.parametrize('transpose_kernel', [False, True])
def test_circular_transpose(kernel: int, strides: int, transpose_kernel: bool) -> None:
    same_layer(
        lambda nn: nn.ConvTranspose(
            2, kernel, strides, padding='CIRCULAR', transpose_kernel=transpose_kernel
        ),
        array(2, 5, 3),
    )


@pytest.mark.parametrize('name', ['Conv', 'ConvTranspose'])
@pytest.mark.parametrize('dtype', ['float32', 'int32', 'bool'])
def test_mask(name: str, dtype: str) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (3, 2, 3, 4)).astype(dtype)
    same_layer(lambda nn: getattr(nn, name)(4, (3, 2), mask=mask), array(2, 5, 6, 3))


def test_mask_of_a_local_convolution() -> None:
    mask = np.random.default_rng(0).integers(0, 2, (5, 6, 2)).astype(np.float32)
    same_layer(lambda nn: nn.ConvLocal(2, (2,), mask=mask), array(2, 5, 3))


@given(
    st.sampled_from((1, 2, 5)),
    chosen(
        dtype=st.sampled_from((*FLOATS, 'int32')),
        param_dtype=st.sampled_from((jnp.float32, jnp.bfloat16)),
    ),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.sampled_from(('int32', 'uint8', 'int8')),
)
def test_embed(size: int, options: Any, shape: list[int], dtype: str) -> None:
    ids = np.random.default_rng(0).integers(-2 if dtype != 'uint8' else 0, 8, shape).astype(dtype)
    same_layer(lambda nn: nn.Embed(size, 3, **options), jnp.asarray(ids))


@given(
    chosen(dtype=st.sampled_from(FLOATS), param_dtype=st.sampled_from((jnp.float32, jnp.bfloat16))),
    st.lists(st.integers(0, 3), max_size=3),
    INPUT_DTYPES,
)
def test_attend(options: Any, shape: list[int], dtype: str) -> None:
    query = array(*shape, 3, dtype=dtype)
    same_layer(lambda nn: nn.Embed(5, 3, **options), query, method='attend')


def test_table_of_an_embedding() -> None:
    same(lambda lib: bound(lib, lib.nn.Embed(5, 3), jnp.arange(3)).embedding)


def bound(lib: Library, layer: Any, *args: Any) -> Any:
    return layer.bind(layer.init(jax.random.key(0), *args))


CHOSEN = {
    'Dense': (lambda nn: nn.Dense(3), array(2, 4)),
    'Dense bfloat16': (lambda nn: nn.Dense(3, dtype=jnp.bfloat16), array(2, 4)),
    'DenseGeneral': (lambda nn: nn.DenseGeneral((2, 3), (-2, 1), (0,)), array(2, 3, 2, 2)),
    'Einsum': (lambda nn: nn.Einsum((3, 4), '...a,ab->...b'), array(2, 2, 3)),
    'Conv': (lambda nn: nn.Conv(3, (3, 2), strides=2, padding='CIRCULAR'), array(2, 4, 5, 2)),
    'Conv grouped': (lambda nn: nn.Conv(4, 3, feature_group_count=2), array(5, 2)),
    'ConvLocal': (lambda nn: nn.ConvLocal(3, (3,), padding='CAUSAL'), array(2, 4, 2)),
    'ConvTranspose': (lambda nn: nn.ConvTranspose(3, (3,), (2,), 'CIRCULAR'), array(2, 4, 2)),
    'Embed': (lambda nn: nn.Embed(5, 3), np.array([[0, 4], [2, 2]])),
}


@pytest.mark.parametrize('name', CHOSEN)
def test_every_mode(name: str) -> None:
    build, x = CHOSEN[name]
    compare(build, (np.asarray(x),))


@pytest.mark.parametrize('name', CHOSEN)
def test_complex_numbers(name: str) -> None:
    build, x = CHOSEN[name]
    if name not in ('Dense bfloat16', 'Embed'):
        same_layer(build, array(*x.shape, dtype='complex64'))
        same_layer(lambda nn: build(nn).clone(param_dtype=jnp.complex64), x)


@pytest.mark.parametrize('name', CHOSEN)
def test_double_precision(name: str) -> None:
    build, x = CHOSEN[name]
    with jax.enable_x64(True):
        same_layer(build, x)
        wide = {jnp.dtype('float32'): 'float64', jnp.dtype('int32'): 'int64'}
        same_layer(build, jnp.asarray(x).astype(wide.get(x.dtype, x.dtype)))

        def wide_parameters(nn: Any) -> Any:
            return build(nn).clone(param_dtype=jnp.float64)

        same_layer(wide_parameters, x)


class Recorder:
    """Counts as a product or a convolution, and notes what it was called with."""

    def __init__(self, compute: Any) -> None:
        self.compute, self.calls = compute, []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        shapes = [x.shape if hasattr(x, 'shape') else x for x in args]
        self.calls.append((shapes, sorted(kwargs.items())))
        return self.compute(*args, **kwargs)


@pytest.mark.parametrize(
    ('name', 'args', 'x'),
    [('Dense', (3,), array(2, 4)), ('DenseGeneral', ((3, 2), (1, 2), (0,)), array(2, 3, 4, 2))],
)
def test_own_dot_general(name: str, args: Any, x: Any) -> None:
    def program(lib: Library) -> Any:
        own = Recorder(lax.dot_general)
        layer = getattr(lib.nn, name)(*args, dot_general=own, precision='high')
        return layer.init_with_output(jax.random.key(0), x), own.calls

    same(program)


@pytest.mark.parametrize('padding', ['SAME', 'CIRCULAR', 1, ((1, 0), (0, 2))])
def test_own_convolution(padding: Any) -> None:
    def program(lib: Library) -> Any:
        own = Recorder(lax.conv_general_dilated)
        layer = lib.nn.Conv(3, (2, 3), padding=padding, conv_general_dilated=own, precision='high')
        return layer.init_with_output(jax.random.key(0), array(2, 4, 5, 2)), own.calls

    same(program)


def scaled(lib: Library, compute: Any) -> Any:
    """A module class that computes with a learnt scale."""

    class Scaled(lib.nn.Module):
        @lib.nn.compact
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            scale = self.param('scale', lib.nn.initializers.normal(), ())
            return compute(*args, **kwargs) * scale

    return Scaled


@pytest.mark.parametrize('name', ['Dense', 'DenseGeneral'])
def test_dot_general_of_a_module_class(name: str) -> None:
    def program(lib: Library) -> Any:
        layer = getattr(lib.nn, name)(
            3, dot_general_cls=scaled(lib, lax.dot_general), dot_general=None
        )
        return layer.init_with_output(jax.random.key(0), array(2, 4))

    same(program)


def test_convolution_of_a_module_class() -> None:
    def program(lib: Library) -> Any:
        own = scaled(lib, lax.conv_general_dilated)
        layer = lib.nn.Conv(3, (2,), conv_general_dilated_cls=own)
        return layer.init_with_output(jax.random.key(0), array(2, 4, 2))

    same(program)


LAYERS = {
    'Dense': ((3,), array(2, 4)),
    'DenseGeneral': (((3, 2), (1, 3), (0,)), array(2, 3, 4, 2)),
    'Einsum': (((3, 4), 'ab,bc->ca'), array(2, 3)),
    'Conv': ((3, (2,)), array(1, 2, 4, 3)),
    'ConvLocal': ((3, (2,)), array(1, 2, 4, 3)),
    'ConvTranspose': ((3, (2,)), array(1, 2, 4, 3)),
    'Embed': ((5, 3), jnp.arange(3)),
}


@pytest.mark.parametrize('name', LAYERS)
def test_own_promotion(name: str) -> None:
    """It is called with what the oracle calls it with."""

    def program(lib: Library) -> Any:
        own = Recorder(lib.load('linen.dtypes').promote_dtype)
        args, x = LAYERS[name]
        layer = getattr(lib.nn, name)(*args, dtype=jnp.float16, promote_dtype=own)
        return layer.init_with_output(jax.random.key(0), x), own.calls

    same(program)


@pytest.mark.parametrize('name', LAYERS)
def test_what_initialisers_are_called_with(name: str) -> None:
    def program(lib: Library) -> Any:
        calls: list[Any] = []

        def init(key: Any, shape: Any, dtype: Any) -> Any:
            calls.append((tuple(map(int, shape)), jnp.dtype(dtype)))
            return jax.random.normal(key, shape, dtype)

        args, x = LAYERS[name]
        names = ('embedding_init',) if name == 'Embed' else ('kernel_init', 'bias_init')
        layer = getattr(lib.nn, name)(*args, **dict.fromkeys(names, init))
        return layer.init(jax.random.key(0), x), calls

    same(program)


@pytest.mark.parametrize('name', [name for name in LAYERS if name != 'Einsum'])
def test_interceptors_see_the_same_calls(name: str) -> None:
    """But for Einsum, where the oracle has a private method."""

    def program(lib: Library) -> Any:
        calls: list[str] = []

        def note(fn: Any, args: Any, kwargs: Any, context: Any) -> Any:
            calls.append(context.method_name)
            return fn(*args, **kwargs)

        args, x = LAYERS[name]
        with lib.nn.intercept_methods(note):
            getattr(lib.nn, name)(*args).init(jax.random.key(0), x)
        return calls

    same(program)


@pytest.mark.parametrize('name', LAYERS)
def test_boxed_parameters(name: str) -> None:
    def program(lib: Library) -> Any:
        args, x = LAYERS[name]
        layer = getattr(lib.nn, name)(*args)
        boxed = {
            field: lib.nn.with_partitioning(getattr(layer, field), ('data', None))
            for field in ('kernel_init', 'bias_init', 'embedding_init')
            if hasattr(layer, field)
        }
        layer = layer.clone(**boxed)
        variables = layer.init(jax.random.key(0), x)
        return variables, layer.apply(variables, x)

    same(program)


@pytest.mark.parametrize('name', sorted(LAYERS.keys() - {'Einsum', 'Embed'}))
def test_another_width_than_at_init(name: str) -> None:
    def program(lib: Library) -> Any:
        args, x = LAYERS[name]
        layer = getattr(lib.nn, name)(*args)
        variables = layer.init(jax.random.key(0), x)
        return layer.apply(variables, jnp.concatenate([x, x], axis=-1)).shape

    assert type(same_error(program)).__name__ == 'ScopeParamShapeError'


@pytest.mark.parametrize(
    'padding',
    ['SAME', 'foo', 0, -1, (1, 2), [1, (0, 2)], (1,), ((1, 2),), (1, 2, 3), 1.5, None, ((1,), 2)],
)
def test_canonical_padding(padding: Any) -> None:
    def program(lib: Library) -> Any:
        return lib.load('linen.linear').canonicalize_padding(padding, 2)

    (same_error if _fails(padding) else same)(program)


def _fails(padding: Any) -> bool:
    return padding in ((1,), ((1, 2),), (1, 2, 3), 1.5, None, ((1,), 2))


def test_helpers_in_the_wild() -> None:
    def program(lib: Library) -> Any:
        linear = lib.load('linen.linear')
        return (
            [linear._canonicalize_tuple(x) for x in (1, (1, 2), [1, 2], np.array([1, 2]), ())],
            [linear._normalize_axes(axes, 3) for axes in ((0,), (-1, 0), (2, -3), ())],
            [tuple(linear._conv_dimension_numbers((1,) * n)) for n in range(2, 7)],
            linear.default_kernel_init(jax.random.key(0), (3, 4), jnp.float32),
            linear.default_embed_init(jax.random.key(0), (3, 4), jnp.float32),
        )

    same(program)

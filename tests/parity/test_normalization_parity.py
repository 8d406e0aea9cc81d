"""The norms against the oracle.

Drawn configurations are compared by what they initialise, and by the programs that JAX traces of
their ``apply`` and of its gradient: equal programs give equal bits on every backend. RMSNorm traces
a shorter program, so it is run, as are some chosen configurations of the others, in every mode.
"""

from __future__ import annotations

import functools
import re
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parity.harness import ORACLE, PAIR, Library, compare, same, same_error

pytestmark = pytest.mark.filterwarnings(
    'ignore::linnet.errors.SharpBitWarning',  # means over one element are drawn too
    'ignore::numpy.exceptions.ComplexWarning',  # and complex statistics of a real input
)

FLOATS = ('float32', 'bfloat16', 'float16')
INPUT_DTYPES = st.sampled_from((*FLOATS, 'int32', 'complex64'))
STATS = {'apply': {'mutable': ['batch_stats']}, 'mutable': ['batch_stats']}


def array(*shape: int, dtype: Any = 'float32') -> Any:
    values = np.random.default_rng(0).normal(size=shape) * 3 + 1
    return jnp.asarray(values).astype(dtype)


def apply(layer: Any, **static: Any) -> Any:
    return functools.partial(layer.apply, mutable=['batch_stats', 'intermediates'], **static)


def loss(call: Any) -> Any:
    return lambda *args, **more: jnp.sum(jnp.abs(call(*args, **more)[0])).astype(jnp.float32)


def same_layer(build: Any, x: Any, static: Any = MappingProxyType({}), **more: Any) -> None:
    """The same variables from both kinds of key, and the same programs."""

    def program(lib: Library) -> Any:
        layer = build(lib.nn)
        typed = layer.init(jax.random.key(3), x, **static, **more)
        raw = layer.init(jax.random.PRNGKey(3), x, **static, **more)
        call = apply(layer, **static)
        programs = [str(jax.make_jaxpr(call)(raw, x, **more))]
        if all(jnp.issubdtype(p.dtype, jnp.floating) for p in jax.tree.leaves(raw)):
            programs.append(str(jax.make_jaxpr(jax.grad(loss(call)))(raw, x, **more)))
        return typed, raw, programs

    same(program)


def random_init(key: Any, shape: Any, dtype: Any) -> Any:
    return jax.random.normal(key, tuple(shape), dtype)


def chosen(**options: Any) -> Any:
    """The dtype of an input, and keyword arguments of which each is drawn or left out."""
    return st.tuples(INPUT_DTYPES, st.fixed_dictionaries({}, optional=options)).map(_without_loss)


def _without_loss(drawn: Any) -> Any:
    """No real computation dtype for complex numbers, which JAX refuses to cast."""
    dtype, options = drawn
    if 'complex64' in (dtype, jnp.dtype(options.get('param_dtype', dtype))):
        options.pop('dtype', None)
    return dtype, options


SCALED = dict(
    epsilon=st.sampled_from((1e-3, 0.5)),
    dtype=st.sampled_from((*FLOATS, 'complex64')),
    param_dtype=st.sampled_from((jnp.float32, jnp.bfloat16, jnp.float16, jnp.complex64)),
    use_scale=st.booleans(),
    scale_init=st.just(random_init),
    use_fast_variance=st.booleans(),
    force_float32_reductions=st.booleans(),
)
OPTIONS = dict(SCALED, use_bias=st.booleans(), bias_init=st.just(random_init))
SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
MASKS = st.sampled_from((None, 'bool'))


def mask_of(x: Any, kind: str | None, shape: Any = None) -> dict[str, Any]:
    """A mask for the input, or none."""
    if kind is None:
        return {}
    return {'mask': (array(*(x.shape if shape is None else shape)) > 0).astype(kind)}


def some_axes(data: Any, ndim: int, least: int = 0) -> Any:
    axes = data.draw(st.lists(st.integers(-ndim, ndim - 1), min_size=least, max_size=3))
    return axes[0] if len(axes) == 1 else tuple(axes)


@given(chosen(**OPTIONS), SHAPES, MASKS, st.data())
def test_layer_norm(drawn: Any, shape: Any, mask: Any, data: Any) -> None:
    dtype, options = drawn
    for name in ('reduction_axes', 'feature_axes'):
        if data.draw(st.booleans()):
            options[name] = some_axes(data, len(shape))
    x = array(*shape, dtype=dtype)
    same_layer(lambda nn: nn.LayerNorm(**options), x, **mask_of(x, mask))


@given(chosen(momentum=st.sampled_from((0.0, 0.9, 1)), **OPTIONS), SHAPES, st.data())
def test_batch_norm(drawn: Any, shape: Any, data: Any) -> None:
    dtype, options = drawn
    frozen = data.draw(st.booleans())
    if data.draw(st.booleans()):
        options['axis'] = some_axes(data, len(shape))
    x = array(*shape, dtype=dtype)
    more = mask_of(x, data.draw(MASKS))
    if data.draw(st.booleans()):
        same_layer(lambda nn: nn.BatchNorm(frozen, **options), x, **more)
    else:
        flag = {'use_running_average': frozen}
        same_layer(lambda nn: nn.BatchNorm(**options), x, flag, **more)


@given(chosen(**OPTIONS), SHAPES, MASKS, st.data())
def test_group_norm(drawn: Any, shape: Any, mask: Any, data: Any) -> None:
    dtype, options = drawn
    groups, size = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    shape = (*shape[:-1], groups * size)
    by_number = data.draw(st.booleans())
    counts = (groups, None) if by_number else (None, size)
    if data.draw(st.booleans()):
        options['reduction_axes'] = (*np.atleast_1d(some_axes(data, len(shape))).tolist(), -1)
    x = array(*shape, dtype=dtype)
    same_layer(lambda nn: nn.GroupNorm(*counts, **options), x, **mask_of(x, mask))


@given(chosen(**OPTIONS), SHAPES, MASKS, st.data())
def test_instance_norm(drawn: Any, shape: Any, mask: Any, data: Any) -> None:
    dtype, options = drawn
    shape = (2, *shape)
    if data.draw(st.booleans()):
        options['feature_axes'] = data.draw(
            st.lists(st.integers(1, len(shape) - 1), max_size=2).map(tuple)
        )
    x = array(*shape, dtype=dtype)
    same_layer(lambda nn: nn.InstanceNorm(**options), x, **mask_of(x, mask))


@given(chosen(**SCALED), SHAPES, MASKS, st.data())
def test_rms_norm(drawn: Any, shape: Any, mask: Any, data: Any) -> None:
    dtype, options = drawn
    for name in ('reduction_axes', 'feature_axes'):
        if data.draw(st.booleans()):
            options[name] = some_axes(data, len(shape))
    x = array(*shape, dtype=dtype)
    compare(
        lambda nn: nn.RMSNorm(**options),
        (x,),
        modes=['eager_typed', 'jit_raw'],
        kwargs=mask_of(x, mask),
    )


CHOSEN = {
    'batch': lambda nn: nn.BatchNorm(False, momentum=0.7),
    'batch_axes': lambda nn: nn.BatchNorm(False, axis=(1, -1), use_fast_variance=False),
    'batch_half': lambda nn: nn.BatchNorm(False, dtype='bfloat16', force_float32_reductions=False),
    'evaluation': lambda nn: nn.BatchNorm(True),
    'layer': lambda nn: nn.LayerNorm(),
    'layer_half': lambda nn: nn.LayerNorm(dtype='float16', param_dtype=jnp.float16),
    'layer_axes': lambda nn: nn.LayerNorm(reduction_axes=(0, 1), feature_axes=(2, 1)),
    'rms': lambda nn: nn.RMSNorm(scale_init=random_init),
    'group': lambda nn: nn.GroupNorm(2, bias_init=random_init),
    'instance': lambda nn: nn.InstanceNorm(use_fast_variance=False),
}


@pytest.mark.parametrize('name', CHOSEN)
def test_every_mode(name: str) -> None:
    compare(CHOSEN[name], (np.asarray(array(3, 5, 4)),), **STATS)


@pytest.mark.parametrize('name', CHOSEN)
def test_an_empty_batch(name: str) -> None:
    compare(CHOSEN[name], (np.ones((0, 5, 4), np.float32),), modes=['jit_typed'], **STATS)


@pytest.mark.parametrize('dtype', ['float32', 'int32'])
@pytest.mark.parametrize('name', ['batch', 'layer', 'rms', 'group', 'instance'])
def test_a_mask_of_numbers(name: str, dtype: str) -> None:
    x = np.asarray(array(3, 5, 4))
    compare(CHOSEN[name], (x,), modes=['jit_typed'], kwargs=mask_of(x, dtype), **STATS)


@pytest.mark.parametrize('shape', [(3, 1, 4), (1, 5, 1), (4,), (1, 1, 1), ()])
@pytest.mark.parametrize('name', ['batch', 'layer', 'rms', 'instance'])
def test_a_mask_that_broadcasts(name: str, shape: Any) -> None:
    x = np.asarray(array(3, 5, 4))
    compare(CHOSEN[name], (x,), modes=['jit_typed'], kwargs=mask_of(x, 'bool', shape), **STATS)


@pytest.mark.parametrize('groups', [None, ((0, 1), (2, 3))])
@pytest.mark.parametrize('name', ['batch', 'batch_axes', 'evaluation'])
def test_a_mapped_axis(name: str, groups: Any) -> None:
    options = {
        'batch': {'momentum': 0.5},
        'batch_axes': {'use_fast_variance': False},
        'evaluation': {'use_running_average': True},
    }[name]
    x = array(4, 2, 3)

    def program(lib: Library) -> Any:
        layer = lib.nn.BatchNorm(
            **{'use_running_average': False, **options},
            axis_name='batch',
            axis_index_groups=groups,
        )
        variables = layer.init(jax.random.key(0), x[0])
        run = lambda v, x: layer.apply(v, x, mutable=['batch_stats'])  # noqa: E731
        if groups is None:
            return jax.vmap(run, (None, 0), axis_name='batch')(variables, x)
        traced = str(jax.make_jaxpr(run, axis_env=[('batch', 4)])(variables, x[0]))
        return re.findall(r'psum\[.*\]', traced)  # vmap knows no groups, so it cannot be run

    same(program)


def test_the_other_norms_over_a_mapped_axis() -> None:
    x = array(2, 3, 4)

    def program(lib: Library) -> Any:
        layers = [
            lib.nn.LayerNorm(axis_name='devices'),
            lib.nn.RMSNorm(axis_name='devices'),
            lib.nn.GroupNorm(2, axis_name='devices'),
            lib.nn.InstanceNorm(axis_name='devices'),
        ]
        init = lambda layer: jax.vmap(  # noqa: E731
            lambda x: layer.init_with_output(jax.random.key(0), x), axis_name='devices'
        )
        return [init(layer)(x) for layer in layers]

    same(program)


@pytest.mark.parametrize('param_dtype', ['float32', 'float64'])
@pytest.mark.parametrize('dtype', ['float32', 'float64', 'int64'])
def test_double_precision(dtype: str, param_dtype: str) -> None:
    with jax.enable_x64(True):
        for build in CHOSEN.values():
            same_layer(
                lambda nn, build=build: build(nn).clone(param_dtype=jnp.dtype(param_dtype)),
                array(2, 3, 4, dtype=dtype),
            ) if build is not CHOSEN['rms'] else compare(
                build, (np.asarray(array(2, 3, 4, dtype=dtype)),), modes=['jit_typed']
            )


@pytest.mark.parametrize('stored', ['bfloat16', 'float16', 'float64'])
@pytest.mark.parametrize('force', [True, False])
@pytest.mark.parametrize('frozen', [True, False])
def test_statistics_of_another_dtype(stored: str, force: bool, frozen: bool) -> None:
    x = array(3, 4)
    with jax.enable_x64(True):
        stats = {'mean': jnp.zeros(4, stored), 'var': jnp.ones(4, stored)}

        def program(lib: Library) -> Any:
            layer = lib.nn.BatchNorm(
                frozen, force_float32_reductions=force, use_bias=False, use_scale=False
            )
            return str(jax.make_jaxpr(apply(layer))({'batch_stats': stats}, x))

        same(program)


def test_variables_that_are_made_while_applying() -> None:
    x = array(3, 4)

    def program(lib: Library) -> Any:
        layer = lib.nn.BatchNorm(False)
        params = layer.init(jax.random.key(0), x)['params']
        return layer.apply({'params': params}, x, mutable=['batch_stats'])

    same(program)


def test_the_functions_beneath() -> None:
    x = array(2, 3, 4, dtype='float16')

    def program(lib: Library) -> Any:
        norms = lib.load('linen.normalization')
        return [
            norms._canonicalize_axes(3, (-1, 0)),
            norms._canonicalize_axes(2, -1),
            norms._abs_sq(array(3, dtype='complex64')),
            norms._compute_stats(x, (0, -1), None),
            norms._compute_stats(x, -1, jnp.float16, force_float32_reductions=False),
            norms._compute_stats(x, 1, None, use_fast_variance=False, mask=x > 0),
            norms._l2_normalize(x),
            norms._l2_normalize(x, axis=(0, 2), eps=0.1),
        ]

    same(program)


@pytest.mark.parametrize(
    'program',
    [
        lambda nn, x: nn.BatchNorm().init(jax.random.key(0), x),
        lambda nn, x: nn.BatchNorm(True).init(jax.random.key(0), x, True),
        lambda nn, x: nn.GroupNorm().init(jax.random.key(0), x),
        lambda nn, x: nn.GroupNorm(2, 2).init(jax.random.key(0), x),
        lambda nn, x: nn.GroupNorm(None, 3).init(jax.random.key(0), x),
        lambda nn, x: nn.GroupNorm(2, reduction_axes=(0,)).init(jax.random.key(0), x),
        lambda nn, x: nn.InstanceNorm(feature_axes=0).init(jax.random.key(0), x),
        lambda nn, x: nn.LayerNorm(dtype=jnp.int32).init(jax.random.key(0), x),
        lambda nn, x: nn.LayerNorm().init(jax.random.key(0), [[1.0]]),
        lambda nn, x: nn.BatchNorm(False).apply(nn.BatchNorm(False).init(jax.random.key(0), x), x),
        lambda nn, x: nn.BatchNorm(True).apply({'params': {}}, x),
    ],
)
def test_errors_are_of_the_same_kind(program: Any) -> None:
    same_error(lambda lib: program(lib.nn, array(2, 4)))


def test_every_name_is_there() -> None:
    theirs, ours = (lib.load('linen.normalization') for lib in PAIR)
    named = {
        name
        for name, value in vars(theirs).items()
        if getattr(value, '__module__', '').startswith(ORACLE.name)
    }
    assert named <= set(vars(ours))
    assert named >= {'Module', 'compact', 'merge_param'}

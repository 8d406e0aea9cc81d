"""Pooling, activations, initialisers and promotion of dtypes against the oracle."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from tests.parity.harness import Library, compare, same, same_error

REAL = ('float32', 'bfloat16', 'float16', 'int32', 'uint8')
DTYPES = (*REAL, 'complex64')


def array(*shape: int, dtype: Any = 'float32') -> Any:
    values = np.random.default_rng(0).normal(size=shape) * 9
    return jnp.asarray(values).astype(dtype)


def same_function(call: Any, x: Any) -> None:
    """The same result and the same program, of the function and of its gradient."""

    def program(lib: Library) -> Any:
        def fn(x: Any) -> Any:
            return call(lib, x)

        programs = [str(jax.make_jaxpr(fn)(x))]
        if jnp.issubdtype(x.dtype, jnp.floating):
            programs.append(str(jax.make_jaxpr(jax.grad(lambda x: fn(x).sum()))(x)))
        return fn(x), programs

    same(program)


@st.composite
def windows(draw: Any) -> Any:
    rank = draw(st.integers(1, 3))
    batch = draw(st.lists(st.integers(0, 2), max_size=2))
    spatial = draw(st.lists(st.integers(2, 5), min_size=rank, max_size=rank))
    side = st.integers(0, 2)  # below zero the oracle may abort the process
    names = st.sampled_from(('SAME', 'VALID', 'SAME_LOWER', 'same'))
    # the oracle fails on explicit padding where a batch has several axes
    pairs = st.lists(st.tuples(side, side), min_size=rank, max_size=rank)
    return (*batch, *spatial, draw(st.integers(1, 2))), {
        'window_shape': tuple(draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))),
        'strides': draw(st.none() | st.tuples(*[st.integers(1, 3)] * rank)),
        'padding': draw(names if len(batch) > 1 else names | pairs),
    }


@given(windows(), st.sampled_from(('max_pool', 'min_pool', 'avg_pool')), st.sampled_from(DTYPES))
def test_pooling(case: Any, name: str, dtype: str) -> None:
    shape, options = case
    if dtype == 'complex64':
        name = 'avg_pool'
    x = array(*shape, dtype=dtype)
    same_function(lambda lib, x: getattr(lib.load('linen.pooling'), name)(x, **options), x)


@given(windows(), st.sampled_from(DTYPES))
def test_mean_without_padding(case: Any, dtype: str) -> None:
    shape, options = case
    same_function(
        lambda lib, x: lib.nn.avg_pool(x, **options, count_include_pad=False),
        array(*shape, dtype=dtype),
    )


@pytest.mark.parametrize('dtype', ['int8', 'int32', 'int64', 'bfloat16', 'float32', 'float64'])
@pytest.mark.parametrize('count_include_pad', [False, True])
def test_mean_in_double_precision(dtype: str, count_include_pad: bool) -> None:
    with jax.enable_x64(True):
        same_function(
            lambda lib, x: lib.nn.avg_pool(x, (2,), count_include_pad=count_include_pad),
            array(1, 4, 2, dtype=dtype),
        )


@pytest.mark.parametrize('name', ['max_pool', 'min_pool', 'avg_pool'])
def test_no_spatial_axes(name: str) -> None:
    same_function(lambda lib, x: getattr(lib.load('linen.pooling'), name)(x, ()), array(2, 3))


def test_any_reduction() -> None:
    x = array(2, 5, 4, 3)
    same(lambda lib: lib.nn.pool(x, 1.0, lax.mul, (2, 2), (1, 2), ((1, 1), (0, 0))))
    same(lambda lib: lib.nn.pool(x, 0.0, lax.add, (2, 2), None, 'SAME'))


@given(
    st.lists(st.sampled_from((*REAL, 'bool', None, 1, 1.5, True, (1, 2))), min_size=1, max_size=3),
    st.none() | st.sampled_from((jnp.float32, 'bfloat16', jnp.int32, 'complex64')),
    st.booleans(),
)
def test_promotion(kinds: Any, dtype: Any, inexact: bool) -> None:
    args = [array(2, dtype=kind) if isinstance(kind, str) else kind for kind in kinds]
    args = [list(x) if isinstance(x, tuple) else x for x in args]
    fails = (all(x is None for x in args) and dtype is None) or (inexact and dtype is jnp.int32)

    def program(lib: Library) -> Any:
        dtypes = lib.load('linen.dtypes')
        options = {'dtype': dtype, 'inexact': inexact}
        found = dtypes.canonicalize_dtype(*args, **options)
        return jnp.dtype(found), type(found), dtypes.promote_dtype(*args, **options)

    (same_error if fails else same)(program)


def test_promotion_of_complex_numbers() -> None:
    def program(lib: Library) -> Any:
        return lib.load('linen.dtypes').promote_dtype(1j, array(2), array(2, dtype='complex64'), 1)

    same(program)


def test_promotion_of_double_precision() -> None:
    x = np.ones(2)

    def program(lib: Library) -> Any:
        return lib.load('linen.dtypes').promote_dtype(x, np.ones(2, np.int64), 1.0)

    same(program)
    with jax.enable_x64(True):
        same(program)


def test_double_precision_that_is_off_is_said() -> None:
    def program(lib: Library) -> Any:
        with pytest.warns(UserWarning, match='float64'):
            return lib.load('linen.dtypes').promote_dtype(array(2), dtype=jnp.float64)

    same(program)


@pytest.mark.parametrize('module', ['initializers', 'activation'])
def test_functions_of_jax_are_the_same_objects(module: str) -> None:
    ours, oracle = (lib.load(f'linen.{module}') for lib in (Library('linnet'), Library('flax')))
    names = [
        name
        for name, value in vars(oracle).items()
        if getattr(value, '__module__', '').startswith('jax') and not name.startswith('_')
    ]
    assert len(names) > 15
    for name in names:
        if name != 'jnp':  # ours may be a memory of what the function made
            function = getattr(ours, name)
            behind = getattr(function, '__wrapped__', None)
            assert getattr(oracle, name) in (function, behind)


@pytest.mark.parametrize('name', ['zeros_init', 'ones_init'])
def test_constant_initialisers(name: str) -> None:
    same(lambda lib: getattr(lib.nn.initializers, name)()(jax.random.key(0), (2,), jnp.bfloat16))


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int32', 'complex64'])
@pytest.mark.parametrize('param_dtype', ['float32', 'bfloat16'])
def test_prelu(dtype: str, param_dtype: str) -> None:
    x = array(2, 3, dtype=dtype)

    def program(lib: Library) -> Any:
        layer = lib.nn.PReLU(param_dtype, negative_slope_init=0.3)
        y, variables = layer.init_with_output(jax.random.key(0), x)
        return y, variables, str(jax.make_jaxpr(layer.apply)(variables, x))

    same(program)


def test_prelu_in_every_mode() -> None:
    compare(lambda nn: nn.PReLU(), (np.asarray(array(2, 3)),))

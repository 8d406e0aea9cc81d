"""Dropout against the oracle: the same elements, from every kind of key, in every mode.

The program that draws them is another one than the oracle's, and faster.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parity.harness import ORACLE, OURS, Library, compare, same, same_error

DTYPES = ('float32', 'bfloat16', 'float16', 'complex64')


def array(*shape: int, dtype: Any = 'float32') -> Any:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape)).astype(dtype)


@given(
    st.sampled_from((0, 0.0, 0.1, 0.3, 0.5, 0.9, 1, 1.0, np.float32(0.25))),
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
    st.sampled_from(DTYPES),
    st.sampled_from(('dropout', 'noise')),
    st.data(),
)
def test_drawn(rate: Any, shape: Any, dtype: str, stream: str, data: Any) -> None:
    axes = data.draw(st.lists(st.integers(-len(shape), len(shape) - 1), max_size=2))
    deterministic = data.draw(st.booleans())
    if dtype in ('bfloat16', 'float16'):
        rate = float(rate)
    given_key = data.draw(st.sampled_from((None, jax.random.key, jax.random.PRNGKey)))
    x = array(*shape, dtype=dtype)

    def program(lib: Library) -> Any:
        layer = lib.nn.Dropout(rate, tuple(axes), rng_collection=stream)
        more = {} if given_key is None else {'rng': given_key(5)}
        run = lambda x, key: layer.apply(  # noqa: E731
            {}, x, deterministic, rngs={stream: key}, **more
        )
        return [run(x, make(7)) for make in (jax.random.key, jax.random.PRNGKey)]

    same(program)


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_a_rate_of_numpy_in_half_precision(dtype: str) -> None:
    """The oracle refuses a rate whose own dtype is wider than the input's."""
    x = array(4, 8, dtype=dtype)
    rngs = {'dropout': jax.random.key(0)}
    with pytest.raises(TypeError, match='same dtypes'):
        ORACLE.nn.Dropout(np.float32(0.25)).apply({}, x, False, rngs=rngs)
    y = OURS.nn.Dropout(np.float32(0.25)).apply({}, x, False, rngs=rngs)
    kept = ORACLE.nn.Dropout(0.25).apply({}, x, False, rngs=rngs) != 0
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, jnp.where(kept, (x / np.float32(0.75)).astype(dtype), 0))


@pytest.mark.parametrize('rate', [0.0, 0.4, 1.0])
def test_every_mode(rate: float) -> None:
    def build(nn: Any) -> Any:
        class Net(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                x = nn.Dropout(rate, deterministic=False)(nn.Dense(4)(x))
                layer = nn.Dropout(rate, broadcast_dims=(0,))
                return layer(x, deterministic=False) + layer(x, deterministic=False)

        return Net()

    compare(build, (np.ones((3, 5), np.float32),), rngs=['dropout'])


@pytest.mark.parametrize('impl', ['threefry2x32', 'rbg', 'unsafe_rbg'])
def test_every_generator(impl: str) -> None:
    same(
        lambda lib: lib.nn.Dropout(0.5, deterministic=False).apply(
            {}, array(4, 8), rngs={'dropout': jax.random.key(0, impl=impl)}
        )
    )


def test_the_stream_of_parameters_stands_in() -> None:
    same(
        lambda lib: lib.nn.Dropout(0.5, deterministic=False).apply(
            {}, array(4, 8), rngs={'params': jax.random.key(0)}
        )
    )


@pytest.mark.parametrize('dtype', ['int32', 'bool'])
def test_integers_pass_where_nothing_is_scaled(dtype: str) -> None:
    x = array(2, 3).astype(dtype)
    for rate in (0.0, 1.0):
        same(lambda lib, rate=rate: lib.nn.Dropout(rate, deterministic=False).apply({}, x))


@pytest.mark.parametrize(
    'program',
    [
        lambda nn, x: nn.Dropout(0.5).apply({}, x),
        lambda nn, x: nn.Dropout(0.5, deterministic=True).apply({}, x, True),
        lambda nn, x: nn.Dropout(0.5, deterministic=False).apply({}, x),
        lambda nn, x: nn.Dropout(0.5, deterministic=False).apply(
            {}, x, rng=jax.random.split(jax.random.key(0))
        ),
        lambda nn, x: nn.Dropout(0.5, deterministic=False).apply(
            {}, x.astype(int), rng=jax.random.key(0)
        ),
    ],
)
def test_errors_are_of_the_same_kind(program: Any) -> None:
    same_error(lambda lib: program(lib.nn, array(2, 3)))

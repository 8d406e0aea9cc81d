"""Facts about arrays: equal arrays have equal fingerprints, magnitudes keep NaN and infinity."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linnet.checks import values

DTYPES = 'bool int8 uint16 int32 float16 bfloat16 float8_e4m3fn float32 complex64'.split()


@pytest.mark.parametrize('dtype', DTYPES)
def test_a_fingerprint_tells_arrays_apart(dtype):
    x = jnp.arange(6).astype(dtype).reshape(2, 3)
    prints = [
        values.fingerprint(y) for y in (x, x.at[0, 0].set(jnp.ones((), dtype)), x[::-1], x[:1])
    ]
    assert len({int(word) for word in prints}) == 4
    assert int(jax.jit(values.fingerprint)({'a': x, 'key': jax.random.key(0)})) == int(prints[0])


def test_numbers_of_64_bits():
    with jax.enable_x64(True):
        x = jnp.array([1.0, 2.0, 1e300])
        assert int(values.fingerprint(x)) != int(values.fingerprint(x.at[0].set(3.0)))
        assert np.isfinite(values.largest(x))
        assert np.isinf(values.largest(x.at[0].set(-np.inf)))


@pytest.mark.parametrize('dtype', [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_largest_magnitude(dtype):
    x = jnp.array([1.0, -2.0, 0.0], dtype)
    assert values.largest(x) == 2
    assert values.largest(0 * x) == 0
    assert np.isposinf(values.largest(x.at[0].set(-np.inf)))
    assert np.isnan(values.largest(x.at[:2].set(jnp.array([np.inf, np.nan], dtype))))


def test_words_go_to_the_host_and_back():
    x = np.array([1.5, -np.inf], np.float32)
    np.testing.assert_array_equal(values.as_floats(np.asarray(values.as_words(x))), x)
    assert values.as_integers(np.asarray(values.as_words(jnp.int32(-3)))).tolist() == [-3]
    assert not values.is_array(jax.random.key(0))

"""The computation dtype and the casts to it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linnet.errors import InvalidOptionError
from linnet.linen.dtypes import canonicalize_dtype, promote_dtype


@pytest.mark.parametrize(
    ('args', 'expected'),
    [
        ((jnp.ones(2),), 'float32'),
        ((jnp.ones(2, jnp.int32),), 'float32'),
        ((jnp.ones(2, bool), None), 'float32'),
        ((jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.int32)), 'bfloat16'),
        ((jnp.ones(2, jnp.bfloat16), jnp.ones(2)), 'float32'),
        ((jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float16)), 'float32'),
        ((jnp.ones(2, jnp.complex64), jnp.ones(2)), 'complex64'),
        ((jnp.ones(2, jnp.float16), 1.5), 'float16'),
        ((np.ones(2),), 'float32'),
        (([1, 2],), 'float32'),
        ((3,), 'float32'),
    ],
)
def test_inferred(args: Any, expected: str) -> None:
    assert canonicalize_dtype(*args) == jnp.dtype(expected)


def test_integers_stay_where_they_may() -> None:
    assert canonicalize_dtype(jnp.ones(2, jnp.int8), inexact=False) == jnp.int8
    assert canonicalize_dtype(dtype=jnp.int32, inexact=False) is jnp.int32


def test_a_given_dtype_is_returned_as_it_is() -> None:
    assert canonicalize_dtype(jnp.ones(2), dtype='float16') == 'float16'


def test_casts_and_leaves_what_is_absent() -> None:
    x, nothing, one = promote_dtype(jnp.ones(2, jnp.int32), None, 1, dtype=jnp.bfloat16)
    assert (x.dtype, nothing, one.dtype) == (jnp.bfloat16, None, jnp.bfloat16)


def test_what_fits_is_not_copied() -> None:
    x = jnp.ones(2)
    assert promote_dtype(x)[0] is x


def test_the_result_is_never_weakly_typed() -> None:
    (x,) = promote_dtype(jnp.asarray(1.0))
    assert not x.weak_type


def test_no_program_is_traced_for_what_fits() -> None:
    jaxpr = jax.make_jaxpr(lambda x, y: promote_dtype(x, y))(jnp.ones(2), jnp.ones(3))
    assert not jaxpr.eqns


@pytest.mark.parametrize('dtype', [jnp.int32, 'int8', bool])
def test_integers_cannot_be_computed_in(dtype: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r'cannot be computed in(.|\n)*floating-point'):
        promote_dtype(jnp.ones(2), dtype=dtype)


@pytest.mark.parametrize('args', [(), (None,)])
def test_nothing_to_infer_from(args: Any) -> None:
    with pytest.raises(InvalidOptionError, match='neither an array nor a dtype'):
        promote_dtype(*args)

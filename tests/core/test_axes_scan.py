"""Loops over any axis: the same numbers as a loop written out, and refusals in words."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from linnet.core import axes_scan
from linnet.errors.transforms import ScanError

X = jnp.arange(12.0).reshape(3, 4)


def add(broadcast, carry, x):
    """Sums along the loop."""
    return broadcast, carry + x, carry * x


def test_a_loop_over_the_last_axis():
    run = axes_scan.scan(add, in_axes=(1,), out_axes=1, length=4, reverse=False)
    _, carry, y = run((), jnp.zeros(3), X)
    before = np.cumsum(X, axis=1) - X
    np.testing.assert_array_equal(carry, X.sum(1))
    np.testing.assert_array_equal(y, before * X)


def test_an_axis_that_a_value_lacks():
    run = axes_scan.scan(add, in_axes=(3,), out_axes=0)
    with pytest.raises(ScanError, match=r'axis 3 is out of range for a value of shape \(3, 4\)'):
        run((), jnp.zeros(4), X)


def test_axes_that_do_not_fit_the_arguments():
    run = axes_scan.scan(add, in_axes=(0, 0), out_axes=0)
    with pytest.raises(ScanError, match=r'in_axes=\(0, 0\) does not fit the structure'):
        run((), jnp.zeros(4), X)


def test_a_constant_that_depends_on_the_carry():
    run = axes_scan.scan(
        lambda broadcast, carry, x: (carry, carry + x, x), in_axes=(0,), out_axes=0
    )
    with pytest.raises(ScanError, match='depends on the carry or on a slice'):
        run(jnp.zeros(4), jnp.zeros(4), X)

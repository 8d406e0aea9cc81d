"""Loops over any axis, with values that do not change."""

from __future__ import annotations

import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linnet.core import axes_scan
from linnet.core.axes_scan import broadcast, scan
from linnet.errors import ScanError

X = np.arange(12.0, dtype=np.float32).reshape(3, 4)


def total(_: Any, carry: Any, x: Any) -> Any:
    """Running sums: the carry before and the slice after adding."""
    return (), carry + x.sum(), (carry, x + carry)


@pytest.mark.parametrize('axis', [0, 1, -1, -2])
def test_slices_of_any_axis(axis: int) -> None:
    _, carry, (before, xs) = scan(total, (axis,), (0, axis))((), 0.0, X)
    sums = X.sum(1 - axis % 2)
    np.testing.assert_array_equal(before, np.cumsum(sums) - sums)
    np.testing.assert_array_equal(xs, X + np.expand_dims(np.cumsum(sums) - sums, 1 - axis % 2))
    assert carry == X.sum()


def test_results_on_another_axis() -> None:
    xs = scan(total, (0,), (0, 1))((), 0.0, X)[2][1]
    assert xs.shape == (4, 3)
    xs = scan(total, (1,), (0, 0))((), 0.0, X)[2][1]
    assert xs.shape == (4, 3)


def test_reverse_begins_at_the_end() -> None:
    before = scan(total, (0,), 0, reverse=True)((), 0.0, X)[2][0]
    np.testing.assert_array_equal(before, [X[1:].sum(), X[2].sum(), 0])


def test_options_of_the_loop_do_not_change_the_result() -> None:
    plain = scan(total, (0,), 0)((), 0.0, X)
    for options in ({'unroll': 2}, {'unroll': True}, {'length': 3}, {'_split_transpose': True}):
        other = scan(total, (0,), 0, **options)((), 0.0, X)  # type: ignore[arg-type]
        jax.tree.map(np.testing.assert_array_equal, plain, other)


def test_arguments_that_are_the_same_in_all_iterations() -> None:
    def body(b: Any, carry: Any, x: Any, tree: Any) -> Any:
        assert tree['k'].shape == (4,)
        return b, carry + b, x * tree['k'] + tree['s']

    axes = (0, {'k': broadcast, 's': 0})
    tree = {'k': X[0], 's': jnp.arange(3.0)}
    _, carry, ys = scan(body, axes, 0)(2.0, 0.0, X, tree)
    assert carry == 6.0
    np.testing.assert_array_equal(ys, X * X[0] + np.arange(3.0)[:, None])


def test_results_that_are_the_same_in_all_iterations() -> None:
    def body(b: Any, carry: Any, x: Any) -> Any:
        return b, carry, {'still': b + 1, 'moving': x}

    b, _, ys = scan(body, (0,), {'still': broadcast, 'moving': 0})(3.0, 0.0, X)
    assert (b, ys['still']) == (3.0, 4.0)
    np.testing.assert_array_equal(ys['moving'], X)


def test_the_loop_sees_what_the_first_pass_made() -> None:
    """Once before the loop, and the loop does not compute it again."""
    keys: list[Any] = []

    def body(made: Any, carry: Any, x: Any) -> Any:
        keys.append(bool(made))
        made = made or {'w': jnp.ones(4)}
        return made, carry + (made['w'] * x).sum(), None

    made, carry, _ = scan(body, (0,), 0)({}, 0.0, X)
    assert list(made) == ['w']
    assert carry == X.sum()
    assert keys == [False, True]


def test_no_iterations() -> None:
    _, carry, (before, xs) = scan(total, (0,), 0)((), 1.5, X[:0])
    assert (carry, before.shape, xs.shape) == (1.5, (0,), (0, 4))


def test_no_scanned_argument() -> None:
    _, carry, ys = scan(lambda b, c: ((), c * 2, c), (), 0, length=4)((), 1, *())
    assert (carry, ys.tolist()) == (16, [1, 2, 4, 8])


def test_gradient() -> None:
    def loss(w: Any, x: Any) -> Any:
        return scan(lambda w, c, x: (w, c * w + x.sum(), None), (1,), 0)(w, 1.0, x)[1]

    w_bar, x_bar = jax.grad(loss, argnums=(0, 1))(2.0, X)
    np.testing.assert_array_equal(x_bar, np.broadcast_to([8.0, 4, 2, 1], (3, 4)))
    sums = X.sum(0)
    assert w_bar == 4 * 8 + 3 * 4 * sums[0] + 2 * 2 * sums[1] + sums[2]


def test_broadcast_is_one_value() -> None:
    assert pickle.loads(pickle.dumps(broadcast)) is broadcast
    assert repr(broadcast) == 'broadcast'


def test_shaped_arrays() -> None:
    shaped = axes_scan.build_shaped_array(jnp.ones((3, 2), jnp.bfloat16), batch_dim=True)
    assert (shaped.shape, shaped.dtype) == ((2,), jnp.bfloat16)
    assert axes_scan.build_shaped_array(2.0).weak_type


# Mistakes.


def fails(fn: Any, in_axes: Any, out_axes: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(ScanError) as caught:
        scan(fn, in_axes, out_axes, **options)((), 0.0, *args)
    return str(caught.value)


@pytest.mark.parametrize(
    'constant', [lambda carry, x: carry * 2, lambda carry, x: x.sum(), lambda carry, x: carry]
)
def test_constants_that_depend_on_the_loop(constant: Any) -> None:
    message = fails(lambda b, c, x: (constant(c, x), c, None), (0,), 0, X)
    assert 'depends on the carry or on a slice' in message
    assert 'variable_carry=' in message
    message = fails(lambda b, c, x: ((), c, constant(c, x)), (0,), broadcast, X)
    assert 'depends on the carry or on a slice' in message


def test_constant_result_without_the_first_pass() -> None:
    def body(b: Any, c: Any, x: Any) -> Any:
        return b, c, jnp.ones(2)

    message = fails(body, (0,), broadcast, X, check_constancy_invariants=False)
    assert 'check_constancy_invariants=True' in message


def test_axis_out_of_range() -> None:
    message = fails(total, (2,), 0, X)
    assert 'axis 2 is out of range for a value of shape (3, 4)' in message
    assert 'in_axes=nn.broadcast' in message
    assert 'shape ()' in fails(lambda b, c, x: ((), c, x), (0,), 0, 3.0)


def test_axes_of_another_structure() -> None:
    message = fails(lambda b, c, x: ((), c, None), ({'a': 0},), 0, (X,))
    assert "in_axes=({'a': 0},) does not fit" in message
    message = fails(lambda b, c, x: ((), c, (x, x)), (0,), (0, 0, 0), X)
    assert 'out_axes=(0, 0, 0) does not fit' in message

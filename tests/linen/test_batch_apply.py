"""BatchApply, and the functions that merge and split axes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.errors import InputShapeError, InvalidOptionError, SharpBitWarning
from linnet.linen import batch_apply

X = np.arange(24.0).reshape(2, 3, 4)


def shapes(tree: Any) -> Any:
    return jax.tree.map(np.shape, tree)


@pytest.mark.parametrize(
    ('num_dims', 'inside'),
    [(1, (2, 3, 4)), (2, (6, 4)), (3, (24,)), (-1, (6, 4)), (-2, (2, 3, 4))],
)
def test_the_function_sees_one_batch_axis(num_dims: int, inside: Any) -> None:
    seen = []
    y = nn.BatchApply(lambda x: seen.append(x.shape) or x + 1, num_dims)(X)
    assert seen == [inside]
    np.testing.assert_array_equal(y, X + 1)


def test_trees_keywords_and_what_has_no_batch() -> None:
    def f(x: Any, small: Any, number: Any, *, k: Any) -> Any:
        assert (x.shape, small.shape, number, k['a'].shape) == ((6, 4), (4,), 3, (6,))
        return {'y': x * small, 'k': k['a']}

    y = nn.BatchApply(f)(X, np.ones(4), 3, k={'a': X[..., 0]})
    assert shapes(y) == {'y': (2, 3, 4), 'k': (2, 3)}


def test_arguments_that_are_no_arrays_pass() -> None:
    y = nn.BatchApply(lambda x, mode, none: x if mode == 'same' and none is None else 0)(
        X, 'same', None
    )
    np.testing.assert_array_equal(y, X)


def test_a_module_inside() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.BatchApply(nn.Dense(5))(x)

    y, variables = Net().init_with_output(jax.random.key(0), X)
    assert y.shape == (2, 3, 5)
    assert list(variables['params']) == ['Dense_0']


def test_no_argument_has_the_axes() -> None:
    with pytest.raises(InputShapeError, match=r'has 4 axes: their shapes are \[\(2, 3, 4\)\]'):
        nn.BatchApply(lambda x: x, 4)(X)
    with pytest.raises(InputShapeError, match='no argument'):
        nn.BatchApply(lambda: 1)()


def test_num_dims_of_zero() -> None:
    with pytest.raises(InvalidOptionError, match='num_dims=0'):
        nn.BatchApply(lambda x: x, 0)


@pytest.mark.parametrize('returned', [3, np.ones(3), np.float32(1)])
def test_an_output_without_the_merged_axis(returned: Any) -> None:
    with pytest.raises(InputShapeError, match=r'is not 6 long, so that it cannot.*\(2, 3\)'):
        nn.BatchApply(lambda x: returned)(X)


def test_batch_axes_that_differ() -> None:
    with pytest.warns(SharpBitWarning, match=r'\(2, 3\) of one argument and \(3, 2\)'):
        nn.BatchApply(lambda a, b: a + b)(X[..., 0], X[..., 0].T)


def test_the_first_leaf_with_axes_enough() -> None:
    leaf = batch_apply.arbitrary_mergeable_leaf
    assert leaf(2, (np.ones(3), X), {'a': np.ones((5, 5))}) is X
    assert leaf(2, (np.ones(3),), {'a': X}) is X
    assert leaf(2, (np.ones(3),), {}) is None


def test_merging_and_splitting() -> None:
    merged = batch_apply.merge_leading_dims(X, 2)
    assert isinstance(merged, np.ndarray)
    np.testing.assert_array_equal(merged, X.reshape(6, 4))
    np.testing.assert_array_equal(batch_apply.split_leading_dim(merged, [2, 3]), X)
    assert batch_apply.merge_leading_dims(3, 2) == 3
    assert batch_apply.merge_leading_dims(X, 4) is X
    assert jnp.shape(batch_apply.merge_leading_dims(jnp.asarray(X), 3)) == (24,)


@pytest.mark.parametrize(('x', 'ndim'), [(X, 3), (1, 0), (None, 0), ('a', 0), ([1, 2], 1)])
def test_ndim_at_least(x: Any, ndim: int) -> None:
    assert batch_apply.ndim_at_least(x, ndim)
    assert not batch_apply.ndim_at_least(x, ndim + 1)

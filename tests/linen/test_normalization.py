"""The norms: exact values, what they keep, and what they say of wrong input."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.errors import (
    InputDtypeError,
    InputShapeError,
    InvalidOptionError,
    MaskError,
    ModifyScopeVariableError,
    SharpBitWarning,
)
from linnet.linen import normalization

KEY = jax.random.key(0)
X = jnp.arange(24.0).reshape(2, 3, 4)


def run(layer: Any, x: Any = X, **kwargs: Any) -> Any:
    return layer.init_with_output(KEY, x, **kwargs)[0]


def train(layer: Any, x: Any, variables: Any = None, **kwargs: Any) -> Any:
    variables = variables or layer.init(KEY, x)
    return layer.apply(variables, x, mutable=['batch_stats'], **kwargs)


# Values.


def test_layer_norm_of_three_numbers() -> None:
    y = run(nn.LayerNorm(epsilon=0.0), jnp.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(y, [[-np.sqrt(1.5), 0, np.sqrt(1.5)]], rtol=1e-6)


def test_rms_norm_divides_by_the_root_mean_square() -> None:
    y = run(nn.RMSNorm(epsilon=0.0), jnp.array([3.0, 4.0]))
    np.testing.assert_allclose(y, np.array([3, 4]) / np.sqrt(12.5), rtol=1e-6)


def test_group_norm_of_one_group_is_a_norm_over_everything() -> None:
    y = run(nn.GroupNorm(num_groups=1))
    one = run(nn.LayerNorm(reduction_axes=(1, 2)))
    np.testing.assert_allclose(y, one, rtol=1e-6)


def test_group_norm_of_groups_of_one_is_an_instance_norm() -> None:
    y = run(nn.GroupNorm(num_groups=None, group_size=1))
    np.testing.assert_allclose(y, run(nn.InstanceNorm()), rtol=1e-6)


def test_scale_and_bias_are_applied_last() -> None:
    layer = nn.LayerNorm(
        scale_init=nn.initializers.constant(2), bias_init=nn.initializers.constant(3)
    )
    np.testing.assert_allclose(run(layer), 2 * run(nn.LayerNorm()) + 3, rtol=1e-6)


def test_batch_norm_moves_its_averages_by_the_momentum() -> None:
    x = jnp.array([[0.0], [4.0]])
    y, changed = train(nn.BatchNorm(False, momentum=0.75, epsilon=0.0), x)
    np.testing.assert_array_equal(y, [[-1.0], [1.0]])
    np.testing.assert_array_equal(changed['batch_stats']['mean'], [0.5])
    np.testing.assert_array_equal(changed['batch_stats']['var'], [0.75 + 1])


def test_batch_norm_evaluates_with_its_averages() -> None:
    variables = {
        'params': {'scale': jnp.ones(1), 'bias': jnp.zeros(1)},
        'batch_stats': {'mean': jnp.array([2.0]), 'var': jnp.array([4.0])},
    }
    y = nn.BatchNorm(True, epsilon=0.0).apply(variables, jnp.array([[0.0], [6.0]]))
    np.testing.assert_array_equal(y, [[-1.0], [2.0]])


def test_init_leaves_the_averages_where_they_start() -> None:
    stats = nn.BatchNorm(False).init(KEY, X)['batch_stats']
    np.testing.assert_array_equal(stats['mean'], np.zeros(4))
    np.testing.assert_array_equal(stats['var'], np.ones(4))


def test_a_mask_leaves_elements_out_of_the_statistics() -> None:
    x = jnp.array([[1.0], [3.0], [100.0]])
    mask = jnp.array([[True], [True], [False]])
    _, changed = train(nn.BatchNorm(False, momentum=0.0), x, mask=mask)
    np.testing.assert_array_equal(changed['batch_stats']['mean'], [2.0])
    np.testing.assert_array_equal(changed['batch_stats']['var'], [1.0])


def test_group_norm_takes_a_mask_that_broadcasts() -> None:
    mask = jnp.array([[True, True, False], [True, False, False]])[..., None]
    full = jnp.broadcast_to(mask, X.shape)
    np.testing.assert_array_equal(run(nn.GroupNorm(2), mask=mask), run(nn.GroupNorm(2), mask=full))


def test_batch_norm_averages_over_a_mapped_axis() -> None:
    x = jax.random.normal(KEY, (4, 2, 3))
    layer = nn.BatchNorm(False, axis_name='batch')
    variables = layer.init(KEY, x[0])
    y = jax.vmap(lambda x: train(layer, x, variables)[0], axis_name='batch')(x)
    whole, _ = train(nn.BatchNorm(False), x.reshape(8, 3), variables)
    np.testing.assert_allclose(y.reshape(8, 3), whole, rtol=1e-5, atol=1e-6)


# Dtypes.


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_statistics_are_taken_in_float32(dtype: str) -> None:
    big = jnp.full((1, 1000), 300.0, dtype).at[0, 0].set(301)
    y = run(nn.LayerNorm(use_bias=False, use_scale=False, use_fast_variance=False), big)
    assert y.dtype == dtype
    assert jnp.all(jnp.isfinite(y))


def test_the_result_is_of_the_computation_dtype() -> None:
    half = X.astype(jnp.bfloat16)
    assert run(nn.LayerNorm(), half).dtype == jnp.float32
    assert run(nn.LayerNorm(dtype=jnp.bfloat16), half).dtype == jnp.bfloat16
    assert run(nn.LayerNorm(), X.astype(int)).dtype == jnp.float32


@pytest.mark.parametrize('layer', [nn.LayerNorm, nn.RMSNorm, nn.InstanceNorm])
def test_a_named_dtype_is_no_implicit_promotion(layer: Any) -> None:
    half = X.astype(jnp.bfloat16)
    with jax.numpy_dtype_promotion('strict'), jax.numpy_rank_promotion('raise'):
        assert run(layer(dtype=jnp.bfloat16), half).dtype == jnp.bfloat16
        with pytest.raises(ValueError, match='no available implicit dtype promotion'):
            run(layer(), half)


def test_averages_are_kept_in_float32_unless_told_otherwise() -> None:
    kept = nn.BatchNorm(False, param_dtype=jnp.bfloat16).init(KEY, X)
    assert kept['batch_stats']['mean'].dtype == jnp.float32
    assert kept['params']['scale'].dtype == jnp.bfloat16
    half = nn.BatchNorm(False, param_dtype=jnp.bfloat16, force_float32_reductions=False)
    assert half.init(KEY, X)['batch_stats']['mean'].dtype == jnp.bfloat16


# The axes.


@pytest.mark.parametrize('axes', [(-1, 0), [2, 0], (0, 2, -1)])
def test_axes_are_counted_from_the_front_and_sorted(axes: Any) -> None:
    assert normalization._canonicalize_axes(3, axes) == (0, 2)
    shapes = jax.tree.map(jnp.shape, nn.LayerNorm(feature_axes=axes).init(KEY, X)['params'])
    assert shapes == {'scale': (2, 4), 'bias': (2, 4)}


@pytest.mark.parametrize('axis', [3, -4, (0, 3)])
@pytest.mark.parametrize('option', ['reduction_axes', 'feature_axes'])
def test_an_axis_that_the_input_lacks(axis: Any, option: str) -> None:
    with pytest.raises(InputShapeError, match='an input of 3 axes does not have'):
        run(nn.LayerNorm(**{option: axis}))
    with pytest.raises(InputShapeError, match=r'/ \(BatchNorm\).*axes=3 name an axis'):
        run(nn.BatchNorm(False, axis=3))


@pytest.mark.parametrize('layer', [nn.LayerNorm(), nn.RMSNorm(), nn.GroupNorm(1)])
def test_a_scalar(layer: Any) -> None:
    with pytest.raises(InputShapeError, match=r'axes|axis'):
        run(layer, jnp.ones(()))


# Options.


def test_a_flag_given_nowhere_names_the_module() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.BatchNorm()(nn.Dense(3)(x))

    with pytest.raises(InvalidOptionError, match=r'/BatchNorm_0.*use_running_average'):
        Net().init(KEY, jnp.ones((2, 3)))


def test_a_flag_given_twice() -> None:
    with pytest.raises(InvalidOptionError, match=r'use_running_average.*twice'):
        nn.BatchNorm(True).init(KEY, X, use_running_average=True)


def test_a_traced_flag() -> None:
    layer = nn.BatchNorm()
    variables = layer.init(KEY, X, use_running_average=True)
    with pytest.raises(InvalidOptionError, match='use_running_average is a traced value'):
        jax.jit(lambda flag: layer.apply(variables, X, use_running_average=flag))(True)


def test_averages_that_may_not_change() -> None:
    layer = nn.BatchNorm(False)
    with pytest.raises(ModifyScopeVariableError, match='mutable='):
        layer.apply(layer.init(KEY, X), X)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({}, '4 features cannot be split evenly: num_groups=32'),
        ({'num_groups': 3}, r'num_groups in \[1, 2, 4\]'),
        ({'num_groups': None, 'group_size': 3}, 'group_size=3'),
    ],
)
def test_groups_that_do_not_divide_the_features(options: Any, said: str) -> None:
    with pytest.raises(InputShapeError, match=said):
        run(nn.GroupNorm(**options))


@pytest.mark.parametrize('options', [(2, 2), (None, None)])
def test_groups_given_twice_or_not_at_all(options: Any) -> None:
    with pytest.raises(InvalidOptionError, match='num_groups=None, group_size=8'):
        run(nn.GroupNorm(*options))


@pytest.mark.parametrize('count', [0, -2, 2.0])
def test_a_number_of_groups_that_is_no_count(count: Any) -> None:
    with pytest.raises(InvalidOptionError, match='num_groups'):
        run(nn.GroupNorm(count))


def test_group_norm_needs_the_last_axis() -> None:
    with pytest.raises(InvalidOptionError, match=r'reduction_axes=\(1,\) lack the last axis'):
        run(nn.GroupNorm(2, reduction_axes=(1,)))


def test_instance_norm_keeps_the_batch() -> None:
    with pytest.raises(InvalidOptionError, match='which is the batch'):
        run(nn.InstanceNorm(feature_axes=(0, 2)))
    with pytest.raises(InvalidOptionError, match=r'x\[None\]'):
        run(nn.InstanceNorm(), jnp.ones(4))


# Inputs.


@pytest.mark.parametrize(
    ('x', 'said'),
    [([1.0, 2.0], 'a list'), (None, 'None'), (1.0, 'a float'), (nn.Dense(2), 'a Dense')],
)
def test_what_is_no_array(x: Any, said: str) -> None:
    with pytest.raises(InputDtypeError, match=said):
        run(nn.LayerNorm(), x)


def test_a_norm_that_was_made_and_not_called() -> None:
    with pytest.raises(InputDtypeError, match=r'LayerNorm got an array for epsilon') as caught:
        run(nn.RMSNorm(), nn.LayerNorm(X))
    assert 'nn.LayerNorm()(x)' in str(caught.value)


def test_an_array_for_epsilon() -> None:
    with pytest.raises(InvalidOptionError, match=r'for epsilon[\s\S]*nn.LayerNorm\(\)\(x\)'):
        run(nn.LayerNorm(X))


@pytest.mark.parametrize('options', [{'epsilon': '1e-6'}, {'reduction_axes': 'all'}])
def test_an_option_of_another_type(options: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r'is not a number|are not integers'):
        run(nn.LayerNorm(**options))
    with pytest.raises(InvalidOptionError, match='axes=None are not integers'):
        run(nn.LayerNorm(feature_axes=None))


@pytest.mark.parametrize('layer', [nn.LayerNorm(), nn.GroupNorm(2), nn.BatchNorm(False)])
def test_a_mask_that_does_not_fit(layer: Any) -> None:
    variables = layer.init(KEY, X)
    with pytest.raises(MaskError, match=r'\(2, 3\) does not.*\(2, 3, 4\)') as caught:
        layer.apply(variables, X, mask=jnp.ones((2, 3), bool), mutable=['batch_stats'])
    assert 'mask[..., None]' in str(caught.value)
    with pytest.raises(MaskError, match=r'\(1, 2, 3, 4\) does not'):
        layer.apply(variables, X, mask=jnp.ones((1, 2, 3, 4), bool), mutable=['batch_stats'])


def test_statistics_of_another_shape() -> None:
    layer = nn.BatchNorm(True)
    params = layer.init(KEY, X)['params']
    stats = {'mean': jnp.zeros(1), 'var': jnp.ones(1)}
    said = r"/ \(BatchNorm\): batch_stats '(mean|var)' has shape \(1,\), the input needs \(4,\)"
    with pytest.warns(SharpBitWarning, match=said) as caught:
        layer.apply({'params': params, 'batch_stats': stats}, X)
    assert len(caught) == 2
    stats = {'mean': jnp.zeros(5), 'var': jnp.ones(5)}
    with pytest.raises(InputShapeError, match=r'\(5,\), the input needs \(4,\)'):
        layer.apply({'params': params, 'batch_stats': stats}, X)


# What runs and is not meant.


def test_a_batch_of_one_makes_zeros() -> None:
    layer = nn.BatchNorm(False)
    variables = layer.init(KEY, jnp.ones(3))
    per_example = jax.vmap(lambda x: train(layer, x, variables)[0])
    with pytest.warns(SharpBitWarning, match=r"normalised to zero.*axis_name='batch'"):
        assert not per_example(jax.random.normal(KEY, (8, 3))).any()


def test_an_empty_batch_makes_nan() -> None:
    layer = nn.BatchNorm(False)
    with pytest.warns(SharpBitWarning, match='no elements to a mean, which is NaN'):
        y, changed = train(layer, jnp.ones((0, 4)), layer.init(KEY, X))
    assert y.shape == (0, 4)
    assert jnp.isnan(changed['batch_stats']['mean']).all()


def test_instance_norm_without_a_spatial_axis() -> None:
    layer = nn.InstanceNorm()
    x = jnp.ones((2, 3))
    with pytest.warns(SharpBitWarning, match='the input needs a spatial axis'):
        layer.apply(layer.init(KEY, x), x)


def test_names_that_programs_import() -> None:
    for name in ('_canonicalize_axes', '_compute_stats', '_normalize', '_l2_normalize', '_abs_sq'):
        assert callable(getattr(normalization, name))


def test_a_layer_of_ones_own_out_of_the_parts() -> None:
    class Mine(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            mean, var = normalization._compute_stats(x, -1, dtype=None)
            return normalization._normalize(
                self,
                x,
                mean,
                var,
                -1,
                -1,
                None,
                jnp.float32,
                1e-6,
                True,
                True,
                nn.initializers.zeros,
                nn.initializers.ones,
            )

    np.testing.assert_array_equal(run(Mine()), run(nn.LayerNorm()))

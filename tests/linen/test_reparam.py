"""WeightNorm and SpectralNorm: exact values, what they keep, and what they refuse."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.errors import InputShapeError, InvalidOptionError, SharpBitWarning

KEY = jax.random.key(0)
X = jnp.ones((2, 4))


def kernel_of(variables: Any) -> Any:
    return variables['params']['layer_instance']['kernel']


def test_init_stores_columns_of_length_one() -> None:
    variables = nn.WeightNorm(nn.Dense(3)).init(KEY, X)
    np.testing.assert_allclose(jnp.linalg.norm(kernel_of(variables), axis=0), np.ones(3), 1e-6)
    np.testing.assert_array_equal(variables['params']['layer_instance/kernel/scale'], np.ones(3))


def test_the_layer_reads_direction_times_scale() -> None:
    params = {
        'layer_instance': {'kernel': jnp.array([[3.0], [4.0]]), 'bias': jnp.zeros(1)},
        'layer_instance/kernel/scale': jnp.array([10.0]),
    }
    y = nn.WeightNorm(nn.Dense(1)).apply({'params': params}, jnp.array([[1.0, 1.0]]))
    np.testing.assert_allclose(y, [[14.0]], rtol=1e-6)


def test_which_parameters_are_normalised() -> None:
    def scales(**options: Any) -> list[str]:
        params = nn.WeightNorm(nn.Dense(3), **options).init(KEY, X)['params']
        return sorted(name for name in params if '/' in name)

    assert scales() == ['layer_instance/kernel/scale']
    assert scales(variable_filter={'bias'}) == ['layer_instance/bias/scale']
    assert len(scales(variable_filter=None)) == 2
    assert scales(use_scale=False) == []
    with pytest.warns(SharpBitWarning, match=r"letter by letter; write variable_filter=\{'kern'\}"):
        assert len(scales(variable_filter='kern')) == 2


@pytest.mark.parametrize(('axes', 'shape'), [(-1, (3,)), (None, ()), ((0, 1), (4, 3)), (0, (4,))])
def test_feature_axes(axes: Any, shape: Any) -> None:
    layer = nn.WeightNorm(nn.Dense(3), feature_axes=axes)
    assert layer.init(KEY, X)['params']['layer_instance/kernel/scale'].shape == shape


def test_feature_axes_that_a_parameter_lacks() -> None:
    with pytest.raises(InvalidOptionError, match=r'kernel of shape \(4, 3\) does not have'):
        nn.WeightNorm(nn.Dense(3), feature_axes=2).init(KEY, X)


def test_the_largest_singular_value_becomes_one() -> None:
    layer = nn.SpectralNorm(nn.Dense(3, use_bias=False), n_steps=50)
    kernel = jax.random.normal(KEY, (4, 3))
    variables = layer.init(KEY, X, update_stats=True)
    variables['params'] = {'layer_instance': {'kernel': kernel}}
    y, changed = layer.apply(variables, jnp.eye(4), update_stats=True, mutable=['batch_stats'])
    largest = jnp.linalg.norm(kernel, 2)
    np.testing.assert_allclose(y, kernel / largest, rtol=1e-4, atol=1e-5)
    sigma = changed['batch_stats']['layer_instance/kernel/sigma']
    np.testing.assert_allclose(sigma, largest, rtol=1e-4)


def test_statistics_stay_unless_updated() -> None:
    layer = nn.SpectralNorm(nn.Dense(3))
    variables = layer.init(KEY, X, update_stats=False)
    for update in (False, True):
        _, changed = layer.apply(variables, X, update_stats=update, mutable=['batch_stats'])
        same = jax.tree.map(jnp.array_equal, changed['batch_stats'], variables['batch_stats'])
        assert all(jax.tree.leaves(same)) is not update
    layer.apply(variables, X, update_stats=False)


def test_no_steps_change_nothing() -> None:
    layer = nn.SpectralNorm(nn.Dense(3), n_steps=0)
    variables = layer.init(KEY, X, update_stats=True)
    assert list(variables) == ['params']


def test_boxed_parameters_have_statistics_too() -> None:
    init = nn.with_partitioning(nn.initializers.lecun_normal(), ('in', 'out'))
    layer = nn.SpectralNorm(nn.Dense(3, kernel_init=init))
    variables = layer.init(KEY, X, update_stats=True)
    assert 'layer_instance/kernel/value/u' in variables['batch_stats']


@pytest.mark.parametrize('norm', [nn.WeightNorm, nn.SpectralNorm])
@pytest.mark.parametrize(('layer', 'said'), [(3, 'a int'), (nn.Dense, 'Dense'), (len, 'builtin')])
def test_what_is_no_module(norm: Any, layer: Any, said: str) -> None:
    more = {'update_stats': True} if norm is nn.SpectralNorm else {}
    with pytest.raises(InvalidOptionError, match=f'{said}.*is not an instance of a module'):
        norm(layer).init(KEY, X, **more)


def test_options_of_spectral_norm() -> None:
    with pytest.raises(InputShapeError, match=r'kernel has shape \(2, 2, 4, 3\), which is no mat'):
        nn.SpectralNorm(nn.Conv(3, (2, 2)), error_on_non_matrix=True).init(
            KEY, X[None, None], update_stats=True
        )
    layer = nn.SpectralNorm(nn.Dense(3))
    with pytest.raises(InvalidOptionError, match='update_stats is a traced value'):
        jax.jit(lambda flag: layer.init(KEY, X, update_stats=flag))(True)
    with pytest.raises(InvalidOptionError, match='n_steps'):
        nn.SpectralNorm(nn.Dense(3), n_steps='two').init(KEY, X, update_stats=True)

"""The layers that name the axes of their parameters have the oracle's numbers and names."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.errors import InputShapeError, TokenIdError
from linnet.linen.experimental.layers_with_named_axes import Dense, Embed, LayerNorm
from tests.parity.harness import same

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
IDS = np.array([[0, 4], [-1, 7]])
RULES = (('embed', None), ('mlp', None))
LAYERS = {
    'dense': ('Dense', {'features': 4, 'kernel_axes': ('embed', 'mlp')}, X),
    'dense of integers': ('Dense', {'features': 4, 'kernel_axes': ('embed', 'mlp')}, IDS),
    'dense in bfloat16': (
        'Dense',
        {'features': 4, 'kernel_axes': ('embed', 'mlp'), 'dtype': jnp.bfloat16, 'use_bias': False},
        X,
    ),
    'embed': ('Embed', {'num_embeddings': 5, 'features': 4}, IDS),
    'embed by products': (
        'Embed',
        {'num_embeddings': 5, 'features': 4, 'one_hot': True, 'dtype': jnp.bfloat16},
        IDS,
    ),
    'embed of floats': (
        'Embed',
        {'num_embeddings': 5, 'features': 4, 'cast_input_dtype': jnp.int32},
        X,
    ),
    'norm': ('LayerNorm', {'use_bias': False, 'use_scale': False}, X),
    'norm in bfloat16': (
        'LayerNorm',
        {'use_bias': False, 'use_scale': False, 'dtype': jnp.bfloat16},
        X,
    ),
}


@pytest.mark.parametrize('name', LAYERS)
def test_outputs_and_variables_are_equal(name):
    cls, fields, x = LAYERS[name]

    def run(lib):
        layer = getattr(lib.load('linen.experimental.layers_with_named_axes'), cls)(**fields)
        with lib.load('linen.partitioning').axis_rules(RULES):
            y, variables = layer.init_with_output(jax.random.key(0), jnp.asarray(x))
        axes = variables.get('params_axes', {})
        return y, variables.get('params', {}), {key: axes[key].names for key in axes}

    same(run)


@pytest.mark.parametrize('fields', [{}, {'attend_dtype': jnp.bfloat16}, {'dtype': jnp.bfloat16}])
def test_attending_is_equal(fields):
    def run(lib):
        layers = lib.load('linen.experimental.layers_with_named_axes')
        layer = layers.Embed(num_embeddings=5, features=3, **fields)
        variables = layer.init(jax.random.key(0), jnp.asarray(IDS))
        return layer.apply(variables, jnp.asarray(X), method='attend')

    same(run)


def test_a_norm_with_parameters_works_and_is_the_plain_one():
    key = jax.random.key(0)
    y, variables = LayerNorm().init_with_output(key, jnp.asarray(X))
    np.testing.assert_array_equal(y, nn.LayerNorm().init_with_output(key, jnp.asarray(X))[0])
    assert {name: meta.names for name, meta in variables['params_axes'].items()} == {
        'scale_axes': ('embed',),
        'bias_axes': ('embed',),
    }


def test_a_dense_layer_without_names_works():
    variables = Dense(2).init(jax.random.key(0), jnp.asarray(X))
    assert {name: meta.names for name, meta in variables['params_axes'].items()} == {
        'kernel_axes': (),
        'bias_axes': (),
    }


def test_the_product_may_be_another():
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, *args, **kwargs):
            return 2 * jax.lax.dot_general(*args, **kwargs)

    def plus_one(*args, **kwargs):
        return jax.lax.dot_general(*args, **kwargs) + 1

    key, x = jax.random.key(0), jnp.asarray(X)
    plain = Dense(2).init_with_output(key, x)[0]
    np.testing.assert_array_equal(
        Dense(2, dot_general=plus_one).init_with_output(key, x)[0], plain + 1
    )
    np.testing.assert_array_equal(
        Dense(2, dot_general=plus_one, dot_general_cls=Twice).init_with_output(key, x)[0], 2 * plain
    )


def test_input_that_does_not_fit_is_refused():
    with pytest.raises(InputShapeError, match='got a scalar'):
        Dense(2).init(jax.random.key(0), jnp.float32(1))
    with pytest.raises(TokenIdError, match=r'got float32(.|\n)*cast_input_dtype'):
        Embed(2, 3).init(jax.random.key(0), jnp.asarray(X))

"""Convolutions: Conv, ConvLocal and ConvTranspose."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import linnet.linen as nn
from linnet.errors import (
    InputDtypeError,
    InputShapeError,
    InvalidOptionError,
    ScopeParamShapeError,
)
from linnet.linen import initializers, linear

KEY = jax.random.key(0)


def shapes(layer: Any, x: Any) -> Any:
    return jax.tree.map(lambda x: x.shape, jax.eval_shape(layer.init, KEY, x))['params']


def signal(*values: float) -> jax.Array:
    """``[batch=1, len(values), channels=1]``."""
    return jnp.asarray(values, jnp.float32)[None, :, None]


def run(layer: Any, kernel: Any, x: Any) -> np.ndarray:
    """The output for one spatial axis, one channel and no bias."""
    kernel = jnp.asarray(kernel, jnp.float32)[:, None, None]
    return np.asarray(layer.clone(use_bias=False).apply({'params': {'kernel': kernel}}, x)).ravel()


def fails(layer: Any, x: Any) -> str:
    with pytest.raises((InvalidOptionError, InputShapeError, InputDtypeError)) as caught:
        layer.init(KEY, x)
    return str(caught.value)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({}, [10 + 200, 1 + 20 + 300, 2 + 30 + 400, 3 + 40]),
        ({'padding': 'VALID'}, [321, 432]),
        ({'padding': 'SAME_LOWER'}, [210, 321, 432, 43]),
        ({'padding': 'CIRCULAR'}, [4 + 10 + 200, 321, 432, 3 + 40 + 100]),
        ({'padding': 'REFLECT'}, [2 + 10 + 200, 321, 432, 3 + 40 + 300]),
        ({'padding': 'CAUSAL'}, [100, 210, 321, 432]),
        ({'padding': 'CAUSAL', 'kernel_dilation': 2}, [100, 200, 310, 420]),
        ({'padding': 0}, [321, 432]),
        ({'padding': [(2, 0)]}, [100, 210, 321, 432]),
        ({'padding': 1, 'strides': 2}, [210, 432]),
        ({'padding': 0, 'input_dilation': 2}, [201, 20, 302, 30, 403]),
        ({'strides': None, 'kernel_dilation': None, 'input_dilation': None}, [210, 321, 432, 43]),
    ],
)
def test_conv(options: Any, expected: Any) -> None:
    y = run(nn.Conv(1, (3,), **options), [1, 10, 100], signal(1, 2, 3, 4))
    np.testing.assert_array_equal(y, expected)


def test_even_kernels_go_around_to_the_right() -> None:
    np.testing.assert_array_equal(
        run(nn.Conv(1, 2, padding='CIRCULAR'), [1, 10], signal(1, 2, 3)), [21, 32, 13]
    )


@pytest.mark.parametrize('batch', [(), (2,), (0,), (2, 3), (1, 0, 2)])
@pytest.mark.parametrize('layer', [nn.Conv, nn.ConvLocal, nn.ConvTranspose])
@pytest.mark.parametrize('padding', ['SAME', 'CIRCULAR'])
def test_batches_of_any_rank(layer: Any, batch: Any, padding: str) -> None:
    layer = layer(4, (3, 2), padding=padding)
    x = jax.random.normal(KEY, (*batch, 5, 6, 2))
    y, variables = layer.init_with_output(KEY, x)
    assert y.shape == (*batch, 5, 6, 4)
    flat = layer.apply(variables, x.reshape(-1, 5, 6, 2) if x.size else x.reshape(0, 5, 6, 2))
    np.testing.assert_array_equal(y.reshape(flat.shape), flat)


@pytest.mark.parametrize(('rank', 'size'), [(0, ()), (1, 3), (1, (3,)), (2, [3, 2]), (4, (2,) * 4)])
@pytest.mark.parametrize('layer', [nn.Conv, nn.ConvTranspose])
def test_any_number_of_spatial_axes(layer: Any, rank: int, size: Any) -> None:
    x = jnp.ones((2, *(3,) * rank, 2))
    y, variables = layer(4, size).init_with_output(KEY, x)
    assert y.shape == (*x.shape[:-1], 4)
    sizes = (size,) if isinstance(size, int) else tuple(size)
    assert variables['params']['kernel'].shape == (*sizes, 2, 4)


def test_groups() -> None:
    layer = nn.Conv(6, (1,), feature_group_count=3, use_bias=False)
    assert shapes(layer, jnp.ones((1, 4, 3))) == {'kernel': (1, 1, 6)}
    kernel = jnp.arange(6.0)[None, None]
    y = layer.apply({'params': {'kernel': kernel}}, jnp.array([[[1.0, 10.0, 100.0]]]))
    np.testing.assert_array_equal(y[0, 0], [0, 1, 20, 30, 400, 500])


def test_mask() -> None:
    layer = nn.Conv(1, (3,), mask=np.array([1, 0, 1])[:, None, None])
    np.testing.assert_array_equal(run(layer, [1, 10, 100], signal(1, 2, 3)), [200, 301, 2])


def test_the_bias_is_one_for_each_channel() -> None:
    layer = nn.Conv(2, (1,), kernel_init=initializers.zeros)
    variables = layer.init(KEY, jnp.ones((1, 3, 2)))
    variables['params']['bias'] = jnp.array([1.0, 2.0])
    y = layer.apply(variables, jnp.ones((1, 3, 2)))
    np.testing.assert_array_equal(y[0], [[1, 2]] * 3)


def test_conv_local_has_a_kernel_for_each_place() -> None:
    layer = nn.ConvLocal(1, (2,), use_bias=False)
    kernel = jnp.array([[1, 10], [2, 20], [3, 30]], jnp.float32)[..., None]
    y = layer.apply({'params': {'kernel': kernel}}, signal(1, 2, 3))
    np.testing.assert_array_equal(y.ravel(), [21, 64, 9])


@pytest.mark.parametrize(
    ('options', 'places'),
    [
        ({}, (5, 6)),
        ({'padding': 'VALID'}, (3, 5)),
        ({'padding': 'CIRCULAR', 'strides': 2}, (3, 3)),
        ({'padding': 1, 'input_dilation': 2}, (9, 12)),
        ({'padding': 'VALID', 'kernel_dilation': 3}, (0, 3)),
    ],
)
def test_parameters_of_conv_local(options: Any, places: Any) -> None:
    layer = nn.ConvLocal(4, (3, 2), kernel_init=initializers.zeros, **options)
    assert shapes(layer, jnp.ones((1, 5, 6, 2))) == {
        'kernel': (*places, 12, 4),
        'bias': (*places, 4),
    }


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({}, [12, 123, 230]),
        ({'padding': 'VALID'}, [1, 12, 123, 230, 300]),
        ({'strides': 2}, [1, 10, 102, 20, 203, 30]),
        ({'strides': (2,), 'padding': 'VALID'}, [1, 10, 102, 20, 203, 30, 300]),
        ({'padding': 'CIRCULAR'}, [312, 123, 231]),
        ({'padding': 'CIRCULAR', 'strides': 2}, [301, 10, 102, 20, 203, 30]),
        ({'padding': 1}, [12, 123, 230]),
        ({'padding': 'VALID', 'transpose_kernel': True}, [100, 210, 321, 32, 3]),
    ],
)
def test_conv_transpose(options: Any, expected: Any) -> None:
    layer = nn.ConvTranspose(1, (3,), **options)
    y = run(layer, [100, 10, 1], signal(1, 2, 3))
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    ('padding', 'size', 'strides'),
    [
        ('SAME', 3, 1),
        ('SAME', 2, 2),
        ('SAME', 3, 3),
        ('VALID', 2, 2),
        ('VALID', 5, 1),
        ('CIRCULAR', 3, 1),
        ('CIRCULAR', 5, 1),
    ],
)
def test_conv_transpose_is_the_gradient_of_conv(padding: str, size: int, strides: int) -> None:
    down = nn.Conv(2, size, strides, padding, use_bias=False)
    up = nn.ConvTranspose(3, size, (strides,), padding, use_bias=False, transpose_kernel=True)
    x = jnp.zeros((1, 6, 3))
    variables = down.init(KEY, x)
    y, back = jax.vjp(lambda x: down.apply(variables, x), x)
    cotangent = jax.random.normal(KEY, y.shape)
    # summed in another order, so not bit for bit
    np.testing.assert_allclose(
        up.apply(variables, cotangent), back(cotangent)[0], rtol=1e-5, atol=1e-6
    )


def test_parameters_of_conv_transpose() -> None:
    x = jnp.ones((1, 5, 2))
    assert shapes(nn.ConvTranspose(4, 3), x) == {'kernel': (3, 2, 4), 'bias': (4,)}
    assert shapes(nn.ConvTranspose(4, 3, transpose_kernel=True), x)['kernel'] == (3, 4, 2)


@pytest.mark.parametrize('layer', [nn.Conv, nn.ConvLocal, nn.ConvTranspose])
@pytest.mark.parametrize(
    ('dtype', 'param_dtype', 'expected'),
    [
        (None, jnp.float32, jnp.float32),
        (None, jnp.bfloat16, jnp.bfloat16),
        (None, jnp.complex64, jnp.complex64),
        (jnp.float16, jnp.float32, jnp.float16),
    ],
)
def test_dtypes(layer: Any, dtype: Any, param_dtype: Any, expected: Any) -> None:
    layer = layer(2, 3, dtype=dtype, param_dtype=param_dtype)
    y, variables = layer.init_with_output(KEY, jnp.ones((1, 4, 2), jnp.int32))
    assert y.dtype == expected
    assert {p.dtype for p in jax.tree.leaves(variables)} == {jnp.dtype(param_dtype)}


def test_dtype_of_the_sums() -> None:
    layer = nn.ConvTranspose(2, 3, dtype=jnp.bfloat16, preferred_element_type=jnp.float32)
    assert layer.init_with_output(KEY, jnp.ones((1, 4, 2)))[0].dtype == jnp.float32


class Doubled(nn.Module):
    """A convolution with a parameter of its own."""

    @nn.compact
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        scale = self.param('scale', initializers.constant(2.0), ())
        return scale * lax.conv_general_dilated(*args, **kwargs)


def test_another_convolution() -> None:
    x = signal(1, 2, 3)

    def doubled(*args: Any, **kwargs: Any) -> Any:
        return 2 * lax.conv_general_dilated(*args, **kwargs)

    layer = nn.Conv(1, 2, conv_general_dilated=doubled)
    np.testing.assert_array_equal(run(layer, [1, 10], x), [42, 64, 6])
    layer = layer.clone(conv_general_dilated_cls=Doubled, conv_general_dilated=max)
    y, variables = layer.init_with_output(KEY, x)
    assert list(variables['params']) == ['kernel', 'bias', 'Doubled_0']
    plain = layer.clone(conv_general_dilated=None, conv_general_dilated_cls=None)
    np.testing.assert_array_equal(y, 2 * plain.apply(variables, x))


@pytest.mark.parametrize('layer', [nn.Conv, nn.ConvLocal, nn.ConvTranspose])
def test_other_channels_than_at_init(layer: Any) -> None:
    layer = layer(2, 3)
    variables = layer.init(KEY, jnp.ones((1, 4, 2)))
    with pytest.raises(ScopeParamShapeError):
        layer.apply(variables, jnp.ones((1, 4, 3)))


def test_conv_local_of_another_size_than_at_init() -> None:
    variables = nn.ConvLocal(2, 3).init(KEY, jnp.ones((1, 4, 2)))
    with pytest.raises(ScopeParamShapeError):
        nn.ConvLocal(2, 3).apply(variables, jnp.ones((1, 5, 2)))


IMAGE = jnp.ones((1, 5, 6, 3))


@pytest.mark.parametrize('layer', [nn.Conv, nn.ConvLocal, nn.ConvTranspose])
@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (
            {'kernel_size': 1.5},
            'kernel_size=(1.5,) holds 1.5, which is not an integer of at least 1',
        ),
        (
            {'kernel_size': (3, 0)},
            'kernel_size=(3, 0) holds 0, which is not an integer of at least 1',
        ),
        ({'kernel_size': None}, 'kernel_size=(None,) holds None, which is not an integer'),
        ({'kernel_size': '33'}, "kernel_size=('3', '3') holds '3', which is not an integer"),
        ({'strides': (1,)}, 'strides=(1,) has 1 entries and the window 2 spatial axes'),
        ({'strides': 0}, 'strides=(0, 0) holds 0, which is not an integer of at least 1'),
        ({'kernel_dilation': (1, 1, 1)}, 'kernel_dilation=(1, 1, 1) has 3 entries'),
        ({'features': -1}, 'features=-1 is not an integer of at least 0'),
        ({'padding': 'SAEM'}, "Mend: padding='SAME'"),
        ({'padding': 'circular'}, "Mend: padding='CIRCULAR'"),
        ({'padding': 1.5}, 'padding=1.5 does not fit a window of 2 spatial axes'),
        ({'padding': (1, 2, 3)}, 'padding=(1, 2, 3) does not fit'),
        ({'padding': ((1, 2, 3), 1)}, 'padding=((1, 2, 3), 1) does not fit'),
        ({'mask': np.ones((3, 2))}, 'mask has shape (3, 2) and the kernel'),
    ],
)
def test_wrong_options(layer: Any, options: Any, words: str) -> None:
    assert words in fails(layer(**{'features': 4, 'kernel_size': (3, 2), **options}), IMAGE)


@pytest.mark.parametrize('layer', [nn.Conv, nn.ConvLocal])
@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'padding': 'CAUSAL'}, 'is for one spatial axis; kernel_size=(3, 2) has 2'),
        ({'input_dilation': 2}, "padding='SAME' does not go with input_dilation=(2, 2)"),
        (
            {'feature_group_count': 2},
            'feature_group_count=2 does not divide both the 3 channels of the input and features=4',
        ),
        ({'feature_group_count': 0}, 'feature_group_count=0 is not an integer of at least 1'),
    ],
)
def test_wrong_options_of_conv(layer: Any, options: Any, words: str) -> None:
    assert words in fails(layer(4, (3, 2), **options), IMAGE)


def test_features_that_the_groups_do_not_divide() -> None:
    assert 'features=4' in fails(nn.Conv(4, (3, 3), feature_group_count=3), IMAGE)


def test_conv_local_knows_no_groups() -> None:
    message = fails(nn.ConvLocal(6, (3, 3), feature_group_count=3), IMAGE)
    assert 'nn.Conv(6, (3, 3), feature_group_count=3)' in message


@pytest.mark.parametrize('padding', ['CAUSAL', 'REFLECT', 'SAME_LOWER'])
def test_padding_that_a_transposed_convolution_does_not_know(padding: str) -> None:
    message = fails(nn.ConvTranspose(4, (3, 3), (2, 1), padding), IMAGE)
    assert f'padding={padding!r} is not' in message


@pytest.mark.parametrize('layer', [nn.Conv, nn.ConvLocal, nn.ConvTranspose])
@pytest.mark.parametrize('x', [jnp.ones((3, 3)), jnp.ones(3), jnp.ones(())])
def test_too_few_axes(layer: Any, x: Any) -> None:
    words = (
        f'needs an input of at least 3 axes, [batch..., spatial..., channels]; got shape {x.shape}'
    )
    assert words in fails(layer(4, (3, 3)), x)


@pytest.mark.parametrize('layer', [nn.Conv, nn.ConvLocal, nn.ConvTranspose])
def test_going_around_nothing(layer: Any) -> None:
    assert 'cannot go around' in fails(layer(4, 3, padding='CIRCULAR'), jnp.ones((1, 0, 2)))


def test_no_array() -> None:
    assert 'is a list, not an array' in fails(nn.Conv(4, 3), [[1.0]])


def test_which_share_their_kernel() -> None:
    assert nn.Conv(4, 3).shared_weights
    assert not nn.ConvLocal(4, 3).shared_weights


def test_canonical_padding() -> None:
    assert linear.canonicalize_padding('SAME', 2) == 'SAME'
    assert linear.canonicalize_padding(np.int64(2), 1) == [(2, 2)]
    assert linear.canonicalize_padding([1, [0, 2]], 2) == [(1, 1), (0, 2)]
    with pytest.raises(InvalidOptionError, match='for each spatial axis an int or a pair'):
        linear.canonicalize_padding((1,), 2)

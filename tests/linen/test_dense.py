"""Dense, DenseGeneral and Einsum."""

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
from linnet.linen._dense import FlatInitializer

KEY = jax.random.key(0)


def shapes(layer: Any, x: Any) -> Any:
    variables = jax.eval_shape(layer.init, KEY, x)
    return jax.tree.map(lambda x: x.shape, variables)['params']


def integers(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 3


def fails(layer: Any, x: Any, *args: Any) -> str:
    with pytest.raises((InvalidOptionError, InputShapeError, InputDtypeError)) as caught:
        layer.init(KEY, x, *args)
    return str(caught.value)


def test_dense_is_a_matrix_product() -> None:
    x, kernel, bias = integers(2, 5, 3), integers(3, 4), integers(4)
    y = nn.Dense(4).apply({'params': {'kernel': kernel, 'bias': bias}}, x)
    np.testing.assert_array_equal(y, x @ kernel + bias)


def test_dense_makes_its_parameters() -> None:
    assert shapes(nn.Dense(4), jnp.ones((2, 3))) == {'kernel': (3, 4), 'bias': (4,)}
    assert shapes(nn.Dense(4, use_bias=False), jnp.ones(3)) == {'kernel': (3, 4)}


@pytest.mark.parametrize('x', [jnp.ones((0, 3)), jnp.ones((2, 0, 3)), np.ones((2, 3), np.int64)])
def test_dense_takes_empty_batches_and_integers(x: Any) -> None:
    y, _ = nn.Dense(4).init_with_output(KEY, x)
    assert (y.shape, y.dtype) == ((*x.shape[:-1], 4), jnp.float32)


@pytest.mark.parametrize('layer', [nn.Dense(4), nn.DenseGeneral(4), nn.Einsum((3, 4), 'ab,bc->ac')])
@pytest.mark.parametrize(
    ('dtype', 'param_dtype', 'expected'),
    [
        (None, jnp.float32, jnp.float32),
        (None, jnp.bfloat16, jnp.bfloat16),
        (None, jnp.complex64, jnp.complex64),
        (jnp.float16, jnp.float32, jnp.float16),
        ('bfloat16', jnp.float16, jnp.bfloat16),
    ],
)
def test_dtypes(layer: Any, dtype: Any, param_dtype: Any, expected: Any) -> None:
    layer = layer.clone(dtype=dtype, param_dtype=param_dtype)
    y, variables = layer.init_with_output(KEY, jnp.ones((2, 3), jnp.bfloat16))
    assert y.dtype == expected
    assert {p.dtype for p in jax.tree.leaves(variables)} == {jnp.dtype(param_dtype)}


def test_double_precision() -> None:
    with jax.enable_x64(True):
        layer = nn.Dense(4, param_dtype=jnp.float64)
        y, variables = layer.init_with_output(KEY, jnp.ones((2, 3), jnp.float32))
        assert y.dtype == variables['params']['kernel'].dtype == jnp.float64


def test_the_program_of_dense_is_a_product_and_a_sum() -> None:
    layer = nn.Dense(4)
    variables = layer.init(KEY, jnp.ones((2, 3)))
    program = jax.make_jaxpr(layer.apply)(variables, jnp.ones((2, 3)))
    assert [eqn.primitive.name for eqn in program.eqns] == ['dot_general', 'reshape', 'add']


def test_precision_reaches_the_product() -> None:
    layer = nn.Dense(4, precision='highest', use_bias=False)
    variables = layer.init(KEY, jnp.ones((2, 3)))
    (eqn,) = jax.make_jaxpr(layer.apply)(variables, jnp.ones((2, 3))).eqns
    assert eqn.params['precision'] == (lax.Precision.HIGHEST, lax.Precision.HIGHEST)


def test_dense_with_another_product() -> None:
    def doubled(*args: Any, **kwargs: Any) -> Any:
        return 2 * lax.dot_general(*args, **kwargs)

    x, kernel = integers(2, 3), integers(3, 4)
    layer = nn.Dense(4, use_bias=False, dot_general=doubled)
    np.testing.assert_array_equal(layer.apply({'params': {'kernel': kernel}}, x), 2 * x @ kernel)


class Shifted(nn.Module):
    """A product with a parameter of its own."""

    @nn.compact
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        shift = self.param('shift', initializers.ones, ())
        return lax.dot_general(*args, **kwargs) + shift


@pytest.mark.parametrize('layer', [nn.Dense, nn.DenseGeneral])
def test_a_module_class_goes_before_a_function(layer: Any) -> None:
    layer = layer(4, use_bias=False, dot_general_cls=Shifted, dot_general=max)
    y, variables = layer.init_with_output(KEY, jnp.zeros((2, 3)))
    np.testing.assert_array_equal(y, np.ones((2, 4)))
    assert list(variables['params']) == ['kernel', 'Shifted_0']


def test_another_width_than_at_init() -> None:
    layer = nn.Dense(4)
    variables = layer.init(KEY, jnp.ones((2, 3)))
    with pytest.raises(ScopeParamShapeError, match='Dense'):
        layer.apply(variables, jnp.ones((2, 5)))


def test_dense_of_a_scalar() -> None:
    assert 'at least one axis, [batch..., in]; got a scalar' in fails(nn.Dense(4), jnp.ones(()))


def test_dense_of_no_array() -> None:
    assert 'is a list, not an array' in fails(nn.Dense(4), [1.0])
    assert 'is a Dense that has not been called' in fails(nn.Dense(4), nn.Dense(3))


@pytest.mark.parametrize('features', [-1, 2.5, (3,), None, '4'])
def test_dense_with_features_that_are_no_count(features: Any) -> None:
    message = fails(nn.Dense(features), jnp.ones((2, 3)))
    assert f'features={features!r} is not an integer of at least 0' in message


@pytest.mark.parametrize(('features', 'meant'), [(16.0, 16), (2.5, 2), (float('inf'), 1), (-1, 1)])
def test_what_to_write_for_features_that_are_no_count(features: Any, meant: int) -> None:
    assert f'Mend: features={meant}' in fails(nn.Dense(features), jnp.ones((2, 3)))


def test_features_may_be_an_integer_of_numpy() -> None:
    assert shapes(nn.Dense(np.int64(4)), jnp.ones(3)) == {'kernel': (3, 4), 'bias': (4,)}


def test_dense_with_an_integer_dtype() -> None:
    assert 'cannot be computed in' in fails(nn.Dense(4, dtype=jnp.int32), jnp.ones((2, 3)))


@pytest.mark.parametrize(
    ('options', 'shape', 'kernel', 'bias', 'out'),
    [
        ({'features': 4}, (2, 3), (3, 4), (4,), (2, 4)),
        ({'features': (4, 5)}, (2, 3), (3, 4, 5), (4, 5), (2, 4, 5)),
        ({'features': 4, 'axis': (0, 2)}, (2, 3, 6), (2, 6, 4), (4,), (3, 4)),
        ({'features': 4, 'axis': (2, 0)}, (2, 3, 6), (2, 6, 4), (4,), (3, 4)),
        ({'features': 4, 'axis': (-2, -1)}, (2, 3, 6), (3, 6, 4), (4,), (2, 4)),
        ({'features': 4, 'axis': ()}, (2, 3), (4,), (4,), (2, 3, 4)),
        ({'features': 4, 'batch_dims': (0,)}, (2, 3, 6), (2, 6, 4), (2, 4), (2, 3, 4)),
        ({'features': 4, 'batch_dims': (1, 0)}, (2, 3, 6), (2, 3, 6, 4), (2, 3, 4), (2, 3, 4)),
        ({'features': 4, 'batch_dims': 0}, (2, 0, 6), (2, 6, 4), (2, 4), (2, 0, 4)),
    ],
)
def test_dense_general(options: Any, shape: Any, kernel: Any, bias: Any, out: Any) -> None:
    layer = nn.DenseGeneral(**options)
    y, variables = layer.init_with_output(KEY, jnp.ones(shape))
    assert jax.tree.map(jnp.shape, variables['params']) == {'kernel': kernel, 'bias': bias}
    assert y.shape == out


def test_dense_general_is_an_einstein_sum() -> None:
    x, kernel, bias = integers(2, 3, 5, 4), integers(2, 3, 4, 6), integers(2, 6)
    layer = nn.DenseGeneral(6, axis=(1, 3), batch_dims=(0,))
    y = layer.apply({'params': {'kernel': kernel, 'bias': bias}}, x)
    expected = np.einsum('bifj,bijo->bfo', x, kernel) + bias[:, None]
    np.testing.assert_array_equal(y, expected)


def test_initialisers_of_dense_general_see_flat_shapes() -> None:
    seen = []

    def init(key: jax.Array, shape: Any, dtype: Any) -> jax.Array:
        seen.append(shape)
        return jnp.arange(np.prod(shape), dtype=dtype).reshape(shape)

    layer = nn.DenseGeneral((4, 5), (1, 2), (0,), kernel_init=init, bias_init=init)
    params = layer.init(KEY, jnp.ones((2, 3, 6)))['params']
    assert seen == [(2 * 3 * 6, 4 * 5), (2 * 4 * 5,)]
    np.testing.assert_array_equal(params['kernel'].ravel(), np.arange(2 * 3 * 6 * 4 * 5))


def test_a_box_around_a_parameter_of_dense_general() -> None:
    init = nn.with_partitioning(initializers.lecun_normal(), (None, 'heads', 'head'))
    box = nn.DenseGeneral((4, 5), kernel_init=init).init(KEY, jnp.ones((2, 3)))['params']['kernel']
    assert isinstance(box, nn.Partitioned)
    assert (box.value.shape, box.names) == ((3, 4, 5), (None, 'heads', 'head'))


def test_initialisers_of_dense_general_are_not_traced_again() -> None:
    calls = []

    def init(key: jax.Array, shape: Any, dtype: Any) -> jax.Array:
        calls.append(shape)
        return jax.random.normal(key, shape, dtype)

    layer = nn.DenseGeneral((4, 5), kernel_init=init)
    variables = layer.init(KEY, jnp.ones((2, 3)))
    layer.apply(variables, jnp.ones((2, 3)))
    before = len(calls)
    layer.apply(variables, jnp.ones((7, 3)))
    assert len(calls) == before


def test_flat_initialisers_are_equal_by_what_they_do() -> None:
    assert FlatInitializer(initializers.zeros, (6,)) == FlatInitializer(initializers.zeros, (6,))
    assert hash(FlatInitializer(initializers.zeros, (6,))) != hash(
        FlatInitializer(initializers.ones, (6,))
    )


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'axis': 5}, 'axis=5 and batch_dims=() name axes that an input of shape (2, 3) does not'),
        ({'axis': (-1, -3)}, 'does not have'),
        ({'axis': (1, -1)}, 'name an axis twice, for an input of shape (2, 3)'),
        ({'axis': 0, 'batch_dims': (0,)}, 'name an axis twice'),
        ({'batch_dims': (1,)}, 'batch_dims=(1,) are not the first axes'),
        ({'batch_dims': (-2,)}, 'are not the first axes'),
        ({'batch_dims': (0, 1, 2)}, 'does not have'),
        ({'features': ()}, 'features=() names no axis of the output'),
        ({'features': (4, -1)}, 'features=-1 is not an integer'),
    ],
)
def test_dense_general_with_axes_that_do_not_fit(options: Any, words: str) -> None:
    assert words in fails(nn.DenseGeneral(**{'features': 4, **options}), jnp.ones((2, 3)))


def test_other_axes_than_at_init() -> None:
    layer = nn.DenseGeneral(4, batch_dims=(0,))
    variables = layer.init(KEY, jnp.ones((2, 3)))
    for shape in ((4, 3), (2, 5)):
        with pytest.raises(ScopeParamShapeError):
            layer.apply(variables, jnp.ones(shape))


@pytest.mark.parametrize(
    ('equation', 'shape', 'kernel', 'bias'),
    [
        ('ab,bc->ac', (2, 3), (3, 4), (4,)),
        (' ab, bcd -> dac', (2, 3), (3, 4, 6), (6, 4)),
        ('...a,ab->...b', (7, 2, 3), (3, 4), (4,)),
        ('bac,bcd->bad', (2, 5, 3), (2, 3, 4), (2, 4)),
        ('ab,...bc->...ac', (2, 3), (7, 3, 4), (7, 4)),
        ('ab,ab->', (2, 3), (2, 3), ()),
    ],
)
def test_einsum(equation: str, shape: Any, kernel: Any, bias: Any) -> None:
    x, weights, shift = integers(*shape), integers(*kernel), integers(*bias)
    variables = {'params': {'kernel': weights, 'bias': shift}}
    y = nn.Einsum(kernel, equation).apply(variables, x)
    plain = np.einsum(equation.replace(' ', ''), x, weights)
    if equation == ' ab, bcd -> dac':
        shift = shift[:, None]
    if equation in ('bac,bcd->bad', 'ab,...bc->...ac'):
        shift = shift[:, None, :]
    np.testing.assert_array_equal(y, plain + shift)


def test_einsum_with_the_equation_at_the_call() -> None:
    layer, x = nn.Einsum((3, 4)), integers(2, 3)
    y, variables = layer.init_with_output(KEY, x, 'ab,bc->ac')
    assert jax.tree.map(jnp.shape, variables['params']) == {'kernel': (3, 4), 'bias': (4,)}
    np.testing.assert_array_equal(y, layer.clone(einsum_str='ab,bc->ac').apply(variables, x))


def test_dtype_of_the_sums() -> None:
    layer = nn.Einsum((3, 4), 'ab,bc->ac', dtype=jnp.bfloat16, preferred_element_type=jnp.float32)
    y, _ = layer.init_with_output(KEY, jnp.ones((2, 3)))
    assert y.dtype == jnp.float32


@pytest.mark.parametrize(
    ('equation', 'words'),
    [
        (None, 'einsum_str is given nowhere'),
        ('ab,bc', 'is not of the form input,kernel->output'),
        ('ab->a', 'is not of the form'),
        ('ab,bc,cd->a', 'is not of the form'),
        ('abc,bc->ac', "'abc' does not name the axes of the input, whose shape is (2, 3)"),
        ('ab,b->a', "'b' does not name the axes of the kernel, whose shape is (3, 4)"),
        ('ab,bc->az', "the output of 'ab,bc->az' has unknown axes ['z']"),
        ('ab,ac->bc', "axis 'a' of 'ab,ac->bc' has size 2 in the input of shape (2, 3) and size 3"),
        ('...abc,bc->a', 'does not name the axes of the input'),
    ],
)
def test_einsum_with_a_wrong_equation(equation: Any, words: str) -> None:
    assert words in fails(nn.Einsum((3, 4), equation), jnp.ones((2, 3)))


def test_einsum_with_two_equations() -> None:
    layer = nn.Einsum((3, 4), 'ab,bc->ac')
    assert 'given twice' in fails(layer, jnp.ones((2, 3)), 'ab,bc->ac')


def test_the_door() -> None:
    assert linear.Dense is nn.Dense
    assert linear._canonicalize_tuple([1]) == (1,)
    assert linear._normalize_axes((-1, 0), 3) == (0, 2)
    assert linear.default_kernel_init is nn.Dense(3).kernel_init

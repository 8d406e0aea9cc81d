"""Products in FP8."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import linnet.linen as nn
from linnet.errors import InputDtypeError, InvalidOptionError, SharpBitWarning
from linnet.linen import fp8_ops

KEY = jax.random.key(0)
DIMENSIONS = (((1,), (0,)), ((), ()))
OPS = [nn.Fp8DotGeneralOp, nn.Fp8DirectDotGeneralOp, nn.NANOOFp8DotGeneralOp]
STATE = '_overwrite_with_gradient'


@pytest.mark.parametrize(
    ('dtype', 'largest'),
    [('e4m3fn', 448.0), ('e5m2', 57344.0), ('e4m3fnuz', 240.0), ('e5m2fnuz', 57344.0)],
)
def test_largest_number(dtype: str, largest: float) -> None:
    assert fp8_ops.get_fp8_max(f'float8_{dtype}', jnp.float32) == largest


def test_quantising_rounds_and_clips() -> None:
    x = jnp.array([1.0, 0.53, -1000.0, 1000.0])
    q = fp8_ops.quantize(x, jnp.float8_e4m3fn, jnp.array([0.5]), jnp.float32)
    np.testing.assert_array_equal(q.astype(jnp.float32), [2, 1, -448, 448])
    np.testing.assert_array_equal(
        fp8_ops.dequantize(q, jnp.float32, jnp.array([0.5])), [1, 0.5, -224, 224]
    )
    np.testing.assert_array_equal(
        fp8_ops.qdq(x, jnp.float8_e4m3fn, jnp.array([0.5]), jnp.float32), [1, 0.5, -224, 224]
    )


@pytest.mark.parametrize(
    ('amax', 'margin', 'expected'),
    [(224, 0, 0.5), (224, 1, 1.0), (0, 0, 0.25), (np.inf, 0, 0.25), (np.nan, 0, 0.25)],
)
def test_scale(amax: float, margin: int, expected: float) -> None:
    scale = fp8_ops.compute_scale(jnp.float32(amax), jnp.array([0.25]), 448.0, margin)
    np.testing.assert_array_equal(scale, [expected])


def test_history_moves() -> None:
    new = fp8_ops.compute_amax_history(jnp.array([[1.0, -5.0]]), jnp.array([7.0, 3.0, 2.0]))
    np.testing.assert_array_equal(new, [5, 2, 7])


def test_the_scale_comes_from_the_history_and_not_from_the_array() -> None:
    scale, history = fp8_ops.update_fp8_meta(
        jnp.array([100.0]), jnp.float8_e4m3fn, jnp.array([1.0]), jnp.array([0.0, 224.0])
    )
    np.testing.assert_array_equal(scale, [0.5])
    np.testing.assert_array_equal(history, [100, 0])


@pytest.mark.parametrize('op', OPS)
def test_state(op: Any) -> None:
    variables = op(amax_history_length=3).init(KEY, jnp.ones((2, 3)), jnp.ones((3, 4)), DIMENSIONS)
    assert list(variables) == [STATE]
    for name in ('input', 'kernel', 'output_grad'):
        np.testing.assert_array_equal(variables[STATE][f'{name}_scale'], [1])
        np.testing.assert_array_equal(variables[STATE][f'{name}_amax_history'], [0, 0, 0])


@pytest.mark.parametrize('op', OPS)
def test_small_integers_are_exact(op: Any) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3) - 3
    k = np.arange(12, dtype=np.float32).reshape(3, 4) - 5
    y, _ = op().init_with_output(KEY, x, k, DIMENSIONS)
    np.testing.assert_array_equal(y, x @ k)


@pytest.mark.parametrize('op', OPS)
def test_the_gradient_of_the_state_is_the_next_state(op: Any) -> None:
    op = op(amax_history_length=2)
    x, k = jnp.array([[3.0, -8.0]]), jnp.array([[2.0], [0.5]])
    variables = op.init(KEY, x, k, DIMENSIONS)
    grad = jax.grad(lambda v: 16 * op.apply(v, x, k, DIMENSIONS).sum())(variables)[STATE]
    np.testing.assert_array_equal(grad['input_amax_history'], [8, 0])
    np.testing.assert_array_equal(grad['kernel_amax_history'], [2, 0])
    np.testing.assert_array_equal(grad['output_grad_amax_history'], [16, 0])
    np.testing.assert_array_equal(grad['input_scale'], [1])
    again = jax.grad(lambda v: op.apply(v, x, k, DIMENSIONS).sum())({STATE: grad})[STATE]
    largest = fp8_ops.get_fp8_max(op.e4m3_dtype, np.float32)
    np.testing.assert_allclose(again['input_scale'], [8 / largest], rtol=1e-6)


@pytest.mark.parametrize('op', OPS)
@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float16])
def test_the_dtype_is_that_of_the_right_array(op: Any, dtype: Any) -> None:
    x, k = jnp.ones((2, 3), jnp.int32), jnp.ones((3, 4), dtype)
    y, variables = op().init_with_output(KEY, x, k, DIMENSIONS, preferred_element_type=jnp.float32)
    assert y.dtype == dtype
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}


@pytest.mark.parametrize('op', OPS)
def test_inside_of_dense(op: Any) -> None:
    layer = nn.Dense(4, dot_general_cls=op)
    y, variables = layer.init_with_output(KEY, jnp.ones((2, 3)))
    assert y.shape == (2, 4)
    assert list(variables[STATE]) == [f'{op.__name__}_0']


def test_einsum() -> None:
    x, k = np.eye(3, dtype=np.float32)[:2], np.arange(12, dtype=np.float32).reshape(3, 4)
    op = nn.Fp8Einsum(amax_history_length=2)
    for equation, expected in (('ab,bc->ac', x @ k), ('ab,bc->ca', (x @ k).T)):
        y, variables = op.init_with_output(KEY, equation, x, k)
        np.testing.assert_array_equal(y, expected)
        assert variables[STATE]['input_amax_history'].shape == (2,)


def test_larger_and_not_sum() -> None:
    fm32 = fp8_ops.fm32
    x, y = (lax.convert_element_type(jnp.array(z), fm32) for z in ([1.0, 5.0], [3.0, -2.0]))
    assert str(x.dtype) == 'fp8_meta32'
    larger = lax.convert_element_type(fp8_ops.Fp8MetaTyRules.add(fm32, x, y), jnp.float32)
    np.testing.assert_array_equal(larger, [3, 5])


def test_state_that_is_used_twice() -> None:
    op = nn.Fp8DirectDotGeneralOp(amax_history_length=2)
    x, k = jnp.array([[1.0, 2.0]]), jnp.ones((2, 1))
    state = jax.tree.map(
        lambda v: lax.convert_element_type(v, fp8_ops.fm32), op.init(KEY, x, k, DIMENSIONS)
    )

    @jax.jit
    def grad(state: Any) -> Any:
        def loss(state: Any) -> Any:
            return sum(op.apply(state, s * x, k, DIMENSIONS).sum() for s in (1, 3))

        grads = jax.grad(loss, allow_int=True)(state)
        return jax.tree.map(lambda v: lax.convert_element_type(v, jnp.float32), grads)

    np.testing.assert_array_equal(grad(state)[STATE]['input_amax_history'], [6, 0])


@pytest.mark.parametrize('op', OPS)
@pytest.mark.parametrize('args', [(), (jnp.ones((2, 3)), jnp.ones((3, 4)))])
def test_too_few_arguments(op: Any, args: Any) -> None:
    with pytest.raises(InvalidOptionError, match=f'got {len(args)} positional arguments'):
        op().init(KEY, *args)


@pytest.mark.parametrize('op', OPS)
def test_a_right_array_of_integers(op: Any) -> None:
    with pytest.raises(InputDtypeError, match='the right array is of dtype int32'):
        op().init(KEY, jnp.ones((2, 3)), jnp.ones((3, 4), jnp.int32), DIMENSIONS)
    with pytest.raises(InputDtypeError, match='is a list, not an array'):
        nn.Fp8Einsum().init(KEY, 'ab,bc->ac', jnp.ones((1, 1)), [[1.0]])


@pytest.mark.parametrize('op', OPS)
@pytest.mark.parametrize('length', [0, -1, 2.5])
def test_a_history_of_no_steps(op: Any, length: Any) -> None:
    with pytest.raises(InvalidOptionError, match=f'amax_history_length={length}'):
        op(length).init(KEY, jnp.ones((2, 3)), jnp.ones((3, 4)), DIMENSIONS)


def test_no_fp8_dtype() -> None:
    with pytest.raises(InvalidOptionError, match='float32 is not an FP8 dtype'):
        fp8_ops.get_fp8_max(jnp.float32, jnp.float32)


def test_missing_state() -> None:
    with pytest.raises(InvalidOptionError, match='needs lhs_scale, rhs_scale, grad_scale'):
        fp8_ops.fp8_scaled_dot_general(jnp.ones((2, 3)), jnp.ones((3, 4)), DIMENSIONS)


def test_options_that_are_not_used() -> None:
    with pytest.warns(SharpBitWarning, match='does not use precision and preferred_element_type'):
        fp8_ops.dot_general_with_precision(
            jnp.ones((2, 3)), jnp.ones((3, 4)), DIMENSIONS, 'high', jnp.float32
        )
    op = nn.Fp8DirectDotGeneralOp(e4m3_dtype=jnp.float8_e4m3fnuz)
    with pytest.warns(SharpBitWarning, match='e4m3_dtype and e5m2_dtype are not used'):
        op.init(KEY, jnp.ones((2, 3)), jnp.ones((3, 4)), DIMENSIONS)

"""Products in FP8 against the oracle, forward, backward and over several steps.

Functions are compared by the program that JAX traces of them: equal programs give equal bits. The
layers are run, since the oracle's programs hold dead operations that ours do not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from tests.parity.harness import Library, same, same_error

DIMENSIONS = (((1,), (0,)), ((), ()))
OPS = ('Fp8DotGeneralOp', 'Fp8DirectDotGeneralOp', 'NANOOFp8DotGeneralOp', 'Fp8DotGeneral')
E4M3, E5M2 = jnp.float8_e4m3fn, jnp.float8_e5m2


@pytest.fixture(autouse=True)
def _no_warnings_of_the_oracle() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'The Fp8DotGeneralOp is deprecated')
        warnings.filterwarnings('ignore', 'The function')
        yield


def array(*shape: int, dtype: Any = 'float32', size: float = 3) -> Any:
    values = np.random.default_rng(sum(shape)).normal(size=shape) * size
    return jnp.asarray(values).astype(dtype)


SCALE = jnp.array([0.25])
HISTORY = jnp.array([1.0, 7.0, 2.0])
X, Y = array(2, 3), array(3, 4)
QX, QY = X.astype(E4M3), Y.astype(E4M3)

FUNCTIONS: dict[str, Any] = {
    'quantize': lambda f: f.quantize(X, E4M3, SCALE, jnp.float32),
    'quantize bfloat16': lambda f: f.quantize(X, E5M2, SCALE, jnp.bfloat16),
    'dequantize': lambda f: f.dequantize(QX, jnp.bfloat16, SCALE),
    'qdq': lambda f: f.qdq(X, E4M3, SCALE, jnp.bfloat16),
    'compute_scale': lambda f: f.compute_scale(HISTORY[1], SCALE, 448.0),
    'compute_scale margin': lambda f: f.compute_scale(HISTORY[1], SCALE, 448.0, margin=2),
    'compute_amax_history': lambda f: f.compute_amax_history(X.astype('bfloat16'), HISTORY),
    'update_fp8_meta': lambda f: f.update_fp8_meta(X, E5M2, SCALE, HISTORY),
    'update': lambda f: f.quantize_dequantize_update(X, E4M3, SCALE, HISTORY, jnp.bfloat16),
    'in_qdq': lambda f: jax.vjp(lambda *a: f.in_qdq(jnp.float32, E4M3, *a), X, SCALE, HISTORY)[0],
    'in_qdq grad': lambda f: back(lambda *a: f.in_qdq(jnp.float32, E4M3, *a), X, SCALE, HISTORY),
    'out_qdq grad': lambda f: back(lambda *a: f.out_qdq(jnp.float16, E5M2, *a), X, SCALE, HISTORY),
    'in_q': lambda f: f.in_q(jnp.float32, E4M3, X, SCALE, HISTORY),
    'in_q grad': lambda f: back(lambda *a: f.in_q(jnp.float32, E4M3, *a), X, SCALE, HISTORY),
    'out_dq': lambda f: f.out_dq(jnp.bfloat16, SCALE, SCALE * 3, QX),
    'out_dq grad': lambda f: back(lambda *a: f.out_dq(jnp.float32, *a), SCALE, SCALE * 3, X),
    'quantized_dot': lambda f: f.quantized_dot(*dot_args(), DIMENSIONS, jnp.float32),
    'quantized_dot grad': lambda f: back(
        lambda *a: f.quantized_dot(*a, DIMENSIONS, jnp.bfloat16), *dot_args()
    ),
    'scaled': lambda f: f.fp8_scaled_dot_general(X, Y, DIMENSIONS, **state()),
    'scaled bfloat16': lambda f: f.fp8_scaled_dot_general(
        X, Y, DIMENSIONS, None, jnp.bfloat16, quantize_compute_type=jnp.float16, **state()
    ),
    'precision': lambda f: f.dot_general_with_precision(X, Y, DIMENSIONS),
    'precision jvp': lambda f: jax.jvp(
        lambda x, y: f.dot_general_with_precision(x, y, DIMENSIONS), (X, Y), (2 * X, 3 * Y)
    ),
    'parse': lambda f: f._parse_dot_inputs(X, Y.astype('bfloat16'), DIMENSIONS, precision=1)[:2],
}


def dot_args() -> Any:
    return X, QX, SCALE, Y, QY, 2 * SCALE, 4 * SCALE, HISTORY


def state() -> Any:
    scales = dict.fromkeys(('lhs_scale', 'rhs_scale', 'grad_scale'), SCALE)
    names = ('lhs_amax_history', 'rhs_amax_history', 'grad_amax_history')
    return {**scales, **dict.fromkeys(names, HISTORY)}


def back(fn: Any, *args: Any) -> Any:
    y, pull = jax.vjp(fn, *args)
    return pull(jax.tree.map(lambda x: (x * 3).astype(x.dtype), y))


@pytest.mark.parametrize('name', FUNCTIONS)
def test_function(name: str) -> None:
    def program(lib: Library) -> Any:
        def run() -> Any:
            return FUNCTIONS[name](lib.load('linen.fp8_ops'))

        return str(jax.make_jaxpr(run)()), run()

    same(program)


@pytest.mark.parametrize('dtype', ['e4m3fn', 'e5m2', 'e4m3fnuz', 'e5m2fnuz'])
@pytest.mark.parametrize('out', [jnp.float32, 'bfloat16'])
def test_largest_number(dtype: str, out: Any) -> None:
    same(lambda lib: lib.load('linen.fp8_ops').get_fp8_max(getattr(jnp, f'float8_{dtype}'), out))


@pytest.mark.parametrize('amax', [0.0, 2.0, np.inf, np.nan])
def test_scale_of(amax: float) -> None:
    same(lambda lib: lib.load('linen.fp8_ops').compute_scale(jnp.float32(amax), SCALE, 448.0))


AXES = st.permutations(range(3))


@given(AXES, AXES, st.integers(0, 1), st.integers(0, 2), st.booleans())
def test_transposed_products(left: Any, right: Any, n_batch: int, n: int, rhs: bool) -> None:
    """Axes that are contracted, batched or kept in any order."""
    n = min(n, 3 - n_batch)
    contract = left[:n], right[:n]
    batch = left[n : n + n_batch], right[n : n + n_batch]
    sizes = dict(zip(left, (2, 3, 4), strict=True))
    shape = {right[i]: sizes[left[i]] for i in range(n + n_batch)}
    x = array(*(sizes[i] for i in range(3)))
    y = array(*(shape.get(i, 5 + i) for i in range(3)))
    numbers = (tuple(map(tuple, contract)), tuple(map(tuple, batch)))
    g = lax.dot_general(x, y, numbers)

    def program(lib: Library) -> Any:
        name = f'dot_general_transpose_{"rhs" if rhs else "lhs"}'
        fn = getattr(lib.load('linen.fp8_ops'), name)
        options = {'precision': 'high', 'preferred_element_type': jnp.float32}
        return str(jax.make_jaxpr(lambda: fn(g, x, y, dimension_numbers=numbers, **options))())

    same(program)


@pytest.mark.parametrize('name', OPS)
@pytest.mark.parametrize('dtypes', [('float32',) * 2, ('bfloat16',) * 2, ('float32', 'float16')])
def test_product(name: str, dtypes: Any) -> None:
    """The product, all gradients, and the same after the state is replaced by its gradient."""
    x, k = array(5, 3, dtype=dtypes[0], size=30), array(3, 4, dtype=dtypes[1])

    def program(lib: Library) -> Any:
        op = getattr(lib.nn, name)(amax_history_length=3)
        variables = op.init(jax.random.key(0), x, k, DIMENSIONS)

        def loss(variables: Any, x: Any, k: Any) -> Any:
            y = op.apply(variables, x, k, DIMENSIONS, precision=None)
            return jnp.sum(y.astype(jnp.float32) ** 2), y

        step = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
        first = step(variables, x, k)
        second = jax.jit(step)(first[1][0], 2 * x, k)
        return variables, first, second, jax.jit(step)(second[1][0], x, k)

    same(program)


@pytest.mark.parametrize('name', OPS)
def test_inside_of_dense(name: str) -> None:
    def program(lib: Library) -> Any:
        layer = lib.nn.Dense(4, dtype=jnp.bfloat16, dot_general_cls=getattr(lib.nn, name))
        variables = layer.init(jax.random.PRNGKey(0), X)
        return variables, layer.apply(variables, X)

    same(program)


@pytest.mark.parametrize('equation', ['ab,bc->ac', 'ab,bc->ca'])
@pytest.mark.parametrize('preferred', [None, jnp.float32])
def test_einsum(equation: str, preferred: Any) -> None:
    args = (equation, array(5, 3, size=30), array(3, 4, dtype='bfloat16'))

    def program(lib: Library) -> Any:
        op = lib.nn.Fp8Einsum(amax_history_length=2)
        variables = op.init(jax.random.key(0), *args)

        def loss(variables: Any) -> Any:
            y = op.apply(variables, *args, preferred_element_type=preferred)
            return jnp.sum(y.astype(jnp.float32) ** 2), y

        first = jax.value_and_grad(loss, has_aux=True)(variables)
        return variables, first, jax.jit(jax.value_and_grad(loss, has_aux=True))(first[1])

    same(program)


def as_meta(lib: Library, tree: Any) -> Any:
    return jax.tree.map(lambda x: lax.convert_element_type(x, lib.load('linen.fp8_ops').fm32), tree)


def as_float(tree: Any) -> Any:
    return jax.tree.map(lambda x: lax.convert_element_type(x, jnp.float32), tree)


@pytest.mark.parametrize('name', OPS)
def test_state_whose_gradients_are_not_added_up(name: str) -> None:
    """A layer used twice, in a loop and outside of one, with state of the dtype ``fm32``."""
    k, xs = array(3, 4), array(2, 5, 3, size=30)

    def program(lib: Library) -> Any:
        op = getattr(lib.nn, name)(amax_history_length=3)
        state = as_meta(lib, op.init(jax.random.key(0), xs[0], k, DIMENSIONS))

        def twice(state: Any) -> Any:
            return sum(op.apply(state, x, k, DIMENSIONS).sum() for x in xs)

        def looped(state: Any) -> Any:
            def body(total: Any, x: Any) -> Any:
                return total + op.apply(state, x, k, DIMENSIONS).sum(), None

            return lax.scan(body, 0.0, xs)[0]

        grads = [jax.jit(jax.grad(f, allow_int=True))(state) for f in (twice, looped)]
        return op.apply(state, xs[0], k, DIMENSIONS), [as_float(grad) for grad in grads]

    same(program)


def test_meta_dtype() -> None:
    def program(lib: Library) -> Any:
        ops = lib.load('linen.fp8_ops')
        rules, fm32 = ops.Fp8MetaTyRules, ops.fm32
        x = lax.convert_element_type(jnp.arange(3.0), fm32)
        y = lax.convert_element_type(jnp.array([5.0, -1.0, 2.5]), fm32)
        return (
            repr(fm32),
            fm32.name,
            fm32 == ops.fp32_max_grad,
            repr(x),
            as_float([rules.add(fm32, x, y), rules.full((2,), 1.5, fm32), rules.zero(fm32)]),
            rules.tangent_dtype(fm32) is fm32,
            [rules.convert_from(fm32, jnp.dtype(d)) for d in ('float32', 'bfloat16')],
            [rules.convert_to(jnp.dtype(d), fm32) for d in ('float32', 'bfloat16')],
            str(rules.physical_element_aval(fm32)),
            as_float(jnp.zeros((2,), fm32)),
            str(jax.make_jaxpr(as_float)(x)),
        )

    same(program)


def test_updates_of_meta_state() -> None:
    def program(lib: Library) -> Any:
        ops = lib.load('linen.fp8_ops')
        state = as_meta(lib, (SCALE, HISTORY))
        new = ops.update_fp8_meta(X, E4M3, *state)
        y, *more = ops.quantize_dequantize_update(X, E4M3, *state, jnp.float32)
        return y, as_float(new), as_float(more), [x.dtype.name for x in (*new, *more)]

    same(program)


def test_other_words() -> None:
    def program(lib: Library) -> Any:
        ops = lib.load('linen.fp8_ops')
        return (
            ops.OVERWRITE_WITH_GRADIENT,
            ops.CAN_USE_EARRAY,
            ops.Fp8DotGeneral is ops.Fp8DirectDotGeneralOp,
            ops._fm32_to_float32(SCALE),
            [b.__name__ for b in ops.NANOOFp8DotGeneralOp.__mro__[:3]],
        )

    same(program)


@pytest.mark.parametrize('name', OPS)
def test_a_history_of_no_steps(name: str) -> None:
    def program(lib: Library) -> Any:
        return getattr(lib.nn, name)(0).init(jax.random.key(0), X, Y, DIMENSIONS)

    same_error(program)

"""Arithmetic that tracing repeats: run once for each set of shapes, and the same program."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet import _compat
from linnet.core import materialize
from linnet.core.repeated import Call, repeated
from tests.conftest import DEEP


def counted():
    """A repeated function, and how it was called."""
    calls = []

    @repeated(static=2)
    def fn(x, y, power, options):
        calls.append((power, options))
        return x**power + (0 if y is None else y)

    return fn, calls


X = jnp.arange(3.0)


def test_a_trace_runs_it_once_for_each_set_of_shapes():
    fn, calls = counted()
    out = jax.jit(lambda x: fn(fn(x, x, 2, ()), x, 2, ()))(X)
    assert len(calls) == 1
    np.testing.assert_array_equal(out, (X**2 + X) ** 2 + X)
    jax.eval_shape(lambda x: fn(x, None, 2, ()), X)
    jax.eval_shape(lambda x: fn(x, x, 2, ()), jnp.ones((2, 3)))
    assert len(calls) == 3


@pytest.mark.parametrize('power', [2, 2.0, True, np.float32(2)])
def test_options_that_are_equal_and_of_other_types_make_other_programs(power):
    fn, _ = counted()
    x = jnp.arange(3, dtype=jnp.int32)
    jax.eval_shape(lambda x: fn(x, None, 1, ()), x)
    jax.eval_shape(lambda x: fn(x, None, 2, ()), x)
    assert jax.eval_shape(lambda x: fn(x, None, power, ()), x).dtype == (x**power).dtype


@pytest.mark.parametrize('transform', ['eager', 'grad', 'vmap', 'unhashable'])
def test_elsewhere_it_runs_as_it_is(transform):
    fn, calls = counted()
    options = [] if transform == 'unhashable' else ()
    run = {
        'eager': lambda x: fn(x, x, 2, options),
        'grad': jax.grad(lambda x: fn(x, x, 2, options).sum()),
        'vmap': jax.vmap(lambda x: fn(x, x, 2, options)),
        'unhashable': jax.jit(lambda x: fn(fn(x, x, 2, options), x, 2, options)),
    }[transform]
    run(X)
    before = len(calls)
    jax.clear_caches()
    run(X)
    assert before == len(calls) / 2 == {'unhashable': 2}.get(transform, 1)


def test_the_lowered_program_is_that_of_the_function():
    fn, _ = counted()

    def run(apply):
        def program(x):
            with jax.named_scope('part'):
                return apply(apply(x, x, 2, ()), None, 3, ())

        return jax.jit(program).lower(X).as_text()

    assert run(fn) == run(fn.__wrapped__)


@pytest.mark.parametrize(
    'layer',
    [
        nn.Dense(2, precision='highest'),
        nn.DenseGeneral((2, 3), axis=(-2, -1), dtype=jnp.bfloat16),
        nn.LayerNorm(epsilon=np.float32(1e-3)),
        nn.LayerNorm(epsilon=jnp.float32(1e-3), use_fast_variance=False),
        nn.RMSNorm(reduction_axes=(-2, -1), feature_axes=-1, dtype=jnp.bfloat16),
        nn.BatchNorm(use_running_average=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_trace_to_the_same_program(layer, monkeypatch):
    x = jnp.ones((2, 3, 4))
    variables = jax.eval_shape(layer.init, jax.random.key(0), x)
    repeats = str(jax.make_jaxpr(lambda *args: layer.apply(*args))(variables, x))
    monkeypatch.setattr(_compat, 'is_staging', lambda: False)
    assert repeats == str(jax.make_jaxpr(lambda *args: layer.apply(*args))(variables, x))


@pytest.mark.parametrize(
    'init',
    [
        nn.initializers.lecun_normal(),
        nn.initializers.normal(1),
        nn.initializers.normal(1.0),
        nn.initializers.orthogonal(),
        nn.initializers.constant(3),
        nn.initializers.ones,
        nn.with_partitioning(nn.initializers.uniform(0.1), (None, 'model')),
        lambda key, shape, dtype: jax.random.normal(key, shape, dtype),
    ],
)
def test_initialisers_trace_to_the_same_program(init, monkeypatch):
    layer, x, key = nn.DenseGeneral((2, 3), kernel_init=init), jnp.ones((2, 4)), jax.random.key(0)

    def program():
        closed = jax.make_jaxpr(lambda *args: layer.init_with_output(*args))(key, x)
        return str(_compat.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))[0])

    repeats = program()
    monkeypatch.setattr(_compat, 'is_staging', lambda: False)
    assert repeats == program()


@pytest.mark.parametrize('bias_init', [nn.initializers.zeros, nn.initializers.constant(0.5)])
def test_a_key_that_fills_nothing_is_counted_and_not_folded(bias_init, monkeypatch):
    class Layer(nn.Module):
        @nn.compact
        def __call__(self):
            bias = self.param('bias', bias_init, (2, 3))
            return bias, self.param('kernel', nn.initializers.normal(), (2, 3))

    key, folded, fold_in = jax.random.key(0), [], materialize._folded_in_a_loop
    monkeypatch.setattr(
        materialize, '_folded_in_a_loop', lambda *args: [folded.append(args), fold_in(*args)][1]
    )
    made = jax.jit(Layer().init)(key)
    assert len(folded) == 1
    monkeypatch.setattr(_compat, 'is_staging', lambda: False)
    jax.tree.map(np.testing.assert_array_equal, made, jax.jit(lambda key: Layer().init(key))(key))


def test_initialisers_that_are_equal_are_traced_once(monkeypatch):
    def init():
        return nn.initializers.variance_scaling(0.7, 'fan_in', 'truncated_normal')

    random, drawn = init().__globals__['random'], []
    draw = random.truncated_normal

    def counted(*args, **kwargs):
        drawn.append(args)
        return draw(*args, **kwargs)

    monkeypatch.setattr(random, 'truncated_normal', counted)

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(3):
                x = nn.Dense(7, kernel_init=init())(x)
            return x

    jax.eval_shape(Model().init, jax.random.key(0), jnp.ones((2, 7)))
    assert len(drawn) == 1


OPERATIONS = (
    jnp.add,
    jnp.multiply,
    lambda x, y: x @ y.T / 3,
    lambda x, y: jnp.where(x > y, x, y * x),
    lambda x, y: jax.nn.gelu(x) * y,
    lambda x, y: jax.nn.softmax(x - y),
    lambda x, y: jax.lax.cond(x[0, 0] > 0, jnp.multiply, jnp.subtract, x, y),
    lambda x, y: jax.lax.scan(lambda c, z: (c * 0.3 + z * x[0], c), y[0], x)[1],
)


@hypothesis.given(
    program=st.lists(
        st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 9), st.integers(0, 9)),
        min_size=2,
        max_size=6,
    )
)
@hypothesis.settings(max_examples=300 if DEEP else 15, deadline=None)
def test_the_derivative_of_a_call_is_that_of_its_operations_in_a_row(program):
    """Operation by operation, so that the order of adding is seen and nothing else."""

    def run(x, y):
        values = [x, y]
        for operation, i, j in program:
            values.append(operation(values[i % len(values)], values[j % len(values)]))
        return values[-1]

    x, y = jax.random.normal(jax.random.key(0), (2, 3, 3))
    try:
        call = Call(jax.jit(run).trace(x, y))
    except ValueError:  # what the last operation gives is an input
        hypothesis.reject()

    def gradient(fn):
        def loss(x, y):
            return (x / 3 + fn(x, y) * jnp.sin(x) + y * x).sum()

        closed = jax.make_jaxpr(jax.grad(loss, (0, 1)))(x, y)
        with jax.disable_jit():
            return jax.core.eval_jaxpr(closed.jaxpr, closed.consts, x, y)

    wanted = gradient(run)
    jax.tree.map(np.testing.assert_array_equal, gradient(lambda *args: call.put(args)), wanted)


def test_results_of_a_call_may_be_inputs_constants_and_one_another():
    def run(x):
        y = x * 2
        return {'x': x, 'y': (y, y)}, 1.0, 1.0, jnp.int32(3), jnp.zeros(2)

    call = Call(jax.jit(run).trace(X))
    jax.tree.map(
        np.testing.assert_array_equal, jax.jit(lambda x: call.put([x]))(X), jax.jit(run)(X)
    )


def test_an_operation_that_might_add_in_another_order_makes_no_call():
    for run in (lambda x: x - x, lambda x: jnp.dot(x, x)):
        with pytest.raises(ValueError, match='uses an input twice'):
            Call(jax.jit(run).trace(X))

"""Recurrent cells: what a step computes, its dtypes, and the words of every refusal."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.errors import (
    CarryError,
    InputDtypeError,
    InputShapeError,
    InvalidOptionError,
    LinnetError,
    SharpBitWarning,
)
from linnet.linen import rnn_cells

KEY = jax.random.key(0)
ONE_STATE = ('SimpleCell', 'GRUCell', 'MGUCell')
TWO_STATES = ('LSTMCell', 'OptimizedLSTMCell', 'ConvLSTMCell')
DENSE = (*ONE_STATE, 'LSTMCell', 'OptimizedLSTMCell')
CELLS = (*ONE_STATE, *TWO_STATES)


def make(name: str, features: Any = 4, **options: Any) -> Any:
    if name == 'ConvLSTMCell':
        options = {'kernel_size': (3,), **options}
    return getattr(nn, name)(features, **options)


def filled(cell: Any, value: float = 0.5) -> Any:
    """The cell's variables for an input of width 3, every parameter being this value."""
    x = jnp.zeros((5, 3))
    shapes = jax.eval_shape(cell.init, KEY, cell.initialize_carry(KEY, x.shape), x)
    return jax.tree.map(lambda p: jnp.full(p.shape, value, p.dtype), shapes)


def scale(variables: Any, factors: dict[str, float]) -> Any:
    """Variables with all parameters of some layers multiplied."""
    layers = variables['params'].items()
    scaled = {k: jax.tree.map(lambda p, k=k: p * factors.get(k, 1.0), v) for k, v in layers}
    return {'params': scaled}


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


X, H, C = np.array([[1.0, -2.0, 0.5]]), np.array([[0.1, 0.2, 0.3, -0.4]]), np.full((1, 4), 0.7)
# What a layer gives whose parameters are all 0.5: of the input and of the state, without a bias.
OF_X, OF_H, BIAS = 0.5 * X.sum(), 0.5 * H.sum(), 0.5


def check(cell: Any, factors: dict[str, float], carry: Any, expected: Any) -> None:
    """One step with parameters of 0.5 times a factor for each layer."""
    new, y = cell.apply(scale(filled(cell), factors), carry, jnp.asarray(X))
    for got, want in zip(jax.tree.leaves((new, y)), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize('residual', [False, True])
def test_simple_cell(residual: bool) -> None:
    h = np.tanh(OF_X + BIAS + 2 * OF_H + residual * H)
    cell = nn.SimpleCell(4, residual=residual)
    check(cell, {'h': 2.0}, jnp.asarray(H), [np.broadcast_to(h, (1, 4))] * 2)


def test_gru_cell() -> None:
    r = sigmoid(2 * (OF_X + BIAS) + OF_H)
    z = sigmoid(OF_X + BIAS + 3 * OF_H)
    n = np.tanh(OF_X + BIAS + r * 4 * (OF_H + BIAS))
    factors = {'ir': 2.0, 'hz': 3.0, 'hn': 4.0}
    check(nn.GRUCell(4), factors, jnp.asarray(H), [(1 - z) * n + z * H] * 2)


@pytest.mark.parametrize('reset_gate', [True, False])
def test_mgu_cell(reset_gate: bool) -> None:
    f = sigmoid(2 * (OF_X + BIAS) + 3 * OF_H)
    state = f * 4 * (OF_H + BIAS) if reset_gate else 4 * OF_H
    n = np.tanh(OF_X + BIAS + state)
    factors = {'if': 2.0, 'hf': 3.0, 'hn': 4.0}
    cell = nn.MGUCell(4, reset_gate=reset_gate)
    check(cell, factors, jnp.asarray(H), [(1 - f) * n + f * H] * 2)


@pytest.mark.parametrize('name', ['LSTMCell', 'OptimizedLSTMCell'])
def test_lstm_cell(name: str) -> None:
    i = sigmoid(2 * OF_X + OF_H + BIAS)
    f = sigmoid(OF_X + 3 * (OF_H + BIAS))
    g = np.tanh(4 * OF_X + OF_H + BIAS)
    o = sigmoid(OF_X + 5 * (OF_H + BIAS))
    c = f * C + i * g
    h = o * np.tanh(c)
    factors = {'ii': 2.0, 'hf': 3.0, 'ig': 4.0, 'ho': 5.0}
    check(make(name), factors, (jnp.asarray(C), jnp.asarray(H)), [c, h, h])


def test_conv_lstm_cell() -> None:
    """With a kernel of size 1 each place is an LSTM of its own, whose gates come in order igfo."""
    cell = nn.ConvLSTMCell(1, (1,))
    kernels = {'ih': jnp.array([[[1.0, 2.0, 3.0, 4.0]]]), 'hh': jnp.array([[[5.0, 6.0, 7.0, 8.0]]])}
    params = {k: {'kernel': v, 'bias': jnp.full(4, 0.5)} for k, v in kernels.items()}
    x, c, h = (np.array(v)[:, None] for v in ([0.1, -0.2, 0.3], [0.5, 0.6, -0.7], [0.2, 0.1, 0.4]))
    carry = (jnp.asarray(c, jnp.float32), jnp.asarray(h, jnp.float32))
    (c_new, h_new), y = cell.apply({'params': params}, carry, jnp.asarray(x, jnp.float32))
    i, g = sigmoid(x + 5 * h + 1), np.tanh(2 * x + 6 * h + 1)
    f, o = sigmoid(3 * x + 7 * h + 2), sigmoid(4 * x + 8 * h + 1)
    np.testing.assert_allclose(c_new, f * c + i * g, rtol=1e-5)
    np.testing.assert_allclose(h_new, o * np.tanh(f * c + i * g), rtol=1e-5)
    np.testing.assert_array_equal(h_new, y)


def test_convolutions_reach_their_neighbours() -> None:
    cell = nn.ConvLSTMCell(2, (3, 3), padding='CIRCULAR', use_bias=False)
    x = jnp.zeros((4, 5, 3)).at[0, 0].set(1.0)
    carry = cell.initialize_carry(KEY, x.shape)
    variables = cell.init(KEY, carry, x)
    assert jax.tree.map(jnp.shape, variables['params']) == {
        'ih': {'kernel': (3, 3, 3, 8)},
        'hh': {'kernel': (3, 3, 2, 8)},
    }
    _, y = cell.apply(variables, carry, x)
    reached = {(int(i), int(j)) for i, j, _ in np.argwhere(np.asarray(y))}
    assert reached == {(i, j) for i in (0, 1, 3) for j in (0, 1, 4)}


@pytest.mark.parametrize('name', CELLS)
@pytest.mark.parametrize('batch', [(), (2,), (0,), (2, 3)])
def test_carry_to_begin_with(name: str, batch: Any) -> None:
    """Zeros of ``param_dtype`` unless asked otherwise; from either kind of key."""
    cell = make(name, param_dtype=jnp.bfloat16)
    spatial = (5,) if name == 'ConvLSTMCell' else ()
    states = jax.tree.leaves(cell.initialize_carry(KEY, [*batch, *spatial, 3]))
    assert len(states) == (2 if name in TWO_STATES else 1)
    for state in states:
        assert state.dtype == jnp.bfloat16
        np.testing.assert_array_equal(state, np.zeros((*batch, *spatial, 4)))
    random = make(name, carry_init=nn.initializers.normal())
    shape = (*batch, *spatial, 3)
    typed = jax.tree.leaves(random.initialize_carry(KEY, shape))
    raw = jax.tree.leaves(random.initialize_carry(jax.random.PRNGKey(0), shape))
    for a, b in zip(typed, raw, strict=True):
        np.testing.assert_array_equal(a, b)
    if name in TWO_STATES and 0 not in batch:
        assert not np.array_equal(*typed)


def test_one_state_needs_no_key_unless_it_is_random() -> None:
    assert nn.GRUCell(4).initialize_carry(None, (3,)).shape == (4,)


@pytest.mark.parametrize('name', CELLS)
def test_feature_axes(name: str) -> None:
    assert make(name).num_feature_axes == (2 if name == 'ConvLSTMCell' else 1)


def test_kernel_size_may_be_an_int() -> None:
    cell = nn.ConvLSTMCell(4, 3)
    assert cell.num_feature_axes == 2
    carry = cell.initialize_carry(KEY, (5, 3))
    (c, _), y = cell.init_with_output(KEY, carry, jnp.ones((5, 3)))[0]
    assert c.shape == y.shape == (5, 4)


FLOAT32, BFLOAT16, FLOAT16 = jnp.float32, jnp.bfloat16, jnp.float16


@pytest.mark.parametrize(
    ('options', 'x_dtype', 'expected'),
    [
        ({}, FLOAT32, FLOAT32),
        ({}, BFLOAT16, FLOAT32),
        ({}, jnp.int32, FLOAT32),
        ({'dtype': BFLOAT16, 'param_dtype': BFLOAT16}, FLOAT32, BFLOAT16),
        ({'dtype': BFLOAT16, 'param_dtype': BFLOAT16}, jnp.int32, BFLOAT16),
        ({'param_dtype': BFLOAT16}, BFLOAT16, BFLOAT16),
        ({'param_dtype': FLOAT16}, FLOAT16, FLOAT16),
        ({'param_dtype': BFLOAT16}, FLOAT32, FLOAT32),
    ],
)
@pytest.mark.parametrize('name', CELLS)
def test_dtypes(name: str, options: Any, x_dtype: Any, expected: Any) -> None:
    if name != 'ConvLSTMCell':
        options = {'recurrent_kernel_init': nn.initializers.lecun_normal(), **options}
    cell, x = make(name, **options), jnp.ones((2, 5, 3), x_dtype)
    carry = cell.initialize_carry(KEY, x.shape)
    new, variables = jax.eval_shape(cell.init_with_output, KEY, carry, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {jnp.dtype(expected)}
    param_dtype = jnp.dtype(options.get('param_dtype', FLOAT32))
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, carry))} == {param_dtype}


@pytest.mark.parametrize('name', CELLS)
def test_double_precision(name: str) -> None:
    with jax.enable_x64(True):
        cell, x = make(name, param_dtype=jnp.float64), jnp.ones((2, 3), jnp.float32)
        carry = cell.initialize_carry(KEY, x.shape)
        y, variables = jax.eval_shape(cell.init_with_output, KEY, carry, x)
        assert {leaf.dtype for leaf in jax.tree.leaves((y, variables))} == {jnp.dtype('float64')}


def test_computing_in_less_than_the_carry() -> None:
    """The state of a SimpleCell is computed anew; that of the others is promoted with the old."""
    for name, expected in (('SimpleCell', BFLOAT16), ('GRUCell', FLOAT32), ('LSTMCell', FLOAT32)):
        cell, x = make(name, dtype=BFLOAT16), jnp.ones((2, 3))
        carry = cell.initialize_carry(KEY, x.shape)
        (_, y), _ = jax.eval_shape(cell.init_with_output, KEY, carry, x)
        assert y.dtype == expected


@pytest.mark.parametrize('name', DENSE)
@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_orthogonal_kernels_need_a_wide_dtype(name: str, dtype: str) -> None:
    message = fails(make(name, param_dtype=dtype), x=jnp.ones((2, 3)))
    assert message.startswith('[LN501] /')
    assert f'({name}): param_dtype={dtype} does not go with orthogonal' in message
    assert 'recurrent_kernel_init=nn.initializers.lecun_normal()' in message


def fails(cell: Any, carry: Any = None, x: Any = None) -> str:
    """What a step says that is refused; by default the carry is that of the cell."""
    if carry is None:
        carry = cell.initialize_carry(KEY, x.shape)
    with pytest.raises(LinnetError) as caught:
        cell.init(KEY, carry, x)
    return str(caught.value)


def pair(name: str, state: Any) -> Any:
    return (state, state) if name in TWO_STATES else state


@pytest.mark.parametrize(
    ('carry', 'got'),
    [
        (None, 'None'),
        (3, 'of type int'),
        ((), 'a tuple of 0: '),
        ([None], 'a list of 1: None'),
        ({'h': 1}, 'of type dict'),
    ],
)
@pytest.mark.parametrize('name', CELLS)
def test_carry_that_is_no_array(name: str, carry: Any, got: str) -> None:
    with pytest.raises(CarryError) as caught:
        make(name).init(KEY, carry, jnp.ones((2, 5, 3)))
    what = 'two arrays, (c, h)' if name in TWO_STATES else 'one array'
    assert f'({name}): the carry of {name} is {what}; it is {got}' in str(caught.value)
    assert 'carry = cell.initialize_carry(key, x.shape)' in str(caught.value)


@pytest.mark.parametrize('name', ONE_STATE)
def test_carry_of_two_states_for_one(name: str) -> None:
    states = (jnp.ones((2, 4)), jnp.ones((2, 4)))
    assert (
        f'the carry of {name} is one array; it is a tuple of 2: '
        'an array of shape (2, 4), an array of shape (2, 4)'
    ) in fails(make(name), states, jnp.ones((2, 3)))


@pytest.mark.parametrize('name', ['LSTMCell', 'OptimizedLSTMCell'])
@pytest.mark.parametrize('n', [1, 3])
def test_carry_of_other_than_two_states(name: str, n: int) -> None:
    message = fails(make(name), jnp.ones((n, 2, 4)), jnp.ones((2, 3)))
    assert f'is two arrays, (c, h); it is an array of shape ({n}, 2, 4)' in message


@pytest.mark.parametrize('name', ['LSTMCell', 'OptimizedLSTMCell'])
def test_states_may_be_stacked_or_in_a_list(name: str) -> None:
    cell, x = make(name), jnp.ones((2, 3))
    variables = cell.init(KEY, cell.initialize_carry(KEY, x.shape), x)
    state = jnp.ones((2, 4))
    results = [
        jax.tree.leaves(cell.apply(variables, carry, x))
        for carry in ((state, state), [state, state], jnp.stack([state, state]))
    ]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize('name', DENSE)
def test_carry_of_another_batch(name: str) -> None:
    message = fails(make(name), pair(name, jnp.ones((3, 4))), jnp.ones((2, 3)))
    assert f'({name}): ' in message
    assert 'of shape (3, 4)' in message
    assert 'an input of shape (2, 3)' in message
    assert 'input and carry have the same batch axes' in message


@pytest.mark.parametrize('name', ['LSTMCell', 'OptimizedLSTMCell'])
def test_states_of_different_widths(name: str) -> None:
    message = fails(make(name), (jnp.ones((2, 5)), jnp.ones((2, 4))), jnp.ones((2, 3)))
    assert 'c of shape (2, 5) and h of shape (2, 4) do not fit each other and an input' in message


@pytest.mark.parametrize('name', DENSE)
def test_carry_without_axes(name: str) -> None:
    message = fails(make(name), pair(name, jnp.ones(())), jnp.ones((2, 3)))
    assert 'needs at least 1 axes, the last of size features=4; got shape ()' in message


@pytest.mark.parametrize('name', DENSE)
def test_carry_of_another_width(name: str) -> None:
    cell, carry, x = make(name), pair(name, jnp.ones((2, 5))), jnp.ones((2, 3))
    with pytest.warns(SharpBitWarning, match=r'has shape \(2, 5\), of width 5, and features=4'):
        (_, y), _ = jax.eval_shape(cell.init_with_output, KEY, carry, x)
    assert y.shape == (2, 5)


@pytest.mark.parametrize('name', CELLS)
def test_inputs_of_too_low_rank(name: str) -> None:
    n = make(name).num_feature_axes
    message = fails(make(name), pair(name, jnp.ones((2, 5, 4))), jnp.ones((3,) * (n - 1)))
    assert f'({name}): the input of a step has at least {n} axes, [batch..., ' in message
    assert f'got shape {(3,) * (n - 1)}' in message


@pytest.mark.parametrize('name', CELLS)
@pytest.mark.parametrize('x', [None, [1.0, 2.0], 3])
def test_inputs_that_are_no_array(name: str, x: Any) -> None:
    with pytest.raises(InputDtypeError, match=rf'\({name}\): the input is '):
        make(name).init(KEY, pair(name, jnp.ones((2, 4))), x)


@pytest.mark.parametrize('name', CELLS)
@pytest.mark.parametrize('features', [-1, 2.0, 'a', None])
def test_features_that_are_no_count(name: str, features: Any) -> None:
    words = f'features={features!r} is not an integer of at least 0'
    cell = make(name, features)
    with pytest.raises(InvalidOptionError, match=words):
        cell.initialize_carry(KEY, (2, 5, 3))
    assert words in fails(cell, pair(name, jnp.ones((2, 5, 4))), jnp.ones((2, 5, 3)))


def test_state_of_too_low_rank_for_a_convolution() -> None:
    message = fails(nn.ConvLSTMCell(4, (3,)), (jnp.ones((4,)), jnp.ones((4,))), jnp.ones((5, 3)))
    assert '[LN506] / (ConvLSTMCell): h needs at least 2 axes' in message


@pytest.mark.parametrize('options', [{'strides': (2,)}, {'padding': 'VALID'}])
def test_convolutions_that_shrink_the_state(options: Any) -> None:
    message = fails(nn.ConvLSTMCell(4, (3,), **options), x=jnp.ones((2, 6, 3)))
    size = 3 if 'strides' in options else 4
    assert f'the input gives (2, {size}) and h gives (2, {size}), without channels' in message
    assert 'c has shape (2, 6, 4)' in message
    assert "strides=None, padding='SAME'" in message


def test_convolutions_of_different_sizes() -> None:
    state = jnp.ones((2, 7, 4))
    message = fails(nn.ConvLSTMCell(4, (3,)), (state, state), jnp.ones((2, 6, 3)))
    assert 'the input gives (2, 6) and h gives (2, 7)' in message


def test_channels_of_c() -> None:
    states = (jnp.ones((2, 6, 5)), jnp.ones((2, 6, 4)))
    message = fails(nn.ConvLSTMCell(4, (3,)), states, jnp.ones((2, 6, 3)))
    assert 'c has shape (2, 6, 5)' in message


@pytest.mark.parametrize('name', CELLS)
@pytest.mark.parametrize('shape', [3, None, np.ones((2, 3))])
def test_what_is_no_shape(name: str, shape: Any) -> None:
    with pytest.raises(InputShapeError, match=r'input_shape is .*, not a shape'):
        make(name).initialize_carry(KEY, shape)


def test_shape_of_too_low_rank() -> None:
    with pytest.raises(InputShapeError, match=r'input_shape=\(3,\) has fewer than the 3 axes'):
        nn.ConvLSTMCell(4, (3, 3)).initialize_carry(KEY, (3,))


@pytest.mark.parametrize('name', TWO_STATES)
@pytest.mark.parametrize('rng', [None, 1, 'key'])
def test_carry_from_what_is_no_key(name: str, rng: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r'rng is not a key of jax\.random'):
        make(name).initialize_carry(rng, (2, 5, 3))


@pytest.mark.parametrize('name', CELLS)
def test_carry_of_a_class(name: str) -> None:
    """As it was written before cells knew their features."""
    with pytest.raises(InvalidOptionError, match='a method of a cell, not of its class'):
        getattr(nn, name).initialize_carry(KEY, KEY, (2, 4))


def test_input_of_another_width_than_at_init() -> None:
    cell, x = nn.GRUCell(4), jnp.ones((2, 3))
    carry = cell.initialize_carry(KEY, x.shape)
    variables = cell.init(KEY, carry, x)
    with pytest.raises(LinnetError, match='kernel'):
        cell.apply(variables, carry, jnp.ones((2, 5)))


def test_a_base_class_asks_for_its_methods() -> None:
    class Half(nn.RNNCellBase):
        pass

    with pytest.raises(NotImplementedError, match='Half does not define initialize_carry'):
        Half().initialize_carry(KEY, (3,))
    with pytest.raises(NotImplementedError, match='Half does not define num_feature_axes'):
        _ = Half().num_feature_axes


@pytest.mark.parametrize('use_bias', [True, False])
def test_dense_params(use_bias: bool) -> None:
    layer = rnn_cells.DenseParams(4, use_bias, bias_init=nn.initializers.ones)
    (kernel, bias), variables = layer.init_with_output(KEY, jnp.ones((2, 3)))
    np.testing.assert_array_equal(kernel, variables['params']['kernel'])
    assert kernel.shape == (3, 4)
    if use_bias:
        np.testing.assert_array_equal(bias, np.ones(4))
    else:
        assert bias is None


def test_dense_params_of_a_scalar() -> None:
    with pytest.raises(InputShapeError, match='at least 1 axes'):
        rnn_cells.DenseParams(4).init(KEY, jnp.ones(()))


def test_cells_batch_their_gates() -> None:
    """Under vmap and with batch axes a cell gives the same."""
    cell, x = nn.OptimizedLSTMCell(4), jax.random.normal(KEY, (2, 5, 3))
    carry = cell.initialize_carry(KEY, x.shape)
    variables = cell.init(KEY, carry, x)
    _, y = cell.apply(variables, carry, x)
    _, mapped = jax.vmap(lambda carry, x: cell.apply(variables, carry, x))(carry, x)
    np.testing.assert_allclose(y, mapped, rtol=1e-6)

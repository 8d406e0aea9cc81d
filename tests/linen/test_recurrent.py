"""RNN, Bidirectional and flip_sequences: what they compute, and the words of every refusal."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.configurations import config
from linnet.errors import (
    CarryError,
    DescriptorAttributeError,
    InputDtypeError,
    InputShapeError,
    InvalidOptionError,
    InvalidRngError,
    LinnetError,
    SharpBitWarning,
)
from linnet.linen import recurrent
from linnet.linen.recurrent import flip_sequences

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (2, 5, 3))
LENGTHS = jnp.array([2, 5])


class Sum(nn.RNNCellBase):
    """Adds its inputs up: ``[batch..., n], [batch..., n]``."""

    def __call__(self, carry: Any, x: Any) -> Any:
        return carry + x, carry + x

    @nn.nowrap
    def initialize_carry(self, rng: Any, input_shape: Any) -> Any:
        return jnp.zeros(input_shape)

    @property
    def num_feature_axes(self) -> int:
        return 1


def ramp(*shape: int) -> jax.Array:
    """1, 2, 3, ... along time, the last axis but one."""
    return jnp.broadcast_to(jnp.arange(1.0, shape[-2] + 1)[:, None], shape)


def run(layer: Any, x: Any, **keywords: Any) -> Any:
    """The result of a layer without parameters."""
    return jax.tree.map(np.asarray, layer.apply({}, x, **keywords))


def fails(layer: Any, x: Any = X, **keywords: Any) -> str:
    with pytest.raises(LinnetError) as caught:
        layer.init(KEY, x, **keywords)
    return str(caught.value)


# RNN.


def test_sums() -> None:
    y = run(nn.RNN(Sum()), ramp(1, 4, 1))
    np.testing.assert_array_equal(y.ravel(), [1, 3, 6, 10])


@pytest.mark.parametrize('unroll', [1, 2, 5, True])
def test_the_loop_is_the_cell_repeated(unroll: int) -> None:
    cell = nn.LSTMCell(4)
    layer = nn.RNN(cell, return_carry=True, unroll=unroll)
    variables = layer.init(KEY, X)
    assert list(variables['params']) == ['cell']
    last, y = layer.apply(variables, X)
    carry = cell.initialize_carry(KEY, X[:, 0].shape)
    for t in range(5):
        carry, expected = cell.apply({'params': variables['params']['cell']}, carry, X[:, t])
        np.testing.assert_allclose(y[:, t], expected, rtol=1e-5, atol=1e-6)
    for a, b in zip(last, carry, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('batch', [(), (2,), (0,), (2, 3)])
def test_time_major(batch: Any) -> None:
    x = jax.random.normal(KEY, (*batch, 5, 3))
    carry, y = run(nn.RNN(Sum(), return_carry=True), x)
    assert y.shape == (*batch, 5, 3)
    assert carry.shape == (*batch, 3)
    major = nn.RNN(Sum(), time_major=True, return_carry=True)
    carry_major, y_major = run(major, jnp.moveaxis(x, -2, 0))
    np.testing.assert_array_equal(carry, carry_major)
    np.testing.assert_array_equal(np.moveaxis(y_major, 0, -2), y)


def test_sequences_of_images() -> None:
    layer, x = nn.RNN(nn.ConvLSTMCell(4, (3, 3)), return_carry=True), jnp.ones((2, 5, 6, 7, 3))
    ((c, h), y), _ = jax.eval_shape(layer.init_with_output, KEY, x)
    assert c.shape == h.shape == (2, 6, 7, 4)
    assert y.shape == (2, 5, 6, 7, 4)


def test_reversed() -> None:
    layer = nn.RNN(Sum(), reverse=True)
    np.testing.assert_array_equal(run(layer, ramp(1, 4, 1)).ravel(), [4, 7, 9, 10])
    kept = run(layer, ramp(1, 4, 1), keep_order=True)
    np.testing.assert_array_equal(kept.ravel(), [10, 9, 7, 4])


def test_order_of_a_forward_run_is_always_kept() -> None:
    np.testing.assert_array_equal(run(nn.RNN(Sum(), keep_order=True), X), run(nn.RNN(Sum()), X))


@pytest.mark.parametrize('time_major', [False, True])
def test_lengths_of_a_reversed_run(time_major: bool) -> None:
    """Each sequence is reversed up to its own end."""
    x = jnp.moveaxis(ramp(2, 5, 1), 1, 0) if time_major else ramp(2, 5, 1)
    layer = nn.RNN(Sum(), time_major=time_major, return_carry=True)
    carry, y = run(layer, x, seq_lengths=LENGTHS, reverse=True)
    y = np.moveaxis(y, 0, 1) if time_major else y
    np.testing.assert_array_equal(carry, [[3], [15]])
    np.testing.assert_array_equal(y[0, :2, 0], [2, 3])
    np.testing.assert_array_equal(y[1, :, 0], [5, 9, 12, 14, 15])
    _, kept = run(layer, x, seq_lengths=LENGTHS, reverse=True, keep_order=True)
    kept = np.moveaxis(kept, 0, 1) if time_major else kept
    np.testing.assert_array_equal(kept[0, :2, 0], [3, 2])


@pytest.mark.parametrize('name', ['SimpleCell', 'GRUCell', 'MGUCell', 'LSTMCell'])
@pytest.mark.parametrize('reverse', [False, True])
def test_padding_does_not_matter(name: str, reverse: bool) -> None:
    layer = nn.RNN(getattr(nn, name)(4), reverse=reverse, return_carry=True, keep_order=True)
    variables = layer.init(KEY, X)
    carry, y = layer.apply(variables, X, seq_lengths=LENGTHS)
    for i, n in enumerate(LENGTHS.tolist()):
        alone, y_alone = layer.apply(variables, X[i : i + 1, :n])
        np.testing.assert_allclose(y[i : i + 1, :n], y_alone, rtol=1e-5, atol=1e-6)
        got, want = jax.tree.leaves(carry), jax.tree.leaves(alone)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a[i : i + 1], b, rtol=1e-5, atol=1e-6)


def test_lengths_of_several_batch_axes() -> None:
    lengths = jnp.array([[1, 2, 3], [4, 3, 2]])
    carry, _ = run(nn.RNN(Sum()), ramp(2, 3, 4, 1), seq_lengths=lengths, return_carry=True)
    np.testing.assert_array_equal(carry[..., 0], [[1, 3, 6], [10, 6, 3]])
    major = jnp.moveaxis(ramp(2, 3, 4, 1), 2, 0)
    keywords = dict(time_major=True, reverse=True, return_carry=True)
    carry, _ = run(nn.RNN(Sum()), major, seq_lengths=lengths, **keywords)
    np.testing.assert_array_equal(carry[..., 0], [[1, 3, 6], [10, 6, 3]])


@pytest.mark.parametrize('lengths', [2, np.int32(2), jnp.array(2), jnp.array([2]), [2, 2]])
@pytest.mark.parametrize('reverse', [False, True])
def test_one_length_for_all(lengths: Any, reverse: bool) -> None:
    lengths = jnp.asarray(lengths) if isinstance(lengths, list) else lengths
    keywords = dict(return_carry=True, reverse=reverse, seq_lengths=lengths)
    carry, _ = run(nn.RNN(Sum()), ramp(2, 5, 1), **keywords)
    np.testing.assert_array_equal(carry, [[3], [3]])


def test_length_of_a_lone_sequence() -> None:
    carry, _ = run(nn.RNN(Sum()), ramp(5, 2), return_carry=True, seq_lengths=jnp.array(3))
    np.testing.assert_array_equal(carry, [6, 6])


@pytest.mark.parametrize('reverse', [False, True])
def test_sequences_without_steps(reverse: bool) -> None:
    """The carry is the one to begin with, also where lengths are given."""
    for lengths in (None, jnp.zeros(2, jnp.int32)):
        keywords = dict(return_carry=True, reverse=reverse, seq_lengths=lengths)
        carry, y = run(
            nn.RNN(Sum()), jnp.ones((2, 0, 3)), initial_carry=jnp.ones((2, 3)), **keywords
        )
        assert y.shape == (2, 0, 3)
        np.testing.assert_array_equal(carry, np.ones((2, 3)))


def test_carry_to_begin_with() -> None:
    carry, y = run(nn.RNN(Sum()), X, initial_carry=jnp.full((2, 3), 10.0), return_carry=True)
    np.testing.assert_allclose(carry, 10 + X.sum(1), rtol=1e-6)
    np.testing.assert_allclose(y[:, 0], 10 + X[:, 0], rtol=1e-6)


def test_key_of_the_carry() -> None:
    cell = nn.GRUCell(4, carry_init=nn.initializers.normal(1.0))
    layer = nn.RNN(cell)
    variables = layer.init(KEY, X)
    of_key = layer.apply(variables, X, init_key=jax.random.key(7))
    carry = cell.initialize_carry(jax.random.key(7), (2, 3))
    np.testing.assert_array_equal(of_key, layer.apply(variables, X, initial_carry=carry))
    carry = cell.initialize_carry(jax.random.key(0), (2, 3))
    by_default = layer.apply(variables, X, initial_carry=carry)
    np.testing.assert_array_equal(layer.apply(variables, X), by_default)
    assert not np.array_equal(of_key, by_default)


@pytest.mark.parametrize('name', ['return_carry', 'time_major', 'reverse', 'keep_order'])
def test_the_call_overrides_the_layer(name: str) -> None:
    base = {'reverse': True} if name == 'keep_order' else {}
    for value in (True, False):
        by_layer = run(nn.RNN(Sum(), **{**base, name: value}), X)
        by_call = run(nn.RNN(Sum(), **{**base, name: not value}), X, **{name: value})
        assert jax.tree.structure(by_layer) == jax.tree.structure(by_call)
        jax.tree.map(np.testing.assert_array_equal, by_layer, by_call)


def test_a_key_for_each_step() -> None:
    class Noise(Sum):
        def __call__(self, carry: Any, x: Any) -> Any:
            return carry, jax.random.normal(self.make_rng('noise'), x.shape)

    noise = {'noise': KEY}
    split = nn.RNN(Noise(), split_rngs={'noise': True})
    assert len(np.unique(run(split, X, rngs=noise))) == X.size
    shared = nn.RNN(Noise(), split_rngs={'noise': False})
    assert len(np.unique(run(shared, X, rngs=noise))) == X.size // 5
    with pytest.raises(InvalidRngError, match='split_rngs'):
        run(nn.RNN(Noise()), X, rngs=noise)


def test_collections_of_the_steps() -> None:
    class Counting(Sum):
        @nn.compact
        def __call__(self, carry: Any, x: Any) -> Any:
            n = self.variable('count', 'n', jnp.zeros, ())
            n.value += 1
            self.sow('seen', 'n', n.value)
            return carry, x

    layer = nn.RNN(Counting(), variable_carry='count', variable_axes={'seen': 0})
    start = {'count': {'cell': {'n': jnp.zeros(())}}}
    _, changed = layer.apply(start, X, mutable=['count', 'seen'])
    assert changed['count']['cell']['n'] == 5
    np.testing.assert_array_equal(changed['seen']['cell']['n'][0], [1, 2, 3, 4, 5])


def test_parameters_of_each_step() -> None:
    layer = nn.RNN(
        nn.SimpleCell(4),
        variable_axes={'params': 0},
        variable_broadcast=False,
        split_rngs={'params': True},
    )
    kernel = layer.init(KEY, X)['params']['cell']['i']['kernel']
    assert kernel.shape == (5, 3, 4)
    assert len(np.unique(kernel)) == kernel.size


class Tree(Sum):
    """A cell whose carry and output are trees."""

    def __call__(self, carry: Any, x: Any) -> Any:
        carry = {'sum': carry['sum'] + x, 'n': carry['n'] + 1}
        return carry, (carry['sum'], [x])

    @nn.nowrap
    def initialize_carry(self, rng: Any, input_shape: Any) -> Any:
        return {'sum': jnp.zeros(input_shape), 'n': jnp.zeros(self.count_shape(input_shape))}

    def count_shape(self, input_shape: Any) -> Any:
        return input_shape[:-1]


def test_trees() -> None:
    carry, (sums, [xs]) = run(nn.RNN(Tree()), X, return_carry=True, seq_lengths=LENGTHS)
    np.testing.assert_array_equal(carry['n'], LENGTHS)
    np.testing.assert_array_equal(carry['sum'], [sums[0, 1], sums[1, 4]])
    np.testing.assert_array_equal(xs, X)
    _, [kept] = run(nn.RNN(Tree()), X, reverse=True, keep_order=True)
    np.testing.assert_array_equal(kept, X)


def test_a_carry_without_batch_axes() -> None:
    class Shared(Tree):
        def count_shape(self, input_shape: Any) -> Any:
            return ()

    carry, _ = run(nn.RNN(Shared()), X, return_carry=True)
    assert carry['n'] == 5
    message = fails(nn.RNN(Shared()), return_carry=True, seq_lengths=LENGTHS)
    assert '[LN506] / (RNN): the carry has an array of shape (), without the batch axes (2,)' in (
        message
    )


def test_any_module_with_the_methods_is_a_cell() -> None:
    class Own(nn.Module):
        num_feature_axes: int = 1

        @nn.nowrap
        def initialize_carry(self, rng: Any, input_shape: Any) -> Any:
            return jnp.zeros(input_shape)

        def __call__(self, carry: Any, x: Any) -> Any:
            return [carry + x, carry]

    class InSetup(Own):
        def setup(self) -> None:
            self.layer = nn.Dense(3)

    for cell in (Own(), InSetup()):
        np.testing.assert_array_equal(run(nn.RNN(cell), ramp(1, 3, 1)).ravel(), [0, 1, 3])


def test_feature_axes_set_in_setup() -> None:
    class Own(nn.Module):
        def setup(self) -> None:
            self.num_feature_axes = 1

        def __call__(self, carry: Any, x: Any) -> Any:
            return carry + x, carry

    y = run(nn.RNN(Own()), ramp(1, 3, 1), initial_carry=jnp.zeros((1, 1)))
    np.testing.assert_array_equal(y.ravel(), [0, 1, 3])


@pytest.mark.parametrize(
    ('cell', 'words'),
    [
        (nn.SimpleCell, 'cell is the class SimpleCell; a cell is wanted'),
        (nn.Dense(4), 'cell is of type Dense, which is not a recurrent cell'),
        (nn.RNN(nn.SimpleCell(4)), 'cell is of type RNN, which is not a recurrent cell'),
        (None, 'cell is of type NoneType, which is not a recurrent cell'),
        (jnp.tanh, 'which is not a recurrent cell'),
    ],
)
def test_what_is_no_cell(cell: Any, words: str) -> None:
    message = fails(nn.RNN(cell))
    assert message.startswith(f'[LN501] / (RNN): {words}') or words in message
    assert 'nn.RNN(' in message


def test_a_bad_number_of_feature_axes() -> None:
    class Bad(Sum):
        num_feature_axes = -1

    assert 'num_feature_axes of Bad=-1 is not an integer' in fails(nn.RNN(Bad()))


def test_a_cell_that_lacks_methods() -> None:
    class Half(nn.RNNCellBase):
        pass

    with pytest.raises(NotImplementedError, match='Half does not define num_feature_axes'):
        nn.RNN(Half()).init(KEY, X)


def test_an_error_in_a_property_is_not_hidden() -> None:
    class Broken(Sum):
        @property
        def num_feature_axes(self) -> int:
            return self.absent

    with pytest.raises(DescriptorAttributeError, match='absent'):
        nn.RNN(Broken()).init(KEY, X)


@pytest.mark.parametrize(
    ('result', 'words'),
    [
        (lambda c, x: c, 'it returned an array of shape (2, 3)'),
        (lambda c, x: (c, x, x), 'it returned a tuple of 3: '),
        (lambda c, x: None, 'it returned None'),
    ],
)
def test_a_cell_that_returns_something_else(result: Any, words: str) -> None:
    class Bad(Sum):
        def __call__(self, carry: Any, x: Any) -> Any:
            return result(carry, x)

    message = fails(nn.RNN(Bad()))
    assert 'Bad must return two values, (carry, output)' in message
    assert words in message


@pytest.mark.parametrize(
    ('name', 'carry', 'words'),
    [
        ('SimpleCell', jnp.zeros((1, 4)), 'carry goes from float32[1,4] to float32[2,4]'),
        ('SimpleCell', jnp.zeros((2, 4), int), 'carry goes from int32[2,4] to float32[2,4]'),
        ('GRUCell', jnp.zeros((2, 4), 'bfloat16'), 'carry goes from bfloat16[2,4] to float32[2,4]'),
        ('LSTMCell', [jnp.zeros((2, 4))] * 2, 'its structure goes from PyTreeDef([*, *]) to'),
        ('LSTMCell', (jnp.zeros((2, 4)), jnp.zeros((4,))), 'carry[1] goes from float32[4] to'),
        ('GRUCell', jnp.zeros((3, 4)), 'of shape (3, 4) does not fit an input of shape (2, 3)'),
        ('LSTMCell', jnp.zeros((2, 4)), 'from PyTreeDef(*) to PyTreeDef((*, *))'),
        ('GRUCell', (jnp.zeros((2, 4)),), 'the carry of GRUCell is one array'),
        (
            'GRUCell',
            3,
            'the carry needs at least 1 axes, the last of size features=4; got shape ()',
        ),
    ],
)
def test_a_carry_of_another_form(name: str, carry: Any, words: str) -> None:
    with pytest.raises(CarryError) as caught:
        nn.RNN(getattr(nn, name)(4)).init(KEY, X, initial_carry=carry)
    assert words in str(caught.value)


def test_a_carry_that_a_step_makes_narrower() -> None:
    """The first carry is of ``param_dtype``; a SimpleCell makes it one of ``dtype``."""
    message = fails(nn.RNN(nn.SimpleCell(4, dtype=jnp.bfloat16)))
    assert 'a step of SimpleCell changes the form of its carry' in message
    assert 'float32[2,4] to bfloat16[2,4]' in message
    assert 'param_dtype=dtype' in message
    narrow = nn.RNN(nn.SimpleCell(4, dtype=jnp.bfloat16))
    carry = jnp.zeros((2, 4), jnp.bfloat16)
    y, _ = jax.eval_shape(functools.partial(narrow.init_with_output, initial_carry=carry), KEY, X)
    assert y.dtype == jnp.bfloat16


def test_a_weak_carry_takes_the_dtype_of_the_steps() -> None:
    class Weak(Sum):
        @nn.nowrap
        def initialize_carry(self, rng: Any, input_shape: Any) -> Any:
            return 0.0

        def __call__(self, carry: Any, x: Any) -> Any:
            return carry + x.sum(), x

    carry, _ = run(nn.RNN(Weak()), X.astype(jnp.bfloat16), return_carry=True)
    assert carry.dtype == jnp.bfloat16


@pytest.mark.parametrize('time_major', [False, True])
def test_inputs_of_too_low_rank(time_major: bool) -> None:
    layer = nn.RNN(nn.GRUCell(4), time_major=time_major)
    axes = '[time, batch..., in...]' if time_major else '[batch..., time, in...]'
    message = fails(layer, jnp.ones(3))
    assert f'[LN502] / (RNN): sequences have at least 2 axes, {axes}' in message
    assert 'got shape (3,)' in message
    assert 'x[None]' in message
    assert 'Mend' not in fails(layer, jnp.ones(()))
    images = nn.RNN(nn.ConvLSTMCell(4, (3, 3)))
    assert 'at least 4 axes' in fails(images, jnp.ones((5, 6, 3)))


@pytest.mark.parametrize('x', [None, [[1.0]], {'x': X}])
def test_inputs_that_are_no_array(x: Any) -> None:
    with pytest.raises(InputDtypeError, match=r'\(RNN\): the input is'):
        nn.RNN(nn.GRUCell(4)).init(KEY, x)


LAYERS = {
    'RNN': nn.RNN(nn.GRUCell(4)),
    'Bidirectional': nn.Bidirectional(nn.RNN(nn.GRUCell(4)), nn.RNN(nn.GRUCell(4))),
}


@pytest.mark.parametrize('name', LAYERS)
@pytest.mark.parametrize('shape', [(3,), (5,), (2, 5), (2, 1), (1, 2)])
@pytest.mark.parametrize('reverse', [False, True])
def test_lengths_of_the_wrong_shape(name: str, shape: Any, reverse: bool) -> None:
    lengths = jnp.ones(shape, jnp.int32)
    message = fails(LAYERS[name], seq_lengths=lengths, reverse=reverse)
    assert f'seq_lengths have shape {shape}' in message
    assert 'sequences with the batch shape (2,) have as many lengths' in message


@pytest.mark.parametrize('name', LAYERS)
def test_lengths_of_the_wrong_dtype(name: str) -> None:
    message = fails(LAYERS[name], seq_lengths=jnp.ones(2))
    assert 'seq_lengths are float32, and lengths are integers' in message
    assert 'seq_lengths.astype(jnp.int32)' in message
    message = fails(LAYERS[name], seq_lengths=jnp.ones((2, 5), bool))
    assert 'mask.sum(axis=-1)' in message
    assert 'seq_lengths is a list, not an array' in fails(LAYERS[name], seq_lengths=[2, 5])
    assert 'seq_lengths is a bool, not an array' in fails(LAYERS[name], seq_lengths=True)


@pytest.mark.parametrize('unroll', [-1, 2.5, None, 'all'])
def test_what_is_no_unrolling(unroll: Any) -> None:
    words = f'unroll={unroll!r} is not an integer of at least 0'
    assert words in fails(nn.RNN(nn.GRUCell(4), unroll=unroll))


@pytest.mark.parametrize('name', ['return_carry', 'time_major', 'reverse', 'keep_order'])
def test_options_are_not_traced(name: str) -> None:
    layer = LAYERS['RNN']
    variables = layer.init(KEY, X)
    with pytest.raises(InvalidOptionError, match=f'{name} is a traced value'):
        jax.jit(lambda flag: layer.apply(variables, X, **{name: flag}))(True)


def test_what_is_no_key() -> None:
    message = fails(nn.RNN(nn.LSTMCell(4)), init_key=1)
    assert 'rng is not a key of jax.random: 1' in message
    message = fails(LAYERS['Bidirectional'], init_key=1)
    assert '(Bidirectional): init_key is not a key of jax.random: 1' in message


# Bidirectional.


@pytest.mark.parametrize('time_major', [False, True])
@pytest.mark.parametrize('lengths', [None, LENGTHS])
def test_both_directions(time_major: bool, lengths: Any) -> None:
    x = jnp.moveaxis(X, 1, 0) if time_major else X
    forward, backward = nn.RNN(nn.GRUCell(4)), nn.RNN(nn.LSTMCell(2))
    layer = nn.Bidirectional(forward, backward, time_major=time_major, return_carry=True)
    variables = layer.init(KEY, x)
    carries, y = layer.apply(variables, x, seq_lengths=lengths)
    keywords = dict(seq_lengths=lengths, return_carry=True, time_major=time_major)
    params = [{'params': variables['params'][name]} for name in ('forward_rnn', 'backward_rnn')]
    carry_f, y_f = forward.apply(params[0], x, **keywords)
    carry_b, y_b = backward.apply(params[1], x, reverse=True, keep_order=True, **keywords)
    np.testing.assert_array_equal(y, np.concatenate([y_f, y_b], -1))
    jax.tree.map(np.testing.assert_array_equal, carries, (carry_f, carry_b))


def test_merging() -> None:
    layer = nn.Bidirectional(nn.RNN(Sum()), nn.RNN(Sum()), merge_fn=lambda a, b: 100 * a + b)
    y = run(layer, ramp(1, 4, 1))
    np.testing.assert_array_equal(y.ravel(), [110, 309, 607, 1004])


def test_carries_of_both_directions() -> None:
    layer = nn.Bidirectional(nn.RNN(Sum()), nn.RNN(Sum()))
    carry = (jnp.full((1, 1), 100.0), jnp.full((1, 1), 200.0))
    (forward, backward), y = run(layer, ramp(1, 4, 1), initial_carry=carry, return_carry=True)
    np.testing.assert_array_equal(y[0], [[101, 210], [103, 209], [106, 207], [110, 204]])
    assert (forward, backward) == (110, 210)


def test_trees_of_outputs() -> None:
    layer = nn.Bidirectional(nn.RNN(Tree()), nn.RNN(Tree()))
    _, [xs] = run(layer, X)
    np.testing.assert_array_equal(xs, np.concatenate([X, X], -1))


@pytest.mark.parametrize('share', ['instance', 'cell'])
def test_directions_that_share_parameters(share: str) -> None:
    cell = nn.GRUCell(4)
    rnn = nn.RNN(cell)
    layer = nn.Bidirectional(rnn, rnn if share == 'instance' else nn.RNN(cell))
    words = f'^\\[LN353\\] / \\(Bidirectional\\): forward_rnn and backward_rnn are the same {share}'
    with pytest.warns(SharpBitWarning, match=words):
        y, variables = layer.init_with_output(KEY, X)
    assert list(variables['params']) == ['forward_rnn']
    assert y.shape == (2, 5, 8)


def test_directions_that_are_equal_do_not_share() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        variables = LAYERS['Bidirectional'].init(KEY, X)
    kernels = [variables['params'][k]['cell']['in']['kernel'] for k in variables['params']]
    assert len(kernels) == 2
    assert not np.array_equal(*kernels)


@pytest.mark.parametrize('carry', [3, jnp.ones((3, 4)), (jnp.ones((2, 4)),)])
def test_what_is_no_pair_of_carries(carry: Any) -> None:
    message = fails(LAYERS['Bidirectional'], initial_carry=carry)
    assert '[LN506] / (Bidirectional): initial_carry of Bidirectional is ' in message
    assert 'not a pair of carries' in message


def test_one_carry_for_both_directions() -> None:
    """An array of two rows is taken for a pair, each of which has lost its batch axis."""
    message = fails(LAYERS['Bidirectional'], initial_carry=jnp.ones((2, 4)))
    assert 'carry goes from float32[4] to float32[2,4]' in message


@pytest.mark.parametrize(
    ('rnn', 'words'),
    [
        (nn.RNN, 'forward_rnn is the class RNN; a recurrent layer is wanted'),
        (
            nn.GRUCell(4),
            'forward_rnn is of type GRUCell, whose call does not take init_key, initial_c',
        ),
        (nn.Dense(4), 'forward_rnn is of type Dense, whose call does not take'),
        (None, 'forward_rnn is of type NoneType; a recurrent layer is wanted'),
    ],
)
def test_what_is_no_recurrent_layer(rnn: Any, words: str) -> None:
    message = fails(nn.Bidirectional(rnn, nn.RNN(nn.GRUCell(4))))
    assert f'[LN501] / (Bidirectional): {words}' in message
    assert 'forward_rnn=nn.RNN(cell)' in message


def test_a_backward_layer_that_cannot_keep_the_order() -> None:
    class Forward(nn.Module):
        def __call__(
            self,
            inputs: Any,
            initial_carry: Any,
            init_key: Any,
            seq_lengths: Any,
            return_carry: Any,
            time_major: Any,
            reverse: Any,
        ) -> Any:
            return None, inputs

    message = fails(nn.Bidirectional(Forward(), Forward()))
    assert 'backward_rnn is of type Forward, whose call does not take keep_order' in message


def constant(result: Any) -> Any:
    return lambda inputs, **keywords: result


def test_a_layer_that_returns_outputs_only() -> None:
    message = fails(nn.Bidirectional(constant((0, X)), constant(X[:1])))
    assert 'backward_rnn must return two values, (carry, outputs)' in message
    assert 'it returned an array of shape (1, 5, 3)' in message


@pytest.mark.parametrize('merge_fn', [None, jnp.add])
def test_outputs_of_different_sizes(merge_fn: Any) -> None:
    options = {} if merge_fn is None else {'merge_fn': merge_fn}
    layers = constant((0, jnp.ones((2, 5, 3)))), constant((0, jnp.ones((2, 6, 3))))
    message = fails(nn.Bidirectional(*layers, **options))
    assert '[LN502] / (Bidirectional): merge_fn cannot merge outputs of shape (2, 5, 3)' in message
    assert 'of shape (2, 6, 3) of backward_rnn' in message


def test_outputs_of_different_structures() -> None:
    message = fails(nn.Bidirectional(constant((0, X)), constant((0, [X]))))
    assert 'outputs of different structures cannot be merged: PyTreeDef(*) of forward' in message


def test_an_error_in_merging_outputs_that_fit() -> None:
    def merge(a: Any, b: Any) -> Any:
        raise ValueError('my own')

    with pytest.raises(ValueError, match='my own'):
        nn.Bidirectional(constant((0, X)), constant((0, X)), merge_fn=merge).init(KEY, X)


# flip_sequences.


@pytest.mark.parametrize('time_major', [False, True])
def test_flip(time_major: bool) -> None:
    x = np.arange(1, 11).reshape(2, 5)
    given = x.T if time_major else x
    flip = functools.partial(flip_sequences, num_batch_dims=1, time_major=time_major)
    for lengths, expected in (
        (None, x[:, ::-1]),
        (jnp.array([5, 5]), x[:, ::-1]),
        (jnp.array([2, 4]), [[2, 1, 5, 4, 3], [9, 8, 7, 6, 10]]),
        (jnp.array(1), [[1, 5, 4, 3, 2], [6, 10, 9, 8, 7]]),
        (jnp.array([0, 0]), x[:, ::-1]),
    ):
        y = np.asarray(flip(jnp.asarray(given), lengths))
        np.testing.assert_array_equal(y.T if time_major else y, expected)


def test_flip_of_what_has_too_few_axes() -> None:
    with pytest.raises(
        InputShapeError, match=r'2 batch axes have at least 3 axes; got shape \(2, 5'
    ):
        flip_sequences(jnp.ones((2, 5)), None, 2, False)
    with pytest.raises(InputShapeError, match=r'seq_lengths have shape \(3,\)'):
        flip_sequences(X, jnp.ones(3, jnp.int32), 1, False)
    with pytest.raises(InputDtypeError, match='the input is a list'):
        flip_sequences([1, 2], None, 0, False)


@pytest.mark.parametrize('name', recurrent.__all__)
def test_the_module_offers_all_names(name: str) -> None:
    assert hasattr(recurrent, name)


def test_layers_fit_the_protocol() -> None:
    """What Bidirectional asks for is what its own call and that of RNN offer."""
    import inspect

    asked = inspect.signature(recurrent.RNNBase.__call__).parameters
    for layer in (nn.RNN, nn.Bidirectional):
        assert list(inspect.signature(layer.__call__).parameters) == list(asked)


# Products before the loop.


@pytest.mark.parametrize(
    'cell',
    [
        nn.SimpleCell(4),
        nn.MGUCell(4),
        nn.GRUCell(4),
        nn.LSTMCell(4),
        nn.OptimizedLSTMCell(4),
        nn.ConvLSTMCell(4, (3,)),
    ],
    ids=lambda cell: type(cell).__name__,
)
@pytest.mark.parametrize('options', [{}, {'reverse': True, 'time_major': True}], ids=str)
def test_hoisted_inputs_give_the_same_up_to_rounding(cell, options):
    inner = (5, 3) if isinstance(cell, nn.ConvLSTMCell) else (3,)
    x = jax.random.normal(jax.random.key(0), (6, 6, *inner))
    layer = nn.RNN(cell, return_carry=True, **options)
    variables = layer.init(jax.random.key(1), x)
    hoisted = layer.clone(hoist_inputs=True)
    lengths = jnp.array([1, 6, 3, 2, 6, 5])

    def both(layer):
        y = layer.apply(variables, x, seq_lengths=lengths)
        loss = lambda v: jnp.mean(layer.apply(v, x)[1] ** 2)  # noqa: E731
        return y, jax.grad(loss)(variables)

    for a, b in zip(*map(jax.tree.leaves, (both(hoisted), both(layer))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    made = hoisted.init(jax.random.key(1), x)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: (a == b).all(), made, variables)))


def loops_and_products(layer, variables, x, **rngs):
    program = jax.make_jaxpr(lambda v, x: layer.apply(v, x, **rngs))(variables, x)
    names = [equation.primitive.name for equation in program.eqns]
    return names.count('scan'), names.count('dot_general')


def test_inputs_are_hoisted_on_gpus_unless_somebody_says_no(monkeypatch):
    x = jnp.ones((2, 5, 3))
    layer = nn.RNN(nn.OptimizedLSTMCell(4))
    variables = layer.init(jax.random.key(0), x)
    assert loops_and_products(layer, variables, x) == (1, 0)
    monkeypatch.setattr(recurrent, 'is_cuda', lambda device: True)
    assert loops_and_products(layer, variables, x) == (1, 1)
    assert loops_and_products(layer.clone(hoist_inputs=False), variables, x) == (1, 0)
    with config.temp_flip_flag('linnet_hoist_inputs', False):
        assert loops_and_products(layer, variables, x) == (1, 0)
        assert loops_and_products(layer.clone(hoist_inputs=True), variables, x) == (1, 1)
    with pytest.raises(InvalidOptionError, match='hoist_inputs is a traced value'):
        jax.jit(lambda hoist: layer.clone(hoist_inputs=hoist).apply(variables, x))(True)


class _Dropping(nn.RNNCellBase):
    """A cell with dropout of its input, which draws a key at each step, and a count of steps."""

    @nn.compact
    def __call__(self, carry, x):
        if self.has_variable('counts', 'steps'):
            self.put_variable('counts', 'steps', self.get_variable('counts', 'steps') + 1)
        x = nn.Dropout(0.5, deterministic=False)(x)
        return carry + nn.Dense(4)(x), carry

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        return jnp.zeros((*input_shape[:-1], 4))

    @property
    def num_feature_axes(self):
        return 1


def test_hoisting_keeps_masks_and_counts():
    x = jnp.ones((2, 5, 3))
    layer = nn.RNN(
        _Dropping(),
        variable_carry='counts',
        split_rngs={'params': False, 'dropout': True},
        return_carry=True,
    )
    keys = {'params': jax.random.key(0), 'dropout': jax.random.key(1)}
    variables = {**layer.init(keys, x), 'counts': {'cell': {'steps': jnp.array(0)}}}
    wanted, ours = (
        layer.clone(hoist_inputs=hoist).apply(
            variables, x, rngs={'dropout': jax.random.key(2)}, mutable='counts'
        )
        for hoist in (False, True)
    )
    assert ours[1]['counts']['cell']['steps'] == wanted[1]['counts']['cell']['steps'] == 5
    for a, b in zip(jax.tree.leaves(ours[0]), jax.tree.leaves(wanted[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

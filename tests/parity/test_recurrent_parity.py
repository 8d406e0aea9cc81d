"""Recurrent cells, RNN, Bidirectional and flip_sequences against the oracle.

Drawn configurations are compared by what they initialise and return, by the program that JAX
traces of their ``apply``, and by their gradient. Some chosen ones are run in every mode.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet import _compat
from tests.parity.harness import ORACLE, OURS, Library, compare, same, same_error

FLOATS = ('float32', 'bfloat16', 'float16')
DENSE_CELLS = ('SimpleCell', 'GRUCell', 'MGUCell', 'LSTMCell', 'OptimizedLSTMCell')
CELLS = (*DENSE_CELLS, 'ConvLSTMCell')
PUBLIC = """
    A Bidirectional Carry CarryHistory ConvLSTMCell DenseParams GRUCell LSTMCell MGUCell
    OptimizedLSTMCell Output RNN RNNBase RNNCellBase SimpleCell flip_sequences
""".split()


def array(*shape: int, dtype: Any = 'float32', seed: int = 0) -> Any:
    """Reproducible numbers, of both signs."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * 2).astype(dtype)


def chosen(**options: Any) -> Any:
    """Keyword arguments of which each is drawn or left out."""
    return st.fixed_dictionaries({}, optional=options)


def programs(call: Any, variables: Any, *args: Any) -> list[Any]:
    """The program of a call, and of its gradient where that is to be had, with their constants."""
    traced = [jax.make_jaxpr(call)(variables, *args)]
    if all(jnp.issubdtype(p.dtype, jnp.floating) for p in jax.tree.leaves((variables, args[:-1]))):
        traced.append(jax.make_jaxpr(jax.grad(loss(call)))(variables, *args))
    return [(without_dead_code(closed.jaxpr), closed.consts) for closed in traced]


def without_dead_code(jaxpr: Any) -> tuple[list[str], list[bool]]:
    """The lines of a program without what it computes in vain, and which inputs are needed."""
    needed, used = _compat.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return str(needed).splitlines(), used


def abstract(layer: Any, x: Any, call: Any) -> Any:
    """Shapes and dtypes of what a layer makes, and its programs."""
    init = functools.partial(layer.init_with_output, **call)
    y, variables = jax.eval_shape(init, jax.random.key(0), x)
    return y, variables, programs(functools.partial(layer.apply, **call), variables, x)


def loss(call: Any) -> Any:
    def total(*args: Any) -> Any:
        leaves = jax.tree.leaves(call(*args))
        return sum(jnp.sum(jnp.abs(x).astype(jnp.float32)) for x in leaves)

    return total


# Cells.

BATCHES = st.sampled_from(((2,), (), (0,), (2, 1)))
INITS = ('lecun_normal', 'xavier_uniform', 'normal', 'uniform')
ACTIVATIONS = ('tanh', 'relu', 'sigmoid', 'hard_tanh')
MIXED = dict(
    dtype=st.sampled_from(FLOATS),
    param_dtype=st.sampled_from(FLOATS),
    carry_init=st.sampled_from(('zeros_init', 'normal', 'uniform')),
)
DENSE = dict(
    **MIXED,
    kernel_init=st.sampled_from(INITS),
    activation_fn=st.sampled_from(ACTIVATIONS),
)
GATED = dict(
    **DENSE,
    gate_fn=st.sampled_from(ACTIVATIONS),
    bias_init=st.sampled_from(('ones_init', 'normal')),
)
OPTIONS: dict[str, dict[str, Any]] = {
    'SimpleCell': dict(
        **DENSE, bias_init=st.sampled_from(('ones_init', 'normal')), residual=st.booleans()
    ),
    'GRUCell': GATED,
    'LSTMCell': GATED,
    'OptimizedLSTMCell': GATED,
    'MGUCell': dict(
        **DENSE,
        gate_fn=st.sampled_from(ACTIVATIONS),
        forget_bias_init=st.sampled_from(('zeros_init', 'normal')),
        activation_bias_init=st.sampled_from(('ones_init', 'normal')),
        reset_gate=st.booleans(),
    ),
    'ConvLSTMCell': dict(**MIXED, use_bias=st.booleans()),
}


def build_cell(nn: Any, name: str, options: dict[str, Any], features: int = 3) -> Any:
    """A cell; initialisers and activations are given by name."""

    def value(field: str, given: Any) -> Any:
        if field.endswith('_init'):
            init = getattr(nn.initializers, given)
            return init() if given not in ('zeros', 'ones') else init
        return getattr(nn, given) if field.endswith('_fn') else given

    made = {field: value(field, given) for field, given in options.items()}
    positional = (features, made.pop('kernel_size')) if 'kernel_size' in made else (features,)
    return getattr(nn, name)(*positional, **made)


@st.composite
def cell_cases(draw: Any, name: str) -> Any:
    """Options of a cell, a size of its state, and the shape of an input of one step."""
    options = draw(chosen(**OPTIONS[name]))
    if name != 'ConvLSTMCell' and (
        options.get('param_dtype', 'float32') != 'float32' or draw(st.booleans())
    ):
        options['recurrent_kernel_init'] = draw(st.sampled_from(INITS))
    batch = draw(BATCHES)
    spatial: tuple[int, ...] = ()
    if name == 'ConvLSTMCell':
        options['kernel_size'] = draw(st.sampled_from(((3,), (2,), (3, 2))))
        spatial = (4, 3)[: len(options['kernel_size'])]
        options['padding'] = draw(st.sampled_from(('SAME', 'SAME_LOWER', 'CIRCULAR')))
        if options['padding'] == 'CIRCULAR':
            options['kernel_size'] = (3,) * len(spatial)
    return options, (*batch, *spatial, 2)


@pytest.mark.parametrize('name', CELLS)
@given(data=st.data())
def test_cell(name: str, data: Any) -> None:
    options, shape = data.draw(cell_cases(name))
    x = array(*shape, dtype=data.draw(st.sampled_from((*FLOATS, 'int32'))))

    def program(lib: Library) -> Any:
        cell = build_cell(lib.nn, name, options)
        carry = cell.initialize_carry(jax.random.key(1), x.shape)
        raw_carry = cell.initialize_carry(jax.random.PRNGKey(1), x.shape)
        y, variables = cell.init_with_output(jax.random.key(3), carry, x)
        return carry, raw_carry, y, variables, programs(cell.apply, variables, carry, x)

    same(program)


@pytest.mark.parametrize('name', DENSE_CELLS)
@pytest.mark.parametrize('batch', [(1, 3), (3,)])
def test_carry_that_broadcasts(name: str, batch: Any) -> None:
    def program(lib: Library) -> Any:
        state = array(*batch)
        cell = getattr(lib.nn, name)(3)
        carry = (state, state) if 'LSTM' in name else state
        return cell.init_with_output(jax.random.key(0), carry, array(2, 4))

    same(program)


@pytest.mark.parametrize('name', CELLS)
def test_carry_of_another_width(name: str) -> None:
    """The cell takes its width from the carry, which we say in a warning."""

    def program(lib: Library) -> Any:
        with expected_warning(lib, 'features=3'):
            cell = build_cell(lib.nn, name, {'kernel_size': (2,)} if 'Conv' in name else {})
            state = array(2, 5)
            carry = (array(2, 3) if 'Conv' in name else state, state) if 'LSTM' in name else state
            return cell.init_with_output(jax.random.key(0), carry, array(2, 4))

    same(program)


def expected_warning(lib: Library, words: str) -> Any:
    """Ours warns, and the oracle does not; it may log something."""
    if lib == OURS:
        return pytest.warns(OURS.errors.SharpBitWarning, match=words)
    return contextlib.nullcontext()


@pytest.mark.parametrize('name', CELLS)
def test_double_precision(name: str) -> None:
    options = {'kernel_size': (2,)} if 'Conv' in name else {}
    with jax.enable_x64(True):
        for dtypes in ({'param_dtype': jnp.float64}, {'dtype': jnp.float64}, {}):
            for input_dtype in ('float64', 'float32', 'int64'):
                x = array(2, 4, dtype=input_dtype)

                def program(lib: Library, x: Any = x, dtypes: Any = dtypes) -> Any:
                    cell = build_cell(lib.nn, name, {**options, **dtypes})
                    carry = cell.initialize_carry(jax.random.key(0), x.shape)
                    y, variables = cell.init_with_output(jax.random.key(0), carry, x)
                    return carry, y, variables, programs(cell.apply, variables, carry, x)

                same(program)


@pytest.mark.parametrize('name', CELLS)
def test_cell_in_every_mode(name: str) -> None:
    options = {'kernel_size': (2,)} if 'Conv' in name else {}
    state = np.asarray(array(2, 3))
    carry = (state, state + 1) if 'LSTM' in name else state
    compare(lambda nn: build_cell(nn, name, options), (carry, np.asarray(array(2, 4))))


@pytest.mark.parametrize('name', CELLS)
def test_what_initialisers_are_called_with(name: str) -> None:
    """Each initialiser reaches the parameters it should, in the same order."""

    def program(lib: Library) -> Any:
        calls: list[Any] = []

        def recorder(label: str) -> Any:
            def init(key: Any, shape: Any, dtype: Any) -> Any:
                calls.append((label, tuple(map(int, shape)), jnp.dtype(dtype)))
                return jax.random.normal(key, shape, dtype)

            return init

        cell = build_cell(lib.nn, name, {'kernel_size': (2,)} if 'Conv' in name else {})
        fields = [field for field in inspect.signature(type(cell)).parameters if '_init' in field]
        cell = cell.clone(**{field: recorder(field) for field in fields})
        carry = cell.initialize_carry(jax.random.key(0), (2, 4))
        variables = cell.init(jax.random.key(0), carry, array(2, 4))
        return calls, carry, variables

    same(program)


@pytest.mark.parametrize('use_bias', [True, False])
def test_dense_params(use_bias: bool) -> None:
    def program(lib: Library) -> Any:
        layer = lib.load('linen.recurrent').DenseParams(3, use_bias, jnp.bfloat16)
        return layer.init_with_output(jax.random.key(0), array(2, 4))

    same(program)


# Layers.


@st.composite
def rnn_cases(draw: Any) -> Any:
    """Options of an RNN for its constructor and its call, and its inputs."""
    batch = draw(BATCHES)
    call = draw(
        chosen(
            reverse=st.booleans(),
            keep_order=st.booleans(),
            return_carry=st.booleans(),
            time_major=st.booleans(),
            init_key=st.just(jax.random.key(5)),
        )
    )
    options = draw(
        chosen(
            reverse=st.booleans(),
            keep_order=st.booleans(),
            return_carry=st.booleans(),
            time_major=st.booleans(),
            unroll=st.sampled_from((2, 5, 0, True)),
        )
    )
    merged = {**options, **call}
    if draw(st.booleans()) and (len(batch) == 1 or not merged.get('return_carry')):
        lengths = np.arange(1, 1 + int(np.prod(batch, dtype=int))).reshape(batch)
        call['seq_lengths'] = jnp.asarray(lengths, draw(st.sampled_from(('int32', 'uint8'))))
    x = array(*batch, 5, 2)
    return options, call, jnp.moveaxis(x, -2, 0) if merged.get('time_major') else x, batch


@pytest.mark.parametrize('name', DENSE_CELLS)
@given(
    case=rnn_cases(),
    with_carry=st.booleans(),
    dtype=st.sampled_from((None, 'bfloat16')),
    x_dtype=st.sampled_from(('float32', 'float16', 'int32')),
)
def test_rnn(name: str, case: Any, with_carry: bool, dtype: Any, x_dtype: str) -> None:
    options, call, x, batch = case
    x = x.astype(x_dtype)
    dtype = None if name == 'SimpleCell' else dtype  # whose carry would change its dtype
    if with_carry:
        state = array(*batch, 3)
        call = {**call, 'initial_carry': (state, state - 1) if 'LSTM' in name else state}

    def program(lib: Library) -> Any:
        normal = lib.nn.initializers.normal()
        cell = getattr(lib.nn, name)(3, carry_init=normal, dtype=dtype)
        return abstract(lib.nn.RNN(cell, **options), x, call)

    same(program)


@pytest.mark.parametrize('name', DENSE_CELLS)
def test_length_of_a_lone_sequence(name: str) -> None:
    """The oracle takes the last carry feature by feature, we as a whole."""

    def program(lib: Library) -> Any:
        layer = lib.nn.RNN(getattr(lib.nn, name)(3), return_carry=True)
        lengths = jnp.array(3)
        return layer.init_with_output(jax.random.key(0), array(5, 2), seq_lengths=lengths)

    same(program)


def conv_cell(nn: Any) -> Any:
    return nn.ConvLSTMCell(3, (2,), carry_init=nn.initializers.normal())


@pytest.mark.parametrize('time_major', [False, True])
@pytest.mark.parametrize('reverse', [False, True])
def test_rnn_of_convolutions(time_major: bool, reverse: bool) -> None:
    x = array(*((5, 2) if time_major else (2, 5)), 4, 2)
    options = dict(time_major=time_major, reverse=reverse, keep_order=True, return_carry=True)

    def program(lib: Library) -> Any:
        layer = lib.nn.RNN(conv_cell(lib.nn), **options)
        return abstract(layer, x, {'seq_lengths': jnp.array([2, 5])})

    same(program)


LAYERS = {
    'RNN': lambda nn: nn.RNN(nn.GRUCell(3)),
    'RNN unrolled': lambda nn: nn.RNN(nn.LSTMCell(3), unroll=5, return_carry=True),
    'RNN reversed': lambda nn: nn.RNN(nn.SimpleCell(3), reverse=True, keep_order=True),
    'RNN bfloat16': lambda nn: nn.RNN(nn.OptimizedLSTMCell(3, dtype=jnp.bfloat16)),
    'Bidirectional': lambda nn: nn.Bidirectional(nn.RNN(nn.MGUCell(3)), nn.RNN(nn.LSTMCell(2))),
}


@pytest.mark.parametrize('name', LAYERS)
def test_layer_in_every_mode(name: str) -> None:
    compare(LAYERS[name], (np.asarray(array(2, 5, 2)),))


@pytest.mark.parametrize('name', LAYERS)
def test_lengths_in_every_mode(name: str) -> None:
    kwargs = {'seq_lengths': np.array([2, 5]), 'return_carry': True}
    modes = ('eager_raw', 'jit_typed', 'grad')
    compare(LAYERS[name], (np.asarray(array(2, 5, 2)),), modes=modes, kwargs=kwargs)


@given(
    call=chosen(
        seq_lengths=st.just(jnp.array([2, 5])),
        return_carry=st.booleans(),
        time_major=st.booleans(),
        reverse=st.booleans(),
        keep_order=st.booleans(),
        init_key=st.just(jax.random.key(5)),
        initial_carry=st.just(((array(2, 3), array(2, 3, seed=1)), array(2, 2))),
    ),
    options=chosen(return_carry=st.booleans(), time_major=st.booleans()),
    merge=st.sampled_from((None, jnp.add)),
)
def test_bidirectional(call: Any, options: Any, merge: Any) -> None:
    x = array(2, 5, 2)
    if {**options, **call}.get('time_major'):
        x = jnp.moveaxis(x, 1, 0)

    def program(lib: Library) -> Any:
        normal = lib.nn.initializers.normal()
        width = 2 if merge is None or 'initial_carry' in call else 3
        more = {} if merge is None or 'initial_carry' in call else {'merge_fn': merge}
        layer = lib.nn.Bidirectional(
            lib.nn.RNN(lib.nn.LSTMCell(3, carry_init=normal), time_major=True),
            lib.nn.RNN(lib.nn.GRUCell(width, carry_init=normal)),
            **more,
            **options,
        )
        return abstract(layer, x, call)

    same(program)


@pytest.mark.parametrize('share', ['instance', 'cell'])
def test_both_directions_share(share: str) -> None:
    def program(lib: Library) -> Any:
        cell = lib.nn.GRUCell(3)
        rnn = lib.nn.RNN(cell)
        layer = lib.nn.Bidirectional(rnn, rnn if share == 'instance' else lib.nn.RNN(cell))
        with expected_warning(lib, f'forward_rnn and backward_rnn are the same {share}'):
            return layer.init_with_output(jax.random.key(0), array(2, 5, 2))

    same(program)


class Probe:
    """Stands for a recurrent layer; notes how it is called."""

    def __init__(self, outputs: Any) -> None:
        self.outputs, self.calls = outputs, []

    def __call__(self, inputs: Any, **keywords: Any) -> Any:
        self.calls.append((inputs, sorted(keywords.items())))
        return len(self.calls), self.outputs


@pytest.mark.parametrize('call', [{}, {'time_major': True, 'reverse': True, 'keep_order': False}])
def test_how_both_directions_are_called(call: Any) -> None:
    def program(lib: Library) -> Any:
        forward = Probe({'a': array(2, 3), 'b': (array(3),)})
        backward = Probe({'a': array(2, 1), 'b': (array(4),)})
        layer = lib.nn.Bidirectional(forward, backward, return_carry=True)
        y = layer.apply({}, array(2, 5), init_key=jax.random.key(0), initial_carry=(1, 2), **call)
        return y, forward.calls, backward.calls

    same(program)


@given(
    st.sampled_from(((), (3,), (2, 3))),
    st.lists(st.integers(1, 2), max_size=2),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from((None, 'int32', 'int8', 'uint8')),
    st.booleans(),
)
def test_flip_sequences(
    batch: Any, rest: Any, length: int, time_major: bool, dtype: Any, on_host: bool
) -> None:
    shape = (length, *batch, *rest) if time_major else (*batch, length, *rest)
    x, lengths = array(*shape), None
    if dtype is not None:
        lengths = np.random.default_rng(0).integers(0, length + 1, batch).astype(dtype)
        lengths = lengths if on_host else jnp.asarray(lengths)

    def program(lib: Library) -> Any:
        flip = functools.partial(
            lib.load('linen.recurrent').flip_sequences,
            seq_lengths=lengths,
            num_batch_dims=len(batch),
            time_major=time_major,
        )
        return flip(x), programs(flip, x)

    same(program)


# Cells of one's own.


def custom_cell(lib: Library) -> Any:
    """A cell with dropout, noise, and other collections, whose carry and output are trees."""
    nn = lib.nn

    class Noisy(nn.RNNCellBase):
        @nn.compact
        def __call__(self, carry: Any, x: Any) -> Any:
            x = nn.Dense(3)(nn.Dropout(0.5, deterministic=False)(x))
            noise = jax.random.normal(self.make_rng('noise'), x.shape)
            count = self.variable('count', 'n', jnp.zeros, ())
            if not self.is_initializing():
                count.value += 1
            self.sow('intermediates', 'x', x)
            carry = {'sum': carry['sum'] + x + noise, 'steps': carry['steps'] + 1}
            return carry, (x, {'n': count.value + x[..., 0]})

        @nn.nowrap
        def initialize_carry(self, rng: Any, input_shape: Any) -> Any:
            sum_ = jax.random.normal(rng, (*input_shape[:-1], 3))
            return {'sum': sum_, 'steps': jnp.zeros(input_shape[:-1], jnp.int32)}

        @property
        def num_feature_axes(self) -> int:
            return 1

    return Noisy()


STREAMS = {name: jax.random.key(i) for i, name in enumerate(('params', 'dropout', 'noise'))}


@pytest.mark.parametrize('split', [True, False])
@pytest.mark.parametrize('call', [{}, {'reverse': True, 'keep_order': True}])
@pytest.mark.parametrize('lengths', [None, (2, 5)])
def test_cell_with_randomness_and_state(split: bool, call: Any, lengths: Any) -> None:
    def program(lib: Library) -> Any:
        layer = lib.nn.RNN(
            custom_cell(lib),
            return_carry=True,
            split_rngs={'params': False, 'dropout': split, 'noise': True},
            variable_carry='count',
            variable_axes={'intermediates': 0},
        )
        seq_lengths = None if lengths is None else jnp.array(lengths)
        keywords = dict(seq_lengths=seq_lengths, **call)
        params = {'cell': {'Dense_0': {'kernel': array(2, 3), 'bias': array(3)}}}
        variables = {'params': params, 'count': {'cell': {'n': jnp.zeros(())}}}
        run = functools.partial(
            layer.apply, rngs=STREAMS, mutable=['count', 'intermediates'], **keywords
        )
        x = array(2, 5, 2)
        gradient = jax.jit(jax.grad(loss(run)))(variables, x)
        return run(variables, x), jax.jit(run)(variables, x), gradient

    same(program)


def test_dropout_at_init() -> None:
    def program(lib: Library) -> Any:
        nn = lib.nn

        class Cell(nn.RNNCellBase):
            @nn.compact
            def __call__(self, carry: Any, x: Any) -> Any:
                carry, y = nn.GRUCell(3)(carry, x)
                return carry, nn.Dropout(0.5, deterministic=False)(y)

            @nn.nowrap
            def initialize_carry(self, rng: Any, input_shape: Any) -> Any:
                return nn.GRUCell(3, parent=None).initialize_carry(rng, input_shape)

            num_feature_axes = 1

        layer = nn.RNN(Cell(), split_rngs={'params': False, 'dropout': True})
        return layer.init_with_output(STREAMS, array(2, 5, 2))

    same(program)


def test_parameters_of_each_step() -> None:
    def program(lib: Library) -> Any:
        layer = lib.nn.RNN(
            lib.nn.GRUCell(3),
            variable_axes={'params': 1},
            variable_broadcast=False,
            split_rngs={'params': True},
        )
        y, variables = layer.init_with_output(jax.random.key(0), array(2, 5, 2))
        return y, variables, layer.apply(variables, array(2, 5, 2), reverse=True)

    same(program)


def test_places_of_cells() -> None:
    """Cells made in a compact method, in setup, given in, shared, and named."""

    def program(lib: Library) -> Any:
        nn = lib.nn

        class Net(nn.Module):
            given: Any

            def setup(self) -> None:
                self.own = nn.RNN(nn.SimpleCell(3))
                self.cell = nn.LSTMCell(3)
                self.both = nn.RNN(self.cell), nn.RNN(self.cell, reverse=True)

            def __call__(self, x: Any) -> Any:
                x = self.own(self.given(x))
                return [rnn(x) for rnn in self.both], self.cell(
                    self.cell.initialize_carry(jax.random.key(0), (2, 3)), x[:, 0]
                )

        class Outer(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                cell = nn.GRUCell(3, name='shared')
                x = nn.RNN(cell)(nn.RNN(cell, name='first')(nn.RNN(nn.GRUCell(3))(x)))
                x = nn.Bidirectional(nn.RNN(nn.GRUCell(3)), nn.RNN(nn.GRUCell(3)), name='two')(x)
                return Net(nn.RNN(nn.MGUCell(3)))(x)

        return Outer().init_with_output(jax.random.key(0), array(2, 5, 3))

    same(program)


def test_nested_bidirectional() -> None:
    def program(lib: Library) -> Any:
        nn = lib.nn
        inner = nn.Bidirectional(nn.RNN(nn.SimpleCell(2)), nn.RNN(nn.SimpleCell(2)))
        layer = nn.Bidirectional(inner, nn.RNN(nn.SimpleCell(2)), return_carry=True)
        return layer.init_with_output(
            jax.random.key(0), array(2, 5, 3), seq_lengths=jnp.array([1, 4])
        )

    same(program)


@pytest.mark.parametrize('name', ['GRUCell', 'LSTMCell'])
def test_lifted_cells_and_layers(name: str) -> None:
    def program(lib: Library) -> Any:
        nn, x = lib.nn, array(2, 5, 3)
        cell = getattr(nn, name)
        ensemble = nn.vmap(
            nn.RNN, variable_axes={'params': 0}, split_rngs={'params': True}, in_axes=1, out_axes=1
        )
        loop = nn.scan(
            cell, variable_broadcast='params', split_rngs={'params': False}, in_axes=1, out_axes=1
        )(3)
        carry = loop.initialize_carry(jax.random.key(0), (2, 3))
        return (
            nn.RNN(nn.remat(cell)(3)).init_with_output(jax.random.key(0), x),
            ensemble(cell(3)).init_with_output(jax.random.key(0), array(2, 4, 5, 3)),
            loop.init_with_output(jax.random.key(0), carry, x),
        )

    same(program)


@pytest.mark.parametrize('dtype', ['int64', 'int32'])
def test_lengths_in_double_precision(dtype: str) -> None:
    with jax.enable_x64(True):
        x = array(2, 5, 2, dtype='float64')
        call = dict(seq_lengths=jnp.array([2, 5], dtype), return_carry=True)

        def program(lib: Library) -> Any:
            cell = lib.nn.LSTMCell(3, param_dtype=jnp.float64)
            return abstract(lib.nn.RNN(cell, reverse=True, keep_order=True), x, call)

        same(program)


# The surface.


@pytest.mark.parametrize('name', PUBLIC)
def test_public_names(name: str) -> None:
    theirs, ours = (getattr(lib.load('linen.recurrent'), name) for lib in (ORACLE, OURS))
    if not inspect.isclass(theirs) and not inspect.isfunction(theirs):
        return
    for method in ('__init__', '__call__', 'initialize_carry'):
        if hasattr(theirs, method) and inspect.isclass(theirs) and name not in ('Carry', 'A'):
            assert parameters(getattr(theirs, method)) == parameters(getattr(ours, method))


def parameters(function: Any) -> list[Any]:
    """Names, kinds and defaults; of the default of ``parent`` only that there is one."""
    found = []
    for p in inspect.signature(function).parameters.values():
        plain = isinstance(p.default, int | str | None) or p.default is p.empty
        default = p.default if plain else getattr(p.default, '__name__', dict)
        if p.name != 'hoist_inputs':  # that only our RNN has; it goes by keyword
            found.append((p.name, p.kind, default))
    return found


@pytest.mark.parametrize('name', CELLS)
def test_feature_axes(name: str) -> None:
    def program(lib: Library) -> Any:
        cell = build_cell(lib.nn, name, {'kernel_size': (2, 2)} if 'Conv' in name else {})
        return cell.num_feature_axes

    same(program)


@pytest.mark.parametrize('ask', ['initialize_carry', 'num_feature_axes'])
def test_base_class(ask: str) -> None:
    def program(lib: Library) -> Any:
        base = lib.nn.RNNCellBase()
        return base.initialize_carry(None, (2,)) if '_carry' in ask else base.num_feature_axes

    assert 'RNNCellBase does not define' in str(same_error(program))

"""The step: its keys, its numbers against a loop written by hand, and what options do to it."""

from __future__ import annotations

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import linnet.linen as nn
from linnet.errors import BatchError, LossError, StreamError, TrainOptionError
from linnet.train.forward import Forward
from linnet.train.keys import evaluation_key, stream_keys
from linnet.train.metrics import Mean
from linnet.train.precision import LossScale, Precision
from linnet.train.state import build_optimizer, create_state, init_variables
from linnet.train.step import batch_size, make_scanned_step, make_train_step
from tests.train.toys import Line, Net, assert_same, batches, classify, regress

KEY = jax.random.key(3)
BATCHES = batches()


def line_state(tx=None, **options):
    variables = {'params': {'Dense_0': {'kernel': jnp.ones((3, 1)), 'bias': jnp.zeros(1)}}}
    return create_state(variables, tx or optax.sgd(0.1), KEY, **options)


def test_keys_follow_the_rule():
    digest = int.from_bytes(hashlib.sha1(b'dropout').digest()[:4], 'big')
    by_hand = jax.random.fold_in(jax.random.fold_in(KEY, digest), 5)
    derived = stream_keys(KEY, ('dropout', 'noise'), 5)['dropout']
    assert_same(jax.random.key_data(derived), jax.random.key_data(by_hand))


def test_all_keys_differ():
    keys = [
        bytes(np.asarray(jax.random.key_data(key)))
        for base in (KEY, evaluation_key(KEY), jax.random.key(4))
        for step in range(3)
        for key in stream_keys(base, ('params', 'dropout', 'noise'), step).values()
    ]
    assert len(set(keys)) == 27


@pytest.fixture(scope='module')
def trained():
    """Net after three steps of different sizes, by the step of the package."""
    variables = init_variables(Net(), classify, BATCHES[0], KEY)
    state = create_state(variables, optax.adam(0.01), KEY)
    step = jax.jit(make_train_step(Net(), classify))
    rows = []
    for batch in BATCHES:
        state, metrics = step(state, batch)
        rows.append(metrics)
    return variables, state, rows


def oracle_net(flax):
    class Net(flax.Module):
        @flax.compact
        def __call__(self, x, train):
            x = flax.Dense(4)(x)
            x = flax.BatchNorm(use_running_average=not train, momentum=0.9)(x)
            x = flax.Dropout(0.3, deterministic=not train)(x)
            return flax.Dense(2)(flax.relu(x))

    return Net()


def test_numbers_are_those_of_a_loop_written_by_hand(trained):
    flax = pytest.importorskip('flax.linen')
    model, tx = oracle_net(flax), optax.adam(0.01)
    variables = model.init(stream_keys(KEY, ('params', 'dropout'), 0), BATCHES[0]['x'], train=True)
    assert_same(variables, trained[0])

    @jax.jit
    def step(params, stats, opt_state, number, batch):
        def loss(params):
            logits, updates = model.apply(
                {'params': params, 'batch_stats': stats},
                batch['x'],
                train=True,
                rngs=stream_keys(KEY, ('dropout',), number),
                mutable=['batch_stats'],
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch['y'])
            return losses.mean(), updates['batch_stats']

        (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), stats, opt_state, value

    params, stats = variables['params'], variables['batch_stats']
    opt_state = tx.init(params)
    for number, batch in enumerate(BATCHES, 1):
        params, stats, opt_state, value = step(params, stats, opt_state, number, batch)
        shown = trained[2][number - 1]['loss'].value  # a total, divided by a count elsewhere
        np.testing.assert_allclose(shown, value, rtol=2e-7)
    state = trained[1]
    theirs = params, stats, opt_state
    ours = state.params, state.collections['batch_stats'], state.opt_state
    assert_same(theirs, ours)


def test_metrics_are_totals_and_counts(trained):
    _, state, rows = trained
    assert [float(row['accuracy'].count) for row in rows] == [8, 8, 6]
    assert float(rows[2]['accuracy'].total) in range(7)
    assert int(state.step) == 3


def test_several_steps_in_one_dispatch_are_the_same_steps():
    step = make_train_step(Line(), regress)
    one = line_state()
    for batch in BATCHES[:2]:
        one, metrics = jax.jit(step)(one, batch)
    both, stacked = jax.jit(make_scanned_step(step))(line_state(), BATCHES[:2])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), one.params, both.params)
    assert stacked['loss'].total.shape == (2,)
    np.testing.assert_allclose(stacked['loss'].total[1], metrics['loss'].total, rtol=1e-6)


def test_gradients_of_two_batches_make_one_update_of_their_mean():
    step = jax.jit(make_train_step(Line(), regress, ema=0.5))
    state = line_state(build_optimizer(optax.sgd(0.1), accumulate=2), ema=0.5)
    begin = state.params
    state, _ = step(state, BATCHES[0])
    assert_same((state.params, state.ema), (begin, begin))
    state, _ = step(state, BATCHES[1])
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *BATCHES[:2])
    whole, _ = step(line_state(ema=0.5), joined)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        (state.params, state.ema),
        (whole.params, whole.ema),
    )
    mean = jax.tree.map(lambda a, b: (a + b) / 2, begin, state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), state.ema, mean)


def test_gradients_are_clipped_to_a_norm():
    state, _ = make_train_step(Line(), regress)(
        line_state(build_optimizer(optax.sgd(1.0), clip=1e-3)), BATCHES[0]
    )
    moved = jax.tree.map(jnp.subtract, state.params, line_state().params)
    np.testing.assert_allclose(optax.tree.norm(moved), 1e-3, rtol=1e-3)


@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_the_model_computes_in_the_precision_and_keeps_float32(precision):
    seen = []

    class Spy(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.Dense(1)(x)
            seen.append(y.dtype)
            return y[:, 0]

    state = line_state(precision=precision)
    new, metrics = make_train_step(Spy(), regress, precision=precision)(state, BATCHES[0])
    assert seen == [jnp.dtype(precision)]
    assert {leaf.dtype for leaf in jax.tree.leaves(new.params)} == {jnp.dtype('float32')}
    wanted, exact = make_train_step(Line(), regress)(line_state(), BATCHES[0])
    np.testing.assert_allclose(metrics['loss'].value, exact['loss'].value, rtol=0.02)
    for a, b in zip(jax.tree.leaves(new.params), jax.tree.leaves(wanted.params), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)


def test_a_step_that_overflows_is_skipped_and_halves_the_scale():
    state = line_state(optax.adam(0.1), precision='float16')
    state = state.replace(loss_scale=LossScale.create(2.0**24))
    step = jax.jit(make_train_step(Line(), regress, precision='float16'))
    big = {'x': BATCHES[0]['x'] * 1000, 'y': BATCHES[0]['y']}
    new, _ = step(state, big)
    assert_same((new.params, new.opt_state), (state.params, state.opt_state))
    assert int(new.step) == 1
    assert float(new.loss_scale.value) == 2.0**23
    calm, _ = step(state.replace(loss_scale=LossScale.create(8.0)), BATCHES[0])
    assert int(calm.loss_scale.good_steps) == 1
    assert not np.array_equal(calm.params['Dense_0']['bias'], [0.0])


def test_a_scale_grows_after_many_good_steps():
    scale = LossScale(jnp.float32(4.0), jnp.int32(2))
    assert_same(scale.adjust(jnp.array(True), period=3), LossScale(jnp.float32(8.0), jnp.int32(0)))
    assert_same(scale.adjust(jnp.array(True), period=4), LossScale(jnp.float32(4.0), jnp.int32(3)))


def test_a_second_call_draws_other_keys_and_sees_what_the_first_left():
    class Counter(nn.Module):
        @nn.compact
        def __call__(self):
            count = self.variable('counts', 'n', lambda: jnp.int32(0))
            count.value += 1
            return jax.random.key_data(self.make_rng('noise')), count.value

    keys = stream_keys(KEY, ('params', 'noise'), 0)
    net = Forward(Counter(), {'counts': {'n': jnp.int32(4)}}, keys=keys, train=True)
    (first, five), (second, six) = net(), net()
    assert (int(five), int(six), int(net.collections['counts']['n'])) == (5, 6, 6)
    assert not np.array_equal(first, second)
    idle = Forward(Counter(), {'counts': {'n': jnp.int32(4)}}, keys=keys, train=False)
    with pytest.raises(Exception, match='counts'):
        idle()


def test_a_collection_keeps_its_dtype():
    class Drift(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.variable('stats', 'n', lambda: jnp.float32(0)).value = x.mean()
            return x.sum(1)

    state = create_state({'params': {}, 'stats': {'n': jnp.float32(0)}}, optax.sgd(0.1), KEY)
    step = make_train_step(Drift(), lambda net, b: net(b['x']), precision='bfloat16')
    new, _ = step(state, BATCHES[0])
    assert new.collections['stats']['n'].dtype == jnp.float32


def run_loss(loss, model=None, batch=None):
    return make_train_step(model or Line(), loss)(line_state(), batch or BATCHES[0])


@pytest.mark.parametrize(
    ('returned', 'words'),
    [
        (jnp.ones((8, 2)), r'loss has the shape \(8, 2\), neither \(\) nor'),
        (jnp.ones(8, complex), 'loss is complex64, which is no real number'),
        (None, 'loss is the NoneType None'),
        ({'loss': jnp.ones(8)}, r"returned the dict {'loss': '\(8,\)'}"),
        ((jnp.ones(8), jnp.ones(8)), 'returned the tuple'),
        ((jnp.ones(8), {'loss': jnp.ones(8)}), 'the metric "loss" is the loss itself'),
        ((jnp.ones(8), {'hits': jnp.ones(3)}), r'hits has the shape \(3,\)'),
    ],
)
def test_a_loss_that_cannot_be_averaged(returned, words):
    with pytest.raises(LossError, match=words):
        run_loss(lambda net, batch: returned)


def test_a_loss_may_be_a_scalar_or_a_weighted_mean():
    weights = jnp.arange(8.0)

    def by_weight(net, batch):
        return Mean.of(regress(net, batch), weights), {'one': 1.0}

    def by_hand(net, batch):
        return (regress(net, batch) * weights).sum() / weights.sum()

    weighted, metrics = run_loss(by_weight)
    plain, _ = run_loss(by_hand)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), weighted.params, plain.params
    )
    assert float(metrics['loss'].count) == 28
    assert float(metrics['one'].value) == 1


def test_a_stream_without_a_key_is_named():
    state = create_state(Net().init(KEY, BATCHES[0]['x'], train=False), optax.sgd(0.1), KEY)
    with pytest.raises(StreamError, match=r"stream 'noise'(.|\n)*streams=\('dropout',\)"):
        make_train_step(Net('noise'), classify)(state, BATCHES[0])


def test_a_loss_that_does_not_call_the_model():
    with pytest.raises(TrainOptionError, match='did not call the model'):
        init_variables(Net(), lambda net, batch: batch['x'].sum(1), BATCHES[0], KEY)


@pytest.mark.parametrize(
    ('make', 'words'),
    [
        (lambda: Precision('fp16'), "'fp16' is none of 'float32', 'bfloat16', 'float16'"),
        (lambda: build_optimizer(optax.sgd(0.1), clip=0.0), 'clip=0.0'),
        (lambda: build_optimizer(optax.sgd(0.1), accumulate=0), 'accumulate=0'),
        (lambda: make_train_step(Line(), regress, ema=1.0), 'ema=1.0'),
        (lambda: make_train_step(Line(), regress, ema=0.5)(line_state(), BATCHES[0]), 'no ema'),
        (
            lambda: make_train_step(Line(), regress, precision='float16')(line_state(), BATCHES[0]),
            r'no loss_scale(.|\n)*precision=.float16., ema=None',
        ),
    ],
)
def test_options_out_of_range(make, words):
    with pytest.raises(TrainOptionError, match=words):
        make()


def test_the_size_of_a_batch():
    assert batch_size({'x': np.ones((3, 2)), 'scale': 1.0}) == 3
    with pytest.raises(BatchError, match='x: 3, y: 4'):
        batch_size({'x': np.ones(3), 'y': np.ones(4)})
    with pytest.raises(BatchError, match='holds no array'):
        batch_size({'scale': 1.0})

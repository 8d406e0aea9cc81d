"""Evaluation and prediction: every example once, whatever the batches; metrics and their sums."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import linnet.linen as nn
from linnet.errors import EmptyDataError, StreamError
from linnet.train.evaluation import evaluate, make_eval_step, make_forward, pad_batch, predict
from linnet.train.metrics import Averages, Mean
from linnet.train.state import create_state
from tests.train.toys import Line, Net, X, Y, batches, classify, regress

KEY = jax.random.key(3)
PARAMS = {'Dense_0': {'kernel': jnp.ones((3, 1)), 'bias': jnp.zeros(1)}}
STATE = create_state({'params': PARAMS}, optax.sgd(0.1), KEY)
EXACT = float(np.mean((X.astype(np.float64).sum(1) - Y) ** 2 / 2))


def by_batch(net, batch):
    return regress(net, batch).mean(), {'answer': 42.0}


@pytest.mark.parametrize('loss', [regress, by_batch])
@pytest.mark.parametrize('size', [8, 21, 22])
def test_the_mean_is_over_examples(loss, size):
    averages = evaluate(jax.jit(make_eval_step(Line(), loss)), STATE, batches(size))
    result = averages.result()
    np.testing.assert_allclose(result['loss'], EXACT, rtol=1e-5)
    assert result.get('answer', 42.0) == 42.0


def test_a_short_batch_compiles_nothing_anew():
    shapes = []

    def loss(net, batch):
        shapes.append(batch['x'].shape)
        return regress(net, batch)

    evaluate(jax.jit(make_eval_step(Line(), loss)), STATE, batches())
    assert len(shapes) == 1


def test_what_fills_a_batch_up_counts_nothing_even_if_it_is_not_finite():
    def loss(net, batch):
        filled = jnp.arange(len(batch['y'])) >= batch['have']
        return jnp.where(filled, jnp.nan, 1.0)

    data = [{'y': np.ones(3), 'have': 3}, {'y': np.ones(1), 'have': 1}]
    assert evaluate(make_eval_step(Line(), loss), STATE, data).result() == {'loss': 1.0}


def test_buckets_are_filled_up_each_to_its_size():
    data = [np.ones((2, 5)), np.ones((3, 7)), np.ones((1, 7)), np.ones((1, 5))]
    run = make_forward(Line(), lambda net, batch: batch.sum(1))
    np.testing.assert_array_equal(predict(run, STATE, data), [5, 5, 7, 7, 7, 7, 5])


def test_predictions_are_joined_without_the_filling():
    run = jax.jit(make_forward(Line(), lambda net, batch: net(batch['x'])))
    np.testing.assert_allclose(predict(run, STATE, batches()), X.sum(1), rtol=1e-5)


def test_no_batch():
    with pytest.raises(EmptyDataError, match='no batch to evaluate'):
        evaluate(make_eval_step(Line(), regress), STATE, [])
    with pytest.raises(EmptyDataError, match='no batch to predict'):
        predict(make_forward(Line(), regress), STATE, [])


def test_a_model_that_draws_in_evaluation_needs_a_stream():
    class Noise(nn.Module):
        @nn.compact
        def __call__(self):
            return jax.random.uniform(self.make_rng('noise'))

    def draw(net, batch):
        return jnp.broadcast_to(net(), batch.shape)

    run = make_forward(Noise(), draw, ('noise',))
    first, second = (float(run(STATE, np.ones(1), n)[0]) for n in (1, 2))
    assert first != second
    assert predict(run, STATE, [np.ones(1), np.ones(1)]).tolist() == [first, second]
    with pytest.raises(StreamError, match=r"'noise'(.|\n)*eval_streams"):
        make_forward(Noise(), draw)(STATE, np.ones(1))


def test_the_averaged_parameters_are_evaluated():
    twice = STATE.replace(ema=jax.tree.map(lambda x: 2 * x, PARAMS))
    run = make_forward(Line(), lambda net, batch: net(batch['x']))
    np.testing.assert_allclose(predict(run, twice, batches()), 2 * X.sum(1), rtol=1e-5)


def test_collections_are_read_and_stay():
    variables = Net().init(KEY, X, train=False)
    state = create_state(variables, optax.sgd(0.1), KEY)
    metrics = make_eval_step(Net(), classify)(state, batches()[0])
    assert metrics['accuracy'].count == 8


def test_padding():
    batch, mask = pad_batch({'x': np.arange(6).reshape(3, 2), 'n': 5}, 4)
    assert batch['x'].tolist() == [[0, 1], [2, 3], [4, 5], [4, 5]]
    assert batch['n'] == 5
    assert mask.tolist() == [True] * 3 + [False]
    assert pad_batch(np.ones(2), 2)[1].all()


def test_averages_add_up_in_double_precision():
    averages = Averages()
    averages.add({'loss': Mean(jnp.float32(2**24), jnp.float32(1))})
    averages.add({'loss': Mean(jnp.ones(3), jnp.ones(3)), 'none': Mean.of(jnp.ones(2), 0.0)})
    losses = np.concatenate(averages.collect())
    assert losses.tolist() == [2.0**24, 1, 1, 1]
    assert averages.collect() == []
    result = averages.result()
    assert result['loss'] == (2**24 + 3) / 4
    assert math.isnan(result['none'])


def test_a_weight_of_zero_hides_what_is_not_finite():
    mean = Mean.of(jnp.array([[1.0, jnp.nan]]), jnp.array([[1, 0]]))
    assert float(mean.value) == 1.0

"""Small tools of training: exact values, and what is refused."""

from __future__ import annotations

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linnet.errors import ToolArgumentError
from linnet.training import lr_schedule
from linnet.training.dynamic_scale import DynamicScale
from linnet.training.early_stopping import EarlyStopping
from linnet.training.prefetch_iterator import PrefetchIterator


def test_the_scale_keeps_small_gradients_of_half_precision():
    def loss(w):
        return jnp.sum(w * jnp.float16(1e-4)) * jnp.float16(1e-4)

    w = jnp.ones(2, jnp.float16)
    assert not jax.grad(loss)(w).any()
    result = DynamicScale(scale=2.0**12).value_and_grad(loss)(w)
    assert result.finite
    np.testing.assert_allclose(result.grad, 1e-8, rtol=0.05)


def test_the_scale_grows_and_shrinks():
    scale = DynamicScale(scale=4.0, growth_interval=2)
    seen = []
    for x in (1.0, 1.0, 1.0, jnp.inf, 1.0):
        scale = scale.value_and_grad(lambda w, x: w * x)(1.0, x).dynamic_scale
        seen.append((float(scale.scale), int(scale.fin_steps)))
    assert seen == [(4, 1), (4, 2), (8, 0), (4, 0), (4, 1)]


@pytest.mark.parametrize('result', [3.0, (1.0,), (1.0, 2, 3)])
def test_a_loss_with_extra_results_is_a_pair(result):
    with pytest.raises(ToolArgumentError, match='has_aux is set'):
        DynamicScale().value_and_grad(lambda w: result, has_aux=True)(1.0)


def test_a_metric_that_is_not_a_number_never_improves():
    state = EarlyStopping(patience=1).update(1.0)
    for should_stop in (False, True):
        state = state.update(float('nan'))
        assert (state.best_metric, state.should_stop, state.has_improved) == (1, should_stop, False)


def test_schedules_want_positive_lengths_and_pairs():
    create = lr_schedule.create_cosine_learning_rate_schedule
    with pytest.raises(ToolArgumentError, match='steps_per_epoch is 0'):
        lr_schedule.create_constant_learning_rate_schedule(0.1, 0)
    with pytest.raises(ToolArgumentError, match='steps_per_epoch is -1'):
        create(0.1, -1, 3)
    with pytest.raises(ToolArgumentError, match='halfcos_epochs is 0'):
        create(0.1, 10, 0)
    for pairs in ([1, 0.5], [[1, 0.5, 2]], [[1]]):
        with pytest.raises(ToolArgumentError, match='not a list of pairs'):
            lr_schedule.create_stepped_learning_rate_schedule(0.1, 10, pairs)


def test_an_iterator_is_read_ahead_and_no_further():
    seen: list[int] = []
    room = threading.Semaphore(0)

    def items():
        for i in range(9):
            seen.append(i)
            room.release()
            yield i

    prefetched = PrefetchIterator(items(), buffer_size=2)
    for _ in range(3):  # two are held ready, the third waits for room
        assert room.acquire(timeout=10)
    assert not room.acquire(timeout=0.05)
    assert next(prefetched) == 0
    assert room.acquire(timeout=10)
    assert seen == [0, 1, 2, 3]
    prefetched.close()
    assert list(prefetched) == []


def test_what_can_be_iterated_is_read():
    assert list(PrefetchIterator([1, 2])) == [1, 2]
    prefetched = PrefetchIterator(range(3))
    assert iter(prefetched) is prefetched


def test_a_reader_is_closed_while_it_reads():
    go = threading.Event()

    def items():
        yield 1
        go.wait()
        yield 2

    prefetched = PrefetchIterator(items())
    assert next(prefetched) == 1
    threading.Timer(0.02, prefetched.close).start()
    with pytest.raises(StopIteration):
        next(prefetched)
    go.set()
    deadline = time.monotonic() + 10
    while prefetched._thread.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize(('data', 'size'), [([1], 0), ([1], -1), (3, 1), (None, 1)])
def test_what_cannot_be_read_is_refused_at_once(data, size):
    with pytest.raises(ToolArgumentError, match=r'buffer_size|not iterable'):
        PrefetchIterator(data, size)

"""What people do with a trainer by mistake, or at the edge: a clear error, or the right thing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from linnet.errors import BatchError, EmptyDataError, LossError, TrainOptionError
from linnet.train.ahead import Ahead
from linnet.train.checkpointing import Checkpoints
from linnet.train.progress import make_progress
from linnet.train.stopping import Watch
from linnet.train.trainer import Trainer
from tests.compilations import compilations
from tests.train.toys import Line, Net, assert_same, batches, classify, regress

BATCH = batches()[0]


def line(loss=regress, tx=None, **options):
    return Trainer(Line(), loss, tx or optax.adam(0.1), progress='quiet', **options)


@pytest.fixture(scope='module')
def trained():
    trainer = line()
    trainer.fit(batches())
    return trainer


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (BATCH, r'data is one batch, a dict(.|\n)*trainer.fit\(\[batch\]\)'),
        (BATCH['x'], r'data is one batch, an array of shape \(8, 3\)'),
        ([{'x': BATCH['x'][:0], 'y': BATCH['y'][:0]}], 'a batch holds no example'),
        ([BATCH, (BATCH['x'], BATCH['y'])], 'the first was'),
    ],
)
def test_data_that_is_none(data, words):
    with pytest.raises(BatchError, match=words):
        line().fit(data)


def test_one_batch_is_no_data_to_evaluate_or_to_predict_either(trained):
    with pytest.raises(BatchError, match=r'trainer.evaluate\(\[batch\]\)'):
        trained.evaluate(BATCH)
    with pytest.raises(BatchError, match=r'trainer.predict\(\[batch\]\)'):
        trained.predict(BATCH['x'], lambda net, x: net(x))


def test_a_generator_that_is_used_up(trained):
    with pytest.raises(EmptyDataError, match=r'once(.|\n)*valid=lambda'):
        trained.evaluate(batch for batch in batches()[:0])
    with pytest.raises(TrainOptionError, match=r'valid can be gone through once'):
        line().fit(batches(), epochs=2, valid=iter(batches()))


def test_outputs_must_have_an_axis_of_examples(trained):
    for function, words in (
        (
            lambda net, batch: net(batch['x']).mean(),
            r'what the function returned has the shape \(\)',
        ),
        (lambda net, batch: {'a': net(batch['x'])[:3]}, r'a returned has the shape \(3,\) .* of 8'),
    ):
        with pytest.raises(BatchError, match=words):
            trained.predict(batches(), function)


def test_variables_are_more_than_parameters(trained):
    with pytest.raises(TrainOptionError, match=r"'Dense_0', and not \"params\""):
        trained.evaluate(batches(), variables=trained.state.params)


def test_a_loss_without_a_gradient():
    with pytest.raises(LossError, match='loss is bool, which has no gradient'):
        line(lambda net, batch: net(batch['x']) > 0).fit(batches())


@pytest.mark.parametrize(
    ('make', 'words'),
    [
        (lambda: line(tx=optax.adam), r'optimizer is the function(.|\n)*optax.adam\(1e-3\)'),
        (lambda: line(tx=[optax.adam(0.1)] * 2), r'optax.chain\(first, second\)'),
        (lambda: line(loss=2), 'loss is the int 2, no function'),
        (lambda: line().fit(batches(), epochs=-1), 'epochs=-1 is no count from 0'),
        (lambda: line().fit(batches(), steps=2.5), r'steps=2.5 is no count'),
        (lambda: line().fit(batches(), valid=batches(), valid_every=0), 'valid_every=0'),
        (lambda: line().fit(batches(), valid_every=2), 'nothing to evaluate on'),
    ],
)
def test_options_that_make_no_sense(make, words):
    with pytest.raises(TrainOptionError, match=words):
        make()


def test_it_says_that_nothing_is_watched(capsys):
    trainer = line(watch=Watch('valid_loss'))
    trainer.progress = make_progress('plain')
    trainer.fit(batches(), steps=np.int64(1))
    assert 'valid_loss is not watched: fit has no valid=' in capsys.readouterr().out


def test_a_run_goes_on_with_the_seed_that_it_began_with(tmp_path):
    line(checkpoints=str(tmp_path), seed=3).fit(batches(), steps=2)
    with pytest.raises(TrainOptionError, match=r'a run of seed 3; this trainer has seed=4'):
        line(checkpoints=Checkpoints(tmp_path), seed=4).fit(batches(), steps=3, resume=True)
    again = line(checkpoints=Checkpoints(tmp_path), seed=3)
    again.fit(batches(), steps=3, resume=True)
    assert int(again.state.step) == 3


def test_ctrl_c_leaves_a_state_to_go_on_with():
    def interrupt(trainer, row):
        raise KeyboardInterrupt

    trainer = line(hooks=[interrupt], log_every=1)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(batches())
    assert int(trainer.state.step) == 1
    trainer.hooks = ()
    trainer.fit(batches(), steps=3)
    assert int(trainer.state.step) == 3


def test_batches_are_tuples_and_lists_too():
    def loss(net, batch):
        return regress(net, dict(zip('xy', batch, strict=True)))

    runs = []
    for data, function in (
        (batches(), regress),
        ([(b['x'], b['y']) for b in batches()], loss),
        ([[b['x'], b['y']] for b in batches()], loss),
    ):
        runs.append(line(function))
        runs[-1].fit(data)
    assert_same(runs[0].state.params, runs[1].state.params)
    assert_same(runs[0].state.params, runs[2].state.params)


def test_some_parameters_are_frozen():
    labels = {'Dense_0': {'kernel': 'trained', 'bias': 'frozen'}}
    tx = optax.multi_transform({'trained': optax.sgd(0.1), 'frozen': optax.set_to_zero()}, labels)
    trainer = line(tx=tx)
    before = trainer.init(BATCH).params['Dense_0']
    before = {name: np.array(value) for name, value in before.items()}
    trainer.fit(batches())
    after = trainer.state.params['Dense_0']
    assert (after['bias'] == before['bias']).all()
    assert (after['kernel'] != before['kernel']).all()


def test_gradients_that_wait_for_an_update_wait_for_the_next_epoch():
    trainer = line(tx=optax.sgd(0.1), accumulate=2)
    trainer.fit(batches(), epochs=1)
    waiting = trainer.state.opt_state
    assert (int(waiting.gradient_step), int(waiting.mini_step)) == (1, 1)
    trainer.fit(batches(), epochs=1)
    assert int(trainer.state.opt_state.gradient_step) == 3


def test_the_step_is_traced_once_for_each_shape_and_before_the_run():
    traced = []

    def loss(net, batch):
        traced.append(batch['x'].shape)
        return classify(net, batch)

    def run(**options):
        traced.clear()
        trainer = Trainer(Net(), loss, optax.adam(0.1), progress='quiet', **options)
        trainer.fit(lambda epoch: batches(), epochs=2)
        return trainer, list(traced)

    with compilations() as compiled:
        ahead, shapes = run()
    assert shapes == [(8, 3), (8, 3), (6, 3), (8, 3)]  # the state's shapes, two steps, the state
    assert len([name for name in compiled if 'train_step' in name]) == 2
    later, shapes = run(compile_ahead=False)
    assert shapes == [(8, 3), (8, 3), (6, 3)]
    assert_same(ahead.state.params, later.state.params)


def test_warming_up_trains_nothing_and_leaves_nothing_to_trace():
    traced = []

    def loss(net, batch):
        traced.append(batch['x'].shape)
        return regress(net, batch)

    trainer = line(loss, steps_per_call=2)
    trainer.warm_up(batches())
    trainer.warm_up([{'x': BATCH['x'][:5], 'y': BATCH['y'][:5]}])
    assert int(trainer.state.step) == 0
    assert set(traced) == {(8, 3), (6, 3), (5, 3)}
    traced.clear()
    trainer.fit((batch for batch in batches()), epochs=1)
    assert traced == []
    other = line(steps_per_call=2)
    other.fit(batches())
    assert_same(trainer.state.params, other.state.params)


def test_what_cannot_be_compiled_is_an_error_of_the_caller():
    with pytest.raises(ZeroDivisionError), Ahead(threads=1) as ahead:
        ahead.add(jax.jit(lambda x: x / (1 // 0)), jnp.ones(2))

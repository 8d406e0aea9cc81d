"""The trainer: fit, evaluate, predict; rows, early stopping, bad losses, bad options."""

from __future__ import annotations

import io
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from linnet.errors import EmptyDataError, NonFiniteLossError, TrainOptionError
from linnet.train.progress import LiveProgress, PlainProgress, QuietProgress, make_progress
from linnet.train.stopping import Watch
from linnet.train.trainer import Trainer
from linnet.train.writers import (
    CsvWriter,
    JsonlWriter,
    MlflowWriter,
    TensorBoardWriter,
    WandbWriter,
)
from tests.train.toys import Line, Net, assert_same, batches, classify, endless, regress

PARAMS = {'params': {'Dense_0': {'kernel': jnp.ones((3, 1)), 'bias': jnp.zeros(1)}}}


def line(loss=regress, tx=None, **options):
    """A trainer of :class:`Line` from parameters that are known."""
    trainer = Trainer(Line(), loss, tx or optax.sgd(0.1), progress='quiet', **options)
    trainer.init(batches()[0], PARAMS)
    return trainer


def test_the_steps_are_those_of_the_plain_step():
    trainer = line()
    state, step = line().state, jax.jit(trainer.train_step)
    for batch in batches() * 2:
        state, _ = step(state, batch)
    trainer.fit(batches(), epochs=2)
    assert_same(trainer.state.params, state.params)
    assert int(trainer.state.step) == 6


@pytest.mark.parametrize(
    'options',
    [{}, {'ema': 0.9, 'clip': 0.1}, {'accumulate': 2}, {'precision': 'float16', 'donate': False}],
    ids=str,
)
def test_an_update_of_its_own_does_what_the_whole_step_does(options):
    def run(**more):
        trainer = Trainer(
            Net(), classify, optax.sgd(0.1, momentum=0.9), progress='quiet', **options, **more
        )
        trainer.fit(batches(), epochs=3)
        return trainer

    whole, parts = run(), run(separate_update=True)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        (whole.state.eval_variables, whole.state.opt_state),
        (parts.state.eval_variables, parts.state.opt_state),
    )


def test_an_update_of_its_own_is_compiled_once_for_all_shapes():
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        compiled = []
        patch.setattr(
            'jax._src.interpreters.pxla.logger.log',
            lambda level, text, *args: compiled.append(args[0]) if args else None,
        )
        trainer = Trainer(Line(), regress, optax.sgd(0.1), progress='quiet', separate_update=True)
        trainer.fit(batches())
    assert (compiled.count('jit(gradients)'), compiled.count('jit(update)')) == (2, 1)


def test_a_model_with_collections_learns():
    trainer = Trainer(Net(), classify, optax.adam(0.05), progress='quiet', steps_per_call=2)
    before = None
    rows = trainer.fit(batches(), epochs=12, valid=batches(), valid_every=12)
    before, after = rows[1], rows[-1]
    assert set(after) == {'step', 'epoch', 'valid_loss', 'valid_accuracy'}
    assert after['valid_loss'] < before['valid_loss']
    assert after['step'] == 36


def test_the_seed_determines_everything():
    def run(seed):
        trainer = Trainer(Line(), regress, optax.sgd(0.1), seed=seed, progress='quiet')
        trainer.fit(batches())
        return trainer.state.params

    assert_same(run(1), run(1))
    first, second = (np.asarray(run(seed)['Dense_0']['kernel']) for seed in (1, 2))
    assert not np.array_equal(first, second)


def test_rows_hold_means_over_examples():
    rows = line(tx=optax.sgd(0.0), log_every=3).fit(batches(), epochs=2)
    assert [row['step'] for row in rows] == [3, 6]
    exact = line().evaluate(batches())['loss']
    for row in rows:
        np.testing.assert_allclose(row['loss'], exact, rtol=1e-6)
    assert rows[1]['examples_per_second'] / rows[1]['steps_per_second'] == pytest.approx(22 / 3)


def test_steps_end_in_the_middle_of_a_group():
    trainer = line(steps_per_call=2)
    trainer.fit(lambda epoch: endless(), steps=5)
    assert int(trainer.state.step) == 5
    trainer.fit(endless(), steps=7)
    assert int(trainer.state.step) == 7


def test_a_generator_loses_no_batch():
    used = Trainer(Line(), regress, optax.sgd(0.1), progress='quiet')
    used.fit(batch for batch in batches())
    listed = Trainer(Line(), regress, optax.sgd(0.1), progress='quiet')
    listed.fit(batches())
    assert_same(used.state.params, listed.state.params)


def test_what_is_watched_stops_the_run_and_keeps_the_best():
    watch = Watch('valid_loss', patience=2)
    trainer = line(tx=optax.sgd(-0.1), watch=watch, ema=0.5)
    trainer.fit(batches(), epochs=9, valid=lambda: batches())
    assert int(trainer.state.step) == 9
    assert (watch.best_step, watch.waited) == (3, 2)
    best = trainer.evaluate(batches(), variables=trainer.best_variables)
    assert best['loss'] == watch.best
    predicted = trainer.predict(batches(), outputs, variables=trainer.best_variables)
    assert predicted.shape == (22,)


def outputs(net, batch):
    return net(batch['x'])


def test_a_metric_to_watch_must_be_there():
    with pytest.raises(TrainOptionError, match=r"'valid_los'(.|\n)*mean 'valid_loss'"):
        line(watch=Watch('valid_los')).fit(batches(), valid=batches())
    with pytest.raises(TrainOptionError, match='mode'):
        Watch('valid_loss', mode='least')


def spoil(net, batch):
    return jnp.where(batch['y'].sum() == 99, jnp.nan, regress(net, batch))


SPOILT = [*batches(), {'x': batches()[0]['x'], 'y': np.array([99] + [0] * 7, np.int32)}]


def test_a_loss_that_is_not_finite_is_named_by_its_step():
    with pytest.raises(NonFiniteLossError, match='the loss of step 4 is nan'):
        line(spoil, steps_per_call=2).fit(SPOILT)


def test_a_loss_that_is_not_finite_may_stop_the_run_or_be_ignored():
    trainer = line(spoil, on_nan='stop')
    file = io.StringIO()
    trainer.progress = PlainProgress(file)
    trainer.fit(SPOILT, epochs=5, valid=batches())
    assert file.getvalue() == 'stopped: the loss of step 4 is nan\n'
    assert int(trainer.state.step) == 4
    rows = line(spoil, on_nan='ignore').fit(SPOILT, epochs=2)
    assert math.isnan(rows[-1]['loss'])


@pytest.mark.parametrize(
    ('make', 'words'),
    [
        (lambda: Trainer(Line, regress, optax.sgd(0.1)), 'model is the type'),
        (lambda: line(on_nan='explode'), "on_nan='explode'"),
        (lambda: line(steps_per_call=0), 'steps_per_call=0'),
        (lambda: line(log_every=0.5), 'log_every=0.5'),
        (lambda: line(streams='dropout'), "streams='dropout'"),
        (lambda: line(eval_streams=('params',)), r"streams=\('params',\)"),
        (lambda: make_progress('loud'), "progress='loud' is none of 'auto', 'live', 'plain'"),
        (lambda: line().restore(), 'no folder of checkpoints'),
    ],
)
def test_options_out_of_range(make, words):
    with pytest.raises(TrainOptionError, match=words):
        make()


def test_there_is_no_state_before_there_is_one():
    with pytest.raises(EmptyDataError, match='no state yet'):
        Trainer(Line(), regress, optax.sgd(0.1)).evaluate(batches())


class Recorder:
    """Stands for a run of Weights & Biases, and for the module of MLflow."""

    def __init__(self):
        self.calls = []

    def log(self, values, step):
        self.calls.append((step, values))

    log_metrics = log

    def finish(self):
        self.calls.append('end')

    end_run = finish


def test_writers_get_every_row(tmp_path):
    recorder = Recorder()
    jsonl, csv = JsonlWriter(tmp_path / 'a' / 'run.jsonl'), CsvWriter(tmp_path / 'run.csv')
    board = TensorBoardWriter(tmp_path / 'board')
    seen = []
    writers = [jsonl, csv, board, WandbWriter(recorder), MlflowWriter(recorder)]
    trainer = line(
        log_every=2, writers=writers, hooks=[lambda trainer, row: seen.append(row['step'])]
    )
    trainer.fit(batches(), valid=batches())
    trainer.fit(batches(), epochs=1)
    assert seen == [2, 3, 3, 4, 6]
    rows = [json.loads(row) for row in jsonl.path.read_text().splitlines()]
    assert [row['step'] for row in rows] == seen
    assert rows[2] == {'step': 3, 'valid_loss': trainer.history[2]['valid_loss']}
    lines = csv.path.read_text().splitlines()
    assert lines[0] == 'step,name,value'
    assert lines.count('step,name,value') == 1
    assert f'3,valid_loss,{rows[2]["valid_loss"]!r}' in lines
    assert recorder.calls[4:6] == [(3, {'valid_loss': rows[2]['valid_loss']})] * 2
    assert recorder.calls.count('end') == 4
    assert sum(path.stat().st_size for path in (tmp_path / 'board').iterdir()) > 100


def test_the_number_of_steps_is_told_where_it_is_known(capsys):
    trainer = line(log_every=3)
    trainer.progress = make_progress('plain')
    trainer.fit(batches(), epochs=2)
    assert re.findall(r'step (\S+):', capsys.readouterr().out) == ['3/6', '6/6']


def test_plain_lines(capsys):
    progress = make_progress('auto')
    assert isinstance(progress, PlainProgress)
    progress.start(0, 9)
    progress.advance(2)
    progress.show(3, {'loss': 0.25, 'steps_per_second': 12345.0})
    progress.say('hello')
    progress.stop()
    assert capsys.readouterr().out == 'step 3/9: loss 0.25, 12,345 steps/s\nhello\n'


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self):
        return True


def test_a_live_line(monkeypatch):
    monkeypatch.setenv('COLUMNS', '120')
    monkeypatch.setenv('TERM', 'xterm')
    file = Terminal()
    progress = make_progress('auto', file)
    assert isinstance(progress, LiveProgress)
    progress.start(0, 9)
    progress.show(3, {'loss': 0.25})
    progress.show(4, {'valid_loss': 0.5})
    progress.advance(5)
    progress.say('[hello]')
    progress.stop()
    text = file.getvalue()
    for words in ('5/9', 'loss 0.25, valid_loss 0.5', '[hello]', '\x1b['):
        assert words in text


def test_quiet_says_nothing(capsys):
    progress = make_progress('quiet')
    assert isinstance(progress, QuietProgress)
    progress.start(0, None)
    progress.advance(1)
    progress.show(1, {'loss': 1.0})
    progress.say('hello')
    progress.stop()
    assert capsys.readouterr().out == ''

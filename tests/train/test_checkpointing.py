"""Checkpoints: the same bits back, whatever happens to the process or to the file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from linnet.errors import (
    CheckpointDamagedError,
    CheckpointMismatchError,
    CheckpointWriteError,
    TrainOptionError,
)
from linnet.train.checkpointing import Checkpoints, Report
from linnet.train.feed import Position
from linnet.train.precision import LossScale
from linnet.train.state import create_state
from linnet.train.stopping import Watch
from linnet.train.trainer import Trainer
from tests.train import kill_program
from tests.train.toys import Line, assert_same, batches, regress

ROOT = Path(__file__).resolve().parents[2]
PARAMS = {'Dense_0': {'kernel': jnp.ones((3, 1)), 'bias': jnp.zeros(1)}}
KILLS = int(os.environ.get('LINNET_KILLS', '2'))


def new_state(params=PARAMS, tx=None, **variables):
    return create_state(
        {'params': params, **variables}, tx or optax.adam(0.1), jax.random.key(7), ema=0.9
    )


def words(state):
    return state.replace(key=jax.random.key_data(state.key), tx=None)


def saved(folder, state, *steps, best=None):
    checkpoints = Checkpoints(folder)
    for step in steps:
        checkpoints.save(state.replace(step=jnp.int32(step)), {'seed': 7}, best=best)
    checkpoints.wait()
    return checkpoints


def test_a_state_comes_back_as_it_was(tmp_path):
    state = new_state(
        {'a/b': {'w': jnp.arange(3, dtype=jnp.bfloat16)}, 'empty': jnp.zeros((0, 2))},
        stats={'n': jnp.int8(3), 'on': jnp.array([True])},
    ).replace(loss_scale=LossScale.create())
    best = {'params': {'w': jnp.ones(2)}}
    checkpoints = saved(tmp_path / 'run', state, 5, best=best)
    blank = jax.tree.map(jnp.zeros_like, state.replace(key=jnp.int32(0))).replace(
        key=jax.random.key(0)
    )
    found = checkpoints.restore(blank)
    assert_same(words(found.state), words(state.replace(step=jnp.int32(5))))
    assert_same(found.best, best)
    assert found.about == {'seed': 7}
    assert not found.report
    assert str(found.report) == 'everything fits'
    checkpoints.close()


def test_the_newest_steps_are_kept(tmp_path):
    checkpoints = saved(tmp_path, new_state(), 1, 2, 3, 4, 4)
    assert checkpoints.steps() == [2, 3, 4]
    assert checkpoints.latest() == 4
    assert Checkpoints(tmp_path / 'none').latest() is None
    assert not (tmp_path / 'none').exists()
    with pytest.raises(CheckpointDamagedError, match=r'holds no step 9(.|\n)*\[2, 3, 4\]'):
        checkpoints.restore(new_state(), 9)
    with pytest.raises(CheckpointDamagedError, match='holds no checkpoint'):
        Checkpoints(tmp_path / 'none').restore(new_state())


def test_what_does_not_fit_is_named_by_path(tmp_path):
    checkpoints = saved(tmp_path, new_state(), 1)
    wide = {'Dense_0': {'kernel': jnp.ones((4, 1)), 'gain': jnp.zeros(1)}}
    other = new_state(wide, optax.sgd(0.1))
    with pytest.raises(CheckpointMismatchError) as caught:
        checkpoints.restore(other)
    for words in (
        'missing: state/ema/Dense_0/gain, state/params/Dense_0/gain',
        'extra: ',
        'state/params/Dense_0/bias',
        'state/opt_state/0/mu/Dense_0/kernel',
        'state/params/Dense_0/kernel (3, 1), not (4, 1)',
    ):
        assert words in str(caught.value)
    halves = jax.tree.map(lambda x: x.astype(jnp.float16), PARAMS)
    with pytest.raises(CheckpointMismatchError, match=r'bias float32, not float16'):
        checkpoints.restore(new_state(halves))


def test_a_part_may_be_taken_and_the_report_says_which(tmp_path):
    checkpoints = saved(tmp_path, new_state({'w': jnp.ones(2), 'v': jnp.ones(3)}), 1)
    other = new_state({'w': jnp.zeros(2), 'v': jnp.zeros(4)})
    found = checkpoints.restore(other, strict=False)
    assert found.state.params['w'].tolist() == [1, 1]
    assert found.state.params['v'].tolist() == [0] * 4
    assert 'state/params/v (3,), not (4,)' in found.report.shape
    assert found.report.missing == found.report.extra == found.report.dtype == ()
    assert str(Report(missing=('a', 'b'))) == 'missing: a, b'


def biggest_file(folder):
    return max(
        (path for path in folder.rglob('*') if path.is_file()), key=lambda path: path.stat().st_size
    )


def test_flipped_bytes_are_found_and_the_step_before_is_whole(tmp_path):
    numbers = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    state = new_state({'w': jnp.asarray(numbers)})
    checkpoints = saved(tmp_path, state, 1, 2)
    damaged = biggest_file(tmp_path / '2')
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    with pytest.raises(CheckpointDamagedError, match=r'step 2(.|\n)*restore\(step=1\)'):
        Checkpoints(tmp_path).restore(state)
    assert_same(checkpoints.restore(state, 1).state.params, state.params)


def test_other_numbers_than_were_written_are_found(tmp_path, monkeypatch):
    checkpoints = saved(tmp_path, new_state(), 1)
    monkeypatch.setattr('linnet.train.checkpointing.zlib.crc32', lambda data: 0)
    with pytest.raises(
        CheckpointDamagedError, match=r"other bytes than were written: \['state/ema"
    ):
        checkpoints.restore(new_state())


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(CheckpointWriteError, match=r'step 1 cannot be written to(.|\n)*file'):
        saved(tmp_path / 'file' / 'run', new_state(), 1)


def test_a_disk_that_is_full_when_the_writing_ends(tmp_path, monkeypatch):
    def fail():
        raise OSError(28, 'No space left on device')

    run = trainer(tmp_path)
    run.fit(batches(), steps=4)
    monkeypatch.setattr(run.checkpoints._open, 'wait_until_finished', fail)
    with pytest.raises(CheckpointWriteError, match='No space left'):
        run.fit(batches(), steps=8)
    assert trainer(tmp_path).checkpoints.latest() == 4


def trainer(folder, every=4, **options):
    return Trainer(
        Line(),
        regress,
        optax.adam(0.1),
        checkpoints=Checkpoints(folder, every=every),
        watch=Watch('valid_loss'),
        progress='quiet',
        **options,
    )


def test_a_run_goes_on_where_it_stood(tmp_path):
    whole, first, second = (trainer(tmp_path / name) for name in ('a', 'b', 'b'))
    whole.fit(batches(), epochs=4, valid=batches())
    first.fit(batches(), steps=8, valid=batches())
    second.fit(batches(), epochs=4, valid=batches(), resume=True)
    assert second.watch.state() == whole.watch.state()
    assert_same(words(second.state), words(whole.state))
    assert_same(second.best_variables, whole.best_variables)


def test_what_a_run_notes_while_a_checkpoint_is_written_is_not_in_it(tmp_path):
    run = trainer(tmp_path)
    run.fit(batches(), steps=2)
    about = {'history': [{'step': step} for step in range(20_000)]}
    checkpoints = Checkpoints(tmp_path / 'others')
    checkpoints.save(run.state, about)
    about['history'].append({'step': -1})
    checkpoints.wait()
    assert len(checkpoints.restore(run.state).about['history']) == 20_000


def test_a_finished_run_is_not_begun_anew(tmp_path):
    trainer(tmp_path).fit(batches(), epochs=2, valid=batches())
    again = trainer(tmp_path)
    with pytest.raises(TrainOptionError, match=r'up to step 6(.|\n)*resume=True'):
        again.fit(batches(), epochs=2)
    assert again.fit(batches(), epochs=2, valid=batches(), resume=True) == []
    assert int(again.state.step) == 6
    assert again.restore() == Position(2, 0)


def test_a_run_that_has_nothing_to_resume_begins(tmp_path):
    run = trainer(str(tmp_path))
    run.fit(batches(), steps=2, resume=True)
    assert int(run.state.step) == 2
    assert Trainer(Line(), regress, optax.sgd(0.1), checkpoints=str(tmp_path)).checkpoints.every


def test_a_partial_restore_says_what_it_did(tmp_path, capsys):
    trainer(tmp_path).fit(batches(), steps=4)
    other = Trainer(Line(), regress, optax.sgd(0.1), checkpoints=str(tmp_path), progress='plain')
    other.init(batches()[0])
    other.restore(strict=False)
    assert 'extra: state/opt_state/0/count' in capsys.readouterr().out


@pytest.mark.parametrize('options', [{'every': 0}, {'keep': 1.5}])
def test_counts(options):
    with pytest.raises(TrainOptionError, match='no count'):
        Checkpoints('out', **options)


class Killed:
    """A run in a process of its own."""

    def __init__(self, folder, steps=40):
        environment = {
            **os.environ,
            'JAX_PLATFORMS': 'cpu',
            'PYTHONPATH': str(ROOT / 'src'),
            'JAX_COMPILATION_CACHE_DIR': str(ROOT / '.cache' / 'jax' / 'killed'),
            'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
        }
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'tests.train.kill_program', str(folder), str(steps)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self):
        """Waits; returns the digests that it printed, None if it was killed before."""
        printed, complaints = self.process.communicate(timeout=300)
        assert self.process.returncode in (0, -signal.SIGKILL), complaints
        if self.process.returncode:
            return None
        return printed.splitlines()[-2:]

    def kill(self, after_rows, seconds):
        """Kills the process some time after it has printed so many rows."""
        for _ in range(after_rows):
            if not self.process.stdout.readline():
                break
        time.sleep(seconds)
        self.process.send_signal(signal.SIGKILL)


def test_a_run_that_is_killed_at_any_moment_ends_with_the_same_bits(tmp_path, capsys):
    """LINNET_KILLS=100 kills it as often."""
    kill_program.main(str(tmp_path / 'unbroken'), '40')
    unbroken = capsys.readouterr().out.splitlines()[-2:]
    assert unbroken[0].startswith('done')
    draw = random.Random(0)
    kills, folder, ends = 0, 0, 0
    while kills < KILLS or not ends:
        run = Killed(tmp_path / str(folder))
        if kills < KILLS:
            run.kill(draw.randrange(8), draw.uniform(0, 0.05))
            kills += 1
        found = run.finish()
        if found is not None:
            assert found == unbroken
            folder, ends = folder + 1, ends + 1

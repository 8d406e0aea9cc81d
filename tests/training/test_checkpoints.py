"""Checkpoints: what is refused, what a failed or killed save leaves, spread arrays."""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import pathlib
import re
import subprocess
import sys
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linnet import io
from linnet.configurations import config
from linnet.core.frozen_dict import freeze
from linnet.errors import (
    CheckpointContentError,
    CheckpointNotFoundError,
    InvalidCheckpointError,
    MissingPackageError,
    MPACheckpointingRequiredError,
    MPARestoreDataCorruptedError,
    MPARestoreTargetRequiredError,
    PartialRestoreWarning,
    SerializationError,
    ToolArgumentError,
)
from linnet.training import _orbax_checkpoints, _process_arrays, checkpoints
from linnet.training._checkpoint_files import Series

ROOT = pathlib.Path(__file__).resolve().parents[2]
STATE = {'w': np.arange(3.0), 'n': 1}

restore = checkpoints.restore_checkpoint
latest = checkpoints.latest_checkpoint


@pytest.fixture(autouse=True)
def orbax(request):
    """Sets the flag: to what a test says by its parameter, else to files of msgpack."""
    value = getattr(request, 'param', False)
    with config.temp_flip_flag('use_orbax_checkpointing', value):
        yield value


both = pytest.mark.parametrize('orbax', [False, True], indirect=True, ids=['msgpack', 'orbax'])


def save(folder: Any, step: Any = 1, state: Any = STATE, **options: Any) -> str:
    return checkpoints.save_checkpoint(folder, state, step, **options)


def names(folder: Any) -> list[str]:
    return sorted(os.listdir(folder))


def assert_restored(state: Any, expected: Any = STATE) -> None:
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, state, expected)


# What is saved and restored


@both
def test_a_state_comes_back_from_its_folder_path_or_step(tmp_path, orbax):
    save(tmp_path, 1, {**STATE, 'n': 7})
    path = save(tmp_path, 2, keep=2)
    assert path == str(tmp_path / 'checkpoint_2') == latest(tmp_path)
    assert os.path.isdir(path) is orbax
    for restored in (restore(tmp_path, STATE), restore(path, STATE), restore(tmp_path, None)):
        assert_restored(restored)
        assert type(restored['n']) is int
    assert restore(tmp_path, STATE, step=1)['n'] == 7
    assert checkpoints.available_steps(tmp_path) == [1, 2]


@pytest.mark.filterwarnings('ignore::linnet.errors.MissingFolderWarning')
@both
def test_without_a_checkpoint_the_target_is_returned(tmp_path):
    for folder in (tmp_path, tmp_path / 'none'):
        assert restore(folder, STATE) is STATE
        assert restore(folder, None) is None
        assert latest(folder) is None
        assert checkpoints.available_steps(folder) == []
        with pytest.raises(CheckpointNotFoundError, match='holds the steps nothing'):
            restore(folder, STATE, step=3)


def test_each_kind_is_read_whatever_the_flag_says(tmp_path):
    save(tmp_path / 'a')
    with config.temp_flip_flag('use_orbax_checkpointing', True):
        save(tmp_path / 'b')
        assert_restored(restore(tmp_path / 'a', STATE))
    assert_restored(restore(tmp_path / 'b', STATE))


@both
def test_one_kind_replaces_the_other(tmp_path, orbax):
    with config.temp_flip_flag('use_orbax_checkpointing', not orbax):
        save(tmp_path, 1, {'old': 1})
    save(tmp_path, 1, overwrite=True)
    assert_restored(restore(tmp_path, STATE))
    assert names(tmp_path) == ['checkpoint_1']


def test_a_relative_path_is_taken_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for flag in (False, True):
        with config.temp_flip_flag('use_orbax_checkpointing', flag):
            assert save(f'./run//{flag}') == f'run/{flag}/checkpoint_1'
            assert_restored(restore(f'run/{flag}', STATE))


def test_other_names_in_the_folder_are_left_alone(tmp_path):
    others = ['checkpoint_best', 'checkpoint_best_9', 'xcheckpoint_3', 'notes', 'checkpoint_7.txt']
    for name in others:
        (tmp_path / name).touch()
    for step in (1, 2):
        save(tmp_path, step)
    assert names(tmp_path) == sorted([*others, 'checkpoint_2'])
    assert checkpoints.available_steps(tmp_path) == [2]
    save(tmp_path, 10, prefix='checkpoint_best_')
    assert latest(tmp_path, 'checkpoint_best_') == str(tmp_path / 'checkpoint_best_10')
    assert latest(tmp_path) == str(tmp_path / 'checkpoint_2')


def test_a_prefix_may_begin_with_folders_and_hold_any_sign(tmp_path):
    save(tmp_path, 3, prefix='[a]*/x-')
    assert latest(tmp_path, '[a]*/x-') == str(tmp_path / '[a]*' / 'x-3')
    assert_restored(restore(tmp_path, STATE, prefix='[a]*/x-'))


def test_frozen_dicts_keep_their_kind(tmp_path):
    save(tmp_path, 1, freeze({'a': {'b': 1}}))
    assert restore(tmp_path, freeze({'a': {'b': 0}})) == freeze({'a': {'b': 1}})
    assert checkpoints.convert_pre_linen(freeze({'D_3': {'E_1': 1}})) == freeze({'D_0': {'E_0': 1}})
    assert checkpoints.convert_pre_linen({1: {'D_3': 1}}) == {1: {'D_0': 1}}


# What is refused


@pytest.mark.parametrize('step', [None, 'best', float('nan'), float('inf'), np.arange(2), True])
def test_a_step_is_a_finite_number(tmp_path, step):
    with pytest.raises(ToolArgumentError, match='not a finite number'):
        save(tmp_path, step)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    'options', [{'keep': 0}, {'keep': -1}, {'keep': 1.5}, {'keep_every_n_steps': -1}]
)
def test_numbers_to_keep_are_positive(tmp_path, options):
    save(tmp_path)
    with pytest.raises(ToolArgumentError, match=next(iter(options))):
        save(tmp_path, 2, **options)
    assert names(tmp_path) == ['checkpoint_1']


def test_steps_of_floats_want_their_type(tmp_path):
    save(tmp_path, 0.5)
    assert checkpoints.available_steps(tmp_path, step_type=float) == [0.5]
    with pytest.raises(ToolArgumentError, match=r"not all steps .* int: '0.5'"):
        checkpoints.available_steps(tmp_path)


@both
def test_a_step_that_is_there_is_not_replaced_unasked(tmp_path):
    save(tmp_path, 2)
    with pytest.raises(InvalidCheckpointError, match='step 2'):
        save(tmp_path, 2, {'w': np.zeros(3), 'n': 0})
    with pytest.raises(InvalidCheckpointError, match=r'step 1: .*checkpoint_2 holds'):
        save(tmp_path, 1, {'w': np.zeros(3), 'n': 0})
    assert_restored(restore(tmp_path, STATE))
    save(tmp_path, 1, {'w': np.zeros(3), 'n': 0}, overwrite=True)
    assert names(tmp_path) == ['checkpoint_1']


@both
def test_a_failed_save_leaves_the_last_checkpoint(tmp_path, orbax):
    save(tmp_path)
    with pytest.raises(
        (ToolArgumentError, SerializationError), match=r"its leaves 'f'|./f.*no form"
    ):
        save(tmp_path, 1, {'f': len, 'w': np.ones(1)}, overwrite=True)
    assert_restored(restore(tmp_path, STATE))
    save(tmp_path, 2)
    assert names(tmp_path) == ['checkpoint_2']


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    save(tmp_path)

    def write(name, mode):
        file = open(name, mode)  # noqa: SIM115
        if mode == 'wb':
            file.write(b'half')
            file.close()
            raise OSError(28, 'No space left on device')
        return file

    monkeypatch.setattr(io, 'GFile', write)
    with pytest.raises(OSError, match='No space'):
        save(tmp_path, 2)
    assert_restored(restore(tmp_path, STATE))
    monkeypatch.undo()
    save(tmp_path, 2)
    assert names(tmp_path) == ['checkpoint_2']


@pytest.mark.parametrize('target', [{}, None, np.arange(2), 3])
def test_orbax_saves_trees_only(tmp_path, target):
    with (
        config.temp_flip_flag('use_orbax_checkpointing', True),
        pytest.raises(ToolArgumentError, match='Orbax saves trees'),
    ):
        save(tmp_path, 1, target)
    save(tmp_path, 1, target)
    assert_restored(restore(tmp_path, None), target)


# Damaged files, and other trees


@pytest.mark.parametrize('data', [b'', b'hello', b'\x81', b'\xc1'])
def test_a_damaged_file_is_named(tmp_path, data):
    (tmp_path / 'checkpoint_1').write_bytes(data)
    with pytest.raises(CheckpointContentError, match=r'checkpoint_1.* is damaged'):
        restore(tmp_path, STATE)


def test_a_truncated_file_is_named(tmp_path):
    path = pathlib.Path(save(tmp_path))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointContentError, match='truncated'):
        restore(tmp_path, None)


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path):
    (tmp_path / 'checkpoint_1').mkdir()
    with pytest.raises(CheckpointContentError, match='is a folder, and not that of a checkpoint'):
        restore(tmp_path, None)


def test_a_file_of_another_tree_is_compared_with_the_target(tmp_path):
    save(tmp_path, 1, {'params': {'kernel': np.ones(2)}})
    with pytest.raises(CheckpointContentError, match=r"checkpoint_1.*lacks 'bias'.*has 'kernel'"):
        restore(tmp_path, {'params': {'bias': np.ones(2)}})


@both
def test_other_shapes_are_told(tmp_path):
    save(tmp_path)
    with pytest.warns(PartialRestoreWarning, match=r'w: \(3,\) was saved, the target has \(4,\)'):
        assert_restored(restore(tmp_path, {'w': np.zeros(4), 'n': 0}))


@pytest.mark.parametrize('orbax', [True], indirect=True)
class TestOrbaxFolders:
    """What Orbax has of its own."""

    def test_entries_that_are_not_there_keep_the_value_and_are_told(self, tmp_path):
        save(tmp_path, 1, {'a': np.ones(2), 'b': None})
        with pytest.warns(PartialRestoreWarning, match="no entries 'ema/x'.*kept"):
            state = restore(tmp_path, {'a': np.zeros(2), 'b': 3, 'ema': {'x': np.full(1, 5.0)}})
        assert_restored(state, {'a': np.ones(2), 'b': None, 'ema': {'x': np.full(1, 5.0)}})

    def test_a_folder_with_no_entry_of_the_target_is_refused(self, tmp_path):
        save(tmp_path)
        with pytest.raises(CheckpointContentError, match=r"no entries 'model/w'.*\n.*has 'n', 'w'"):
            restore(tmp_path, {'model': {'w': np.ones(3)}})

    def test_new_names_are_found_by_transforms(self, tmp_path):
        import orbax.checkpoint as ocp

        save(tmp_path)
        transforms = {'v': ocp.Transform(original_key='w')}
        state = restore(tmp_path, {'v': np.zeros(3)}, orbax_transforms=transforms)
        assert_restored(state, {'v': STATE['w']})

    def test_types_follow_the_target(self, tmp_path):
        save(tmp_path, 1, {'w': jnp.arange(2.0), 's': 'x', 'i': np.float32(2)})
        state = restore(tmp_path, {'w': jnp.zeros(2, jnp.bfloat16), 's': '', 'i': np.float32(0)})
        assert (state['w'].dtype, state['s'], state['i'].item()) == (jnp.bfloat16, 'x', 2.0)
        assert restore(tmp_path, None)['w'].dtype == jnp.float32

    # Orbax leaves the loop of what failed to the garbage collector, which says so.
    @pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
    def test_damage_is_told(self, tmp_path):
        path = pathlib.Path(save(tmp_path))
        (path / 'manifest.ocdbt').write_bytes(b'')
        with pytest.raises(CheckpointContentError, match='cannot be restored'):
            restore(tmp_path, STATE)
        (path / '_METADATA').write_text('{')
        with pytest.raises(CheckpointContentError, match=r'_METADATA.* is damaged'):
            restore(tmp_path, STATE)
        (path / '_METADATA').unlink()
        with pytest.raises(CheckpointContentError, match='cannot be restored'):
            restore(tmp_path, STATE)
        gc.collect()

    def test_checkpointers_of_orbax_may_be_given(self, tmp_path):
        import orbax.checkpoint as ocp

        with config.temp_flip_flag('use_orbax_checkpointing', False):
            checkpointer = ocp.PyTreeCheckpointer()
            path = save(tmp_path, orbax_checkpointer=checkpointer)
            assert _orbax_checkpoints.is_orbax(path)
            assert_restored(restore(tmp_path, STATE, orbax_checkpointer=checkpointer))

    def test_saving_in_the_background_never_removes_the_only_checkpoint(self, tmp_path):
        import orbax.checkpoint as ocp

        with ocp.AsyncCheckpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            for step in (1, 2, 3):
                save(tmp_path, step, orbax_checkpointer=checkpointer)
                assert step == 1 or f'checkpoint_{step - 1}' in names(tmp_path)
            checkpointer.wait_until_finished()
            assert names(tmp_path) == ['checkpoint_2', 'checkpoint_3']
            save(tmp_path, 2, overwrite=True, orbax_checkpointer=checkpointer)
            assert names(tmp_path) == ['checkpoint_2']
            assert_restored(restore(tmp_path, STATE, orbax_checkpointer=checkpointer))

    def test_what_orbax_says_is_passed_on(self, tmp_path):
        class Failing:
            def save(self, path, tree, save_args):
                raise ValueError('no such device')

        with pytest.raises(ToolArgumentError, match='no such device'):
            save(tmp_path, orbax_checkpointer=Failing())
        with pytest.raises(ToolArgumentError, match='zero size'):
            save(tmp_path, 1, {'e': jnp.zeros((0, 3))})
        assert latest(tmp_path) is None

    def test_without_the_package_files_are_written_and_folders_refused(self, tmp_path, monkeypatch):
        save(tmp_path / 'a')
        find = importlib.util.find_spec
        hidden = lambda name, *more: None if name.startswith('orbax') else find(name, *more)  # noqa: E731
        monkeypatch.setattr(importlib.util, 'find_spec', hidden)
        assert os.path.isfile(save(tmp_path / 'b'))
        with pytest.raises(MissingPackageError, match=r'linnet\[checkpoints\]'):
            restore(tmp_path / 'a', STATE)


# Killed saves


def test_an_unfinished_replacement_is_undone(tmp_path):
    path = save(tmp_path, 2)
    replaced = path + '.orbax-checkpoint-tmp-replaced'
    os.rename(path, replaced)
    assert latest(tmp_path) == path
    os.rename(path, replaced)
    assert_restored(restore(tmp_path, STATE, step=2))
    os.rename(path, replaced)
    with pytest.raises(InvalidCheckpointError):
        save(tmp_path, 2)


def test_what_killed_saves_left_is_no_checkpoint_and_is_removed(tmp_path):
    series = Series.at(tmp_path, 'checkpoint_')
    save(tmp_path)
    series.write_unfinished(b'half')
    for place in (series.beside(4), series.path(5) + '.orbax-checkpoint-tmp', series.path(6)):
        os.mkdir(place)
    os.rename(series.path(6), series.path(6) + '.orbax-checkpoint-tmp-removed')
    os.mkdir(series.path(1) + '.orbax-checkpoint-tmp-replaced')
    assert checkpoints.available_steps(tmp_path) == [1]
    assert latest(tmp_path) == series.path(1)
    save(tmp_path, 2)
    assert names(tmp_path) == ['checkpoint_2']


def test_killed_processes_leave_whole_checkpoints():
    done = subprocess.run(
        [sys.executable, '-m', 'tests.training.kill_saves', '--kills', '5'],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT / 'src'), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('5 kills')


# In the background


def test_a_file_is_written_while_the_program_goes_on(tmp_path, caplog):
    manager, go = checkpoints.AsyncManager(), threading.Event()
    manager.save_async(go.wait)
    threading.Timer(0.05, go.set).start()
    state = {'w': np.zeros(2)}
    with caplog.at_level(logging.WARNING):
        path = save(tmp_path, 1, state, async_manager=manager)
    assert 'waiting for the previous checkpoint' in caplog.text
    state['w'][:] = 9
    save(tmp_path, 2, state, async_manager=manager)
    with pytest.raises(InvalidCheckpointError):
        save(tmp_path, 2, state, async_manager=manager)
    manager.wait_previous_save()
    assert names(tmp_path) == ['checkpoint_2']
    assert path.endswith('checkpoint_1')


def test_an_error_of_the_thread_is_raised_once(tmp_path):
    manager = checkpoints.AsyncManager(max_workers=2)
    manager.save_async(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save(tmp_path, async_manager=manager)
    manager.wait_previous_save()
    save(tmp_path, async_manager=manager)
    manager.wait_previous_save()
    assert_restored(restore(tmp_path, STATE))


# Arrays of several processes. With one process no array is spread: all arrays are taken for such.


@pytest.fixture
def manager(monkeypatch):
    from jax.experimental.array_serialization import serialization

    monkeypatch.setattr(_process_arrays, 'is_spread', lambda value: isinstance(value, jax.Array))
    manager = serialization.GlobalAsyncCheckpointManager()
    yield manager
    manager.wait_until_finished()


SPREAD = {'p': {'w': jnp.arange(4.0), 'l': [jnp.ones((2, 2), jnp.bfloat16), 1]}, 'h': np.ones(2)}
LIKE = jax.tree.map(lambda leaf: leaf * 0, SPREAD)
save_together = checkpoints.save_checkpoint_multiprocess


def test_spread_arrays_lie_in_a_folder_beside_the_file(tmp_path, manager):
    for step in (1, 2):
        save_together(tmp_path, SPREAD, step, gda_manager=manager)
    manager.wait_until_finished()
    assert names(tmp_path) == ['checkpoint_2', 'checkpoint_2_gda']
    assert (tmp_path / 'checkpoint_2_gda/p/l/0/.zarray').exists()
    assert_restored(restore(tmp_path, LIKE, gda_manager=manager), SPREAD)
    assert latest(tmp_path) == str(tmp_path / 'checkpoint_2')


def test_spread_arrays_want_a_manager_and_a_target(tmp_path, manager):
    for function in (checkpoints.save_checkpoint, save_together):
        with pytest.raises(MPACheckpointingRequiredError, match='step 1'):
            function(tmp_path, SPREAD, 1)
    save_together(tmp_path, SPREAD, 1, gda_manager=manager)
    manager.wait_until_finished()
    with pytest.raises(MPACheckpointingRequiredError):
        restore(tmp_path, LIKE)
    with pytest.raises(MPARestoreTargetRequiredError):
        restore(tmp_path, None, gda_manager=manager)
    target = {**LIKE, 'p': {**LIKE['p'], 'w': np.zeros(4)}}
    with pytest.raises(MPARestoreTargetRequiredError, match='p/w'):
        restore(tmp_path, target, gda_manager=manager)
    state = restore(tmp_path, target, gda_manager=manager, allow_partial_mpa_restoration=True)
    assert state['p']['w'] == '//GDAPlaceholder:p/w'


def test_the_parts_of_spread_arrays_must_be_there(tmp_path, manager):
    save_together(tmp_path, SPREAD, 1, gda_manager=manager)
    manager.wait_until_finished()
    os.remove(tmp_path / 'checkpoint_1_gda/p/w/.zarray')
    with pytest.raises(MPARestoreDataCorruptedError, match='step 1'):
        restore(tmp_path, LIKE, step=1, gda_manager=manager)


def test_spread_arrays_are_not_mixed_with_those_of_a_killed_save(tmp_path, manager):
    class Killed(BaseException):
        pass

    def serialize(*args, on_commit_callback):
        raise Killed

    for step in (1, 2):
        save_together(tmp_path, SPREAD, step, keep=2, gda_manager=manager)
    manager.wait_until_finished()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager, 'serialize', serialize)
        with pytest.raises(Killed):
            save_together(tmp_path, LIKE, 2, keep=2, overwrite=True, gda_manager=manager)
    os.makedirs(tmp_path / 'checkpoint_2_gda' / 'half')
    assert latest(tmp_path) == str(tmp_path / 'checkpoint_1')
    assert_restored(restore(tmp_path, LIKE, gda_manager=manager), SPREAD)
    save_together(tmp_path, SPREAD, 3, gda_manager=manager)
    manager.wait_until_finished()
    assert names(tmp_path) == ['checkpoint_3', 'checkpoint_3_gda']


@both
def test_one_process_may_save_as_if_there_were_several(tmp_path):
    for step in (1, 2):
        save_together(tmp_path, STATE, step)
    assert names(tmp_path) == ['checkpoint_2']
    assert_restored(restore(tmp_path, STATE))
    with pytest.raises(InvalidCheckpointError):
        save_together(tmp_path, STATE, 2)


@pytest.mark.parametrize('orbax', [True], indirect=True)
def test_the_programs_of_the_page_run():
    page = (ROOT / 'docs' / 'checkpoints.md').read_text()
    programs = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    assert len(programs) == 2
    exec('\n'.join(programs), {})

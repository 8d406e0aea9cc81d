"""Checkpoints against the oracle: the same names are kept, and each reads what the other wrote."""

from __future__ import annotations

import collections
import contextlib
import inspect
import os
import random
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.parity.harness import ORACLE, OURS
from tests.parity.harness import PAIR as LIBRARIES
from tests.training.spread_saves import run as run_both_processes

# Flax says of its own checkpoints, each time, that Orbax is to be used in their place.
pytestmark = [
    pytest.mark.filterwarnings('ignore:Flax Checkpointing:DeprecationWarning'),
    pytest.mark.filterwarnings('ignore:Sharding info not provided:UserWarning'),
]

theirs, ours = PAIR = tuple(library.load('training.checkpoints') for library in LIBRARIES)
REFUSALS = (ValueError, ORACLE.errors.InvalidCheckpointError, OURS.errors.InvalidCheckpointError)
DEEP = os.environ.get('LINNET_DEEP') == '1'


class Point(NamedTuple):
    x: Any
    y: Any


TREE = {
    'z': np.arange(3.0),
    'bf16': jnp.ones((2, 2), jnp.bfloat16),
    'list': [1, np.zeros(2, np.int8), {}],
    'pair': (2.5, Point(True, jnp.array(3))),
    'empty': optax.EmptyState(),
    'none': None,
    'text': 'abc',
}


@contextlib.contextmanager
def flag(orbax: bool):
    """Sets the flag of both libraries."""
    with contextlib.ExitStack() as stack:
        for library in LIBRARIES:
            config = library.load('configurations').config
            stack.enter_context(config.temp_flip_flag('use_orbax_checkpointing', orbax))
        yield


@pytest.fixture(params=['msgpack', 'orbax'])
def orbax(request):
    """Sets the flag of both libraries."""
    value = request.param == 'orbax'
    with flag(value):
        yield value


def assert_same(ours: Any, theirs: Any) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(one, other)
        assert isinstance(one, jax.Array) == isinstance(other, jax.Array)
        assert getattr(one, 'dtype', None) == getattr(other, 'dtype', None)


def kept(library: Any, folder: str, saves: list[dict[str, Any]]) -> list[Any]:
    """Saves in one library; returns after each save the names that are there, or 'refused'."""
    names: list[Any] = []
    for save in saves:
        try:
            path = library.save_checkpoint(folder, {'a': np.ones(1)}, **save)
            names.append((os.path.relpath(path, folder), sorted(os.listdir(folder))))
        except REFUSALS:
            names.append('refused')
    return names


SEQUENCES = [
    [{'step': step, 'keep': 2} for step in (1, 2, 3, 3, 2, 10, 9)],
    [{'step': step, 'keep': 1, 'keep_every_n_steps': 2} for step in range(8)],
    [{'step': step, 'keep': 1, 'keep_every_n_steps': 2} for step in (-4, -3, -2, -1, 0, 1, 2, 3)],
    [{'step': step, 'keep': 3, 'keep_every_n_steps': 0.5} for step in (0.1, 0.5, 0.75, 1e-5, 2.0)],
    [{'step': step, 'keep': 9, 'overwrite': step < 4} for step in (5, 6, 7, 3, 9, 2, 2, 4)],
    [{'step': step, 'prefix': 'run_', 'keep': 2} for step in (np.int32(5), np.float32(6.5), 1e22)],
]


@pytest.mark.parametrize('saves', SEQUENCES)
def test_the_same_files_are_kept(tmp_path, saves):
    with flag(False):
        assert kept(ours, f'{tmp_path}/a', saves) == kept(theirs, f'{tmp_path}/b', saves)


@pytest.mark.parametrize('seed', range(200 if DEEP else 10))
def test_drawn_saves_keep_the_same_files(tmp_path, seed):
    draw = random.Random(seed)
    keep, every = draw.randint(1, 3), draw.choice([None, 1, 2, 3])
    kind = draw.choice([int, float])
    saves, step = [], kind(draw.randint(-3, 3))
    for _ in range(8):
        step += draw.choice([1, 1, 1, 2, 3, -1, -3]) / draw.choice([1, 2])
        step = kind(step)
        overwrite = draw.random() < 0.3
        saves.append(
            {'step': step, 'keep': keep, 'keep_every_n_steps': every, 'overwrite': overwrite}
        )
    test_the_same_files_are_kept(tmp_path, saves)


@pytest.mark.parametrize('orbax', ['orbax'], indirect=True)
def test_orbax_folders_are_kept_alike(tmp_path, orbax):
    saves = [{'step': step, 'keep': 3, 'overwrite': step == 4} for step in (5, 6, 2, 5, 4, 9)]
    assert kept(ours, f'{tmp_path}/a', saves) == kept(theirs, f'{tmp_path}/b', saves)


def test_each_reads_what_the_other_wrote(tmp_path, orbax):
    tree = TREE if orbax else {**TREE, 'complex': 1j, 'scalar': np.float32(2)}
    for writer in PAIR:
        folder = f'{tmp_path}/{writer.__name__}'
        path = writer.save_checkpoint(folder, tree, 3)
        ours_raw, theirs_raw = (library.restore_checkpoint(folder, None) for library in PAIR)
        assert list(ours_raw) == list(theirs_raw)
        assert_same(ours_raw, theirs_raw)
        assert_same(*(library.restore_checkpoint(folder, tree) for library in PAIR))
        assert_same(*(library.restore_checkpoint(path, tree) for library in PAIR))
        assert [library.latest_checkpoint(folder) for library in PAIR] == [path, path]
        assert [library.available_steps(folder) for library in PAIR] == [[3], [3]]


def test_the_bytes_of_a_file_are_the_same(tmp_path):
    with flag(False):
        for name in ('save_checkpoint', 'save_checkpoint_multiprocess'):
            files = []
            for library in PAIR:
                path = getattr(library, name)(f'{tmp_path}/{library.__name__}{name}', TREE, 1)
                with open(path, 'rb') as file:
                    files.append(file.read())
            assert files[0] == files[1]


def test_split_arrays_are_read_by_the_other(tmp_path, monkeypatch):
    for library in LIBRARIES:
        monkeypatch.setattr(library.load('serialization'), 'MAX_CHUNK_SIZE', 40)
    tree = {'w': np.arange(50.0).reshape(5, 10)}
    with flag(False):
        for writer, reader in (PAIR, PAIR[::-1]):
            folder = f'{tmp_path}/{writer.__name__}'
            writer.save_checkpoint(folder, tree, 1)
            assert_same(reader.restore_checkpoint(folder, None), tree)


def test_train_states_go_both_ways(tmp_path, orbax):
    def state(library: Any, value: float) -> Any:
        params = {'w': jnp.full(2, value)}
        return library.TrainState.create(apply_fn=None, params=params, tx=optax.adam(0.1))

    states = [library.load('training.train_state') for library in LIBRARIES]
    for writer, reader in ((0, 1), (1, 0)):
        folder = f'{tmp_path}/{writer}'
        PAIR[writer].save_checkpoint(folder, state(states[writer], 2.0), 1)
        target = state(states[reader], 0.0)
        restored = PAIR[reader].restore_checkpoint(folder, target)
        assert type(restored) is type(target)
        np.testing.assert_array_equal(restored.params['w'], [2.0, 2.0])
        assert jax.tree.structure(restored) == jax.tree.structure(target)


@pytest.mark.parametrize('orbax', ['orbax'], indirect=True)
def test_a_target_decides_types_alike(tmp_path, orbax):
    theirs.save_checkpoint(tmp_path, {'w': jnp.arange(3.0), 'a': np.arange(2.0), 'i': 1}, 1)
    for target in (
        collections.OrderedDict(w=np.zeros(3), a=np.zeros(2)),
        {'w': np.zeros(3), 'a': np.zeros(2, np.float16)},
        {'w': jnp.zeros(3), 'a': np.zeros(2, np.float16), 'i': 2.5},
        {'w': jnp.zeros(3, jnp.bfloat16), 'a': jnp.zeros(2), 'i': None},
    ):
        assert_same(*(library.restore_checkpoint(tmp_path, target) for library in PAIR))


NAMES = [
    ['f10', 'f2', 'f1'],
    ['ck_1e3', 'ck_2', 'ck_1e-1', 'ck_', 'ck'],
    ['x-1', 'x-2', 'x-10', 'x3', 'x+5', 'x.5', 'x5.'],
    ['a1b2', 'a1b10', 'a01b1', '1', '-1', 'b'],
]


@pytest.mark.parametrize('names', NAMES)
@pytest.mark.parametrize('signed', [True, False])
def test_names_are_sorted_alike(names, signed):
    assert ours.natural_sort(names, signed) == theirs.natural_sort(names, signed)


@pytest.mark.parametrize(
    'path', ['gs://a/b/../c', 'a//b', './x', '/tmp/../y', 'GS://x//y/', '', 's3://', 'a/b/', 'c:/d']
)
def test_paths_are_normalised_alike(path):
    assert ours.safe_normpath(path) == theirs.safe_normpath(path)


PRE_LINEN = [
    {'Dense_0': {'k': 1}, 'Conv_1': {'Dense_2': {}, 'Dense_10': {}, 'Dense_3': {'M_7': {'z': 1}}}},
    {'0': {'k': 2}, '10': {'a': 3}, '2': {'b': 3}, 'named': {'x_1': 2}, 'b_0_3': 4, '_5': {'a': 1}},
    {'a_2': [{'a_3': 1}], 'a_10': 1},
    [1, 2],
    5,
]


@pytest.mark.parametrize('params', PRE_LINEN)
def test_old_parameters_are_renamed_alike(params):
    result = ours.convert_pre_linen(params)
    assert result == theirs.convert_pre_linen(params)
    if isinstance(params, dict):
        assert list(result) == list(theirs.convert_pre_linen(params))


def test_constants_are_the_same():
    constants = [name for name in vars(theirs) if name.isupper() and name[0] != '_']
    assert len(constants) == 10
    for name in constants:
        assert getattr(ours, name) == getattr(theirs, name), name


def test_what_killed_saves_of_ours_left_is_no_checkpoint_for_the_other(tmp_path):
    end = '.orbax-checkpoint-tmp'
    for name in ('tmp', f'3{end}', f'3{end}-new', f'3{end}-replaced', f'4{end}-removed'):
        (tmp_path / f'checkpoint_{name}').mkdir()
    assert theirs.latest_checkpoint(tmp_path) is None
    assert theirs.available_steps(tmp_path) == []


def parameters(function: Any) -> list[Any]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize('module', ['training.checkpoints', 'training.orbax_utils'])
def test_signatures_are_the_same(module):
    functions = {
        name: value
        for name, value in vars(ORACLE.load(module)).items()
        if inspect.isfunction(value) and value.__module__.endswith(module) and name[0] != '_'
    }
    assert functions
    for name, function in functions.items():
        assert parameters(getattr(OURS.load(module), name)) == parameters(function), name


@pytest.mark.parametrize(
    'target',
    [
        {'w': jnp.ones(2), 'n': 1, 'a': np.ones(2), 'none': None, 's': 'x'},
        {'a': np.ones(2), 'n': 1, 'e': optax.EmptyState(), 'l': [None, (1, None)]},
        {'k': jax.random.key(0), 'sds': jax.ShapeDtypeStruct((3,), jnp.float32)},
        None,
    ],
)
def test_arguments_for_orbax_are_the_same(target):
    for name, more in (
        ('save_args_from_target', ()),
        ('restore_args_from_target', ()),
        ('maybe_construct_transformations', (None,)),
        ('maybe_construct_transformations', ({'a': 1},)),
    ):
        results = [
            getattr(library.load('training.orbax_utils'), name)(target, *more)
            for library in LIBRARIES
        ]
        assert repr(results[0]) == repr(results[1])


@pytest.mark.skipif(not DEEP, reason='two processes, for LINNET_DEEP=1')
def test_two_processes_read_what_two_of_the_other_wrote():
    assert run_both_processes() == ['', '']

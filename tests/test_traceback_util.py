"""Frames of the library are hidden from tracebacks, those of users are not."""

from __future__ import annotations

import traceback

import jax
import pytest
from jax._src import source_info_util
from jax._src import traceback_util as jax_tracebacks

import linnet
import linnet.linen as nn
from linnet import traceback_util
from linnet.configurations import config

FOLDER = linnet.__path__[0]


@pytest.fixture(autouse=True)
def _restore():
    exclusions, paths = set(traceback_util._flax_exclusions), list(jax_tracebacks._exclude_paths)
    yield
    config.update('flax_filter_frames', True)
    traceback_util._flax_exclusions.intersection_update(exclusions)
    jax_tracebacks._exclude_paths[:] = paths


def hidden(path):
    return not jax_tracebacks.include_filename(path)


def test_the_library_is_hidden_and_its_layers_are_in_profiles():
    for name in ('core/scope.py', 'linen/module/calls.py', 'linen/transforms/batch.py'):
        assert hidden(f'{FOLDER}/{name}')
        assert not source_info_util.is_user_filename(f'{FOLDER}/{name}')
    assert hidden(f'{FOLDER}/linen/linear.py')
    assert source_info_util.is_user_filename(f'{FOLDER}/linen/linear.py')
    assert not hidden(__file__)


def test_frames_are_shown_and_hidden_again():
    path = f'{FOLDER}/core/scope.py'
    traceback_util.show_linnet_in_tracebacks()
    assert not config.flax_filter_frames
    assert not hidden(path)
    traceback_util.hide_linnet_in_tracebacks()
    traceback_util.hide_linnet_in_tracebacks()
    assert config.flax_filter_frames
    assert hidden(path)
    assert len(jax_tracebacks._exclude_paths) == len(set(jax_tracebacks._exclude_paths))


def test_a_path_is_not_hidden_while_frames_are_not_filtered():
    with config.temp_flip_flag('filter_frames', False):
        traceback_util.register_exclusion('/folder/of/some/program.py')
        assert not hidden('/folder/of/some/program.py')
    traceback_util.hide_flax_in_tracebacks()
    assert hidden('/folder/of/some/program.py')
    traceback_util.show_flax_in_tracebacks()
    assert not hidden('/folder/of/some/program.py')


PROGRAMS = {
    'init': 'Net().init(key, x)',
    'apply': 'Net().apply({}, x)',
    'jit': 'jax.jit(Net().apply)({}, x)',
    'lifted': 'nn.jit(Net)().apply({}, x)',
    'scan': 'nn.scan(Net, length=2)().apply({}, x)',
    'unbound': 'Net()(x)',
    'bound': 'Net().bind({})(x)',
    'constructor': 'Net(witdh=3)',
    'class': "type('Bad', (nn.Module,), {'__annotations__': {'parent': int}, '__module__': 'm'})",
    'core': "linnet.core.init(lambda scope: scope.make_rng('x'))({})",
}


@pytest.mark.parametrize('name', PROGRAMS)
def test_a_traceback_ends_at_the_users_own_line(name):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dropout(0.5, deterministic=False)(nn.Conv(3, (3, 3), padding='SOME')(x))

    names = {'Net': Net, 'nn': nn, 'jax': jax, 'linnet': linnet, 'x': jax.numpy.ones((1, 3, 3, 3))}
    program = compile(PROGRAMS[name], '<program>', 'exec')
    with pytest.raises(linnet.errors.LinnetError) as info:
        exec(program, {**names, 'key': jax.random.key(0)})
    files = [frame.filename for frame in traceback.extract_tb(info.value.__traceback__)]
    assert files[-1] in ('<program>', __file__)
    assert not any(FOLDER in file for file in files)


def inner():
    raise ZeroDivisionError


def test_a_traceback_that_leaves_a_boundary_lacks_the_hidden_frames(tmp_path):
    path = tmp_path / 'machinery.py'
    path.write_text('def machinery(fn):\n  return fn()\n')
    names = {}
    exec(compile(path.read_text(), str(path), 'exec'), names)
    boundary = traceback_util.api_boundary(lambda: names['machinery'](inner))

    def frames():
        with pytest.raises(ZeroDivisionError) as info:
            boundary()
        return [frame.name for frame in traceback.extract_tb(info.value.__traceback__)]

    assert 'machinery' in frames()
    traceback_util.register_exclusion(str(path))
    assert 'machinery' not in frames()
    assert 'inner' in frames()

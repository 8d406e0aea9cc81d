"""File calls: local ones by Python, remote ones by TensorFlow, of which a double is used here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from linnet import io
from linnet.errors import AlreadyExistsError, FlagValueError, RemotePathError


class NotFound(Exception):
    """What TensorFlow raises for a file that is not there."""


class Gfile:
    """A double of ``tensorflow.io.gfile``: records its calls, knows one file."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self.calls.append((name, args, kwargs))
            if 'gs://missing' in args:
                raise NotFound(args[0])
            results = {'exists': args[-1] == 'gs://a', 'listdir': ('x',), 'glob': ('gs://a',)}
            return results.get(name, SimpleNamespace(length=7))

        return call


@pytest.fixture
def gfile(monkeypatch):
    double = Gfile()
    errors = SimpleNamespace(NotFoundError=NotFound)
    tensorflow = SimpleNamespace(io=SimpleNamespace(gfile=double), errors=errors)
    monkeypatch.setitem(sys.modules, 'tensorflow', tensorflow)
    return double


@pytest.fixture
def no_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorflow', None)


def test_remote_paths_go_through_tensorflow(gfile):
    assert io.exists('gs://a')
    assert io.isdir('gs://a')
    assert io.getsize('gs://a') == 7
    assert io.listdir('gs://a') == ['x']
    assert io.glob('gs://*') == ['gs://a']
    io.makedirs('gs://a')
    io.remove('gs://a')
    io.rmtree('gs://a')
    io.copy('local', 'gs://b')
    io.rename('gs://b', 'gs://a', overwrite=True)
    io.GFile('gs://a', 'rb')
    assert gfile.calls == [
        ('exists', ('gs://a',), {}),
        ('isdir', ('gs://a',), {}),
        ('stat', ('gs://a',), {}),
        ('listdir', ('gs://a',), {}),
        ('glob', ('gs://*',), {}),
        ('makedirs', ('gs://a',), {}),
        ('remove', ('gs://a',), {}),
        ('rmtree', ('gs://a',), {}),
        ('exists', ('gs://b',), {}),
        ('copy', ('local', 'gs://b'), {'overwrite': True}),
        ('rename', ('gs://b', 'gs://a'), {'overwrite': True}),
        ('GFile', ('gs://a', 'rb'), {}),
    ]


def test_a_remote_file_that_is_not_there(gfile):
    with pytest.raises(io.NotFoundError, match='gs://missing'):
        io.remove('gs://missing')


def test_a_remote_file_that_exists_is_not_replaced(gfile):
    for call in (io.copy, io.rename):
        with pytest.raises(AlreadyExistsError, match='gs://a'):
            call('local', 'gs://a')
    assert {name for name, *_ in gfile.calls} == {'exists'}


def test_the_mode_decides_for_local_paths(gfile, tmp_path):
    assert io.io_mode is io.BackendMode.DEFAULT
    assert io.exists(tmp_path)
    assert gfile.calls == []
    with io.override_mode(io.BackendMode.TF):
        assert io.io_mode is io.BackendMode.TF
        assert not io.exists(tmp_path)
    with pytest.raises(ZeroDivisionError), io.override_mode(io.BackendMode.TF):
        raise ZeroDivisionError
    assert gfile.calls == [('exists', (str(tmp_path),), {})]
    assert io.io_mode is io.BackendMode.DEFAULT
    with pytest.raises(FlagValueError, match="'tf', which is not a BackendMode"):
        io.set_mode('tf')


@pytest.mark.usefixtures('no_tensorflow')
def test_a_remote_path_without_tensorflow_is_refused():
    with pytest.raises(RemotePathError, match=r"'gs://bucket/run' .* not installed"):
        io.exists('gs://bucket/run')


@pytest.mark.usefixtures('no_tensorflow')
def test_local_calls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    io.makedirs(Path('a') / 'b')
    with io.GFile(Path('a/x'), 'w') as file:
        file.write('hello')
    assert io.getsize('a/x') == 5
    assert sorted(io.glob(Path('a') / '*')) == ['a/b', 'a/x']
    with pytest.raises(AlreadyExistsError):
        io.copy('a/x', 'a/b')
    io.copy('a/x', 'a/y')
    io.rename('a/x', 'a/y', overwrite=True)
    assert sorted(io.listdir('a')) == ['b', 'y']
    io.remove('a/y')
    io.rmtree('a')
    assert not io.exists('a')

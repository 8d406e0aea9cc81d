"""Which names of Flax there are in Linnet."""

from __future__ import annotations

import pytest

from linnet.cli import _surface


@pytest.mark.parametrize('path', ['', 'linen', 'linen.Dense', 'linen.Dense.what', 'core.freeze'])
def test_names_that_are_there(path: str) -> None:
    assert _surface.lacking(path) is None


@pytest.mark.parametrize(('path', 'name'), [('nnx.a.b', 'nnx'), ('linen.Foo.x', 'linen.Foo')])
def test_the_first_name_that_is_not(path: str, name: str) -> None:
    lack = _surface.lacking(path)
    assert lack is not None
    assert lack.name == f'flax.{name}'


def test_a_module_that_needs_a_package_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> None:
        raise ModuleNotFoundError(name='tensorboardX')

    monkeypatch.setattr(_surface, 'module', lambda path: fail(path) if path else _surface)
    assert _surface.lacking('writers') is None


@pytest.mark.parametrize('name', ['linnet.a', 'linnet.a.b', 'flax.a'])
def test_a_module_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(_surface.importlib, 'import_module', fail)
    assert _surface.module('a.b') is None
    with pytest.raises(ModuleNotFoundError):
        _surface.module('b')

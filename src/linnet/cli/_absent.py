"""Stands for NNX, which is outside of Linnet, where an installed library imports it.

Some libraries for Flax Linen import ``flax.nnx`` too, to ask what is of it, or for a part that the
program never uses. Nobody can mend their import, so they get *placeholders*: classes of which
nothing is an instance, and which say that Linnet lacks them as soon as one is called. The imports
of a program itself are refused where they stand.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from linnet.cli import _surface

_INSTALLED = ('site-packages', 'dist-packages')


class Placeholder(type):
    """The class of placeholders, which are classes, so that others can inherit from them."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Refuses to make an instance, or to be called as the function that it stands for."""
        name = next(base.__qualname__ for base in cls.__mro__ if '__stands__' in vars(base))
        raise _surface.describe(name.removeprefix('flax.'))

    def __getattr__(cls, name: str) -> Any:
        """A placeholder of what is inside."""
        return _placeholder(cls.__qualname__, name)

    def __getitem__(cls, item: Any) -> Placeholder:
        """The same, as a type of something."""
        return cls


class AbsentModule(ModuleType):
    """``flax.nnx``, or a module in it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        """A placeholder of any name."""
        return _placeholder(self.__name__, name)


def _placeholder(holder: str, name: str) -> Placeholder:
    if name.startswith('__'):
        raise AttributeError(name)
    path = f'{holder}.{name}'
    return Placeholder(name, (), {'__qualname__': path, '__module__': holder, '__stands__': True})


def stands_for(path: str) -> bool:
    """Tells whether ``flax.<path>`` is to be stood for: a library asks for it at this moment."""
    return _surface.is_nnx(path) and _library_imports()


def _library_imports() -> bool:
    """Tells whether the code that imports at this moment is of an installed library."""
    frame: Any = sys._getframe(1)
    while frame is not None and _is_machinery(frame.f_globals.get('__name__', '')):
        frame = frame.f_back
    return frame is not None and any(folder in frame.f_code.co_filename for folder in _INSTALLED)


def _is_machinery(module: str) -> bool:
    return module.startswith(('importlib', '_frozen_importlib', 'linnet.cli.'))

"""Answers every import of Flax with Linnet, as long as a process lives.

A *finder* stands first among those that Python asks for a module. To ``flax.linen`` it answers with
the module ``linnet.linen`` itself, not with a copy, so that classes are one under both names. The
package ``flax`` alone is an object of its own, a *door*: it looks up its names in Linnet, notes
which were taken, and states the version of Flax that is followed.

Python takes each module that was answered for a package, and so asks the finder also for a name
that ``from flax.struct import name`` did not find: this is where a missing name is explained.
"""

from __future__ import annotations

import importlib
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from multiprocessing import spawn
from types import ModuleType
from typing import Any

from linnet.cli import _absent, _surface

FLAX_VERSION = '0.12.12'


class Door(ModuleType):
    """The package ``flax``, which has what Linnet has."""

    def __init__(self, finder: Finder) -> None:
        self._linnet = importlib.import_module('linnet')
        super().__init__(self._linnet.__name__, self._linnet.__doc__)
        self.__file__ = self._linnet.__file__
        self.__path__: list[str] = []
        self.__version__ = FLAX_VERSION
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        """Takes a name from Linnet, at each use: a value may change there."""
        try:
            value = getattr(self._linnet, name)
        except AttributeError:
            if _absent.stands_for(name):
                return importlib.import_module(f'flax.{name}')
            raise AttributeError(str(_surface.describe(name)), name=name) from None
        if isinstance(value, ModuleType):
            self._finder.served.add(f'flax.{name}')
        return value

    def __dir__(self) -> list[str]:
        """Names what Linnet has."""
        return dir(self._linnet)


class Finder(MetaPathFinder, Loader):
    """Finds Linnet's modules by the names of Flax.

    Attributes:
        served: the modules that were asked for by such names.
        absent: those that Linnet lacks, and libraries have imported.
    """

    def __init__(self) -> None:
        self.served: set[str] = set()
        self.absent: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answers for Flax, and explains what is missing; leaves all else to Python."""
        root, _, inner = fullname.partition('.')
        if root == 'linnet' and inner and PathFinder.find_spec(fullname, path) is None:
            raise _surface.describe(inner)
        if root != 'flax':
            return None
        module = _surface.module(inner) if inner else Door(self)
        if module is not None:
            self.served.add(fullname)
        elif _absent.stands_for(inner):
            module = _absent.AbsentModule(fullname)
            self.absent.add(fullname)
        else:
            raise _surface.describe(inner)
        state = (module, module.__spec__)
        return ModuleSpec(fullname, self, loader_state=state, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Hands over the module that exists."""
        return spec.loader_state[0]

    def exec_module(self, module: ModuleType) -> None:
        """Gives a module its own specification back, which Python has put ours in place of."""
        if not isinstance(module, Door) and module.__spec__ is not None:
            module.__spec__ = module.__spec__.loader_state[1]


class _Ticket:
    """What a child process finds among the data that prepare it: it serves as its parent does."""

    def __reduce__(self) -> tuple[Callable[[], Finder], tuple[()]]:
        return serve, ()


def serve() -> Finder:
    """Answers imports of Flax with Linnet, in this process and in those that it spawns."""
    for finder in sys.meta_path:
        if isinstance(finder, Finder):
            return finder
    for name in [name for name in sys.modules if name.split('.')[0] == 'flax']:
        del sys.modules[name]
    finder = Finder()
    sys.meta_path.insert(0, finder)
    _serve_children()
    return finder


def _serve_children() -> None:
    """Puts a ticket into the data that prepare a child, which unpickles them before it imports."""
    prepare = spawn.get_preparation_data

    def prepare_with_ticket(name: str) -> dict[str, Any]:
        return {'linnet': _Ticket(), **prepare(name)}

    spawn.get_preparation_data = prepare_with_ticket
    # A fork server imports the program before there is a child, and so would find no ticket.
    multiprocessing.set_forkserver_preload([])

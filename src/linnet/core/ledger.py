"""What one call of ``init`` or ``apply`` did: noted while it is traced, judged at its end.

All scopes of a call share one :class:`Ledger`, inside and outside of transforms. *Crossings* are
the lifted transforms whose functions run at the moment, innermost last. Nothing of this reaches
the traced program.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from linnet.errors.sharp_bits import ClosedOverWarning
from linnet.errors.variables import ModifyScopeVariableError
from linnet.sharp_bits import warn

Path = tuple[str, ...]
Place = tuple[str, int]
"""A file, and a line of it."""


class Ledger:
    """Notes of one call.

    Attributes:
        given: the collections that were passed in and hold something.
        reads: parameters that were read, as path and name.
        whole: paths from which downwards all counts as read.
        fallbacks: streams that were not given, each with a module that drew from 'params' instead.
        collisions: pairs of paths that have drawn, and whose names joined are one text.
        declined: collections into which values were sown and that are not mutable.
        sown_again: collections passed in to which values were appended, each with a module.
        restarted: collections not passed in, whose variables were made, read and changed, each
            with a module.
        writes: variables that functions under transforms have written themselves.
        shared: ids of modules that several fields hold, with the field that held them first.
    """

    __slots__ = (
        '_joined',
        '_made',
        '_places',
        '_publishing',
        '_repeated',
        'collisions',
        'declined',
        'fallbacks',
        'given',
        'reads',
        'restarted',
        'shared',
        'sown_again',
        'whole',
        'writes',
    )

    def __init__(self) -> None:
        self.given: Collection[str] = ()
        self.reads: set[tuple[Path, str]] = set()
        self.whole: set[Path] = set()
        self.fallbacks: dict[str, str] = {}
        self.collisions: list[tuple[Path, Path]] = []
        self.declined: set[str] = set()
        self.sown_again: dict[str, str] = {}
        self.restarted: dict[str, str] = {}
        self.writes: list[tuple[str, Path, str]] = []
        self.shared: dict[Any, str] = {}
        self._joined: dict[str, Path] = {}
        self._places: dict[tuple[Path, str], Place] = {}
        self._repeated: dict[Path, Ledger] = {}
        self._made: dict[tuple[str, Path, str], bool] = {}  # whether it was read since
        self._publishing = False

    def fall_back(self, stream: str, where: str) -> str:
        """Notes that a module draws from 'params' in place of a stream, and returns 'params'."""
        self.fallbacks.setdefault(stream, where)
        return 'params'

    def draws(self, path: Path) -> None:
        """Notes that a path draws its first key."""
        other = self._joined.setdefault(''.join(path), path)
        if other is not path:
            self.collisions.append((other, path))

    def makes(self, col: str, path: Path, name: str) -> None:
        """Notes that a variable is about to be made outside of ``init``."""
        self._made[col, path, name] = False

    def read(self, col: str, path: Path, name: str) -> None:
        """Notes that a variable is read."""
        self.reads.add((path, name))
        if self._made and (col, path, name) in self._made:
            self._made[col, path, name] = True

    def written(self, col: str, scope: Any, name: str) -> None:
        """Notes that a variable of a scope is written."""
        if self._publishing:
            return
        if crossings.stack:
            self.writes.append((col, scope.path, name))
        if self._made.get((col, scope.path, name)):
            self.restarted.setdefault(col, scope.path_text)

    @contextmanager
    def published(self) -> Iterator[None]:
        """A ``with`` block in which what came out of a transform is written, by no function."""
        self._publishing = True
        try:
            yield
        finally:
            self._publishing = False

    def first_place(self, path: Path, name: str, place: Place) -> Place:
        """Where in the user's program an automatic name was given first.

        Args:
            path: the module in which it is given.
            name: the name.
            place: where it is given now.
        """
        return self._place(path, name) or self._places.setdefault((path, name), place)

    def _place(self, path: Path, name: str) -> Place | None:
        place = self._places.get((path, name))
        if place is None and self._repeated:
            for i in range(1, len(path) + 1):
                notes = self._repeated.get(path[:i])
                place = None if notes is None else notes._place(path[i:], name)
                if place is not None:
                    break
        return place

    def forget_place(self, path: Path, name: str) -> None:
        """Forgets that an automatic name was given, which was taken back."""
        self._places.pop((path, name), None)

    def unread(self, params: Mapping[str, Any]) -> Iterator[Path]:
        """The paths of parameters that nothing has read, the highest where a whole part is unread.

        Args:
            params: the parameters that were passed in.
        """
        if () not in self.whole:
            yield from self._unread(params, ())

    def _unread(self, params: Mapping[str, Any], path: Path) -> list[Path]:
        found: list[Path] = []
        some = not params
        for name, value in params.items():
            below = (*path, name)
            if below in self.whole or (path, name) in self.reads:
                some = True
            elif isinstance(value, Mapping):
                parts = self._unread(value, below)
                some |= parts != [below]
                found += parts
            else:
                found.append(below)
        return found if some or not path else [path]

    def below(self, path: Path, params: Mapping[str, Any]) -> Ledger:
        """These notes, all of one module, with paths from there on.

        Args:
            path: where the module is.
            params: its parameters; where all of them were read, that is one note.
        """
        notes, start = Ledger(), len(path)
        if self._unread(params, path):
            notes.reads = {(place[start:], name) for place, name in self.reads}
            notes.whole = {place[start:] for place in self.whole}
        else:
            notes.whole = {()}
        notes._places = {(place[start:], name): at for (place, name), at in self._places.items()}
        notes._repeated = {place[start:]: below for place, below in self._repeated.items()}
        notes._made = {
            (col, at[start:], name): read for (col, at, name), read in self._made.items()
        }
        for name in ('declined', 'fallbacks', 'sown_again', 'restarted'):
            setattr(notes, name, getattr(self, name))
        return notes

    def repeat(self, notes: Ledger, path: Path) -> None:
        """Notes that the module at a path did what another one did, of which :meth:`below` is."""
        self._repeated.setdefault(path, notes)
        if notes.reads:
            self.reads.update([(path + place, name) for place, name in notes.reads])
        for (col, place, name), read in notes._made.items():
            self._made[col, path + place, name] = read
        self.whole.update([path + place for place in notes.whole])
        self.declined |= notes.declined
        for mine, theirs in (
            (self.fallbacks, notes.fallbacks),
            (self.sown_again, notes.sown_again),
            (self.restarted, notes.restarted),
        ):
            for name, where in theirs.items():
                mine.setdefault(name, where)


class _Crossings(threading.local):
    def __init__(self) -> None:
        self.stack: list[Any] = []


crossings = _Crossings()


@contextmanager
def crossing(boundary: Any) -> Iterator[None]:
    """Notes that the function of a lifted transform runs, in the ``with`` block."""
    crossings.stack.append(boundary)
    try:
        yield
    finally:
        crossings.stack.pop()


def crossed(scope: Any) -> Any:
    """The outermost transform that lies between a scope and the code that uses it, or None.

    A scope inside of the transforms that run has none. A scope of another call has none either.
    """
    between, around = None, list(_around(scope))
    for boundary in reversed(crossings.stack):
        if boundary in around:
            break
        if boundary.outer and boundary.outer[0].counts is scope.counts:
            between = boundary
    return between


def _around(scope: Any) -> Iterator[Any]:
    """The transforms inside of which a scope is."""
    boundary = scope.root.boundary
    if boundary is not None:
        yield boundary
        for outer in boundary.outer:
            yield from _around(outer)


def check_closed_over(scope: Any, kind: str) -> None:
    """Warns where a function under a transform draws from a scope that it was not given.

    Args:
        scope: the scope.
        kind: the stream; drawing from ``params`` makes a parameter.
    """
    boundary = crossed(scope)
    if boundary is None or not boundary.slices(kind):
        return
    if boundary.name == 'nn.vmap' or not scope.get_flag('initializing', False):  # else it leaks
        warn(
            ClosedOverWarning(
                f'the function under {boundary.name} closes over this module, so {kind!r} is not '
                f'as {boundary.name} was told: all slices share it',
                why='a transform lifts the modules that are passed to it',
                mend=f'{boundary.name}(lambda module, x: module(x), ...)(module, x)',
                where=scope.path_text,
            )
        )


def read_only(scope: Any, col: str, name: str) -> ModifyScopeVariableError:
    """The error for a variable that is written where its collection is read-only."""
    boundary, mutable = scope.root.boundary, scope.root.mutable
    held_by = ''
    if boundary is not None and any(outer.is_mutable_collection(col) for outer in boundary.outer):
        held_by = f'the condition of {boundary.name}' if boundary.asking else boundary.name
    names = mutable if isinstance(mutable, (list, tuple, set, frozenset)) else ()
    if isinstance(mutable, str):
        names = (mutable,)
    return ModifyScopeVariableError(
        col, name, scope.path_text, mutable=map(str, names), held_by=held_by
    )

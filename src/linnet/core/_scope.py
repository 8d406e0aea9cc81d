"""The cursor into the tree of variables; :mod:`linnet.core.scope` tells the idea and its words."""

from __future__ import annotations

import contextlib
import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import jax

from linnet._frozen_dict import FrozenDict, freeze
from linnet.configurations import config
from linnet.core import meta
from linnet.core.abstract import check_shapes
from linnet.core.filters import CollectionFilter, in_filter
from linnet.core.ledger import check_closed_over, crossings, read_only
from linnet.core.materialize import initial_value
from linnet.core.rng import Counts, LazyRng
from linnet.core.tracers import check_not_leaking, current_trace
from linnet.core.variables import Variable, merge
from linnet.errors.modules import NameInUseError
from linnet.errors.randomness import InvalidRngError
from linnet.errors.variables import (
    ApplyScopeInvalidVariablesTypeError,
    InvalidScopeError,
    ScopeCollectionNotFound,
    ScopeParamNotFoundError,
    ScopeVariableNotFoundError,
)
from linnet.typing import Collection, MutableVariableDict, PRNGKey, RNGSequences, VariableDict

T = TypeVar('T')
_EMPTY: Mapping[str, Any] = MappingProxyType({})


no_flag = object()
"""Stands for a flag that was not given."""


class Scope:
    """A cursor into the tree of variables, with the keys that belong to its path.

    Args:
        variables: collections of variables, from this scope downwards.
        rngs: base keys by stream.
        name: the scope's name in its parent.
        mutable: the collections that may be written.
        parent: the scope above, ``None`` for a root.
        path: names from the root to here.
        debug_path: the path with the transforms that were crossed, for messages.
        flags: values that hold in the whole tree, such as ``initializing``.
    """

    name: Any  # a string; None at a root that was given no name
    root: Scope
    counts: Counts
    flags: Mapping[str, Any]
    reservations: defaultdict[str, set[str | None]]

    def __init__(
        self,
        variables: MutableVariableDict,
        rngs: RNGSequences | dict[str, LazyRng] | None = None,
        name: str | None = None,
        mutable: CollectionFilter = False,
        parent: Scope | None = None,
        path: tuple[str, ...] = (),
        debug_path: tuple[str, ...] = (),
        flags: Mapping[str, Any] | None = None,
    ) -> None:
        self.parent = parent
        self.name = name
        self.path = path
        self.debug_path = debug_path or path
        self.mutable = mutable
        self.flags = FrozenDict(flags or {})
        self.root = parent.root if parent is not None else self
        self.reservations = defaultdict(set)
        self._parts: dict[str, Any] = variables  # this scope's part of each collection
        self._rngs: dict[str, LazyRng] | None = {
            stream: LazyRng.create(key) for stream, key in (rngs or {}).items()
        }
        self.counts = parent.counts if parent is not None else Counts()
        self._invalid = False
        self._trace = current_trace()  # values of a trace inside this one must not be stored
        self.boundary: Any = None  # of the transform inside which this is a root

    def inner(
        self,
        variables: MutableVariableDict,
        rngs: dict[str, LazyRng],
        mutable: CollectionFilter,
        boundary: Any,
    ) -> Scope:
        """The root of this place inside a transform: same path and counts, other contents."""
        cls = type(self)
        scope = cls(variables, rngs, self.name, mutable, path=self.path, flags=self.flags)
        scope.counts = self.counts
        scope.boundary = boundary
        return scope

    def descend(self, name: str) -> Scope:
        """The scope ``name`` below this one, whether or not the name is taken."""
        child = object.__new__(type(self))
        child.parent = self
        child.name = name
        child.path = (*self.path, name)
        child.debug_path = (*self.debug_path, name)
        child.mutable = self.mutable
        child.flags = self.flags
        child.root = self.root
        child.reservations = defaultdict(set)
        child._parts = {}
        child._rngs = None
        child.counts = self.counts
        child._invalid = False
        child.boundary = None
        return child

    @property
    def _path_key(self) -> tuple[int, tuple[str, ...]]:
        return id(self.root._parts), self.path

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != '_trace'}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _trace=current_trace())

    def __eq__(self, other: Any) -> bool:
        # Two cursors at one place of one tree behave alike.
        return self is other or (
            isinstance(other, Scope)
            and self._path_key == other._path_key
            and self.counts is other.counts
        )

    def __hash__(self) -> int:
        return hash(self._path_key)

    @property
    def path_text(self) -> str:
        """The path as text, ``/encoder/Dense_0``, with the transforms that were crossed."""
        return '/' + '/'.join(self.debug_path)

    @property
    def invalid(self) -> bool:
        """Whether the scope was closed and must not be used any more."""
        return self._invalid

    def invalidate(self) -> None:
        """Closes the scope."""
        self._invalid = True

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Scope]:
        """Closes the scope when the ``with`` block ends."""
        try:
            yield self
        finally:
            self.invalidate()

    def _check_valid(self) -> None:
        if self._invalid:
            raise InvalidScopeError(self.name)

    # Names and children.

    def name_reserved(self, name: str, col: str | None = None) -> bool:
        """Tells whether ``name`` is taken, by a child or by a variable of collection ``col``."""
        taken = self.reservations.get(name, ())
        return bool(taken) and (col is None or None in taken or col in taken)

    def reserve(self, name: str, col: str | None = None) -> None:
        """Takes ``name`` for a child, or for a variable of collection ``col``.

        Raises:
            NameInUseError: the name is taken.
        """
        if not isinstance(name, str):
            raise TypeError(
                f'the name of a variable or child scope in {self.path_text} must be a str, '
                f'got {name!r} of type {type(name).__name__}'
            )
        if self.name_reserved(name, col):
            kind = 'child scope' if col is None else f'variable of {col!r}'
            raise NameInUseError(kind, name, self.name or 'the root', where=self.path_text)
        self.reservations[name].add(col)

    def default_name(self, prefix: str) -> str:
        """The first name that is free: the prefix with the number 0, 1, 2 and so on."""
        i = 0
        while f'{prefix}{i}' in self.reservations:
            i += 1
        return f'{prefix}{i}'

    def push(self, name: str | None = None, prefix: str = '', reuse: bool = False) -> Scope:
        """Goes down to a child scope.

        Args:
            name: the child's name; a default one where ``None``.
            prefix: how a default name begins.
            reuse: allow a name that is taken, to enter the same child again.

        Raises:
            NameInUseError: the name is taken.
        """
        self._check_valid()
        if name is None:
            name = self.default_name(prefix)
        if not reuse or name not in self.reservations:
            self.reserve(name)
        return self.descend(name)

    def child(
        self,
        fn: Callable[..., Any],
        name: str | None = None,
        prefix: str | None = None,
        named_call: bool = True,
        **partial_kwargs: Any,
    ) -> Callable[..., Any]:
        """A function of a scope as a function on a child of this one.

        Args:
            fn: a function whose first argument is a scope.
            name: the child's name.
            prefix: how a default name begins, ``fn_`` where ``None``.
            named_call: whether the compiled program shows the name.
            **partial_kwargs: keyword arguments of ``fn`` given in advance.
        """
        label = getattr(fn, '__name__', type(fn).__name__)
        if prefix is None:
            prefix = f'{label}_'
        scope = self.push(name, prefix)

        @functools.wraps(fn)
        def inner(*args: Any, **kwargs: Any) -> Any:
            named = jax.named_scope(f'{label}[{scope.name}]') if named_call else None
            with named or contextlib.nullcontext():
                return fn(scope.rewound(), *args, **{**partial_kwargs, **kwargs})

        return inner

    def rewound(self, rewind_rngs: bool = False) -> Scope:
        """This place with no name reserved, as a function finds it that is called again.

        Args:
            rewind_rngs: whether counting of keys starts again too.
        """
        self._check_valid()
        scope = object.__new__(type(self))
        scope.__dict__.update(self.__dict__)
        scope.reservations = defaultdict(set)
        if self.root is self:
            scope.root = scope
        if rewind_rngs:
            scope.counts = Counts(self.counts.ledger)
        return scope

    def rewind(self) -> None:
        """Frees all names in place: what follows is a second call, not a second child."""
        self.reservations.clear()

    def move(self, parent: Scope) -> None:
        """Puts the scope below another parent; its keys stay those of the old place."""
        self._rngs = self.rngs
        self.parent = parent
        self._parts = {}
        self.counts.ledger.whole.add(())  # paths no longer say where a variable lies

    # Keys.

    @property
    def rngs(self) -> dict[str, LazyRng]:
        """The streams that reach this scope, each with what is still to be folded in."""
        if self._rngs is None:
            above: Any = self.parent
            self._rngs = {s: LazyRng.create(rng, self.name) for s, rng in above.rngs.items()}
        return self._rngs

    @rngs.setter
    def rngs(self, rngs: dict[str, LazyRng]) -> None:
        self._rngs = rngs

    @property
    def rng_counters(self) -> dict[str, int]:
        """How many keys of each stream this path has drawn."""
        return self.counts.at(self.path)

    def has_rng(self, name: str) -> bool:
        """Tells whether a key was given for the stream ``name`` itself."""
        return name in self.rngs

    def make_rng(self, name: str = 'params') -> PRNGKey:
        """Draws a key, unique to this path and count.

        Args:
            name: the stream; one that was not given falls back to ``params``.

        Raises:
            InvalidRngError: neither the stream nor ``params`` was given.
        """
        return self.draw(name).as_jax_rng()

    def draw(self, name: str) -> LazyRng:
        """What :meth:`make_rng` does, but for the fold, which whoever needs the key makes."""
        self._check_valid()
        rngs = self.rngs
        if name not in rngs:
            if 'params' not in rngs:
                boundary = self.root.boundary
                raise InvalidRngError.missing_stream(
                    name,
                    given=rngs,
                    where=self.path_text,
                    initializing=bool(self.get_flag('initializing', False)),
                    hidden_by=boundary.hides_stream(name) if boundary else '',
                )
            name = self.counts.ledger.fall_back(name, self.path_text)
        if crossings.stack:
            check_closed_over(self, name)
        counts = self.counts.at(self.path)
        count = counts[name] = counts.get(name, 0) + 1
        return LazyRng.create(rngs[name], count)

    # Flags.

    def has_flag(self, key: str) -> bool:
        """Tells whether a flag was given."""
        return key in self.flags

    def get_flag(self, key: str, default: Any = no_flag) -> Any:
        """The value of a flag.

        Raises:
            KeyError: the flag was not given, and there is no default.
        """
        if key not in self.flags and default is no_flag:
            raise KeyError(f'no flag {key!r} in {self.path_text}; flags: {sorted(self.flags)}')
        return self.flags.get(key, default)

    # Variables.

    def _collection(self, col: str) -> Mapping[str, Any]:
        """This scope's part of a collection, empty where there is none."""
        part = self._parts.get(col)
        if part is None:
            if self.parent is None:
                return _EMPTY
            part = self.parent._collection(col).get(self.name, _EMPTY)
            if part is _EMPTY:
                return part  # it may come into being later
            if not isinstance(part, (dict, Mapping)):
                raise ApplyScopeInvalidVariablesTypeError(
                    variables=part, where=f'{self.path_text}, collection {col!r}'
                )
            self._parts[col] = part
        return part

    def _mutable_collection(self, col: str) -> MutableVariableDict:
        """This scope's part of a mutable collection, made where there is none."""
        part = self._parts.get(col)
        if part is None:
            if self.parent is None:
                part = {}
            else:
                part = self.parent._mutable_collection(col).setdefault(self.name, {})
            self._parts[col] = part
        return part

    def is_mutable_collection(self, col: str) -> bool:
        """Tells whether variables of a collection can be written."""
        return in_filter(self.root.mutable, col)

    def has_collection(self, col: str) -> bool:
        """Tells whether a collection is there, be it empty."""
        return col in self.root._parts

    def is_collection_empty(self, col: str) -> bool:
        """Tells whether a collection has no variable at all, in the whole tree."""
        return not self.root._parts.get(col)

    def has_variable(self, col: str, name: str) -> bool:
        """Tells whether a variable exists."""
        return name in self._collection(col)

    def get_variable(self, col: str, name: str, default: Any = None) -> Any:
        """The value of a variable, boxes and all, or ``default``."""
        self.counts.ledger.read(col, self.path, name)
        return self._collection(col).get(name, default)

    def put_variable(self, col: str, name: str, value: Any) -> None:
        """Writes a variable. A mapping is merged into a mapping that is there.

        Raises:
            ModifyScopeVariableError: the collection is not mutable.
        """
        self._check_valid()
        if not in_filter(self.root.mutable, col):
            raise read_only(self, col, name)
        if current_trace() is not self.root._trace:
            check_not_leaking(value, self, f'{col}/{name}')
        self.counts.ledger.written(col, self, name)
        merge(self._mutable_collection(col), name, value)

    def variable(
        self,
        col: str,
        name: str,
        init_fn: Callable[..., T] | None = None,
        *init_args: Any,
        unbox: bool = True,
        **init_kwargs: Any,
    ) -> Variable[T]:
        """Declares a variable and makes it where it does not exist.

        The arguments are explained at :meth:`linnet.linen.Module.variable`.

        Raises:
            NameInUseError: the name is taken.
            ScopeCollectionNotFound: it does not exist, nor does its collection.
            ScopeVariableNotFoundError: it does not exist and cannot be made.
        """
        self.reserve(name, col)
        if not self.has_variable(col, name):
            if init_fn is None or not self.is_mutable_collection(col):
                raise self.not_found(col, name)
            self.counts.ledger.makes(col, self.path, name)
            self.put_variable(col, name, init_fn(*init_args, **init_kwargs))
        return Variable(self, col, name, unbox=unbox)

    def param(
        self,
        name: str,
        init_fn: Callable[..., T],
        *init_args: Any,
        unbox: bool = True,
        **init_kwargs: Any,
    ) -> T:
        """Declares a parameter: a variable of ``params`` made from a key.

        The arguments are explained at :meth:`linnet.linen.Module.param`.

        Raises:
            NameInUseError: the name is taken.
            ScopeParamShapeError: the parameter has another shape than ``init_fn`` would give.
            ScopeCollectionNotFound, ScopeParamNotFoundError: it does not exist and cannot be made.
        """
        self.reserve(name, 'params')
        self.counts.ledger.reads.add((self.path, name))
        value = self._collection('params').get(name, _EMPTY)
        if value is not _EMPTY:
            check_shapes(name, self.path_text, value, init_fn, init_args, init_kwargs)
        else:
            if not self.is_mutable_collection('params'):
                raise self.not_found('params', name)
            value = initial_value(init_fn, self.draw('params'), *init_args, **init_kwargs)
            self.put_variable('params', name, value)
        return meta.unbox(value) if unbox else value

    def not_found(self, col: str, name: str) -> Exception:
        """The error that says which part of a variable's address is missing."""
        if self.is_collection_empty(col):
            boundary = self.root.boundary
            hidden_by = boundary.hides_collection(col) if boundary else ''
            return ScopeCollectionNotFound(
                col, name, self.path_text, known=self.root._parts, hidden_by=hidden_by
            )
        known = tuple(self._collection(col))
        if col == 'params':
            return ScopeParamNotFoundError(name, self.path_text, known=known)
        return ScopeVariableNotFoundError(name, col, self.path_text, known=known)

    def all_parts(self, cols: CollectionFilter = True) -> dict[str, Any]:
        """This scope's part of every collection that has one, of those that ``cols`` takes."""
        parts = {}
        for col in self.root._parts:
            if cols is True or in_filter(cols, col):
                part = self._collection(col)
                if part is not _EMPTY:
                    parts[col] = part
        return parts

    def variables(self) -> VariableDict | Collection:
        """All collections, from this scope downwards."""
        self.counts.ledger.whole.add(self.path)
        return _returned(self.all_parts())

    def mutable_variables(self) -> VariableDict | Collection:
        """The mutable collections, from this scope downwards."""
        return _returned(self.all_parts(self.root.mutable))


def _returned(parts: dict[str, Any]) -> VariableDict | Collection:
    """Variables in the kind of dict that the flags ask for."""
    return freeze(parts) if config.flax_return_frozendict else parts

"""The boundary of a transform: functions of scopes as pure functions, and back.

JAX transforms pure functions of arrays; a scope is state. A :class:`Boundary` is the pure view of
some scopes for one transform: their *variables* and *keys* as trees of arrays, dealt into groups
by filters; ``pure(fn)``, a function of such groups that runs ``fn`` on *inner* scopes made from
them and returns what became of the variables; and ``publish``, which writes that into the *outer*
scopes. A lifted transform is the boundary and one call of JAX::

    edge = Boundary(scope, name='nn.checkpoint')
    y, out = jax.checkpoint(edge.pure(fn))(edge.variables, edge.rngs, x)
    edge.publish(out)

Paths and counts of keys drawn stay on the host and are shared by inner and outer scopes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from linnet._frozen_dict import unfreeze
from linnet.core._scope import Scope
from linnet.core.filters import (
    Filter,
    group_collections,
    in_filter,
    intersect_filters,
    is_filter_empty,
    union_filters,
)
from linnet.core.ledger import crossing
from linnet.core.rng import LazyRng
from linnet.core.variables import in_order

Groups = tuple[tuple[dict[str, Any], ...], ...]
"""For each filter, for each scope, what the filter takes: collections, or keys, by name."""


class Boundary:
    """The pure view of scopes for one transform.

    Args:
        scopes: a scope, or a tree of scopes, which may lie inside each other.
        variables: filters of the collections that go in, one for each group.
        out: filters of the collections that come out, one for each group; only collections that
            are mutable outside are mutable inside.
        rngs: filters of the streams that go in, one for each group.
        name: what messages call the transform, as ``nn.scan``.
        sliced: filters of the collections and streams of which each slice has its own.
    """

    def __init__(
        self,
        scopes: Any,
        variables: Sequence[Filter] = (True,),
        out: Sequence[Filter] = (True,),
        rngs: Sequence[Filter] = (True,),
        name: str = '',
        sliced: Sequence[Filter] = (),
    ) -> None:
        leaves, self._treedef = jax.tree_util.tree_flatten(scopes)
        self.outer, self._places = _outermost(leaves)
        self.name = name
        self._sliced = sliced
        self.asking = False  # a condition runs, which may not change anything
        self.static_argnums: tuple[int, ...] | None = None  # as the user counts them
        self._out = out
        writable: Filter = False
        for filter_like in out:
            writable = union_filters(writable, filter_like)
        self._mutable = [intersect_filters(writable, s.root.mutable) for s in self.outer]
        self.variables = _dealt([_parts(scope) for scope in self.outer], variables)
        self.rngs = _dealt([scope.rngs for scope in self.outer], rngs)

    def pure(self, fn: Callable[..., Any]) -> Callable[..., tuple[Any, Groups]]:
        """``fn(scopes, *args)`` as a function of ``(variables, rngs, *args)``.

        Returns:
            A function that returns a pair of ``fn``'s result and the mutable variables, in the
            groups of ``out``.
        """

        def run(_vars: Groups, _rngs: Groups, /, *_args: Any, **_kwargs: Any) -> Any:
            inner = self.enter(_vars, _rngs)  # names as no keyword has, which JAX mixes up
            with crossing(self):
                y = fn(self.arranged(inner), *_args, **_kwargs)
            return y, self.leave(inner)

        return run

    def enter(
        self, variables: Groups, rngs: Groups, mutable: Sequence[Filter] | None = None
    ) -> list[Scope]:
        """Inner scopes that hold these variables and keys, one for each outer scope."""
        inner = []
        for i, outer in enumerate(self.outer):
            writable = (mutable or self._mutable)[i]
            parts = {col: part for group in variables for col, part in group[i].items()}
            scope = outer.inner(
                # Copies: variables that are closed over are entered once for each branch.
                {c: unfreeze(p) if in_filter(writable, c) else p for c, p in parts.items()},
                {stream: key for group in rngs for stream, key in group[i].items()},
                mutable=writable,
                boundary=self,
            )
            inner.append(scope)
        return inner

    def leave(self, inner: list[Scope]) -> Groups:
        """What became of the mutable variables; the inner scopes are closed."""
        parts = [in_order(scope.all_parts(scope.mutable)) for scope in inner]
        for scope in inner:
            scope.invalidate()
        return _dealt(parts, self._out)

    def slices(self, kind: str) -> bool:
        """Tells whether each slice has a collection, or a stream, of its own."""
        return any(in_filter(filter_like, kind) for filter_like in self._sliced)

    def reads_all(self) -> None:
        """Counts all parameters as read that go in: what the function reads cannot be followed."""
        for scope in self.outer:
            scope.counts.ledger.whole.add(scope.path)

    def may_write(self, among: Filter = True) -> bool:
        """Tells whether there is a collection that can be written inside, among these."""
        return not all(is_filter_empty(intersect_filters(among, m)) for m in self._mutable)

    def by_mutability(self, group: tuple[Any, ...]) -> tuple[Any, Any]:
        """A group of variables as two: those that may change, and those that may not."""
        both = [
            group_collections(part, (mutable, True))
            for part, mutable in zip(group, self._mutable, strict=True)
        ]
        return tuple(dict(may) for may, _ in both), tuple(dict(not_) for _, not_ in both)

    def arranged(self, inner: list[Scope]) -> Any:
        """The inner scopes in the structure in which the outer ones were given."""
        leaves = []
        for index, path in self._places:
            scope = inner[index]
            for name in path:
                scope = scope.descend(name)
            leaves.append(scope)
        return jax.tree_util.tree_unflatten(self._treedef, leaves)

    def single(self, group: tuple[Any, ...]) -> Any:
        """The entry of a group for a lone scope; a list of entries for a tree of scopes."""
        return group[0] if jax.tree_util.treedef_is_leaf(self._treedef) else list(group)

    def grouped(self, entry: Any) -> tuple[Any, ...]:
        """The inverse of :meth:`single`."""
        return (entry,) if jax.tree_util.treedef_is_leaf(self._treedef) else tuple(entry)

    def publish(self, out: Groups) -> None:
        """Writes what came out of the transform, but for what is read-only, into outer scopes."""
        for group in out:
            for scope, parts in zip(self.outer, group, strict=True):
                with scope.counts.ledger.published():
                    for col, part in parts.items():
                        if scope.is_mutable_collection(col):
                            for name, value in part.items():
                                scope.put_variable(col, name, value)

    def hides_stream(self, stream: str) -> str:
        """The transform that did not let a stream of keys in, if there is one."""
        if any(scope.has_rng(stream) for scope in self.outer):
            return self.name
        return _first(s.root.boundary.hides_stream(stream) for s in self._lifted())

    def hides_collection(self, col: str) -> str:
        """The transform that did not let a collection in, if there is one."""
        if any(
            not scope.is_collection_empty(col) or scope.is_mutable_collection(col)
            for scope in self.outer
        ):
            return self.name
        return _first(s.root.boundary.hides_collection(col) for s in self._lifted())

    def _lifted(self) -> list[Scope]:
        return [scope for scope in self.outer if scope.root.boundary is not None]


def _first(names: Any) -> str:
    return next((name for name in names if name), '')


def _parts(scope: Scope) -> dict[str, Any]:
    """The collections from a scope downwards; mutable ones as copies."""
    return {
        col: unfreeze(part) if scope.is_mutable_collection(col) else part
        for col, part in scope.all_parts().items()
    }


def _dealt(parts: Sequence[Mapping[str, Any]], filters: Sequence[Filter]) -> Groups:
    """Deals what each scope has to the filters; group by group, then scope by scope."""
    dealt = [group_collections(part, filters) for part in parts]
    return tuple(tuple(dict(groups[i]) for groups in dealt) for i in range(len(filters)))


def _outermost(scopes: list[Scope]) -> tuple[list[Scope], list[tuple[int, tuple[str, ...]]]]:
    """The scopes that lie inside no other, and each scope as a path from one of them.

    So a variable goes in once, however many of the scopes can see it.
    """
    outer: list[Scope] = []
    for scope in scopes:
        lineage = list(_lineage(scope))
        if not any(other in lineage[1:] for other in scopes) and scope not in outer:
            outer.append(scope)
    places = []
    for scope in scopes:
        names: list[str] = []
        for above in _lineage(scope):
            if above in outer:
                places.append((outer.index(above), tuple(reversed(names))))
                break
            names.append(above.name)
    return outer, places


def _lineage(scope: Scope | None) -> Any:
    while scope is not None:
        yield scope
        scope = scope.parent


def lazy_keys(rngs: Any) -> list[LazyRng]:
    """The keys in groups of streams."""
    return jax.tree_util.tree_leaves(rngs, is_leaf=lambda x: isinstance(x, LazyRng))

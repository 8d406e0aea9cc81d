"""The boundary in the form in which code outside of this library writes transforms of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from linnet.core.filters import CollectionFilter, PRNGSequenceFilter
from linnet.core.lift.boundary import Boundary, Groups
from linnet.core.rng import LazyRng


def pack(
    fn: Callable[..., Any],
    in_variable_filters: Sequence[CollectionFilter],
    out_variable_filters: Sequence[CollectionFilter],
    rng_filters: Sequence[PRNGSequenceFilter],
    name: str | None = None,
    enable_kwargs: bool = False,
) -> Callable[..., Any]:
    """Turns a function of groups of variables and keys into a function of scopes.

    Args:
        fn: ``fn(scope_fn, repack_fn, variable_groups, rng_groups, *args)``, which returns a pair
            of a result and groups of variables to write back. ``scope_fn(variable_groups,
            rng_groups)`` makes inner scopes, ``repack_fn(scopes)`` takes them apart again.
        in_variable_filters: the collections of each group that goes in.
        out_variable_filters: the collections of each group that comes out.
        rng_filters: the streams of each group of keys.
        name: what messages call the transform.
        enable_kwargs: whether ``fn`` takes keyword arguments.
    """

    def wrapper(scopes: Any, /, *args: Any, **kwargs: Any) -> Any:
        if kwargs and not enable_kwargs:
            raise TypeError(f'{name or "the transform"} takes no keyword arguments: {list(kwargs)}')
        edge = Boundary(
            scopes, in_variable_filters, out_variable_filters, rng_filters, name or 'a transform'
        )
        inner: list[Any] = []

        def scope_fn(variables: Groups, rngs: Groups) -> Any:
            inner[:] = edge.enter(variables, rngs)
            return edge.arranged(inner)

        def repack_fn(_: Any) -> Groups:
            return edge.leave(inner)

        y, out = fn(scope_fn, repack_fn, edge.variables, edge.rngs, *args, **kwargs)
        edge.publish(out)
        return y

    return wrapper


def tree_map_rngs(fn: Callable[[Any], Any], tree: Any) -> Any:
    """Applies a function to each key in groups of keys, as ``rng_groups`` of :func:`pack`.

    Args:
        fn: from a key to a key.
        tree: any tree of keys.
    """
    return jax.tree_util.tree_map(fn, tree, is_leaf=lambda x: isinstance(x, LazyRng))

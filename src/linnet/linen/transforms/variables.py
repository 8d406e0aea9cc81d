"""Lifted transforms that change how a module sees variables or keys, or what a profile shows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax

import linnet.core.lift.variables as lift
from linnet.core import meta
from linnet.core.filters import CollectionFilter, PRNGSequenceFilter
from linnet.linen.transforms.methods import Methods, lift_function
from linnet.linen.transforms.methods import lift as lift_target

Target = TypeVar('Target')


def map_variables(
    target: Target,
    mapped_collections: CollectionFilter = True,
    trans_in_fn: Callable[..., Any] = lift.id_fn,
    trans_out_fn: Callable[..., Any] = lift.id_fn,
    init: bool = False,
    mutable: bool = False,
    rngs: PRNGSequenceFilter = True,
    variables: CollectionFilter = True,
    methods: Methods = None,
) -> Target:
    """Lets a module see some of its variables through a map.

    Args:
        target: a module class, or a function whose first argument is a module.
        mapped_collections: the collections that are mapped.
        trans_in_fn: from what is stored to what the module sees, both ``{collection: tree}``.
        trans_out_fn: from what the module leaves to what is stored.
        init: whether the module may make variables of the mapped collections.
        mutable: whether it may change them.
        rngs: the streams that it sees.
        variables: the other collections that it sees.
        methods: of a class, the methods to lift; ``__call__`` by default.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> transpose = lambda tree: jax.tree.map(jnp.transpose, tree)
    >>> Tied = nn.map_variables(nn.Dense, 'params', transpose, transpose, init=True)
    >>> Tied(4, use_bias=False).init(jax.random.key(0), jnp.ones((1, 3)))['params']['kernel'].shape
    (4, 3)
    """
    return lift_target(
        'map_variables',
        functools.partial(lift_function, lift.map_variables),
        target,
        methods,
        mapped_collections,
        trans_in_fn,
        trans_out_fn,
        init,
        mutable,
        rngs,
        variables,
    )


def add_metadata_axis(
    target: Target,
    variable_axes: Mapping[CollectionFilter, int] = {},
    metadata_params: dict[Any, Any] = {},  # noqa: B006
) -> Target:
    """Lets a module see boxes of metadata without an axis that they have outside.

    Args:
        target: a module class, or a function whose first argument is a module.
        variable_axes: the axis by filter of collections.
        metadata_params: what the boxes are told about the axis, such as its name.
    """
    for collections, axis in variable_axes.items():
        remove = functools.partial(meta.remove_axis, index=axis, params=metadata_params)
        add = functools.partial(meta.add_axis, index=axis, params=metadata_params)
        target = map_variables(target, collections, remove, add, mutable=True)
    return target


def fold_rngs(
    target: Target, variables: CollectionFilter = True, rngs: PRNGSequenceFilter = True
) -> Target:
    """Gives a module keys of its own, drawn from those outside, one for each stream.

    Args:
        target: a module class, or a function whose first argument is a module.
        variables: the collections that it sees.
        rngs: the streams that it sees.
    """
    lifting = functools.partial(lift_function, lift.fold_rngs, forks=True)
    return lift_target('fold_rngs', lifting, target, None, variables=variables, rngs=rngs)


def named_call(class_fn: Callable[..., Any], force: bool = True) -> Callable[..., Any]:
    """Shows a function of a module by the name of both in compiled programs.

    Methods are shown without it, unless names were switched off.

    Args:
        class_fn: a method, or a function whose first argument is a module.
        force: whether to show it even where names are switched off.
    """
    if isinstance(class_fn, type):
        return class_fn

    @functools.wraps(class_fn)
    def wrapped(module: Any, /, *args: Any, **kwargs: Any) -> Any:
        name = f'{module.name or type(module).__name__}.{class_fn.__name__}'
        with jax.named_scope(name):
            return class_fn(module, *args, **kwargs)

    return wrapped if force else class_fn

"""Lifted transforms over an axis: ``vmap``, ``scan`` and ``remat_scan``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import linnet.core.lift.batch as lift
from linnet.core.filters import CollectionFilter, PRNGSequenceFilter
from linnet.linen.transforms.methods import Methods, lift_function
from linnet.linen.transforms.methods import lift as lift_target
from linnet.typing import InOutAxis, InOutScanAxis

Target = TypeVar('Target')


def vmap(
    target: Target,
    variable_axes: Mapping[CollectionFilter, InOutAxis] = {},
    split_rngs: Mapping[PRNGSequenceFilter, bool] = {},
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_size: int | None = None,
    axis_name: str | None = None,
    spmd_axis_name: str | None = None,
    metadata_params: Mapping[Any, Any] = {},
    methods: Methods = None,
) -> Target:
    """``jax.vmap`` of a module: many of it side by side, or one on many examples.

    Args:
        target: a module class, or a function whose first argument is a module.
        variable_axes: by collection, the axis along which each slice has a variable of its own;
            ``None`` shares it. ``nn.In`` and ``nn.Out`` give one direction. A collection that is
            not named is not seen.
        split_rngs: by stream, whether every slice gets a key of its own. A stream that is not
            named is not seen.
        in_axes: the axis of each argument that is mapped, ``None`` for none; for all, or in a
            tuple for each.
        out_axes: the axis of the results.
        axis_size: the size of the axis, where no argument tells it.
        axis_name: a name for collectives inside.
        spmd_axis_name: the mesh axis over which the mapped axis is sharded.
        metadata_params: what boxes of metadata are told about the axis, such as
            ``{nn.PARTITION_NAME: 'heads'}``.
        methods: of a class, the methods to lift; ``__call__`` by default.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> Ensemble = nn.vmap(
    ...     nn.Dense, variable_axes={'params': 0}, split_rngs={'params': True},
    ...     in_axes=None, axis_size=5)
    >>> variables = Ensemble(2).init(jax.random.key(0), jnp.ones((1, 3)))
    >>> variables['params']['kernel'].shape
    (5, 3, 2)
    """
    return lift_target(
        'vmap',
        functools.partial(lift_function, lift.vmap),
        target,
        methods,
        variable_axes,
        split_rngs,
        in_axes=in_axes,
        out_axes=out_axes,
        axis_size=axis_size,
        axis_name=axis_name,
        spmd_axis_name=spmd_axis_name,
        metadata_params=metadata_params,
    )


def scan(
    target: Target,
    variable_axes: Mapping[CollectionFilter, InOutScanAxis] = {},
    variable_broadcast: CollectionFilter = False,
    variable_carry: CollectionFilter = False,
    split_rngs: Mapping[PRNGSequenceFilter, bool] = {},
    in_axes: Any = 0,
    out_axes: Any = 0,
    length: int | None = None,
    reverse: bool = False,
    unroll: int = 1,
    data_transform: Callable[..., Any] | None = None,
    metadata_params: Mapping[Any, Any] = {},
    methods: Methods = None,
    _split_transpose: bool = False,
    check_constancy_invariants: bool = True,
) -> Target:
    """``jax.lax.scan`` of a module: a loop over an axis, compiled as one body.

    The method that is lifted takes and returns a carry: ``(carry, x) -> (carry, y)``.

    Args:
        target: a module class, or a function whose first argument is a module.
        variable_axes: by collection, the axis along which each iteration has a variable of its
            own. A collection that no argument names is not seen.
        variable_broadcast: the collections that all iterations share, and none changes.
        variable_carry: the collections that an iteration hands to the next.
        split_rngs: by stream, whether every iteration gets a key of its own; with ``False`` all
            have the same. A stream that is not named is not seen.
        in_axes: the axis of each argument after the carry, ``nn.broadcast`` for one that is the
            same in all iterations; for all, or in a tuple for each.
        out_axes: the axis along which results are stacked.
        length: the number of iterations, where no argument tells it.
        reverse: whether to begin at the end.
        unroll: how many iterations are compiled in a row.
        data_transform: applied to the groups of variables and keys inside the loop.
        metadata_params: what boxes of metadata are told about the axis, such as
            ``{nn.PARTITION_NAME: 'layers'}``.
        methods: of a class, the methods to lift; ``__call__`` by default.
        _split_transpose: as in :func:`jax.lax.scan`.
        check_constancy_invariants: whether a first pass makes variables of ``variable_broadcast``
            and checks that results without an axis do not change.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> class Cell(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, carry, x):       # [h], [in] -> [h], [h]
    ...         carry = nn.tanh(nn.Dense(4)(jnp.concatenate([carry, x])))
    ...         return carry, carry
    >>> Loop = nn.scan(Cell, variable_broadcast='params', split_rngs={'params': False})
    >>> (last, all), _ = Loop().init_with_output(jax.random.key(0), jnp.zeros(4), jnp.ones((9, 2)))
    >>> last.shape, all.shape
    ((4,), (9, 4))
    """
    return lift_target(
        'scan',
        functools.partial(lift_function, lift.scan),
        target,
        methods,
        variable_axes=variable_axes,
        variable_broadcast=variable_broadcast,
        variable_carry=variable_carry,
        split_rngs=split_rngs,
        in_axes=in_axes,
        out_axes=out_axes,
        length=length,
        reverse=reverse,
        unroll=unroll,
        _split_transpose=_split_transpose,
        data_transform=data_transform,
        metadata_params=metadata_params,
        check_constancy_invariants=check_constancy_invariants,
    )


def remat_scan(
    target: Target,
    lengths: Sequence[int] = (),
    policy: Callable[..., bool] | None = None,
    variable_broadcast: CollectionFilter = False,
    variable_carry: CollectionFilter = False,
    variable_axes: Mapping[CollectionFilter, InOutScanAxis] = {True: 0},
    split_rngs: Mapping[PRNGSequenceFilter, bool] = {True: True},
) -> Target:
    """Applies a module many times in nested loops, recomputing what is inside.

    With lengths ``(n, m)`` the backward pass keeps ``n + m`` values in place of ``n * m``.

    Args:
        target: a module class, or a function whose first argument is a module, from a carry to
            the next.
        lengths: iterations of the loops, the outermost first.
        policy: which values the backward pass keeps, of ``jax.checkpoint_policies``.
        variable_broadcast: as in :func:`scan`.
        variable_carry: as in :func:`scan`.
        variable_axes: as in :func:`scan`.
        split_rngs: as in :func:`scan`.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> Deep = nn.remat_scan(nn.Dense, lengths=(3, 4))
    >>> Deep(2).init(jax.random.key(0), jnp.ones((1, 2)))['params']['kernel'].shape
    (3, 4, 2, 2)
    """
    return lift_target(
        'remat_scan',
        functools.partial(lift_function, lift.remat_scan),
        target,
        None,
        lengths=tuple(lengths),
        policy=policy,
        variable_broadcast=variable_broadcast,
        variable_carry=variable_carry,
        variable_axes=variable_axes,
        split_rngs=split_rngs,
    )

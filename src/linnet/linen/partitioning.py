"""Variables with logically named axes, where the names lie in a collection of their own.

:func:`param_with_axes` and :func:`variable_with_axes` make a variable and *record* the logical
names of its axes: those of ``params/kernel`` in ``params_axes/kernel_axes``, as an
:class:`AxisMetadata`. :func:`scan_with_axes` and :func:`vmap_with_axes` keep the record in step
with the axis that they add. :func:`get_axis_names` turns the collection into a tree like that of
the variables.

:func:`linnet.linen.with_logical_partitioning` is the other way to say the same: it keeps the
names in a box around the array. :mod:`linnet.linen.spmd` explains names and rules.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jax.sharding import PartitionSpec

from linnet._frozen_dict import FrozenDict, freeze
from linnet.core.filters import CollectionFilter, PRNGSequenceFilter
from linnet.core.lift.staging import checkpoint
from linnet.core.scope import Scope
from linnet.core.spmd import get_logical_axis_rules as get_axis_rules
from linnet.core.spmd import logical_axis_rules as axis_rules
from linnet.core.spmd import set_logical_axis_rules as set_axis_rules
from linnet.core.variables import Variable
from linnet.errors._suggest import brief
from linnet.errors.layers import InvalidOptionError
from linnet.errors.modules import BindingError
from linnet.linen._axis_metadata import (
    AxisMetadata,
    checked_axes,
    name_axes,
    names_below,
    record,
    records_of,
)
from linnet.linen.module.context import context
from linnet.linen.spmd import RulesFallback, logical_to_mesh, logical_to_mesh_axes
from linnet.linen.spmd import with_logical_constraint as with_sharding_constraint
from linnet.linen.transforms import batch
from linnet.linen.transforms.batch import Target
from linnet.linen.transforms.methods import Methods, lift, lift_function
from linnet.typing import (
    ArrayPytree,
    In,
    InOutAxis,
    InOutScanAxis,
    LogicalPartitionSpec,
    LogicalPartitionSpecPytree,
    LogicalRules,
    Out,
    PartitionSpecPytree,
    T,
)

ScanIn = In
ScanOut = Out

__all__ = [
    'ArrayPytree',
    'AxisMetadata',
    'CollectionFilter',
    'LogicalPartitionSpec',
    'LogicalPartitionSpecPytree',
    'LogicalRules',
    'PRNGSequenceFilter',
    'PartitionSpecPytree',
    'PartitionedVariable',
    'RulesFallback',
    'ScanIn',
    'ScanOut',
    'axis_rules',
    'core_remat_static',
    'get_axis_names',
    'get_axis_rules',
    'logical_to_mesh',
    'logical_to_mesh_axes',
    'param_with_axes',
    'remat',
    'scan_with_axes',
    'set_axis_rules',
    'variable_with_axes',
    'vmap_with_axes',
    'with_sharding_constraint',
]


class PartitionedVariable(Variable[T]):
    """A handle on a variable that is constrained to a sharding when it is read and written.

    Args:
        scope: the scope that holds it.
        collection: the name of its collection.
        name: its name in the scope.
        axes: the logical names of its axes; None for a variable that is not constrained.
        fallback: what becomes of an axis whose name has no rule.
    """

    def __init__(
        self,
        scope: Scope,
        collection: str,
        name: str,
        axes: tuple[str, ...] | None = None,
        fallback: RulesFallback = RulesFallback.AXIS_IS_UNSHARDED,
    ) -> None:
        super().__init__(scope, collection, name, unbox=False)
        self.axes = axes
        self.fallback = fallback

    @property
    def value(self) -> T:
        """The value in the tree at this moment, constrained to its sharding."""
        return self._constrained(self.scope.get_variable(self.collection, self.name))

    @value.setter
    def value(self, value: T) -> None:
        self.scope.put_variable(self.collection, self.name, self._constrained(value))

    def _constrained(self, value: Any) -> Any:
        return with_sharding_constraint(value, self.axes, fallback=self.fallback)


def param_with_axes(
    name: str,
    init_fn: Callable[..., Any],
    *init_args: Any,
    axes: tuple[str, ...] | None = None,
    module: Any = None,
    **init_kwargs: Any,
) -> Any:
    """Declares a parameter whose axes have logical names, and constrains its sharding.

    Args:
        name: its name.
        init_fn: makes its first value, as for :meth:`linnet.linen.Module.param`.
        *init_args: arguments of ``init_fn`` after the key.
        axes: the logical name of each axis; None records nothing.
        module: the module; by default the one that runs.
        **init_kwargs: keyword arguments of ``init_fn``.

    Returns:
        The value.

    Raises:
        BindingError: no module runs, or it may not make a parameter here.
        InvalidOptionError: ``axes`` is a string, or not what an earlier call recorded; or see
            :func:`linnet.linen.with_logical_constraint`.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> class Scale(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x):              # [batch..., embed] -> [batch..., embed]
    ...         return x * param_with_axes('scale', nn.initializers.ones, x.shape[-1:],
    ...                                    axes=('embed',))
    >>> Scale().init(jax.random.key(0), jnp.ones((2, 3)))['params_axes']
    {'scale_axes': AxisMetadata(names=('embed',))}
    """
    module = _running_module(module, 'param', name)
    param = module.param(name, init_fn, *init_args, **init_kwargs)
    if axes is None:
        return param
    axes = checked_axes(axes)
    record(module, 'params', name, axes)
    spec = PartitionSpec(*axes) if isinstance(axes, tuple) else axes
    return with_sharding_constraint(param, spec)


def variable_with_axes(
    collection: str,
    name: str,
    init_fn: Callable[..., Any],
    *init_args: Any,
    axes: tuple[str, ...] | None = None,
    module: Any = None,
    fallback: RulesFallback = RulesFallback.AXIS_IS_UNSHARDED,
    **init_kwargs: Any,
) -> PartitionedVariable[Any]:
    """Declares a variable whose axes have logical names; any method of a bound module may.

    Args:
        collection: its collection.
        name: its name.
        init_fn: makes its first value, ``init_fn(*init_args, **init_kwargs)``.
        *init_args: arguments of ``init_fn``.
        axes: the logical name of each axis; None records and constrains nothing.
        module: the module; by default the one that runs.
        fallback: what becomes of an axis whose name has no rule.
        **init_kwargs: keyword arguments of ``init_fn``.

    Returns:
        A handle; what is read and written through it is constrained.

    Raises:
        BindingError: no module runs, or it is not bound.
        InvalidOptionError: ``axes`` is a string, or not what an earlier call recorded; or see
            :func:`linnet.linen.with_logical_constraint`.
        NameInUseError: the name is taken.
        ScopeVariableNotFoundError, ScopeCollectionNotFound: no such variable was passed in.
    """
    module = _running_module(module, 'variable', name)
    axes = None if axes is None else checked_axes(axes)

    def first() -> Any:
        value = init_fn(*init_args, **init_kwargs)
        return with_sharding_constraint(value, axes, fallback=fallback)

    scope = module.scope
    if scope is None:
        raise BindingError.unbound('variable', name, module_cls=type(module))
    scope.variable(collection, name, first, unbox=False)
    module._state.children[name] = collection
    if axes is not None:
        record(module, collection, name, axes)
    return PartitionedVariable(scope, collection, name, axes, fallback)


def _running_module(module: Any, kind: str, name: str) -> Any:
    if module is None:
        module = context.module_stack[-1]
    if module is None:
        raise BindingError(kind, name)
    return module


def get_axis_names(axes_metadata: Mapping[str, Any]) -> FrozenDict[str, Any]:
    """Turns a collection of records into a tree like that of the variables.

    Args:
        axes_metadata: a collection such as ``variables['params_axes']``.

    Returns:
        For each variable the ``PartitionSpec`` of logical names, under the variable's name.

    Raises:
        InvalidOptionError: it is no such collection.

    >>> names = get_axis_names({'Dense_0': {'kernel_axes': AxisMetadata(('embed', 'mlp'))}})
    >>> tuple(names['Dense_0']['kernel'])
    ('embed', 'mlp')
    """
    if not isinstance(axes_metadata, Mapping):
        raise InvalidOptionError(
            f'{brief(axes_metadata)} is no collection of names of axes',
            mend="partitioning.get_axis_names(variables['params_axes'])",
        )
    return freeze(names_below(axes_metadata))


def scan_with_axes(
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
    axis_name: str = 'layers',
    axes_collections: tuple[str, ...] = ('params',),
    data_transform: Callable[..., Any] | None = None,
    methods: Methods = None,
) -> Target:
    """:func:`linnet.linen.scan` that names the axis it adds to variables.

    The other arguments are explained there.

    Args:
        target: a module class, or a function whose first argument is a module.
        variable_axes: the axis by collection. A collection whose axis is to be named is a key of
            its own here.
        variable_broadcast: as in ``scan``.
        variable_carry: as in ``scan``.
        split_rngs: as in ``scan``.
        in_axes: as in ``scan``.
        out_axes: as in ``scan``.
        length: as in ``scan``.
        reverse: as in ``scan``.
        unroll: as in ``scan``.
        axis_name: the logical name of the axis that is added.
        axes_collections: the collections whose records of names go through the loop.
        data_transform: as in ``scan``.
        methods: as in ``scan``.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> class Block(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x, _):
    ...         w = param_with_axes('w', nn.initializers.ones, (2, 2), axes=('embed', 'mlp'))
    ...         return x @ w, None
    >>> Stack = scan_with_axes(
    ...     Block, variable_axes={'params': 0}, split_rngs={'params': True}, length=3)
    >>> variables = Stack().init(jax.random.key(0), jnp.ones((1, 2)), None)
    >>> variables['params']['w'].shape, variables['params_axes']['w_axes'].names
    ((3, 2, 2), ('layers', 'embed', 'mlp'))
    """
    names = dict.fromkeys(_collections(axes_collections), axis_name)
    lifted = batch.scan(
        target,
        variable_axes={**records_of(names), **variable_axes},
        variable_broadcast=variable_broadcast,
        variable_carry=variable_carry,
        split_rngs=split_rngs,
        in_axes=in_axes,
        out_axes=out_axes,
        length=length,
        reverse=reverse,
        unroll=unroll,
        data_transform=data_transform,
        methods=methods,
    )
    return name_axes(lifted, variable_axes, names, methods)


def vmap_with_axes(
    target: Target,
    variable_axes: Mapping[CollectionFilter, InOutAxis],
    split_rngs: Mapping[PRNGSequenceFilter, bool] = {},
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_size: int | None = None,
    axis_name: str | None = None,
    partitioning_axis_names: Mapping[Any, str] = {},
    spmd_axis_name: str | None = None,
    methods: Methods = None,
) -> Target:
    """:func:`linnet.linen.vmap` that names the axis it adds to variables.

    The other arguments are explained there.

    Args:
        target: a module class, or a function whose first argument is a module.
        variable_axes: the axis by collection. A collection whose axis is to be named is a key of
            its own here.
        split_rngs: as in ``vmap``.
        in_axes: as in ``vmap``.
        out_axes: as in ``vmap``.
        axis_size: as in ``vmap``.
        axis_name: as in ``vmap``: a name for collectives.
        partitioning_axis_names: by collection, the logical name of the axis that is added. The
            records of names of other collections do not go through.
        spmd_axis_name: as in ``vmap``.
        methods: as in ``vmap``.

    Raises:
        InvalidOptionError: a name is given for a collection that has no axis.
    """
    lifted = batch.vmap(
        target,
        variable_axes={**records_of(partitioning_axis_names), **variable_axes},
        split_rngs=split_rngs,
        in_axes=in_axes,
        out_axes=out_axes,
        axis_size=axis_size,
        axis_name=axis_name,
        spmd_axis_name=spmd_axis_name,
        methods=methods,
    )
    return name_axes(lifted, variable_axes, partitioning_axis_names, methods)


def _collections(names: Iterable[str]) -> Iterable[str]:
    if isinstance(names, str):
        raise InvalidOptionError(
            f'axes_collections is the string {names!r}', mend=f'axes_collections=({names!r},)'
        )
    return names


def core_remat_static(
    fn: Callable[..., Any],
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
    concrete: bool = False,
    prevent_cse: bool = True,
    static_argnums: int | tuple[int, ...] = (),
    policy: Callable[..., bool] | None = None,
) -> Callable[..., Any]:
    """``jax.checkpoint`` of a function of scopes, some of whose arguments may be left out.

    Args:
        fn: a function whose first argument is a scope, or a tree of scopes.
        variables: the collections that ``fn`` sees.
        rngs: the streams that ``fn`` sees.
        concrete: kept for compatibility.
        prevent_cse: as in :func:`linnet.linen.remat`.
        static_argnums: arguments that are not traced; the one after the scope is argument 0.
            Those that a call leaves to their defaults may be listed too.
        policy: as in :func:`linnet.linen.remat`.
    """
    static = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)

    def wrapper(scopes: Any, *args: Any, **kwargs: Any) -> Any:
        given = tuple(n for n in static if n < len(args))
        run = checkpoint(fn, variables, rngs, concrete, prevent_cse, given, policy)
        return run(scopes, *args, **kwargs)

    return wrapper


def remat(
    target: Target,
    variables: CollectionFilter = True,
    rngs: PRNGSequenceFilter = True,
    concrete: bool = False,
    prevent_cse: bool = True,
    static_argnums: int | tuple[int, ...] = (),
    policy: Callable[..., bool] | None = None,
    methods: Methods = None,
) -> Target:
    """:func:`linnet.linen.remat`, except for how arguments are counted.

    Args:
        target: a module class, or a function whose first argument is a module.
        variables: the collections that it sees.
        rngs: the streams that it sees.
        concrete: kept for compatibility.
        prevent_cse: as there.
        static_argnums: arguments that are not traced; the one after ``self`` is argument 0.
        policy: as there.
        methods: of a class, the methods to lift; ``__call__`` by default.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> class Block(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x, train):
    ...         return nn.Dense(2)(x) if train else x
    >>> model = remat(Block, static_argnums=(1,))()
    >>> model.init(jax.random.key(0), jnp.ones((1, 3)), True)['params']['Dense_0']['bias'].shape
    (2,)
    """
    return lift(
        'core_remat_static',
        functools.partial(lift_function, core_remat_static),
        target,
        methods,
        variables=variables,
        rngs=rngs,
        concrete=concrete,
        prevent_cse=prevent_cse,
        static_argnums=static_argnums,
        policy=policy,
    )

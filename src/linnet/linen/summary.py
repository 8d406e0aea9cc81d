"""Tables of a model: each module that runs, with its inputs, outputs, variables and costs.

:func:`tabulate` runs ``init`` abstractly and records the calls of methods; each makes a
:class:`Row` of a :class:`Table`, which is drawn as text. A module that is called again has a row
again only where ``show_repeated`` asks for it; rows of modules deeper than ``depth`` are left out,
and their variables are counted in the row above.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax

from linnet.core.filters import CollectionFilter, DenyList
from linnet.linen._summary_text import ArrayRepresentation as _ArrayRepresentation  # noqa: F401
from linnet.linen._summary_text import ObjectRepresentation as _ObjectRepresentation  # noqa: F401
from linnet.linen._summary_text import render, represent, sum_sizes
from linnet.linen.module import binding
from linnet.linen.module.context import observing
from linnet.linen.module.state import ModuleBase
from linnet.typing import PRNGKey, RNGSequences

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclasses.dataclass
class Row:
    """One call of a method.

    Attributes:
        path: the names from the root to the module.
        module_copy: an unbound copy of the module.
        method: the name of the method.
        inputs: the arguments; the argument itself where there is only one.
        outputs: the result.
        module_variables: the module's own variables, by collection.
        counted_variables: those that the row counts: also of modules below that have no row.
        flops: operations of the call, -1 where they were not counted.
        vjp_flops: operations of the call and its derivative, -1 where they were not counted.
    """

    path: tuple[str, ...]
    module_copy: Any
    method: str
    inputs: Any
    outputs: Any
    module_variables: dict[str, dict[str, Any]]
    counted_variables: dict[str, dict[str, Any]]
    flops: int
    vjp_flops: int

    def size_and_bytes(self, collections: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Number of elements and of bytes that the row counts, by collection."""
        sizes = {col: sum_sizes(self.counted_variables.get(col, {})) for col in collections}
        return {col: (size.size, size.bytes) for col, size in sizes.items()}


class Table(list[Row]):
    """The rows of a model.

    Args:
        module: the model.
        collections: the collections that have a column, in order.
        rows: the rows.
    """

    def __init__(self, module: Any, collections: Sequence[str], rows: Iterable[Row]) -> None:
        super().__init__(rows)
        self.module = module
        self.collections = collections


def tabulate(
    module: Any,
    rngs: PRNGKey | RNGSequences,
    depth: int | None = None,
    show_repeated: bool = False,
    mutable: CollectionFilter = DenyList('intermediates'),
    console_kwargs: Mapping[str, Any] | None = None,
    table_kwargs: Mapping[str, Any] = _NOTHING,
    column_kwargs: Mapping[str, Any] = _NOTHING,
    compute_flops: bool = False,
    compute_vjp_flops: bool = False,
    **kwargs: Any,
) -> Callable[..., str]:
    """A function that draws the table of a model for some inputs.

    Nothing is computed: an input may be a :class:`jax.ShapeDtypeStruct`.

    Args:
        module: the model.
        rngs: as for ``init``.
        depth: how deep a module may lie to have a row; the root lies at 0.
        show_repeated: whether a module that is called again has a row again.
        mutable: the collections that have a column.
        console_kwargs: arguments of :class:`rich.console.Console`, such as ``width``.
        table_kwargs: arguments of :class:`rich.table.Table`.
        column_kwargs: arguments of each column.
        compute_flops: whether to count floating-point operations, as the compiler estimates them.
        compute_vjp_flops: whether to count those of the call with its derivative.
        **kwargs: keyword arguments of ``init``, such as ``method``.

    Returns:
        A function of the model's inputs that returns the table as text.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> text = nn.tabulate(nn.Dense(2), jax.random.key(0))(jnp.ones((1, 3)))
    >>> 'Total Parameters: 8 (32 B)' in text
    True
    """

    def draw(*args: Any, **more: Any) -> str:
        make = _get_module_table(module, depth, show_repeated, compute_flops, compute_vjp_flops)
        table = make(rngs, *args, **more, mutable=mutable, **kwargs)
        costs = ['flops'] * compute_flops + ['vjp_flops'] * compute_vjp_flops
        return render(table, costs, console_kwargs, table_kwargs, column_kwargs)

    return draw


@dataclasses.dataclass
class _Call:
    """What is known of a call while ``init`` runs."""

    module: Any
    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    path: tuple[str, ...]
    repeated: bool
    output: Any = None


class _Recorder:
    """Records the calls of one ``init`` that shall have a row, in the order in which they begin."""

    follows_apply = True

    def __init__(self, depth: int | None, show_repeated: bool) -> None:
        self.calls: list[_Call] = []
        self.below: dict[tuple[str, ...], set[str]] = {}  # of each path, the names of modules
        self._depth, self._show_repeated = depth, show_repeated
        self._open: list[_Call | None] = []
        self._seen: set[tuple[str, ...]] = set()
        self._tree: Any = None

    def enter(
        self, module: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """A call begins."""
        call = self._noted(module, method, args, kwargs)
        self._open.append(call)
        if call is not None:
            self._seen.add(call.path)
            self.calls.append(call)

    def _noted(
        self, module: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> _Call | None:
        scope = module.scope
        if scope is None:
            return None
        if self._tree is None:
            self._tree = scope.counts
        if scope.counts is not self._tree:
            return None  # of an apply inside
        self.below.setdefault(scope.path[:-1], set()).update(scope.path[-1:])
        repeated = scope.path in self._seen
        deep = self._depth is not None and len(scope.path) > self._depth
        if deep or (repeated and not self._show_repeated):
            return None
        return _Call(module, method, args, kwargs, scope.path, repeated)

    def exit(self, module: Any, method: str, output: Any) -> None:
        """A call ended."""
        call = self._open.pop()
        if call is not None:
            call.output = output
            made = module._state.children.items()  # some of which may not have been called
            names = {name for name, child in made if isinstance(child, ModuleBase)}
            self.below.setdefault(call.path, set()).update(names)


def _get_module_table(
    module: Any,
    depth: int | None,
    show_repeated: bool,
    compute_flops: bool,
    compute_vjp_flops: bool,
) -> Callable[..., Table]:
    """A function of the arguments of ``init`` that makes the table."""

    def make(rngs: Any, *args: Any, **kwargs: Any) -> Table:
        recorder = _Recorder(depth, show_repeated)
        rows: list[Row] = []
        runs: list[_Runs] = []
        variables: dict[str, Any] = {}

        def init(rngs: Any, args: Any) -> Any:
            with observing(recorder):
                made = module.init(rngs, *args, **kwargs)
            for col, tree in made.items():  # in the order in which they were made
                variables[col] = jax.tree_util.tree_map(_abstract, tree)
            for call in recorder.calls:
                rows.append(_row(call, recorder.below[call.path], variables, depth))
            if compute_flops or compute_vjp_flops:
                runs.extend(map(_runs, recorder.calls))
            return None

        _abstractly(init)(rngs, args)
        # Out of the trace: in it, what does not depend on the inputs would be computed for free.
        for row, (run, run_vjp, inputs) in zip(rows, runs, strict=bool(runs)):
            row.flops = _flops(run, inputs) if compute_flops else -1
            row.vjp_flops = _flops(run_vjp, inputs) if compute_vjp_flops else -1
        return Table(module.clone(_deep_clone=True), tuple(variables), rows)

    return make


def _abstractly(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a function on the shapes of those arguments that are arrays."""

    def run(*args: Any) -> Any:
        leaves, treedef = jax.tree_util.tree_flatten(args)
        arrays = [_is_array(x) for x in leaves]

        def flat(*given: Any) -> Any:
            left = iter(given)
            full = [next(left) if is_array else x for is_array, x in zip(arrays, leaves)]  # noqa: B905
            return fn(*jax.tree_util.tree_unflatten(treedef, full))

        return jax.eval_shape(flat, *(x for is_array, x in zip(arrays, leaves) if is_array))  # noqa: B905

    return run


def _is_array(x: Any) -> bool:
    return hasattr(x, 'shape') and hasattr(x, 'dtype') and not callable(x)


def _abstract(x: Any) -> Any:
    return jax.ShapeDtypeStruct(x.shape, x.dtype) if _is_array(x) else x


def _row(
    call: _Call, children: Collection[str], variables: dict[str, Any], depth: int | None
) -> Row:
    parts = {col: _at(tree, call.path) for col, tree in variables.items()}
    own = {
        col: {name: value for name, value in part.items() if name not in children}
        for col, part in parts.items()
    }
    counted = parts if depth is not None and len(call.path) == depth else own
    if call.repeated:
        own = counted = {col: {} for col in variables}
    inputs: Any = (*call.args, call.kwargs) if call.kwargs else call.args
    return Row(
        path=call.path,
        module_copy=binding.clone(call.module, _deep_clone=True, _reset_names=True, name=None),
        method=call.method,
        inputs=represent(inputs[0] if len(inputs) == 1 else inputs),
        outputs=represent(call.output),
        module_variables=own,
        counted_variables=counted,
        flops=-1,
        vjp_flops=-1,
    )


def _at(tree: Any, path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        tree = tree.get(name, {})
    return dict(tree)


_Runs = tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]


def _runs(call: _Call) -> _Runs:
    """A call as a function, the call with its derivative, and shapes of what both take."""
    module = binding.clone(call.module, _deep_clone=True, _reset_names=True, name=None)
    given = jax.tree_util.tree_map(_abstract, (call.module.variables, call.args, call.kwargs))
    leaves, treedef = jax.tree_util.tree_flatten(given)
    arrays = [x for x in leaves if _is_array(x)]
    key = jax.eval_shape(jax.random.key, 0)
    keys = dict.fromkeys(call.module.scope.rngs, key)
    method = getattr(type(module), call.method)

    def run(keys: Any, *arrays: Any) -> Any:
        left = iter(arrays)
        full = [next(left) if _is_array(x) else x for x in leaves]
        variables, args, kwargs = jax.tree_util.tree_unflatten(treedef, full)
        out = module.apply(variables, *args, **kwargs, rngs=keys, method=method, mutable=True)
        return [x for x in jax.tree_util.tree_leaves(out) if _is_array(x)]

    def run_vjp(keys: Any, *arrays: Any) -> Any:
        y, backward = jax.vjp(functools.partial(run, keys), *arrays)
        return backward(y)

    return run, run_vjp, (keys, *arrays)


def _flops(fn: Callable[..., Any], args: Sequence[Any]) -> int:
    """Floating-point operations that the compiler counts in a function."""
    analysis = jax.jit(fn).lower(*args).cost_analysis()
    return int((analysis or {}).get('flops', 0))

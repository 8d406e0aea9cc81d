"""Scopes: the functional core beneath modules.

A *variable* is an array (or a tree) with a name, in a *collection* such as ``params``. All
variables of a model form one tree: ``{collection: {scope: {scope: {name: value}}}}``. A
:class:`Scope` is a cursor into that tree: it knows its path, reads and writes the variables
there, and draws keys that belong to the path. The *root* holds what all share: the tree, which
collections are mutable, the flags, and the counts of keys drawn.

The life of a scope: :func:`bind` makes the root, :meth:`Scope.push` goes down by a name, which is
*reserved* so that no two children share it by accident. :func:`init` and :func:`apply` do it for
a function of a scope.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from linnet import _compat
from linnet._frozen_dict import FrozenDict, freeze, unfreeze
from linnet.configurations import config
from linnet.core import materialize
from linnet.core._scope import Scope, no_flag
from linnet.core.filters import (
    CollectionFilter,
    DenyList,
    Filter,
    PRNGSequenceFilter,
    filter_to_set,
    group_collections,
    in_filter,
    intersect_filters,
    is_filter_empty,
    subtract_filters,
    union_filters,
)
from linnet.core.frames import with_room
from linnet.core.partial_eval import lazy_init as _lazy_init
from linnet.core.rng import LazyRng, as_streams, is_key
from linnet.core.variables import Variable
from linnet.core.watching import watching
from linnet.errors.variables import (
    ApplyScopeInvalidVariablesStructureError,
    ApplyScopeInvalidVariablesTypeError,
)
from linnet.traceback_util import api_boundary
from linnet.typing import FrozenVariableDict, MutableVariableDict, RNGSequences, VariableDict

__all__ = [
    'CollectionFilter',
    'DenyList',
    'Filter',
    'FrozenDict',
    'FrozenVariableDict',
    'LazyRng',
    'MutableVariableDict',
    'PRNGSequenceFilter',
    'Scope',
    'Variable',
    'VariableDict',
    'apply',
    'bind',
    'config',
    'filter_to_set',
    'freeze',
    'group_collections',
    'in_filter',
    'init',
    'intersect_filters',
    'is_filter_empty',
    'lazy_init',
    'no_flag',
    'subtract_filters',
    'union_filters',
]

_is_valid_rng = is_key


def bind(
    variables: VariableDict,
    rngs: RNGSequences | Any | None = None,
    mutable: CollectionFilter = False,
    flags: Mapping[str, Any] | None = None,
) -> Scope:
    """Makes the root scope of a tree of variables.

    Args:
        variables: ``{collection: {name: value or dict of the scope below}}``. Mutable collections
            are copied (the dicts, not the arrays); the caller's tree never changes.
        rngs: keys by stream, or one key for ``params``.
        mutable: the collections that may be written.
        flags: values that hold in the whole tree.

    Raises:
        ApplyScopeInvalidVariablesTypeError: ``variables`` is no dict of dicts with string keys.
        InvalidRngError: ``rngs`` holds something that is no key.
    """
    tree: dict[str, Any] = {}
    part: Any
    if not isinstance(variables, Mapping):
        raise ApplyScopeInvalidVariablesTypeError(variables=variables)
    for col, part in variables.items():
        if not isinstance(col, str):
            raise ApplyScopeInvalidVariablesTypeError(bad_key=col)
        if not isinstance(part, Mapping):
            raise ApplyScopeInvalidVariablesTypeError(variables=part, where=f'collection {col!r}')
        tree[col] = unfreeze(part) if in_filter(mutable, col) else part
    make_root = watching.make_root or Scope
    return make_root(tree, as_streams(rngs), mutable=mutable, flags=flags)


def apply(
    fn: Callable[..., Any],
    mutable: CollectionFilter = False,
    flags: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:
    """Turns a function of a scope into a pure function of variables and keys.

    Args:
        fn: a function whose first argument is a scope.
        mutable: the collections that it may write.
        flags: values that hold in the whole tree.

    Returns:
        A function ``(variables, *args, rngs=None, **kwargs)`` that returns what ``fn`` does;
        where ``mutable`` is not ``False``, a pair of that and the mutable collections.

    >>> from linnet.core import apply
    >>> apply(lambda scope: scope.get_variable('params', 'w') + 1)({'params': {'w': 1}})
    2
    """

    @api_boundary
    @functools.wraps(fn)
    def wrapper(
        variables: VariableDict, *args: Any, rngs: RNGSequences | Any | None = None, **kwargs: Any
    ) -> Any:
        _check_structure(variables)
        with bind(variables, rngs=rngs, mutable=mutable, flags=flags).temporary() as root:
            if _compat.current_trace() is _compat.eval_trace:
                y = fn(root, *args, **kwargs)
            else:
                y = with_room(fn, root, *args, **kwargs)
        return (y, root.mutable_variables()) if mutable is not False else y

    return wrapper


def init(
    fn: Callable[..., Any],
    mutable: CollectionFilter = True,
    flags: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:
    """Turns a function of a scope into a function that makes its variables.

    Args:
        fn: a function whose first argument is a scope.
        mutable: the collections to make.
        flags: values that hold in the whole tree, beside ``initializing``.

    Returns:
        A function ``(rngs, *args, **kwargs)`` that returns a pair of what ``fn`` does and the
        variables.

    >>> import jax
    >>> from linnet.core import init
    >>> init(lambda scope: scope.param('w', jax.nn.initializers.ones, (2,)))(jax.random.key(0))[1]
    {'params': {'w': Array([1., 1.], dtype=float32)}}
    """
    run = apply(fn, mutable=mutable, flags={**(flags or {}), 'initializing': True})

    @api_boundary
    @functools.wraps(fn)
    def wrapper(rngs: RNGSequences | Any, *args: Any, **kwargs: Any) -> Any:
        return materialize.run(run, {}, *args, rngs=as_streams(rngs), **kwargs)

    return wrapper


def lazy_init(
    fn: Callable[..., Any],
    mutable: CollectionFilter = True,
    flags: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:
    """Like :func:`init`, for arguments of which only shape and dtype are known.

    Args:
        fn: a function whose first argument is a scope.
        mutable: the collections to make.
        flags: values that hold in the whole tree, beside ``initializing``.

    Returns:
        A function ``(rngs, *args, **kwargs)`` that returns the variables; arguments may be
        :class:`jax.ShapeDtypeStruct`, and nothing that depends on them is computed.
    """
    make = init(fn, mutable, flags)
    return _lazy_init(lambda rngs, *args, **kwargs: make(rngs, *args, **kwargs)[1])


def _check_structure(variables: Any) -> None:
    """Refuses the result of ``init`` wrapped in one more ``params``.

    Raises:
        ApplyScopeInvalidVariablesStructureError: ``variables['params']`` holds ``params`` again.
    """
    if isinstance(variables, Mapping):
        params = variables.get('params')
        if isinstance(params, Mapping) and 'params' in params:
            raise ApplyScopeInvalidVariablesStructureError(variables)

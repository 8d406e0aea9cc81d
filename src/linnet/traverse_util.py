"""Nested dicts as flat ones, whose keys are paths; and traversals, which reach into structures.

A *path* is the tuple of keys that leads from the root of nested dicts to a leaf, or these keys
joined by a separator. An empty dict has no leaves, so it is lost unless it is kept as
:data:`empty_node`.

A *traversal* names some parts of a structure, so that they can be listed, or replaced in a copy;
:mod:`linnet._traversals` defines all but :class:`ModelParamTraversal`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from linnet import struct
from linnet._frozen_dict import FrozenDict
from linnet._traversals import Traversal as Traversal
from linnet._traversals import TraverseAttr as TraverseAttr
from linnet._traversals import TraverseCompose as TraverseCompose
from linnet._traversals import TraverseEach as TraverseEach
from linnet._traversals import TraverseFilter as TraverseFilter
from linnet._traversals import TraverseId as TraverseId
from linnet._traversals import TraverseItem as TraverseItem
from linnet._traversals import TraverseMerge as TraverseMerge
from linnet._traversals import TraverseTree as TraverseTree
from linnet._traversals import t_identity as t_identity
from linnet.errors._suggest import described
from linnet.errors.data import DictTypeError
from linnet.errors.sharp_bits import LeftOutWarning
from linnet.sharp_bits import warn

Path = tuple[Any, ...]


@struct.dataclass
class _EmptyNode:
    """Stands for an empty dict among the values of a flat one."""


empty_node = _EmptyNode()


def flatten_dict(
    xs: Mapping[Any, Any],
    keep_empty_nodes: bool = False,
    is_leaf: Callable[[Path, Any], bool] | None = None,
    sep: str | None = None,
) -> dict[Any, Any]:
    """Returns a flat dict whose keys are the paths to the leaves of nested dicts.

    Lists and other containers are leaves.

    Args:
        xs: nested dicts, frozen or not.
        keep_empty_nodes: keep an empty dict as :data:`empty_node`, otherwise it is left out.
        is_leaf: ``(path, dict) -> bool`` says which dicts are leaves themselves.
        sep: join the keys of a path by this string.

    Raises:
        DictTypeError: ``xs`` is no dict, or a key is no string and ``sep`` is given.

    Example::

        >>> flatten_dict({'dense': {'kernel': 1, 'bias': 2}, 'scale': 3})
        {('dense', 'kernel'): 1, ('dense', 'bias'): 2, ('scale',): 3}
        >>> flatten_dict({'dense': {'kernel': 1}, 'scale': 3}, sep='/')
        {'dense/kernel': 1, 'scale': 3}
    """
    flat: dict[Any, Any] = {}
    for path, value in _leaves((), _checked(xs, 'flatten_dict'), keep_empty_nodes, is_leaf):
        key = path if sep is None else _joined(path, sep)
        if key in flat:
            _warn(f'the path {key!r} leads to two leaves, and only the last of them is kept')
        flat[key] = value
    return flat


def unflatten_dict(xs: Mapping[Any, Any], sep: str | None = None) -> dict[Any, Any]:
    """Returns the nested dicts of which a dict is the flat form; see :func:`flatten_dict`.

    Args:
        xs: a dict whose keys are paths.
        sep: split each path at this string; otherwise it is a tuple of keys.

    Raises:
        DictTypeError: ``xs`` is no dict, a key is no path, or one path leads through the leaf of
            another.

    Example::

        >>> unflatten_dict({'dense/kernel': 1, 'dense/bias': 2, 'scale': 3}, sep='/')
        {'dense': {'kernel': 1, 'bias': 2}, 'scale': 3}
    """
    nested: dict[Any, Any] = {}
    for path, value in _checked(xs, 'unflatten_dict').items():
        if sep is None and isinstance(path, str) and len(path) > 1:
            _warn(f'each letter of {path!r} is taken for a key, since unflatten_dict() got no sep')
        *parents, last = path if type(path) is tuple and path and sep is None else _split(path, sep)
        node = nested
        for key in parents:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise DictTypeError(
                    f'the path {path!r} leads through {described(node)}, which is a leaf',
                    why='a part of it is a path as well',
                )
        if last in node:
            _warn(f'the path {path!r} is a part of another path, whose leaf is lost')
        node[last] = {} if type(value) is _EmptyNode else value
    return nested


def path_aware_map(f: Callable[[Path, Any], Any], nested_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Applies a function of path and leaf to each leaf of nested dicts.

    Returns:
        Plain nested dicts of the results.

    Example::

        >>> path_aware_map(lambda path, x: '/'.join(path), {'dense': {'kernel': 1}, 'scale': 2})
        {'dense': {'kernel': 'dense/kernel'}, 'scale': 'scale'}
    """
    flat = flatten_dict(_checked(nested_dict, 'path_aware_map'), keep_empty_nodes=True)
    return unflatten_dict({path: x if x is empty_node else f(path, x) for path, x in flat.items()})


def _leaves(
    path: Path, node: Any, keep_empty: bool, is_leaf: Callable[[Path, Any], bool] | None
) -> Iterator[tuple[Path, Any]]:
    if not isinstance(node, dict | FrozenDict) or (is_leaf is not None and is_leaf(path, node)):
        yield path, node
    elif path and keep_empty and not node:
        yield path, empty_node
    else:
        for key, value in node.items():
            yield from _leaves((*path, key), value, keep_empty, is_leaf)


def _checked(xs: Any, function: str) -> Mapping[Any, Any]:
    if isinstance(xs, dict | FrozenDict):
        return xs
    raise DictTypeError(f'{function}() takes a dict or a FrozenDict, got {described(xs)}')


def _joined(path: Path, sep: str) -> str:
    if all(isinstance(key, str) for key in path):
        return sep.join(path)
    raise DictTypeError(
        f'the path {path!r} cannot be joined by {sep!r}',
        why='not all of its keys are strings',
        mend='leave out sep, and the keys of the flat dict are tuples',
    )


def _split(path: Any, sep: str | None) -> Path:
    if sep is not None and isinstance(path, str):
        return tuple(path.split(sep))
    if sep is not None or not isinstance(path, tuple | list | str) or not path:
        wanted = 'a tuple of keys' if sep is None else f'a string of keys joined by {sep!r}'
        raise DictTypeError(f'the key {path!r} of a flat dict is not {wanted}')
    return tuple(path)


def _warn(message: str) -> None:
    warn(LeftOutWarning(message))


class ModelParamTraversal(Traversal):
    """Names those leaves of nested dicts whose path and value pass a filter, sorted by path.

    Args:
        filter_fn: ``(path, value) -> bool``, where the path is a string such as
            ``'/dense/kernel'``.

    Example::

        >>> kernels = ModelParamTraversal(lambda path, _: path.endswith('/kernel'))
        >>> kernels.update(lambda x: 10 * x, {'dense': {'kernel': 1, 'bias': 2}})
        {'dense': {'bias': 2, 'kernel': 10}}
    """

    def __init__(self, filter_fn: Callable[[str, Any], bool]) -> None:
        self._filter_fn = filter_fn

    def update(self, fn: Callable[[Any], Any], inputs: Any) -> Any:
        """See :class:`Traversal`."""
        flat = {
            path: fn(value) if self._names(path, value) else value
            for path, value in _sorted_leaves(inputs)
        }
        nested = unflatten_dict(flat)
        return FrozenDict(nested) if isinstance(inputs, FrozenDict) else nested

    def iterate(self, inputs: Any) -> Iterator[Any]:
        """See :class:`Traversal`."""
        for path, value in _sorted_leaves(inputs):
            if self._names(path, value):
                yield value

    def _names(self, path: Path, value: Any) -> bool:
        name = '/' + '/'.join(map(str, path))
        return value is not empty_node and self._filter_fn(name, value)


def _sorted_leaves(inputs: Any) -> list[tuple[Path, Any]]:
    flat = flatten_dict(_checked(inputs, 'ModelParamTraversal'), keep_empty_nodes=True)
    return sorted(flat.items(), key=lambda item: item[0])

"""The variables of a stack of layers in two forms, and the way from each to the other.

*Stacked*, the variables of a block have a first axis of size ``n``, one slice for each layer::

    {'params': {'Stack_0': {'block': {'kernel': [n, in, out]}}}}

*Unrolled*, there is a child for each layer::

    {'params': {'Stack_0': {'block_0': {'kernel': [in, out]}, 'block_1': {...}, ...}}}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linnet.core import meta
from linnet.errors._suggest import brief, listing
from linnet.errors.layers import InvalidOptionError

STACKED, FIRST = 'block', 'block_0'


def unstack_layers(tree: Any, path: str = '', *, axis_name: str | None = 'layers') -> Any:
    """Turns the variables of a stacked ``Stack`` into those of the unrolled one.

    ``{'block': [n, ...]}`` at the path becomes ``{'block_0': [...], 'block_1': [...], ...}``; all
    else stays as it is, bit for bit, so that :func:`stack_layers` is the exact inverse.

    Args:
        tree: variables, one collection of them, or anything in which there are trees like it:
            a train state, or the state of an optimizer.
        path: names from the root module to the stack, ``'encoder/Stack_0'``; empty where the stack
            is the root.
        axis_name: what metadata boxes call the axis of the layers.

    Returns:
        The tree in the other form. Every leaf inside the block is cut along its first axis.

    Raises:
        InvalidOptionError: there is no stacked stack at the path, or its leaves do not agree on
            the number of layers.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> from linnet.linen.stack import Stack
    >>> x = jnp.ones((1, 3))
    >>> variables = Stack(nn.Dense(3), 4).init(jax.random.key(0), x)
    >>> unrolled = unstack_layers(variables)
    >>> jax.tree.map(jnp.shape, unrolled['params']['block_3'])
    {'bias': (3,), 'kernel': (3, 3)}
    >>> Stack(nn.Dense(3), 4, scan=False).apply(unrolled, x).shape
    (1, 3)
    """
    params = {meta.PARTITION_NAME: axis_name}
    sizes = first_sizes([node[STACKED] for node in _stacks_at(tree, path, STACKED)])
    if len(sizes) != 1 or 0 in sizes:
        raise InvalidOptionError(
            f'the leaves of the stack at {path!r} are of {listed(sizes)} layers',
            why='every variable of a stack has a first axis, which is that of the layers',
        )
    n = sizes.pop()

    def unstacked(node: Mapping[str, Any]) -> dict[str, Any]:
        treedef: Any
        leaves, treedef = jax.tree_util.tree_flatten(node[STACKED])
        rows = zip(*map(_slices, leaves), strict=True) if leaves else [()] * n
        layers = [meta.remove_axis(treedef.unflatten(row), 0, params) for row in rows]
        return {f'{STACKED}_{i}': layer for i, layer in enumerate(layers)}

    return _replaced(tree, path, STACKED, unstacked)


def stack_layers(tree: Any, path: str = '', *, axis_name: str | None = 'layers') -> Any:
    """Turns the variables of an unrolled ``Stack`` into those of the stacked one.

    ``{'block_0': [...], 'block_1': [...], ...}`` at the path becomes ``{'block': [n, ...]}``. It is
    the exact inverse of :func:`unstack_layers`, whose arguments it takes.

    Args:
        tree: variables, one collection of them, or anything in which there are trees like it.
        path: names from the root module to the stack; empty where the stack is the root.
        axis_name: what metadata boxes shall call the axis of the layers.

    Returns:
        The tree in the other form.

    Raises:
        InvalidOptionError: there is no unrolled stack at the path, one of its layers is missing,
            or the layers differ in structure, shape or dtype.

    >>> import numpy as np
    >>> stack_layers({'block_0': {'w': np.array([1, 2])}, 'block_1': {'w': np.array([3, 4])}})
    {'block': {'w': array([[1, 2],
           [3, 4]])}}
    """
    params = {meta.PARTITION_NAME: axis_name}
    _stacks_at(tree, path, FIRST)

    def stacked(node: Mapping[str, Any]) -> dict[str, Any]:
        names = [f'{STACKED}_{i}' for i in range(count_layers(node))]
        missing = [name for name in names if name not in node]
        if missing:
            raise InvalidOptionError(f'{missing[0]} is missing among the layers at {path!r}')
        try:
            whole = jax.tree_util.tree_map(_joined, *(node[name] for name in names))
        except ValueError as error:
            raise InvalidOptionError(
                f'the layers at {path!r} differ: {error}',
                why='in a stack every layer has the same variables, of the same shapes and dtypes',
            ) from None
        return {STACKED: meta.add_axis(whole, 0, params)}

    return _replaced(tree, path, FIRST, stacked)


def _stacks_at(tree: Any, path: str, key: str) -> list[Mapping[str, Any]]:
    """The stacks at the path, in all collections and copies; there must be one."""
    nodes: list[Mapping[str, Any]] = []

    def note(node: Mapping[str, Any]) -> dict[str, Any]:
        nodes.append(node)
        return {}

    _replaced(tree, path, key, note)
    if not nodes:
        leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
        names = [[str(getattr(k, 'key', k)) for k in leaf_path] for leaf_path, _ in leaves]
        places = sorted({'/'.join(ns[: ns.index(key)]) for ns in names if key in ns})
        raise InvalidOptionError(
            f'there is no {key!r} at {path!r}; the tree has it at {listing(places)}',
            why='the path leads from the root module to the stack, without the collection',
            mend="nn.unstack_layers(variables, 'encoder/Stack_0')",
        )
    return nodes


def _replaced(
    tree: Any, path: str, key: str, change: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> Any:
    """A tree in which the layers of each stack at the path are those that ``change`` returns.

    The path begins at the outermost dict, or one further in, below the name of a collection; where
    other containers hold dicts, as in the state of an optimizer, at each of these anew.
    """
    names = path.split('/') if path else []

    def is_above(node: Any) -> bool:
        for name in names:
            node = node.get(name) if isinstance(node, Mapping) else None
        return isinstance(node, Mapping) and key in node

    def follow(node: Any, left: Sequence[str]) -> Any:
        if not left:
            return _with_layers(node, change(node))
        items = {k: follow(v, left[1:]) if k == left[0] else v for k, v in node.items()}
        return type(node)(items)

    def walk(node: Any, depth: int) -> Any:
        if not isinstance(node, Mapping):
            return jax.tree_util.tree_map(
                lambda x: walk(x, 0) if isinstance(x, Mapping) else x,
                node,
                is_leaf=lambda x: isinstance(x, Mapping),
            )
        if depth < 2 and is_above(node):
            return follow(node, names)
        return type(node)({k: walk(v, depth + 1) for k, v in node.items()})  # type: ignore[call-arg]

    return walk(tree, 0)


def _with_layers(node: Any, layers: dict[str, Any]) -> Any:
    """A stack's dict with other layers in the place of those that it has."""
    items: dict[str, Any] = {}
    for key, value in node.items():
        items.update(layers if _is_layer(key) else {key: value})
    return type(node)(items)


def _is_layer(key: str) -> bool:
    prefix, _, number = key.rpartition('_')
    return key == STACKED or (prefix == STACKED and number.isdigit())


def count_layers(part: Mapping[str, Any]) -> int:
    """The number of layers of an unrolled stack."""
    return sum(_is_layer(key) for key in part)


def first_sizes(tree: Any) -> set[int]:
    """The sizes of the first axes of all leaves; 0 for a leaf that has no axis."""
    return {(*jnp.shape(leaf), 0)[0] for leaf in jax.tree_util.tree_leaves(tree)}


def listed(sizes: set[int]) -> str:
    """Numbers of layers as messages name them, ``2 and 3``."""
    return ' and '.join(map(str, sorted(sizes))) or '0'


def _slices(leaf: Any) -> list[Any]:
    """The slices of an array along its first axis, of NumPy where it is."""
    return [leaf[i, ...] for i in range(len(leaf))] if isinstance(leaf, np.ndarray) else [*leaf]


def _joined(*leaves: Any) -> Any:
    """Equal arrays along a new first axis, of NumPy where they are."""
    kinds = {described_tree(leaf) for leaf in leaves}
    if len(kinds) > 1:
        raise ValueError(f'{" and ".join(sorted(kinds))} at one place')
    in_numpy = all(isinstance(leaf, (np.ndarray, np.generic)) for leaf in leaves)
    return (np if in_numpy else jnp).stack(leaves)


def described_tree(tree: Any) -> str:
    """A tree with the dtype and shape of its arrays, ``float32[2,3]``."""

    def text(leaf: Any) -> str:
        shape = getattr(leaf, 'shape', None)
        return brief(leaf) if shape is None else f'{leaf.dtype}[{",".join(map(str, shape))}]'

    return str(jax.tree_util.tree_map(text, tree))

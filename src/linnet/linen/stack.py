"""Stack: one block many times in a row, compiled as one body.

A *block* is a module whose ``__call__(x, ...)`` returns something of the structure, shapes and
dtypes of ``x``. A stack has ``n`` *layers*, each with variables and keys of its own, and runs in
one of two forms. *Stacked*, it is a loop: the compiler sees the block once, and every variable has
a first axis of size ``n``. *Unrolled*, it is a plain Python loop over children ``block_0``,
``block_1`` and so on. Both draw the same keys, so they make the same parameters and drop the same
elements; :func:`unstack_layers` and :func:`stack_layers` turn the variables of one form into those
of the other.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linnet.core import meta
from linnet.core.rng import LazyRng
from linnet.core.scope import Scope
from linnet.errors import CarryError, InvalidOptionError
from linnet.errors._suggest import brief, listing
from linnet.linen.module.base import Module
from linnet.linen.module.context import context
from linnet.linen.module.decorators import compact
from linnet.linen.module.state import ModuleBase, SetupState
from linnet.linen.module.trees import modules_in
from linnet.linen.transforms import batch, staging

_STACKED, _FIRST = 'block', 'block_0'


class Stack(Module):
    """Applies ``n`` copies of a block in turn, compiled as one body.

    The block is a template: every layer is a copy of it with variables of its own, and with keys
    of its own in each stream. The stack is traced and compiled in about the time of one block,
    whatever ``n`` is. Each variable of the block, sown values too, has a first axis of size ``n``:
    ``{'params': {'block': {'kernel': [n, in, out]}}}``, and metadata boxes learn ``axis_name``.

    With ``scan=False`` the same layers run in a Python loop, as children ``block_0``, ``block_1``
    and so on: to look at one layer, or to take a checkpoint of a model that was written that way.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> class Block(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x, train):       # [batch..., width] -> [batch..., width]
    ...         y = nn.Dense(x.shape[-1])(nn.LayerNorm()(x))
    ...         return x + nn.Dropout(0.1)(nn.gelu(y), deterministic=not train)
    >>> class Model(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x, train=False):
    ...         return Stack(Block(), 12, remat=True)(x, train)
    >>> variables = Model().init(jax.random.key(0), jnp.ones((2, 8)))
    >>> variables['params']['Stack_0']['block']['Dense_0']['kernel'].shape
    (12, 8, 8)

    Attributes:
        block: a module, the template of the layers.
        n: the number of layers, at least 1.
        remat: whether the backward pass computes each layer again and keeps only what goes from
            layer to layer; or a policy of ``jax.checkpoint_policies`` that says what else it keeps.
        unroll: how many layers are compiled in a row, as in :func:`jax.lax.scan`.
        scan: whether the stack is one compiled loop; otherwise it is unrolled.
        axis_name: what metadata boxes call the axis of the layers; ``None`` if it has no name.
    """

    block: Module
    n: int
    remat: bool | Callable[..., bool] = dataclasses.field(default=False, kw_only=True)
    unroll: int = dataclasses.field(default=1, kw_only=True)
    scan: bool = dataclasses.field(default=True, kw_only=True)
    axis_name: str | None = dataclasses.field(default='layers', kw_only=True)

    def __post_init__(self) -> None:
        _check_options(self)
        object.__setattr__(self, 'block', _template(self))
        super().__post_init__()

    @compact
    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Applies the layers, each to what the one before returned.

        Args:
            x: what the first layer takes: an array, or a tree of arrays.
            *args: further arguments of the block, the same for all layers. They need not be
                arrays: a Python value stays one.
            **kwargs: keyword arguments of the block, likewise.

        Returns:
            What the last layer returns, of the structure, shapes and dtypes of ``x``.

        Raises:
            CarryError: the block returns something of another structure, shape or dtype.
            InvalidOptionError: the variables are those of another number of layers, or of the
                other form.
        """
        _check_variables(self)

        def layer(block: Any, x: Any) -> Any:
            y = block(x, *args, **kwargs)
            _check_kept(block, x, y)
            return y

        layer = _transparent(layer)
        if self.remat:
            policy = self.remat if callable(self.remat) else None
            layer = staging.checkpoint(layer, prevent_cse=not self.scan, policy=policy)
        x = jax.tree_util.tree_map(_without_weak_type, x)
        return (_run_stacked if self.scan else _run_unrolled)(self, layer, x)


def _run_stacked(stack: Stack, layer: Callable[..., Any], x: Any) -> Any:
    """Runs the layers as one compiled loop."""
    loop = batch.scan(
        _transparent(lambda block, x: (layer(block, x), None)),
        variable_axes={True: 0},
        split_rngs={True: True},
        length=stack.n,
        unroll=stack.unroll,
        metadata_params={meta.PARTITION_NAME: stack.axis_name},
        check_constancy_invariants=False,  # nothing is shared, so the block is traced once
    )
    return loop(stack.block, x)[0]


def _run_unrolled(stack: Stack, layer: Callable[..., Any], x: Any) -> Any:
    """Runs the layers one by one, with the keys that the loop would give them."""
    keys = {
        stream: LazyRng(jax.random.split(rng.rng, stack.n), rng.suffix)
        for stream, rng in stack.block.scope.rngs.items()
    }
    for i in range(stack.n):
        block = _copied(stack.block, parent=stack, name=f'block_{i}')
        block.scope.rngs = jax.tree_util.tree_map(lambda key, i=i: key[i], keys)
        x = layer(block, x)
    return x


def _transparent(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function that a transform can lift and that observers do not see: it is no method."""
    fn.method_handler_wrapped = True  # type: ignore[attr-defined]
    return fn


# What a stack is made of.


def _check_options(stack: Stack) -> None:
    block, n, remat = stack.block, stack.n, stack.remat
    if isinstance(block, type) and issubclass(block, ModuleBase):
        raise InvalidOptionError(
            f'block of a Stack is the class {block.__name__}, not a module',
            mend=f'pass an instance: nn.Stack({block.__name__}(...), {brief(n)})',
        )
    if not isinstance(block, ModuleBase):
        raise InvalidOptionError(
            f'block of a Stack is {brief(block)}, not a module', mend='nn.Stack(Block(...), n)'
        )
    for name, value in (('n', n), ('unroll', stack.unroll)):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
            raise InvalidOptionError(
                f'{name} of a Stack must be a positive int, got {brief(value)}',
                why='the number of layers is known before anything is traced',
                mend=f'nn.Stack({type(block).__name__}(...), 12)',
            )
    if not isinstance(remat, bool) and not callable(remat):
        raise InvalidOptionError(
            f'remat of a Stack must be a bool or a policy, got {brief(remat)}',
            mend='remat=jax.checkpoint_policies.dots_saveable',
        )


def _template(stack: Stack) -> Any:
    """The block that a stack keeps: an unbound copy, whose modules belong to no other place."""
    block = stack.block
    if isinstance(block.parent, Scope) and isinstance(stack.parent, Scope):
        return block  # the stack is being entered by a transform
    running = context.module_stack[-1]
    for module in _held(block):
        if module.scope is None:
            continue
        if module is block and isinstance(module.parent, Stack):
            break
        if module.parent is not running or module._state.setup_called != SetupState.NEW:
            raise _bound_already(module, stack)
        if running._state.in_compact_method and _has_automatic_name(module):
            _release(module)
        elif module is not block:
            raise _bound_already(module, stack)
    return _copied(block)


def _copied(block: Any, **place: Any) -> Any:
    """A copy of a block with copies of all that it holds."""
    return block.clone(_deep_clone=True, _reset_names=True, **{'name': None, **place})


def _held(module: Any) -> Iterator[Any]:
    """A module and those that its fields hold, without those that it has adopted."""
    yield module
    for name in module._plan.fields:
        for inner in modules_in(getattr(module, name)):
            if inner.parent is not module:  # type: ignore[attr-defined]
                yield from _held(inner)


def _has_automatic_name(module: Any) -> bool:
    prefix, _, number = module.name.rpartition('_')
    return prefix == type(module).__name__ and number.isdigit()


def _release(module: Any) -> None:
    """Takes back what a compact method did when the module was made in it, scope and name."""
    parent, name = module.parent, module.name
    prefix, _, number = name.rpartition('_')
    if parent._state.autoname_cursor.get(prefix) == int(number) + 1:
        parent._state.autoname_cursor[prefix] = int(number)
    parent._state.children.pop(name, None)
    parent.scope.reservations.pop(name, None)
    for attribute in ('scope', 'parent', 'name'):
        object.__setattr__(module, attribute, None)


def _bound_already(module: Any, stack: Stack) -> InvalidOptionError:
    cls, owner = type(module).__name__, type(stack.block).__name__
    held = '' if module is stack.block else f'which {owner}, the block of a Stack, holds, '
    return InvalidOptionError(
        f'{cls}, {held or "the block of a Stack, "}is bound already, at {module.scope.path_text}',
        why='every layer has variables of its own, and cannot use those of a module elsewhere',
        mend=f'nn.Stack({owner}(...), {stack.n}) of new modules; '
        'what is the same for all layers is an argument of the call',
    )


# What goes from layer to layer.


def _without_weak_type(leaf: Any) -> Any:
    """The value with the dtype that it will have when the first layer returns it."""
    if not getattr(jax.typeof(leaf), 'weak_type', False):
        return leaf
    return jax.lax.convert_element_type(leaf, jnp.result_type(leaf))


def _check_kept(block: Any, x: Any, y: Any) -> None:
    """Refuses a block that returns something else than it took."""
    before, after = _described(x), _described(y)
    if before == after:
        return
    structure: Any = jax.tree_util.tree_structure
    mend = 'end the block as wide as it began: nn.Dense(x.shape[-1])'
    if structure(x) != structure(y):
        mend = 'return x, and nothing beside it; self.sow keeps other values'
    elif jax.tree_util.tree_map(jnp.shape, x) == jax.tree_util.tree_map(jnp.shape, y):
        mend = 'return y.astype(x.dtype)'
    raise CarryError(
        f'the block of a Stack takes {before} and returns {after}',
        why='each layer takes what the one before returned, in one compiled loop',
        mend=mend,
        where=f'{block.scope.path_text} ({type(block).__name__})',
    )


def _described(tree: Any) -> str:
    """A tree with the dtype and shape of its arrays, ``float32[2,3]``."""

    def text(leaf: Any) -> str:
        shape = getattr(leaf, 'shape', None)
        return brief(leaf) if shape is None else f'{leaf.dtype}[{",".join(map(str, shape))}]'

    described = jax.tree_util.tree_map(text, tree)
    return described if isinstance(described, str) else str(described)


def _check_variables(stack: Stack) -> None:
    """Refuses variables of the other form, or of another number of layers."""
    for col, part in stack.variables.items():
        if (_FIRST if stack.scan else _STACKED) in part:
            turn = 'stack_layers' if stack.scan else 'unstack_layers'
            raise InvalidOptionError(
                f'a Stack with scan={stack.scan} was given {col} of the other form',
                mend=f'nn.{turn}(variables, {"/".join(stack.path)!r}), or scan={not stack.scan}',
            )
        found = _sizes(part.get(_STACKED)) if stack.scan else {_count(part) or stack.n}
        if found - {stack.n}:
            raise InvalidOptionError(
                f'a Stack of {stack.n} layers was given {col} of {_numbers(found)}',
                mend='n is the number of layers that the variables were made with',
            )


# From one form to the other.


def unstack_layers(tree: Any, path: str = '', *, axis_name: str | None = 'layers') -> Any:
    """Turns the variables of a stacked :class:`Stack` into those of the unrolled one.

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
    >>> x = jnp.ones((1, 3))
    >>> variables = Stack(nn.Dense(3), 4).init(jax.random.key(0), x)
    >>> unrolled = unstack_layers(variables)
    >>> jax.tree.map(jnp.shape, unrolled['params']['block_3'])
    {'bias': (3,), 'kernel': (3, 3)}
    >>> Stack(nn.Dense(3), 4, scan=False).apply(unrolled, x).shape
    (1, 3)
    """
    params = {meta.PARTITION_NAME: axis_name}
    sizes = _sizes([node[_STACKED] for node in _stacks_at(tree, path, _STACKED)])
    if len(sizes) != 1 or 0 in sizes:
        raise InvalidOptionError(
            f'the leaves of the stack at {path!r} are of {_numbers(sizes)} layers',
            why='every variable of a stack has a first axis, which is that of the layers',
        )
    n = sizes.pop()

    def unstacked(node: Mapping[str, Any]) -> dict[str, Any]:
        treedef: Any
        leaves, treedef = jax.tree_util.tree_flatten(node[_STACKED])
        rows = zip(*map(_slices, leaves), strict=True) if leaves else [()] * n
        layers = [meta.remove_axis(treedef.unflatten(row), 0, params) for row in rows]
        return {f'{_STACKED}_{i}': layer for i, layer in enumerate(layers)}

    return _replaced(tree, path, _STACKED, unstacked)


def stack_layers(tree: Any, path: str = '', *, axis_name: str | None = 'layers') -> Any:
    """Turns the variables of an unrolled :class:`Stack` into those of the stacked one.

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
    _stacks_at(tree, path, _FIRST)

    def stacked(node: Mapping[str, Any]) -> dict[str, Any]:
        names = [f'{_STACKED}_{i}' for i in range(_count(node))]
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
        return {_STACKED: meta.add_axis(whole, 0, params)}

    return _replaced(tree, path, _FIRST, stacked)


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
    return key == _STACKED or (prefix == _STACKED and number.isdigit())


def _count(part: Mapping[str, Any]) -> int:
    """The number of layers of an unrolled stack."""
    return sum(_is_layer(key) for key in part)


def _sizes(tree: Any) -> set[int]:
    """The sizes of the first axes of all leaves; 0 for a leaf that has no axis."""
    return {(*jnp.shape(leaf), 0)[0] for leaf in jax.tree_util.tree_leaves(tree)}


def _numbers(sizes: set[int]) -> str:
    return ' and '.join(map(str, sorted(sizes))) or '0'


def _slices(leaf: Any) -> list[Any]:
    """The slices of an array along its first axis, of NumPy where it is."""
    return [leaf[i, ...] for i in range(len(leaf))] if isinstance(leaf, np.ndarray) else [*leaf]


def _joined(*leaves: Any) -> Any:
    """Equal arrays along a new first axis, of NumPy where they are."""
    kinds = {_described(leaf) for leaf in leaves}
    if len(kinds) > 1:
        raise ValueError(f'{" and ".join(sorted(kinds))} at one place')
    in_numpy = all(isinstance(leaf, (np.ndarray, np.generic)) for leaf in leaves)
    return (np if in_numpy else jnp).stack(leaves)

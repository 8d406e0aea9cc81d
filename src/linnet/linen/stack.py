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
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from linnet.core import meta
from linnet.core.rng import LazyRng
from linnet.core.scope import Scope
from linnet.errors._suggest import brief
from linnet.errors.layers import CarryError, InvalidOptionError
from linnet.linen._stack_forms import (
    FIRST,
    STACKED,
    count_layers,
    described_tree,
    first_sizes,
    listed,
)
from linnet.linen._stack_forms import stack_layers as stack_layers
from linnet.linen._stack_forms import unstack_layers as unstack_layers
from linnet.linen.module.base import Module
from linnet.linen.module.context import context
from linnet.linen.module.decorators import compact
from linnet.linen.module.state import ModuleBase, SetupState
from linnet.linen.module.trees import modules_in
from linnet.linen.transforms import batch, staging


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
                arrays: a Python value stays one, and a module that has its variables already is
                shared by all layers.
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
    parent.scope.counts.ledger.forget_place(parent.scope.path, name)
    for attribute in ('scope', 'parent', 'name'):
        object.__setattr__(module, attribute, None)


def _bound_already(module: Any, stack: Stack) -> InvalidOptionError:
    cls, owner = type(module).__name__, type(stack.block).__name__
    role = 'the block of a Stack'
    if module is not stack.block:
        role = f'which {owner}, {role}, holds'
    return InvalidOptionError(
        f'{cls}, {role}, is bound already, at {module.scope.path_text}',
        why='every layer has variables of its own, and cannot use those of a module elsewhere',
        mend=f'nn.Stack({owner}(...), {stack.n}) of new modules; '
        'what is the same for all layers is an argument of the call',
    )


def _without_weak_type(leaf: Any) -> Any:
    """The value with the dtype that it will have when the first layer returns it."""
    if not getattr(jax.typeof(leaf), 'weak_type', False):
        return leaf
    return jax.lax.convert_element_type(leaf, jnp.result_type(leaf))


def _check_kept(block: Any, x: Any, y: Any) -> None:
    """Refuses a block that returns something else than it took."""
    before, after = described_tree(x), described_tree(y)
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


def _check_variables(stack: Stack) -> None:
    """Refuses variables of the other form, or of another number of layers."""
    for col, part in stack.variables.items():
        if (FIRST if stack.scan else STACKED) in part:
            turn = 'stack_layers' if stack.scan else 'unstack_layers'
            raise InvalidOptionError(
                f'a Stack with scan={stack.scan} was given {col} of the other form',
                mend=f'nn.{turn}(variables, {"/".join(stack.path)!r}), or scan={not stack.scan}',
            )
        found = first_sizes(part.get(STACKED)) if stack.scan else {count_layers(part) or stack.n}
        if found - {stack.n}:
            raise InvalidOptionError(
                f'a Stack of {stack.n} layers was given {col} of {listed(found)}',
                mend='n is the number of layers that the variables were made with',
            )

"""The state of a training loop: parameters, optimiser and step, updated together.

A collection ``_overwrite_with_gradient`` beside ``params`` holds variables whose "gradient" is
their new value, such as the scales of 8-bit layers: the optimiser does not see them.

Parameters, gradients and optimiser state may be held in dicts or frozen dicts: the two stand for
each other, and each part keeps its own kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import jax

from linnet import struct
from linnet._frozen_dict import FrozenDict
from linnet.errors.data import TrainStateError
from linnet.errors.sharp_bits import OptimizedStateWarning
from linnet.sharp_bits import warn

if TYPE_CHECKING:
    import optax

OVERWRITE_WITH_GRADIENT = '_overwrite_with_gradient'


class TrainState(struct.PyTreeNode):
    """Parameters and optimiser state of a model. Subclasses add fields of their own.

    Attributes:
        step: the number of updates so far.
        apply_fn: usually ``model.apply``; static.
        params: the parameters.
        tx: the optimiser; static.
        opt_state: its state.

    Example::

        >>> import jax.numpy as jnp, optax
        >>> params = {'w': jnp.ones(2)}
        >>> state = TrainState.create(apply_fn=None, params=params, tx=optax.sgd(0.5))
        >>> grads = jax.grad(lambda params: jnp.sum(params['w'] ** 2))(state.params)
        >>> state = state.apply_gradients(grads=grads)
        >>> state.step, state.params
        (1, {'w': Array([0., 0.], dtype=float32)})
    """

    step: int | jax.Array
    apply_fn: Callable[..., Any] = struct.field(pytree_node=False)
    params: Any = struct.field(pytree_node=True)
    tx: optax.GradientTransformation = struct.field(pytree_node=False)
    opt_state: optax.OptState = struct.field(pytree_node=True)

    def apply_gradients(self, *, grads: Any, **kwargs: Any) -> Self:
        """Returns the state after one step of the optimiser.

        Args:
            grads: the gradients, a tree like ``params``.
            **kwargs: fields to replace as well.

        Raises:
            TrainStateError: the names or shapes of gradients, parameters and optimiser state do
                not fit each other.
        """
        if _has_overwritten(grads) != _has_overwritten(self.params):
            raise TrainStateError(_difference(self.params, 'params', grads, 'grads'))
        params, opt_state = _update(self.tx, _trained(grads), _trained(self.params), self.opt_state)
        if _has_overwritten(grads):
            given = _like(self.params[OVERWRITE_WITH_GRADIENT], grads[OVERWRITE_WITH_GRADIENT])
            whole = {**self.params, 'params': params, OVERWRITE_WITH_GRADIENT: given}
            params = FrozenDict(whole) if isinstance(self.params, FrozenDict) else whole
        return self.replace(step=self.step + 1, params=params, opt_state=opt_state, **kwargs)

    @classmethod
    def create(
        cls,
        *,
        apply_fn: Any,
        params: Any,
        tx: optax.GradientTransformation,
        **kwargs: Any,
    ) -> Self:
        """Returns a state at step 0, with the initial state of the optimiser.

        Args:
            apply_fn: usually ``model.apply``; ``None`` where nothing calls it.
            params: the parameters.
            tx: the optimiser.
            **kwargs: the fields that a subclass adds.
        """
        if isinstance(params, Mapping) and {'params', 'batch_stats'} <= params.keys():
            warn(
                OptimizedStateWarning(
                    "params holds 'batch_stats' beside 'params', which the optimiser would change",
                    mend="TrainState.create(..., params=variables['params'], ...)",
                )
            )
        return cls(
            step=0,
            apply_fn=apply_fn,
            params=params,
            tx=tx,
            opt_state=tx.init(_trained(params)),
            **kwargs,
        )


def _has_overwritten(tree: Any) -> bool:
    return isinstance(tree, Mapping) and OVERWRITE_WITH_GRADIENT in tree


def _trained(tree: Any) -> Any:
    """Returns the part of parameters or gradients that the optimiser sees."""
    if not _has_overwritten(tree):
        return tree
    if 'params' not in tree:
        raise TrainStateError(
            f'a tree with {OVERWRITE_WITH_GRADIENT!r} has no entry "params"',
            mend=f"{{'params': ..., {OVERWRITE_WITH_GRADIENT!r}: ...}}",
        )
    return tree['params']


def _update(
    tx: optax.GradientTransformation, grads: Any, params: Any, opt_state: Any
) -> tuple[Any, Any]:
    """Applies the optimiser; on failure once more with plain dicts for frozen ones."""
    try:
        return _step(tx, grads, params, opt_state)
    except (TypeError, ValueError) as error:
        plain = _thawed((grads, params, opt_state))
        if message := _mismatch(tx, *plain):
            raise TrainStateError(message, mend=_mend(grads)) from error
        if _same_structure(plain, (grads, params, opt_state)):
            raise
    new_params, new_opt_state = _step(tx, *plain)
    return _like(params, new_params), _like(opt_state, new_opt_state)


def _mend(grads: Any) -> str:
    """The line that probably puts the parts right."""
    if isinstance(grads, Mapping) and 'params' in grads:
        return "grads=grads['params']"
    if isinstance(grads, tuple):
        return 'value, grads = jax.value_and_grad(loss, has_aux=...)(params)'
    return 'if params are new: state.replace(params=params, opt_state=tx.init(params))'


def _step(
    tx: optax.GradientTransformation, grads: Any, params: Any, opt_state: Any
) -> tuple[Any, Any]:
    import optax

    updates, new_opt_state = tx.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), new_opt_state


def _thawed(tree: Any) -> Any:
    """Replaces each frozen dict in a tree by a dict."""

    def thaw(node: Any) -> Any:
        if not isinstance(node, FrozenDict):
            return node
        return {key: _thawed(value) for key, value in node.items()}

    return jax.tree.map(thaw, tree, is_leaf=lambda node: isinstance(node, FrozenDict))


def _same_structure(tree: Any, other: Any) -> bool:
    structure: Any = jax.tree.structure(tree)
    return bool(structure == jax.tree.structure(other))


def _like(target: Any, tree: Any) -> Any:
    """Gives a tree the kinds of dict that a target of the same keys has."""
    if not _same_structure(_thawed(target), _thawed(tree)):
        return tree
    return jax.tree.unflatten(jax.tree.structure(target), jax.tree.leaves(tree))


def _mismatch(tx: optax.GradientTransformation, grads: Any, params: Any, opt_state: Any) -> str:
    """Says which parts do not fit each other, if any."""
    return _difference(params, 'params', grads, 'grads') or _difference(
        jax.eval_shape(tx.init, params), 'tx.init(params)', opt_state, 'opt_state'
    )


def _difference(wanted: Any, wanted_name: str, tree: Any, name: str) -> str:
    shapes, others = _shapes(wanted), _shapes(tree)
    for path, shape in shapes.items():
        if path not in others:
            return f'{name} lacks {path}, which {wanted_name} has'
        if shape != others[path]:
            return f'{path} has the shape {shape} in {wanted_name} and {others[path]} in {name}'
    extra = next((path for path in others if path not in shapes), None)
    return '' if extra is None else f'{wanted_name} lacks {extra}, which {name} has'


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        '/' + jax.tree_util.keystr(path, simple=True, separator='/'): getattr(leaf, 'shape', ())
        for path, leaf in leaves
    }

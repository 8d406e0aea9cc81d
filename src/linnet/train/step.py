"""The step: a plain function from state and batch to the next state and metrics.

It is pure and not compiled: ``jax.jit(step, donate_argnums=0)`` is what :class:`Trainer` runs,
and ``jax.lax.scan(step, state, batches)`` runs several at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from linnet.errors.training import BatchError, TrainOptionError
from linnet.train.forward import Forward
from linnet.train.keys import stream_keys
from linnet.train.metrics import Metrics, read_outputs, reduce_loss, summed
from linnet.train.precision import Precision, all_finite, select
from linnet.train.state import RunState

Loss = Callable[[Forward, Any], Any]
TrainStep = Callable[[RunState, Any], tuple[RunState, Metrics]]


class Found(NamedTuple):
    """What a batch changes: the gradients of the parameters, and the collections after it."""

    gradients: Any
    collections: dict[str, Any]


def make_train_step(
    model: Any,
    loss: Loss,
    *,
    streams: Sequence[str] = ('dropout',),
    precision: str = 'float32',
    ema: float | None = None,
) -> TrainStep:
    """Makes the function that takes one step of training.

    Args:
        model: the module.
        loss: ``loss(net, batch)``, which calls ``net`` in place of ``model.apply`` and returns
            the loss, ``[batch]`` or ``[]``, alone or with a dict of metrics.
        streams: the random streams that the model draws from.
        precision: ``'float32'``, ``'bfloat16'`` or ``'float16'``.
        ema: the decay of the running average of parameters; the state must have been made for it.

    Returns:
        ``train_step(state, batch) -> (state, metrics)``.

    Example::

        >>> import optax, linnet.linen as nn
        >>> from linnet.train.state import create_state
        >>> model = nn.Dense(1)
        >>> def loss(net, batch):
        ...     return optax.l2_loss(net(batch['x'])[:, 0], batch['y'])
        >>> batch = {'x': jnp.ones((4, 3)), 'y': jnp.zeros(4)}
        >>> variables = model.init(jax.random.key(0), batch['x'])
        >>> state = create_state(variables, optax.sgd(0.1), jax.random.key(1))
        >>> step = jax.jit(make_train_step(model, loss))
        >>> losses = []
        >>> for _ in range(5):
        ...     state, metrics = step(state, batch)
        ...     losses.append(float(metrics['loss'].value))
        >>> losses == sorted(losses, reverse=True)
        True
    """
    gradients, update = make_parts(model, loss, streams=streams, precision=precision, ema=ema)

    def train_step(state: RunState, batch: Any) -> tuple[RunState, Metrics]:
        found, metrics = gradients(state, batch)
        return update(state, found), metrics

    return train_step


def make_parts(
    model: Any,
    loss: Loss,
    *,
    streams: Sequence[str] = ('dropout',),
    precision: str = 'float32',
    ema: float | None = None,
) -> tuple[Callable[[RunState, Any], tuple[Found, Metrics]], Callable[[RunState, Found], RunState]]:
    """Makes the two parts of a step: what depends on the batch, and what does not.

    The second is the same program whatever the shape of a batch, so that data of many shapes
    compiles in less time where each part is compiled by itself.

    Args:
        model: the module.
        loss: as in :func:`make_train_step`, like the rest.
        streams: the random streams.
        precision: the name of the policy.
        ema: the decay of the running average of parameters.

    Returns:
        ``gradients(state, batch) -> (found, metrics)`` and ``update(state, found) -> state``.
    """
    policy = Precision(precision)
    if ema is not None and not 0 <= ema < 1:
        raise TrainOptionError(f'ema={ema!r} is no decay, from 0 to 1', mend='ema=0.999')

    def gradients(state: RunState, batch: Any) -> tuple[Found, Metrics]:
        _check_state(state, policy, ema)
        keys = stream_keys(state.key, streams, state.step + 1)
        scale = state.loss_scale.value if state.loss_scale is not None else None

        def objective(params: Any) -> tuple[jax.Array, tuple[Metrics, dict[str, Any]]]:
            variables = {'params': params, **state.collections}
            net = Forward(model, variables, keys=keys, train=True, precision=policy)
            value, metrics = read_outputs(loss(net, batch), batch_size(batch))
            value = reduce_loss(value)
            value = value if scale is None else value * scale
            return value, (summed(metrics), net.collections)

        grads, (metrics, collections) = jax.grad(objective, has_aux=True)(state.params)
        if scale is not None:
            grads = jax.tree.map(lambda grad: grad / scale, grads)
        return Found(grads, collections), metrics

    def update(state: RunState, found: Found) -> RunState:
        grads, collections = found
        new = state.apply_gradients(grads=grads, collections=collections)
        if ema is not None:
            new = new.replace(ema=_average(new, ema))
        if state.loss_scale is not None:
            new = _unless_overflown(state, new, all_finite(grads))
        return new

    return gradients, update


class SeparateStep:
    """A step as two compiled programs: one for each shape of batches, and one for all of them.

    Args:
        gradients: the first of :func:`make_parts`.
        update: the second.
        donate: whether the memory of the state before may be used.
    """

    def __init__(self, gradients: Any, update: Any, donate: bool) -> None:
        self._gradients = jax.jit(gradients)
        self._update = jax.jit(update, donate_argnums=(0,) if donate else ())
        self._is_update_lowered = False

    def __call__(self, state: RunState, batch: Any) -> tuple[RunState, Metrics]:
        """Takes a step."""
        found, metrics = self._gradients(state, batch)
        return self._update(state, found), metrics

    def lower(self, state: Any, batch: Any) -> Lowered:
        """Traces what a step needs that was not traced before; ``compile`` compiles it."""
        programs = [self._gradients.lower(state, batch)]
        if not self._is_update_lowered:
            self._is_update_lowered = True
            found, _ = programs[0].out_info
            programs.append(self._update.lower(state, found))
        return Lowered(programs)


class Lowered:
    """Programs that were traced, and are to be compiled."""

    def __init__(self, programs: Sequence[Any]) -> None:
        self._programs = programs

    def compile(self) -> None:
        """Compiles them one after the other."""
        for program in self._programs:
            program.compile()


def make_scanned_step(step: TrainStep) -> Callable[[RunState, Sequence[Any]], Any]:
    """Makes the function that takes one step for each of several like batches.

    Its metrics have the steps as their first axis.
    """

    def steps(state: RunState, batches: Sequence[Any]) -> tuple[RunState, Metrics]:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
        return jax.lax.scan(step, state, stacked)

    return steps


def _check_state(state: RunState, policy: Precision, ema: float | None) -> None:
    """Refuses a state that was made for another step."""
    lacks = 'loss_scale' if policy.is_scaled and state.loss_scale is None else ''
    lacks = 'ema' if ema is not None and state.ema is None else lacks
    if lacks:
        raise TrainOptionError(
            f'the state has no {lacks}, which the options of the step ask for',
            mend=f'create_state(..., precision={policy.name!r}, ema={ema})',
        )


def _average(state: RunState, decay: float) -> Any:
    """Moves the average towards the parameters, unless gradients are still being collected."""
    import optax

    rate: Any = 1 - decay
    if isinstance(state.opt_state, optax.MultiStepsState):
        rate = jnp.where(state.opt_state.mini_step == 0, rate, 0.0)
    return optax.incremental_update(state.params, state.ema, rate)


def _unless_overflown(old: RunState, new: RunState, finite: jax.Array) -> RunState:
    """Keeps the old state, but for its step and scale, where gradients were not finite."""
    assert old.loss_scale is not None
    kept = select(finite, new, old.replace(step=new.step, key=new.key))
    return kept.replace(loss_scale=old.loss_scale.adjust(finite))


def batch_size(batch: Any) -> int:
    """The number of examples: the first axis, which all arrays of a batch share.

    Scalars in a batch belong to no example.

    Raises:
        BatchError: there is no array, or first axes differ.
    """
    sizes = {
        jax.tree_util.keystr(path, simple=True, separator='/'): np.shape(leaf)[0]
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch)
        if np.ndim(leaf)
    }
    if set(sizes.values()) == {0}:
        raise BatchError('a batch holds no example', mend='leave it out: if len(batch["x"]): ...')
    if len(set(sizes.values())) == 1:
        return next(iter(sizes.values()))
    found = ', '.join(f'{path or "batch"}: {size}' for path, size in sizes.items())
    raise BatchError(
        f'the arrays of a batch have first axes of different sizes, {found}'
        if sizes
        else f'a batch of type {type(batch).__name__} holds no array with a first axis',
        why='the first axis is that of the examples',
    )

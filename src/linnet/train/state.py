"""The state of a run: all that one step hands to the next, as one tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from linnet.core import materialize
from linnet.errors.training import TrainOptionError
from linnet.train.forward import Forward
from linnet.train.keys import stream_keys
from linnet.train.precision import LossScale, Precision
from linnet.training.train_state import TrainState
from linnet.typing import PRNGKey

if TYPE_CHECKING:
    import optax


class RunState(TrainState):
    """Parameters, optimiser and step, and what else a run carries from step to step.

    Attributes:
        key: the base key of the run, which never changes.
        collections: the variables that are no parameters, such as ``batch_stats``.
        ema: the running average of the parameters, or None.
        loss_scale: the scale of a float16 loss, or None.
    """

    key: PRNGKey
    collections: dict[str, Any]
    ema: Any = None
    loss_scale: LossScale | None = None

    @property
    def variables(self) -> dict[str, Any]:
        """What the model is applied to in training."""
        return {'params': self.params, **self.collections}

    @property
    def eval_variables(self) -> dict[str, Any]:
        """What the model is applied to in evaluation: the averaged parameters, if there are."""
        params = self.params if self.ema is None else self.ema
        return {'params': params, **self.collections}


def build_optimizer(
    optimizer: optax.GradientTransformation, *, clip: float | None = None, accumulate: int = 1
) -> optax.GradientTransformation:
    """Adds to an optimiser the clipping by global norm, and the averaging over several steps.

    Args:
        optimizer: any optax transformation.
        clip: the largest norm of all gradients together; they are clipped when averaged.
        accumulate: how many steps give their gradients to one update.

    Raises:
        TrainOptionError: ``clip`` is not positive, ``accumulate`` not at least 1.
    """
    import optax

    if clip is not None and not clip > 0:
        raise TrainOptionError(f'clip={clip!r} is not positive', mend='clip=1.0')
    if not isinstance(accumulate, int) or accumulate < 1:
        raise TrainOptionError(f'accumulate={accumulate!r} is no count', mend='accumulate=4')
    if clip is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(clip), optimizer)
    if accumulate > 1:
        optimizer = optax.MultiSteps(optimizer, accumulate).gradient_transformation()
    return optimizer


def create_state(
    variables: dict[str, Any],
    optimizer: optax.GradientTransformation,
    key: PRNGKey,
    *,
    apply_fn: Any = None,
    precision: str = 'float32',
    ema: float | None = None,
) -> RunState:
    """Makes the state of a run before its first step.

    Args:
        variables: those of the model, as its ``init`` returns them.
        optimizer: the optimiser, complete.
        key: the base key.
        apply_fn: usually ``model.apply``; nothing here calls it.
        precision: the name of the policy.
        ema: the decay of the running average of the parameters, if there is to be one.
    """
    collections = dict(variables)
    params = collections.pop('params', {})
    return RunState(
        step=jnp.int32(0),
        apply_fn=apply_fn,
        params=params,
        tx=optimizer,
        opt_state=optimizer.init(params),
        key=key,
        collections=collections,
        ema=None if ema is None else jax.tree.map(jnp.copy, params),
        loss_scale=LossScale.create() if Precision(precision).is_scaled else None,
    )


def init_variables(
    model: Any, loss: Any, batch: Any, key: PRNGKey, streams: tuple[str, ...] = ('dropout',)
) -> dict[str, Any]:
    """Makes a model's variables, by the first call of it in the loss function.

    The keys are those of step 0, for the stream ``params`` and all that are named.
    """

    def init(keys: dict[str, PRNGKey], batch: Any) -> Any:
        net = Forward(model, None, keys=keys, train=True)
        loss(net, batch)
        if net.variables is None:
            raise TrainOptionError(
                'the loss function did not call the model', mend="logits = net(batch['x'])"
            )
        return net.variables

    keys, batch = stream_keys(key, ('params', *streams), 0), jax.tree.map(jnp.asarray, batch)
    # Deferred, the model and the loss are not even compiled; jitted, they are not run.
    if materialize.may_defer((keys, batch)):
        return dict(materialize.run(init, keys, batch))
    return dict(jax.jit(init)(keys, batch))

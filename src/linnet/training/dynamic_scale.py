"""Scaling of the loss, so that small gradients do not vanish in half precision.

The loss is multiplied by a scale before it is differentiated, and the gradients are divided by it
after that (Micikevicius et al., 2018). The scale is as large as it can be: it grows after a number
of steps in which all gradients were finite, and shrinks when one was not. The step of an
optimiser must be left out then::

    grad_fn = dynamic_scale.value_and_grad(loss_fn)
    dynamic_scale, is_finite, loss, grads = grad_fn(params)
    new = state.apply_gradients(grads=grads)
    state = jax.tree.map(partial(jnp.where, is_finite), new, state)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from linnet import struct
from linnet.errors._suggest import described
from linnet.errors.data import ToolArgumentError

Array = Any


class DynamicScaleResult(NamedTuple):
    """What a function that :meth:`DynamicScale.value_and_grad` made returns.

    Attributes:
        dynamic_scale: the scale for the next step.
        finite: whether all gradients are finite.
        aux: the loss, or the pair of loss and extra results.
        grad: the gradients, in float32, of the loss that is not scaled.
    """

    dynamic_scale: DynamicScale
    finite: Array
    aux: Any
    grad: Any


class DynamicScale(struct.PyTreeNode):
    """The scale of a loss, and how it changes.

    Attributes:
        growth_factor: what the scale is multiplied by when it grows; static.
        backoff_factor: what it is multiplied by when a gradient is not finite; static.
        growth_interval: the number of finite steps after which it grows; static.
        fin_steps: the number of finite steps since it changed.
        scale: the scale.
        minimum_scale: below this it does not shrink; None for no bound; static.

    Example::

        >>> scale = DynamicScale(scale=4.0)
        >>> scale, finite, loss, grad = scale.value_and_grad(lambda x: x**2)(3.0)
        >>> float(loss), float(grad), bool(finite)
        (9.0, 6.0, True)
        >>> float(scale.value_and_grad(lambda x: x * jnp.inf)(3.0).dynamic_scale.scale)
        2.0
    """

    growth_factor: float = struct.field(pytree_node=False, default=2.0)
    backoff_factor: float = struct.field(pytree_node=False, default=0.5)
    growth_interval: int = struct.field(pytree_node=False, default=2000)
    fin_steps: int = 0
    scale: float = 65536.0
    minimum_scale: float | None = struct.field(
        pytree_node=False, default=jnp.finfo(jnp.float32).tiny
    )

    def value_and_grad(
        self,
        fun: Callable[..., Any],
        argnums: int | Sequence[int] = 0,
        has_aux: bool = False,
        axis_name: str | None = None,
    ) -> Callable[..., DynamicScaleResult]:
        """Returns a function like that of :func:`jax.value_and_grad`, which scales the loss.

        Args:
            fun: a function of positional arguments with a scalar result, the loss.
            argnums: which arguments to differentiate by.
            has_aux: whether ``fun`` returns a pair of the loss and extra results.
            axis_name: a mapped axis over which gradients are averaged, before they are looked at.

        Raises:
            ToolArgumentError: ``has_aux`` is set and the function did not return a pair.
        """

        def scaled(*args: Any) -> tuple[Any, Any]:
            result = fun(*args)
            if not has_aux:
                loss = self.scale * result
                return loss, loss
            if not isinstance(result, tuple | list) or len(result) != 2:
                raise ToolArgumentError(
                    f'has_aux is set, and the function returned {described(result)}',
                    mend='return loss, extra',
                )
            loss = self.scale * result[0]
            return loss, (loss, result[1])

        differentiated = jax.grad(scaled, argnums, has_aux=True)

        def run(*args: Any) -> DynamicScaleResult:
            grad, result = differentiated(*args)
            aux = (result[0] / self.scale, result[1]) if has_aux else result / self.scale
            grad = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32) / self.scale, grad)
            if axis_name is not None:
                grad = lax.pmean(grad, axis_name)
            finite = jnp.array(True)
            for leaf in jax.tree.leaves(grad):
                finite &= jnp.all(lax.is_finite(leaf))
            return DynamicScaleResult(self._after(finite), finite, aux, grad)

        return run

    def _after(self, finite: Array) -> DynamicScale:
        """Returns the scale after a step whose gradients were all finite, or not."""
        grow = self.fin_steps == self.growth_interval
        larger = jnp.minimum(self.scale * self.growth_factor, jnp.finfo(jnp.float32).max)
        smaller: Array = self.scale * self.backoff_factor
        if self.minimum_scale is not None:
            smaller = jnp.maximum(smaller, self.minimum_scale)
        return self.replace(
            fin_steps=jnp.where(grow | ~finite, 0, self.fin_steps + 1),
            scale=jnp.where(finite, jnp.where(grow, larger, self.scale), smaller),
        )

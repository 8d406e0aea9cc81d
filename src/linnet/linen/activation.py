"""Nonlinear functions of one array: those of JAX, and PReLU, whose slope is learnt."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import celu as celu
from jax.nn import elu as elu
from jax.nn import gelu as gelu
from jax.nn import glu as glu
from jax.nn import hard_sigmoid as hard_sigmoid
from jax.nn import hard_silu as hard_silu
from jax.nn import hard_swish as hard_swish
from jax.nn import hard_tanh as hard_tanh
from jax.nn import leaky_relu as leaky_relu
from jax.nn import log_sigmoid as log_sigmoid
from jax.nn import log_softmax as log_softmax
from jax.nn import logsumexp as logsumexp
from jax.nn import one_hot as one_hot
from jax.nn import relu as relu
from jax.nn import relu6 as relu6
from jax.nn import selu as selu
from jax.nn import sigmoid as sigmoid
from jax.nn import silu as silu
from jax.nn import soft_sign as soft_sign
from jax.nn import softmax as softmax
from jax.nn import softplus as softplus
from jax.nn import standardize as standardize
from jax.nn import swish as swish
from jax.numpy import tanh as tanh

from linnet.linen._inputs import check_array
from linnet.linen.module.base import Module
from linnet.linen.module.decorators import compact
from linnet.typing import Array, Dtype

normalize = standardize


class PReLU(Module):
    """Lets positive numbers pass and multiplies negative ones by a learnt slope.

    ``[...] -> [...]``, in the dtype of the input. There is one slope for all elements, the
    parameter ``negative_slope`` of shape ``[]``.

    He et al., "Delving Deep into Rectifiers" (2015).

    >>> import jax, linnet.linen as nn
    >>> x = jnp.array([-2.0, 3.0])
    >>> variables = nn.PReLU(negative_slope_init=0.5).init(jax.random.key(0), x)
    >>> nn.PReLU().apply(variables, x)
    Array([-1.,  3.], dtype=float32)

    Attributes:
        param_dtype: dtype of the slope.
        negative_slope_init: the slope before training.
    """

    param_dtype: Dtype = jnp.float32
    negative_slope_init: float = 0.01

    @compact
    def __call__(self, inputs: Array) -> Array:
        """Applies the function to each element of an array of any shape.

        Raises:
            InputDtypeError: the input is no array.
        """
        check_array(inputs)
        slope = self.param('negative_slope', _slope, self.negative_slope_init, self.param_dtype)
        return jnp.where(inputs >= 0, inputs, jnp.asarray(slope, inputs.dtype) * inputs)


def _slope(key: jax.Array, value: float, dtype: Dtype) -> Any:
    del key
    return jnp.asarray(value, dtype)

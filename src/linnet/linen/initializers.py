"""Functions that make the initial value of a parameter.

An *initialiser* is called as ``init(key, shape, dtype)`` and returns an array. Most names here
are factories: ``lecun_normal()`` is an initialiser, ``lecun_normal`` is not. ``zeros`` and ``ones``
are initialisers themselves; ``zeros_init()`` and ``ones_init()`` return them, for those who
prefer all to be factories.
"""

from __future__ import annotations

from jax.nn.initializers import constant as constant
from jax.nn.initializers import delta_orthogonal as delta_orthogonal
from jax.nn.initializers import glorot_normal as glorot_normal
from jax.nn.initializers import glorot_uniform as glorot_uniform
from jax.nn.initializers import he_normal as he_normal
from jax.nn.initializers import he_uniform as he_uniform
from jax.nn.initializers import kaiming_normal as kaiming_normal
from jax.nn.initializers import kaiming_uniform as kaiming_uniform
from jax.nn.initializers import lecun_normal as lecun_normal
from jax.nn.initializers import lecun_uniform as lecun_uniform
from jax.nn.initializers import normal as normal
from jax.nn.initializers import ones as ones
from jax.nn.initializers import orthogonal as orthogonal
from jax.nn.initializers import truncated_normal as truncated_normal
from jax.nn.initializers import uniform as uniform
from jax.nn.initializers import variance_scaling as variance_scaling
from jax.nn.initializers import xavier_normal as xavier_normal
from jax.nn.initializers import xavier_uniform as xavier_uniform
from jax.nn.initializers import zeros as zeros

from linnet.typing import Initializer as Initializer


def zeros_init() -> Initializer:
    """The initialiser that fills a parameter with zeros.

    >>> import jax, jax.numpy as jnp
    >>> zeros_init()(jax.random.key(0), (3,), jnp.float32)
    Array([0., 0., 0.], dtype=float32)
    """
    return zeros


def ones_init() -> Initializer:
    """The initialiser that fills a parameter with ones.

    >>> import jax, jax.numpy as jnp
    >>> ones_init()(jax.random.key(0), (3,), jnp.float32)
    Array([1., 1., 1.], dtype=float32)
    """
    return ones

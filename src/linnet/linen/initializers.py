"""Functions that make the initial value of a parameter.

An *initialiser* is called as ``init(key, shape, dtype)`` and returns an array. Most names here
are factories: ``lecun_normal()`` is an initialiser, ``lecun_normal`` is not. ``zeros`` and ``ones``
are initialisers themselves; ``zeros_init()`` and ``ones_init()`` return them, for those who
prefer all to be factories.
"""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.nn.initializers import ones as ones
from jax.nn.initializers import zeros as zeros

from linnet.typing import Initializer as Initializer

F = TypeVar('F', bound=Callable[..., Any])
_MOST = 1024


def _remembering(factory: F) -> F:
    """A factory that returns the same initialiser for the same options.

    So two layers that were made alike are equal, and as static arguments of ``jax.jit`` they share
    a compiled program.
    """
    made: dict[Any, Any] = {}

    @functools.wraps(factory)
    def make(*args: Any, **kwargs: Any) -> Any:
        options = *map(_exactly, args), *((k, _exactly(v)) for k, v in kwargs.items())
        try:
            found = made.get(options)
        except TypeError:  # an option is an array
            return factory(*args, **kwargs)
        if found is None:
            if len(made) == _MOST:
                made.clear()
            found = made[options] = factory(*args, **kwargs)
        return found

    make.__module__ = __name__
    return make  # type: ignore[return-value]


def _exactly(option: Any) -> Any:
    """An option as a key that tells 1 from 1.0, and 0.0 from -0.0."""
    return type(option), repr(option) if isinstance(option, numbers.Number) else option


constant = _remembering(jax.nn.initializers.constant)
delta_orthogonal = _remembering(jax.nn.initializers.delta_orthogonal)
glorot_normal = _remembering(jax.nn.initializers.glorot_normal)
glorot_uniform = _remembering(jax.nn.initializers.glorot_uniform)
he_normal = _remembering(jax.nn.initializers.he_normal)
he_uniform = _remembering(jax.nn.initializers.he_uniform)
kaiming_normal = he_normal
kaiming_uniform = he_uniform
lecun_normal = _remembering(jax.nn.initializers.lecun_normal)
lecun_uniform = _remembering(jax.nn.initializers.lecun_uniform)
normal = _remembering(jax.nn.initializers.normal)
orthogonal = _remembering(jax.nn.initializers.orthogonal)
truncated_normal = _remembering(jax.nn.initializers.truncated_normal)
uniform = _remembering(jax.nn.initializers.uniform)
variance_scaling = _remembering(jax.nn.initializers.variance_scaling)
xavier_normal = glorot_normal
xavier_uniform = glorot_uniform


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

"""Dropout: randomness in a layer, as regularisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from linnet.core.tracers import is_traced
from linnet.errors.layers import InputDtypeError, InputShapeError, InvalidOptionError
from linnet.linen._dropout_masks import draw
from linnet.linen._inputs import check_array, check_flag
from linnet.linen.module.base import Module
from linnet.linen.module.decorators import compact
from linnet.linen.module.merge import merge_param
from linnet.typing import Array, PRNGKey


class Dropout(Module):
    """Sets elements to zero at random and scales up the others, so that the mean stays.

    The output has the shape and dtype of the input. Where the layer is not deterministic it draws
    from the stream ``rng_collection``. Srivastava et al., 2014.

    >>> import linnet.linen as nn
    >>> x = jnp.ones((2, 4))
    >>> nn.Dropout(0.5).apply({}, x, deterministic=True).sum()
    Array(8., dtype=float32)
    >>> y = nn.Dropout(0.5).apply(
    ...     {}, x, deterministic=False, rngs={'dropout': jax.random.key(0)})
    >>> sorted(set(y.ravel().tolist()))
    [0.0, 2.0]

    Attributes:
        rate: the probability that an element is dropped, from 0 to 1.
        broadcast_dims: axes along which all elements share their fate.
        deterministic: True in evaluation, which drops nothing; here or at the call.
        rng_collection: the stream to draw from.
        fast_mask: whether to draw faster, and drop other elements than Flax does; ``rate`` is then
            rounded to a multiple of 1 / 65536. By default what the flag ``linnet_fast_masks`` says.
    """

    rate: float
    broadcast_dims: Sequence[int] = ()
    deterministic: bool | None = None
    rng_collection: str = 'dropout'
    fast_mask: bool | None = dataclasses.field(default=None, kw_only=True, repr=False)

    @compact
    def __call__(
        self, inputs: Array, deterministic: bool | None = None, rng: PRNGKey | None = None
    ) -> Array:
        """Drops elements of the input, unless deterministic.

        Args:
            inputs: an array of floating-point or complex numbers.
            deterministic: True in evaluation; unless the layer has it.
            rng: the key to draw with, in place of one from the stream.

        Raises:
            InvalidOptionError: ``deterministic`` is given nowhere, twice, or traced; ``rate`` is
                not between 0 and 1; ``broadcast_dims`` are no integers; ``rng`` is not one key.
            InputDtypeError: the input is no array of inexact numbers.
            InputShapeError: the input lacks an axis of ``broadcast_dims``.
            InvalidRngError: there is neither ``rng`` nor the stream.
        """
        deterministic = merge_param('deterministic', self.deterministic, deterministic)
        check_flag(deterministic, 'deterministic')
        if deterministic:
            return inputs
        check_rate(self.rate, 'rate')
        if self.rate == 0:
            return inputs
        check_array(inputs)
        if self.rate == 1:  # not by way of a division by zero, whose gradient is NaN
            return jnp.zeros_like(inputs)
        if not jnp.issubdtype(inputs.dtype, jnp.inexact):
            raise InputDtypeError(
                f'an input of {inputs.dtype} cannot be scaled up by 1 / (1 - {self.rate})',
                mend='x.astype(jnp.float32)',
            )
        shape = _mask_shape(inputs.shape, self.broadcast_dims)
        key = self.make_rng(self.rng_collection) if rng is None else check_key(rng, 'rng')
        check_flag(self.fast_mask, 'fast_mask')
        mask, keep = draw(key, self.rate, shape, self.fast_mask)
        mask = jnp.broadcast_to(mask, inputs.shape)
        return lax.select(mask, (inputs / keep).astype(inputs.dtype), jnp.zeros_like(inputs))


def check_rate(rate: Any, name: str) -> None:
    """Refuses a probability that is traced, or not between 0 and 1."""
    if is_traced(rate):
        raise InvalidOptionError(
            f'{name} is a traced value, {rate.aval}',
            why='whether anything is dropped at all is decided before the program is traced',
            mend=f"jax.jit(step, static_argnames='{name}'), or an ordinary number",
        )
    try:
        is_probability = bool(0 <= rate <= 1)
    except (TypeError, ValueError):
        is_probability = False
    if not is_probability:
        raise InvalidOptionError(
            f'{name}={rate!r} is not a probability, from 0 to 1', mend=f'{name}=0.1'
        )


def check_key(key: Any, name: str) -> Any:
    """The key, if it is one: typed, or raw as ``jax.random.PRNGKey`` makes it.

    Raises:
        InvalidOptionError: it is no key, or an array of several.
    """
    dtype = getattr(key, 'dtype', None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not typed and dtype != jnp.uint32:
        raise InvalidOptionError(
            f'{name} is not a key of jax.random: {key!r}', mend=f'{name}=jax.random.key(0)'
        )
    if key.ndim > (0 if typed else 1):
        raise InvalidOptionError(
            f'{name} is an array of keys, of shape {key.shape}; one key is wanted',
            mend=f'{name}=keys[0]',
        )
    return key


def _mask_shape(shape: tuple[int, ...], broadcast_dims: Any) -> tuple[int, ...]:
    """The shape in which to draw: size 1 along the axes that share their fate."""
    if not isinstance(broadcast_dims, Sequence):
        raise InvalidOptionError(
            f'broadcast_dims={broadcast_dims!r} is not a sequence of axes',
            mend=f'broadcast_dims=({broadcast_dims!r},)',
        )
    sizes = list(shape)
    for axis in broadcast_dims:
        try:
            sizes[axis] = 1
        except (IndexError, TypeError) as error:
            raise InputShapeError(
                f'broadcast_dims={broadcast_dims} name axis {axis!r}, which an input of shape '
                f'{shape} does not have',
            ) from error
    return tuple(sizes)

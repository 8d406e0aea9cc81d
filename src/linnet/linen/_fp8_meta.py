"""A dtype for the scales and histories of FP8: float32, but adding two of them takes the larger.

JAX adds up the gradients of a value that is used several times. The "gradient" of a scale or of a
history of maxima is not one to add up: it is the new value, and among several the largest counts.
A variable converted to this dtype gets that::

    history = jax.lax.convert_element_type(history, fm32)
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from linnet import _compat


class fp8_meta_dtype(jax.dtypes.extended):
    """The kind of scalar that a :class:`fp8_meta_dtype_wrapper` is of."""


class Fp8MetaTyRules:
    """How JAX works with the dtype: what it is stored as, its zero and its sum."""

    @staticmethod
    def physical_element_aval(dtype: Any) -> jax.core.ShapedArray:
        """One element as it is stored."""
        return jax.core.ShapedArray((), dtype.float_dtype)

    @staticmethod
    def global_sharded_result_handler(aval: Any, out_sharding: Any, committed: bool) -> Any:
        """What makes an array out of the buffers that a program returns."""
        physical = jax.core.ShapedArray(aval.shape, aval.dtype.float_dtype)
        return _compat.extended_array_handler(aval, physical, out_sharding, committed)

    @staticmethod
    def full(shape: Any, fill_value: Any, dtype: Any) -> jax.Array:
        """An array of one value."""
        stored = lax.full(shape, fill_value, dtype.float_dtype)
        return lax.convert_element_type(stored, dtype)

    @staticmethod
    def tangent_dtype(dtype: Any) -> Any:
        """Gradients are of the dtype itself."""
        return dtype

    @staticmethod
    def zero(dt: Any) -> jax.Array:
        """What changes nothing when it is added: minus infinity."""
        return lax.convert_element_type(jnp.array(-np.inf, dt.float_dtype), dt)

    @staticmethod
    def add(dt: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        """The larger of two."""
        x, y = (lax.convert_element_type(z, dt.float_dtype) for z in (x, y))
        return lax.convert_element_type(lax.max(x, y), dt)

    @staticmethod
    def convert_from(fp8_meta_dtype: Any, other_dtype: Any) -> bool:
        """Whether this dtype converts to another."""
        return fp8_meta_dtype.float_dtype == other_dtype

    @staticmethod
    def convert_to(other_dtype: Any, fp8_meta_dtype: Any) -> bool:
        """Whether another dtype converts to this one."""
        return fp8_meta_dtype.float_dtype == other_dtype


@dataclasses.dataclass(frozen=True)
class fp8_meta_dtype_wrapper(_compat.ExtendedDType):
    """The dtype, over a floating-point dtype in which its elements are stored.

    Attributes:
        float_dtype: the dtype in which elements are stored.
        type: the kind of scalar.
    """

    float_dtype: Any
    _rules: type = Fp8MetaTyRules
    type: type = fp8_meta_dtype

    def __repr__(self) -> str:
        return f'fp8_meta{jnp.finfo(self.float_dtype).bits}'

    @property
    def name(self) -> str:
        """As ``fp8_meta32``."""
        return repr(self)


fm32 = fp8_meta_dtype_wrapper(jnp.dtype('float32'))
fp32_max_grad = fp8_meta_dtype_wrapper(jnp.dtype('float32'))


def to_float32(value: Any) -> Any:
    """A plain float32 array in place of one of this dtype; anything else as it is."""
    if getattr(value, 'dtype', None) == fm32:
        return lax.convert_element_type(value, jnp.float32)
    return value


def like(value: Any, dtype: Any) -> Any:
    """Undoes :func:`to_float32`, given the dtype there was before."""
    return lax.convert_element_type(value, fm32) if dtype == fm32 else value

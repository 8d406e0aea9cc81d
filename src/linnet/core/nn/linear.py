"""Dense layers, convolutions and embeddings as functions of a scope.

They are the layers of :mod:`linnet.linen` of the same names, whose documentation explains the
arguments; ``bias`` tells whether there is one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from linnet import struct
from linnet.core.scope import Scope
from linnet.errors.layers import TokenIdError
from linnet.linen import initializers
from linnet.linen._conv import Conv, ConvTranspose
from linnet.linen._dense import Dense, DenseGeneral, default_kernel_init
from linnet.linen._embed import default_embed_init
from linnet.typing import Array, Dtype, Initializer, PaddingLike, PrecisionLike, Shape


@dataclasses.dataclass(frozen=True)
class _Repeated:
    """Draws the kernel of one batch, and gives it to each."""

    init: Initializer
    times: int

    def __call__(self, key: Any, shape: Shape, dtype: Dtype = jnp.float32) -> Any:
        rest = (shape[0] // self.times, *shape[1:])
        drawn = self.init(key, rest, dtype)
        return jnp.tile(drawn, (self.times, *(1,) * (len(shape) - 1)))


def dense_general(
    scope: Scope,
    inputs: Array,
    features: int | Sequence[int],
    axis: int | Sequence[int] = -1,
    batch_dims: Sequence[int] = (),
    bias: bool = True,
    dtype: Dtype = jnp.float32,
    kernel_init: Initializer = default_kernel_init,
    bias_init: Initializer = initializers.zeros,
    precision: PrecisionLike = None,
) -> Array:
    """An affine map of any axes to any number of new ones; all batches begin with one kernel."""
    times = 1
    for dim in batch_dims:
        times *= inputs.shape[dim]
    if times > 1:
        kernel_init, bias_init = _Repeated(kernel_init, times), _Repeated(bias_init, times)
    layer = DenseGeneral(
        features, axis, batch_dims, bias, dtype, jnp.float32, kernel_init, bias_init, precision,
        parent=scope,
    )  # fmt: skip
    return layer(inputs)


def dense(
    scope: Scope,
    inputs: Array,
    features: int,
    bias: bool = True,
    dtype: Dtype = jnp.float32,
    precision: PrecisionLike = None,
    kernel_init: Initializer = default_kernel_init,
    bias_init: Initializer = initializers.zeros,
) -> Array:
    """An affine map of the last axis, ``[batch..., in] -> [batch..., features]``.

    >>> import jax
    >>> from linnet.core import init
    >>> y, variables = init(dense)(jax.random.key(0), jnp.ones((2, 3)), 4)
    >>> y.shape, sorted(variables['params'])
    ((2, 4), ['bias', 'kernel'])
    """
    layer = Dense(
        features, bias, dtype, jnp.float32, precision, kernel_init, bias_init, parent=scope
    )
    return layer(inputs)


def conv(
    scope: Scope,
    inputs: Array,
    features: int,
    kernel_size: Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: PaddingLike = 'SAME',
    input_dilation: int | Sequence[int] | None = None,
    kernel_dilation: int | Sequence[int] | None = None,
    feature_group_count: int = 1,
    bias: bool = True,
    dtype: Dtype = jnp.float32,
    precision: PrecisionLike = None,
    kernel_init: Initializer = default_kernel_init,
    bias_init: Initializer = initializers.zeros,
) -> Array:
    """A convolution, ``[batch, spatial..., in] -> [batch, spatial..., features]``."""
    layer = Conv(
        features,
        kernel_size,
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
        feature_group_count=feature_group_count,
        use_bias=bias,
        dtype=dtype,
        precision=precision,
        kernel_init=kernel_init,
        bias_init=bias_init,
        parent=scope,
    )
    return layer(inputs)


def conv_transpose(
    scope: Scope,
    inputs: Array,
    features: int,
    kernel_size: int | Sequence[int],
    strides: Sequence[int] | None = None,
    padding: PaddingLike = 'SAME',
    kernel_dilation: Sequence[int] | None = None,
    bias: bool = True,
    dtype: Dtype = jnp.float32,
    precision: PrecisionLike = None,
    kernel_init: Initializer = default_kernel_init,
    bias_init: Initializer = initializers.zeros,
) -> Array:
    """A transposed convolution, ``[batch, spatial..., in] -> [batch, spatial..., features]``."""
    layer = ConvTranspose(
        features,
        kernel_size,
        strides=strides,
        padding=padding,
        kernel_dilation=kernel_dilation,
        use_bias=bias,
        dtype=dtype,
        precision=precision,
        kernel_init=kernel_init,
        bias_init=bias_init,
        parent=scope,
    )
    return layer(inputs)


@struct.dataclass
class Embedding:
    """A table of vectors, ``[num_embeddings, features]``."""

    table: Any

    def lookup(self, indices: Array) -> Array:
        """The vectors of ids, ``[...] -> [..., features]``; the last one beyond the table.

        Raises:
            TokenIdError: the ids are no integers.
        """
        if not jnp.issubdtype(indices.dtype, jnp.integer):
            raise TokenIdError(
                f'an embedding looks up integers; got {indices.dtype}',
                mend='indices.astype(jnp.int32)',
            )
        return self.table[indices]

    def attend(self, query: Array) -> Array:
        """Products with every vector, ``[..., features] -> [..., num_embeddings]``."""
        return jnp.dot(query, self.table.T)


def embedding(
    scope: Scope,
    num_embeddings: int,
    features: int,
    init_fn: Initializer = default_embed_init,
) -> Embedding:
    """A table of vectors, the parameter ``table``."""
    return Embedding(scope.param('table', init_fn, (num_embeddings, features)))

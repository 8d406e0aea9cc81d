"""Dense, Embed and LayerNorm whose parameters tell the logical names of their axes.

The names are those of :func:`linnet.linen.partitioning.param_with_axes`: ``vocab`` and ``embed``,
or what ``kernel_axes`` says. Computation is in float32 unless ``dtype`` says otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from linnet.errors.layers import InputShapeError, TokenIdError
from linnet.linen._dense import default_kernel_init
from linnet.linen._embed import default_embed_init
from linnet.linen._inputs import check_array
from linnet.linen._norms import compute_stats, normalize
from linnet.linen._shapes import check_count
from linnet.linen.initializers import ones_init, zeros_init
from linnet.linen.module.base import Module
from linnet.linen.module.decorators import compact
from linnet.linen.partitioning import param_with_axes
from linnet.typing import Array, DotGeneralT, Dtype, Initializer, PrecisionLike

Activation = Callable[..., Array]


class Dense(Module):
    """An affine map of the last axis, ``[batch..., in] -> [batch..., features]``.

    >>> layer = Dense(4, kernel_axes=('embed', 'mlp'))
    >>> variables = layer.init(jax.random.key(0), jnp.ones((2, 3)))
    >>> variables['params_axes']['kernel_axes']
    AxisMetadata(names=('embed', 'mlp'))

    Attributes:
        features: size of the new last axis.
        use_bias: whether to add a bias.
        dtype: the computation dtype.
        param_dtype: dtype in which the parameters are made.
        precision: of the multiplication, as for ``jax.lax.dot_general``.
        kernel_init: initialiser of the kernel, ``[in, features]``.
        bias_init: initialiser of the bias, ``[features]``.
        kernel_axes: the names of the axes of the kernel; the last one is that of the bias.
        dot_general: computes the product in place of ``jax.lax.dot_general``.
        dot_general_cls: a module class whose instance does; goes before ``dot_general``.
    """

    features: int
    use_bias: bool = True
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32
    precision: PrecisionLike = None
    kernel_init: Initializer = default_kernel_init
    bias_init: Initializer = zeros_init()
    kernel_axes: tuple[str, ...] = ()
    dot_general: DotGeneralT | None = None
    dot_general_cls: Any = None

    @compact
    def __call__(self, inputs: Array) -> Array:
        """Maps the last axis.

        Raises:
            InputShapeError: the input has no axis.
            InputDtypeError: the input is no array.
            InvalidOptionError: ``features`` is no count.
        """
        check_array(inputs)
        check_count('features', self.features)
        if not inputs.ndim:
            raise InputShapeError('Dense needs [batch..., in]; got a scalar', mend='x[None]')
        shape, axes = (inputs.shape[-1], self.features), self.kernel_axes
        kernel = param_with_axes('kernel', self.kernel_init, shape, self.param_dtype, axes=axes)
        contraction = (((inputs.ndim - 1,), (0,)), ((), ()))
        inputs, kernel = jnp.asarray(inputs, self.dtype), jnp.asarray(kernel, self.dtype)
        product = self.dot_general or lax.dot_general
        if self.dot_general_cls is not None:
            product = self.dot_general_cls()
        y = product(inputs, kernel, contraction, precision=self.precision)
        if not self.use_bias:
            return y
        bias = param_with_axes('bias', self.bias_init, shape[1:], self.param_dtype, axes=axes[-1:])
        return y + jnp.asarray(bias, self.dtype).reshape((1,) * (y.ndim - 1) + (-1,))


class Embed(Module):
    """A vector for each id of a token, ``[...] -> [..., features]``.

    The table ``embedding`` of shape ``[num_embeddings, features]`` has the axes ``vocab`` and
    ``embed``. An id beyond the table gives its last vector.

    Attributes:
        num_embeddings: number of vectors.
        features: size of each.
        cast_input_dtype: an integer dtype to which ids are cast, where they are no integers.
        dtype: dtype of the result.
        param_dtype: dtype in which the table is made.
        attend_dtype: dtype to which :meth:`attend` casts the table; ``dtype`` unless given.
        embedding_init: initialiser of the table.
        one_hot: look up by a product with one-hot vectors, which some devices do faster.
    """

    num_embeddings: int
    features: int
    cast_input_dtype: Dtype | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32
    attend_dtype: Dtype | None = None
    embedding_init: Initializer = default_embed_init
    one_hot: bool = False

    def setup(self) -> None:
        """Makes the table."""
        self.embedding = param_with_axes(
            'embedding',
            self.embedding_init,
            (self.num_embeddings, self.features),
            self.param_dtype,
            axes=('vocab', 'embed'),
        )

    def __call__(self, inputs: Array) -> Array:
        """Looks ids up.

        Raises:
            TokenIdError: the ids are no integers.
        """
        if self.cast_input_dtype:
            inputs = inputs.astype(self.cast_input_dtype)
        if not jnp.issubdtype(inputs.dtype, jnp.integer):
            raise TokenIdError(
                f'Embed looks up integers; got {inputs.dtype}', mend='cast_input_dtype=jnp.int32'
            )
        table = jnp.asarray(self.embedding, self.dtype)
        if not self.one_hot:
            return table[inputs]
        is_id = inputs[..., None] == jnp.arange(self.num_embeddings, dtype=inputs.dtype)
        return jnp.dot(is_id.astype(self.dtype), table)

    def attend(self, query: Array) -> Array:
        """The product with every vector, ``[..., features] -> [..., num_embeddings]``."""
        table = jnp.asarray(self.embedding, self.attend_dtype or self.dtype)
        with jax.numpy_dtype_promotion('standard'):
            return jnp.dot(query, table.T)


class LayerNorm(Module):
    """Normalises the last axis of each example, ``[..., features] -> [..., features]``.

    ``scale`` and ``bias`` have the axis ``embed``.

    Attributes:
        epsilon: added to the variance.
        dtype: dtype of the result.
        param_dtype: dtype in which the parameters are made.
        use_bias: whether to add a bias.
        use_scale: whether to multiply by a scale.
        bias_init: initialiser of the bias.
        scale_init: initialiser of the scale.
    """

    epsilon: float = 1e-6
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32
    use_bias: bool = True
    use_scale: bool = True
    bias_init: Initializer = zeros_init()
    scale_init: Initializer = ones_init()

    @compact
    def __call__(self, x: Array) -> Array:
        """Normalises the last axis."""
        mean, var = compute_stats(x, -1, self.dtype)
        return normalize(
            _OfEmbed(self), x, mean, var, -1, -1, self.dtype, self.param_dtype, self.epsilon,
            self.use_bias, self.use_scale, self.bias_init, self.scale_init,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _OfEmbed:
    """A module whose parameters have the axis ``embed``."""

    module: Module

    def param(self, name: str, *init: Any) -> Any:
        return param_with_axes(name, *init, axes=('embed',), module=self.module)

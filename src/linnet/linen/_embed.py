"""Embed: a table of vectors, looked up by the ids of tokens."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from linnet.errors.layers import InputShapeError, TokenIdError
from linnet.linen import initializers
from linnet.linen._inputs import check_array
from linnet.linen._shapes import check_count
from linnet.linen.dtypes import promote_dtype
from linnet.linen.module.base import Module
from linnet.typing import Array, Dtype, Initializer, PromoteDtypeFn

default_embed_init = initializers.variance_scaling(1.0, 'fan_in', 'normal', out_axis=0)


class Embed(Module):
    """A vector of the table ``embedding`` for each id of a token.

    ``[...] -> [..., features]``, integers to the computation dtype (:mod:`linnet.linen.dtypes`).
    The parameter is ``embedding`` of shape ``[num_embeddings, features]``, also an attribute. With
    :meth:`attend` the same table makes logits of features.

    An id beyond the table gives NaN (or the least number of an integer table), a negative one
    counts from the end of the table; with ``num_embeddings=1`` every id gives the one vector.

    >>> import jax, linnet.linen as nn
    >>> ids = jnp.array([[0, 1], [1, 4]])
    >>> layer = nn.Embed(num_embeddings=5, features=3)
    >>> variables = layer.init(jax.random.key(0), ids)
    >>> layer.apply(variables, ids).shape
    (2, 2, 3)
    >>> layer.apply(variables, jnp.ones((2, 3)), method='attend').shape
    (2, 5)

    Attributes:
        num_embeddings: number of vectors, the size of the vocabulary.
        features: size of each vector.
        dtype: the computation dtype; that of the table unless given.
        param_dtype: dtype in which the table is made.
        embedding_init: initialiser of the table.
        promote_dtype: casts to the computation dtype; see
            :func:`linnet.linen.dtypes.promote_dtype`.
    """

    num_embeddings: int
    features: int
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32
    embedding_init: Initializer = default_embed_init
    promote_dtype: PromoteDtypeFn = promote_dtype

    def setup(self) -> None:
        check_count('num_embeddings', self.num_embeddings)
        check_count('features', self.features)
        shape = (self.num_embeddings, self.features)
        self.embedding = self.param('embedding', self.embedding_init, shape, self.param_dtype)

    def __call__(self, inputs: Array) -> Array:
        """Looks up ids: ``[...] -> [..., features]``.

        Raises:
            InputDtypeError: the ids are no array.
            TokenIdError: they are no integers, or the table is empty.
        """
        _check_ids(inputs, self.num_embeddings)
        (embedding,) = self.promote_dtype(self.embedding, dtype=self.dtype, inexact=False)
        if self.num_embeddings == 1:
            # no gather, whose gradient scatters: one vector is only repeated
            shape = (*inputs.shape, self.features)
            return jnp.broadcast_to(embedding, shape) if inputs.ndim else embedding[0]
        return jnp.take(embedding, inputs, axis=0)

    def attend(self, query: Array) -> Array:
        """Products of queries with every vector: ``[..., features] -> [..., num_embeddings]``.

        The weights of the embedding serve as those of the last layer of a language model; Press
        and Wolf, "Using the Output Embedding to Improve Language Models" (2017).

        Raises:
            InputDtypeError: the query is no array.
            InputShapeError: the last axis of the query is not of size ``features``.
        """
        check_array(query, 'the query')
        if query.shape[-1:] != (self.features,):
            raise InputShapeError(
                f'the query has shape {query.shape}; attend needs [..., features={self.features}]'
            )
        query, embedding = self.promote_dtype(query, self.embedding, dtype=self.dtype)
        return jnp.dot(query, embedding.T)


def _check_ids(ids: Any, num_embeddings: int) -> None:
    check_array(ids, 'the array of ids')
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TokenIdError(
            f'the ids of tokens are of dtype {ids.dtype}',
            why='a table is looked up by integers',
            mend='embed(ids.astype(jnp.int32))',
        )
    if not num_embeddings and ids.size:
        raise TokenIdError('num_embeddings=0: the table has no vector to look up')

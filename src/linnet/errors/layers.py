"""Errors about what a layer was configured with or called on (LN5xx).

The raising layer writes the message: ``what`` with the actual values and shapes, ``mend`` with
the line that puts it right.
"""

from __future__ import annotations

from linnet.errors._base import LinnetError


class InvalidOptionError(LinnetError, ValueError, TypeError):
    """An option of a layer has a value that it does not know, or contradicts another option.

    Wrong::

        nn.Conv(8, (3, 3), padding='SAEM')

    Right::

        nn.Conv(8, (3, 3), padding='SAME')

    Reason: the values that an option takes stand in the docstring of the layer.
    """

    code = 'LN501'


class InputShapeError(LinnetError, ValueError):
    """The input of a layer has the wrong number of axes, or axes of the wrong size.

    Wrong::

        nn.MultiHeadDotProductAttention(num_heads=3, qkv_features=8)(x)

    Right::

        nn.MultiHeadDotProductAttention(num_heads=4, qkv_features=8)(x)

    Reason: each layer says in its docstring which axes it wants; the sizes must fit each other.
    """

    code = 'LN502'


class InputDtypeError(LinnetError, TypeError):
    """The input of a layer has a dtype that the layer cannot work on.

    Wrong::

        nn.Embed(num_embeddings=10, features=4)(jnp.array([0.0, 1.0]))

    Right::

        nn.Embed(num_embeddings=10, features=4)(jnp.array([0, 1]))

    Reason: indices are integers, everything else is a floating-point or complex array.
    """

    code = 'LN503'


class MaskError(LinnetError, ValueError):
    """An attention mask or bias does not fit the attention weights.

    Wrong::

        nn.dot_product_attention(q, k, v, mask=jnp.ones((batch, length)))

    Right::

        nn.dot_product_attention(q, k, v, mask=nn.make_attention_mask(valid, valid))

    Reason: a mask broadcasts to ``[batch..., heads, queries, keys]`` and is true where a query
    may look at a key; a bias of that shape is added to the logits.
    """

    code = 'LN504'


class TokenIdError(LinnetError, ValueError):
    """A token id lies outside the vocabulary of an embedding.

    Wrong::

        nn.Embed(num_embeddings=5, features=2)(jnp.array([5]))

    Right::

        nn.Embed(num_embeddings=6, features=2)(jnp.array([5]))

    Reason: ids run from 0 to ``num_embeddings - 1``. Compiled code cannot raise: there an id
    past the end gives NaN and a negative one counts from the end.
    """

    code = 'LN505'


class CarryError(LinnetError, ValueError):
    """The carry of a recurrent cell or of a scan does not have the form that it began with.

    Wrong::

        nn.LSTMCell(4)(jnp.zeros((2, 4)), x)

    Right::

        cell = nn.LSTMCell(4)
        cell(cell.initialize_carry(key, x.shape), x)

    Reason: a step takes a carry and returns one of the same structure, shapes and dtypes, so
    that it can be repeated.
    """

    code = 'LN506'

"""Sequences of different lengths: where their axes are, how to reverse them, where they end.

Sequences are ``[batch..., time, features...]``, or *time-major* ``[time, batch..., features...]``.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from linnet.errors.layers import CarryError, InputDtypeError, InputShapeError
from linnet.linen._inputs import check_array
from linnet.typing import Array, Shape

A = TypeVar('A')


def layout(
    inputs: Array, n_features: int, time_major: bool
) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """The axis of time, the batch shape, and the shape of the input of one step."""
    check_array(inputs)
    axis = 0 if time_major else inputs.ndim - n_features - 1
    if inputs.ndim < n_features + 1:
        raise InputShapeError(
            f'sequences have at least {n_features + 1} axes, '
            f'{"[time, batch..., in...]" if time_major else "[batch..., time, in...]"} with '
            f'{n_features} of features; got shape {inputs.shape}',
            mend='x[None] for a sequence of one step' if inputs.ndim == n_features else '',
        )
    step = inputs.shape[:axis] + inputs.shape[axis + 1 :]
    return axis, step[: len(step) - n_features], step


def as_lengths(seq_lengths: Any, batch: Shape) -> Array:
    """Lengths for each sequence of a batch: integers ``[batch...]``."""
    if isinstance(seq_lengths, int) and not isinstance(seq_lengths, bool):
        seq_lengths = jnp.asarray(seq_lengths)
    check_array(seq_lengths, 'seq_lengths')
    if not jnp.issubdtype(seq_lengths.dtype, jnp.integer):
        raise InputDtypeError(
            f'seq_lengths are {seq_lengths.dtype}, and lengths are integers',
            mend='seq_lengths=mask.sum(axis=-1), for a mask [batch..., time] of what counts'
            if seq_lengths.dtype == bool
            else 'seq_lengths.astype(jnp.int32)',
        )
    if seq_lengths.shape == tuple(batch):
        return seq_lengths
    try:
        return jnp.broadcast_to(seq_lengths, batch)
    except ValueError:
        raise InputShapeError(
            f'seq_lengths have shape {seq_lengths.shape}; sequences with the batch shape '
            f'{tuple(batch)} have as many lengths',
            mend=f'seq_lengths of shape {tuple(batch)}',
        ) from None


def flip_sequences(
    inputs: Array, seq_lengths: Array | None, num_batch_dims: int, time_major: bool
) -> Array:
    """Reverses sequences in time, and leaves the padding behind their end.

    ``[batch..., time, ...] -> [batch..., time, ...]``, or the same with time first. What stands
    behind the end of a sequence stays there, though reversed as well.

    >>> x = jnp.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 0]])
    >>> flip_sequences(x, jnp.array([3, 4]), num_batch_dims=1, time_major=False)
    Array([[3, 2, 1, 0, 0],
           [7, 6, 5, 4, 0]], dtype=int32)

    Args:
        inputs: the sequences.
        seq_lengths: integers ``[batch...]``; None where all have the same length.
        num_batch_dims: number of batch axes.
        time_major: whether time is the first axis, or the one after the batch axes.

    Raises:
        InputShapeError: inputs have too few axes, or ``seq_lengths`` not their batch axes.
        InputDtypeError: inputs are no array, or ``seq_lengths`` no integers.
    """
    check_array(inputs)
    if inputs.ndim < num_batch_dims + 1:
        raise InputShapeError(
            f'sequences with {num_batch_dims} batch axes have at least {num_batch_dims + 1} axes; '
            f'got shape {inputs.shape}'
        )
    axis = 0 if time_major else num_batch_dims
    if seq_lengths is None:
        return jnp.flip(inputs, axis=axis)
    first = 1 if time_major else 0
    seq_lengths = as_lengths(seq_lengths, inputs.shape[first : first + num_batch_dims])
    seq_lengths = jnp.expand_dims(seq_lengths, axis)
    length = inputs.shape[axis]
    steps = jnp.arange(length - 1, -1, -1)
    ones = (1,) * num_batch_dims
    steps = jnp.reshape(steps, (length, *ones) if time_major else (*ones, length))
    steps = (steps + seq_lengths) % length
    steps = jnp.reshape(steps, steps.shape + (1,) * (inputs.ndim - steps.ndim))
    return jnp.take_along_axis(inputs, steps, axis=axis)


def select_last_carry(sequence: A, seq_lengths: Array) -> A:
    """The carry at the last step that counts: ``[time, batch..., ...] -> [batch..., ...]``."""
    batch = seq_lengths.shape
    last = seq_lengths - 1

    def select(x: Array) -> Array:
        if x.shape[1 : len(batch) + 1] != batch:
            raise CarryError(
                f'the carry has an array of shape {x.shape[1:]}, without the batch axes {batch}',
                why='with seq_lengths each sequence of the batch ends with a carry of its own',
                mend='jnp.broadcast_to(state, (*batch, *state.shape)) in initialize_carry',
            )
        places = [
            jnp.arange(n).reshape((n,) + (1,) * (len(batch) - i))
            for i, n in enumerate(batch, start=1)
        ]
        return x[(last, *places)]

    return jax.tree_util.tree_map(select, sequence)

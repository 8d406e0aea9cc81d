"""Recurrent layers: RNN repeats a cell over time, Bidirectional runs two of them.

Sequences are ``[batch..., time, features...]``, or with *time-major* order
``[time, batch..., features...]``. Sequences of different lengths are padded at the end to the
longest and come with ``seq_lengths``, ``[batch...]``. The loop runs over the padding all the same:
outputs beyond the length of a sequence mean nothing. The cells are those of
:mod:`linnet.linen.rnn_cells`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from linnet._frozen_dict import FrozenDict
from linnet.configurations import config
from linnet.core import hoisting
from linnet.core.devices import default_device, is_cuda
from linnet.core.filters import CollectionFilter, PRNGSequenceFilter
from linnet.core.lift import batch
from linnet.errors.layers import CarryError, InputShapeError, InvalidOptionError
from linnet.errors.sharp_bits import SameInstanceWarning
from linnet.linen._inputs import check_flag, warn_about
from linnet.linen._rnn_cells import Carry, Output, RNNCellBase, describe
from linnet.linen._rnn_cells_gated import GRUCell, MGUCell, SimpleCell
from linnet.linen._rnn_cells_lstm import ConvLSTMCell, DenseParams, LSTMCell, OptimizedLSTMCell
from linnet.linen._sequences import A, as_lengths, flip_sequences, layout, select_last_carry
from linnet.linen._shapes import check_count
from linnet.linen.module.base import Module
from linnet.linen.module.decorators import nowrap
from linnet.linen.module.state import ModuleBase
from linnet.linen.stochastic import check_key
from linnet.linen.transforms.methods import lift, lift_function
from linnet.typing import Array, InOutScanAxis, PRNGKey

__all__ = [
    'A',
    'Bidirectional',
    'Carry',
    'CarryHistory',
    'ConvLSTMCell',
    'DenseParams',
    'GRUCell',
    'LSTMCell',
    'MGUCell',
    'OptimizedLSTMCell',
    'Output',
    'RNN',
    'RNNBase',
    'RNNCellBase',
    'SimpleCell',
    'flip_sequences',
]

CarryHistory = Any


class RNNBase(Protocol):
    """What :class:`Bidirectional` asks of a recurrent layer: the call of :class:`RNN`."""

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Carry | None = None,
        init_key: PRNGKey | None = None,
        seq_lengths: Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
    ) -> Output | tuple[Carry, Output]:
        """Runs over sequences ``[batch..., time, features...]``; see :meth:`RNN.__call__`."""


class RNN(Module):
    """Repeats a cell over time: ``[batch..., time, in...] -> [batch..., time, out...]``.

    The loop is compiled as one step (:func:`linnet.linen.scan`). All steps share the parameters,
    which are those of the field ``cell``. Outputs are of the dtype that the cell gives; the carry
    must keep its dtype from step to step.

    >>> import jax, linnet.linen as nn
    >>> x = jnp.ones((2, 5, 3))
    >>> layer = nn.RNN(nn.LSTMCell(features=4), return_carry=True)
    >>> variables = layer.init(jax.random.key(0), x)
    >>> (c, h), y = layer.apply(variables, x, seq_lengths=jnp.array([3, 5]))
    >>> h.shape, y.shape
    ((2, 4), (2, 5, 4))
    >>> bool((h == jnp.stack([y[0, 2], y[1, 4]])).all())
    True

    Attributes:
        cell: the cell, an :class:`RNNCellBase` or a module with the same methods.
        time_major: whether inputs and outputs have time as their first axis.
        return_carry: whether to return the carry after the last step too.
        reverse: whether to run backwards, from the last input to the first.
        keep_order: whether to return the outputs of a reversed run in the order of the inputs
            rather than in the order of the steps.
        unroll: how many steps are compiled in a row; True for all.
        variable_axes: by collection, the axis along which each step has a variable of its own, as
            for :func:`linnet.linen.scan`.
        variable_broadcast: the collections that all steps share, and none changes.
        variable_carry: the collections that a step hands to the next.
        split_rngs: by stream, whether every step gets a key of its own. A stream that is not
            named is not seen: for dropout in the cell write
            ``{'params': False, 'dropout': True}``.
        hoist_inputs: whether to multiply the inputs of all steps by their kernels at once, before
            the loop; results are the same up to rounding. By default so it is on GPUs programmed
            with CUDA, where it is faster, unless the flag ``linnet_hoist_inputs`` is off.
    """

    cell: RNNCellBase
    time_major: bool = False
    return_carry: bool = False
    reverse: bool = False
    keep_order: bool = False
    unroll: int = 1
    variable_axes: Mapping[CollectionFilter, InOutScanAxis] = FrozenDict()
    variable_broadcast: CollectionFilter = 'params'
    variable_carry: CollectionFilter = False
    split_rngs: Mapping[PRNGSequenceFilter, bool] = FrozenDict({'params': False})
    hoist_inputs: bool | None = dataclasses.field(default=None, kw_only=True, repr=False)

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Carry | None = None,
        init_key: PRNGKey | None = None,
        seq_lengths: Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
    ) -> Output | tuple[Carry, Output]:
        """Runs the cell over sequences.

        Args:
            inputs: ``[batch..., time, in...]``, or time-major ``[time, batch..., in...]``.
            initial_carry: the carry to begin with; by default that of the cell.
            init_key: the key for the cell's carry; a constant one unless given.
            seq_lengths: integers ``[batch...]``, the steps that count. With them a reversed run
                begins at the last step that counts, and the carry is that after it; that of a
                sequence of length 0 is the one after all steps.
            return_carry: like the other arguments below, overrides the layer's attribute.
            time_major: see the attributes of the layer.
            reverse: see the attributes of the layer.
            keep_order: see the attributes of the layer.

        Returns:
            The outputs, a tree of ``[batch..., time, out...]``; with ``return_carry`` a pair, the
            carry ``[batch..., features...]`` and the outputs.

        Raises:
            InvalidOptionError: ``cell`` is no cell; ``unroll`` is no count; an option is traced;
                the cell returns something else than ``(carry, output)``.
            InputShapeError: inputs have too few axes, or ``seq_lengths`` not their batch axes.
            InputDtypeError: inputs are no array, or ``seq_lengths`` no integers.
            CarryError: the carry does not fit the inputs, or a step changes its form.
        """
        pick = functools.partial(_pick, self)
        return_carry = pick('return_carry', return_carry)
        time_major = pick('time_major', time_major)
        reverse = pick('reverse', reverse)
        keep_order = pick('keep_order', keep_order)
        check_count('unroll', self.unroll)
        axis, batch_shape, step_shape = layout(inputs, _feature_axes(self.cell), time_major)
        length = inputs.shape[axis]
        if seq_lengths is not None:
            seq_lengths = as_lengths(seq_lengths, batch_shape)
        flip = functools.partial(
            flip_sequences,
            seq_lengths=seq_lengths,
            num_batch_dims=len(batch_shape),
            time_major=time_major,
        )
        if reverse:
            inputs = flip(inputs)
        carry = initial_carry
        if carry is None:
            key = jax.random.key(0) if init_key is None else init_key
            carry = self.cell.initialize_carry(key, step_shape)

        by_length = return_carry and seq_lengths is not None and length > 0
        carry, outputs = self._scan(axis, by_length)(self.cell, carry, inputs)
        if by_length:
            history, outputs = outputs
            carry = select_last_carry(history, seq_lengths)
        if reverse and keep_order:
            outputs = jax.tree_util.tree_map(flip, outputs)
        return (carry, outputs) if return_carry else outputs

    @nowrap
    def _scan(self, axis: int, with_history: bool) -> Callable[..., Any]:
        """The loop: from cell, carry and inputs to the last carry and all outputs.

        With history the outputs are pairs: the carries after all steps, time first, and outputs.
        """

        def scan_fn(cell: Any, carry: Carry, x: Array) -> tuple[Carry, Any]:
            new_carry, y = _call_cell(cell, carry, x)
            return new_carry, (new_carry, y) if with_history else y

        return lift(
            'scan',
            functools.partial(lift_function, batch.scan),
            scan_fn,
            None,
            loop=hoisting.scan if self._hoists() else jax.lax.scan,
            in_axes=axis,
            out_axes=(0, axis) if with_history else axis,
            unroll=self.unroll,
            variable_axes=self.variable_axes,
            variable_broadcast=self.variable_broadcast,
            variable_carry=self.variable_carry,
            split_rngs=self.split_rngs,
        )

    @nowrap
    def _hoists(self) -> bool:
        """Tells whether products of inputs are taken before the loop."""
        if self.is_initializing():
            return False
        if self.hoist_inputs is None:
            return config.linnet_hoist_inputs and is_cuda(default_device())
        check_flag(self.hoist_inputs, 'hoist_inputs')
        return self.hoist_inputs


def _pick(layer: Module, name: str, given: bool | None) -> bool:
    """An option of the call, or else of the layer."""
    value = getattr(layer, name) if given is None else given
    check_flag(value, name)
    return value


def _feature_axes(cell: Any) -> int:
    """How many feature axes a cell has, if it is one."""
    if inspect.isclass(cell):
        raise InvalidOptionError(
            f'cell is the class {cell.__name__}; a cell is wanted',
            mend=f'nn.RNN({cell.__name__}(...))',
        )
    if not _is_cell(cell):
        raise InvalidOptionError(
            f'cell is of type {type(cell).__name__}, which is not a recurrent cell',
            why='a cell is a module with initialize_carry and num_feature_axes, and is called as '
            '(carry, x) -> (carry, y)',
            mend='nn.RNN(nn.GRUCell(features=64))',
        )
    n_axes = cell.num_feature_axes
    check_count(f'num_feature_axes of {type(cell).__name__}', n_axes)
    return n_axes


def _is_cell(x: Any) -> bool:
    name = 'num_feature_axes'  # the class is asked first, so that errors in a property show
    return isinstance(x, ModuleBase) and (hasattr(type(x), name) or hasattr(x, name))


def _call_cell(cell: Any, carry: Carry, x: Array) -> tuple[Carry, Any]:
    """One step, of which the new carry has the form of the old one."""
    result = cell(carry, x)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise InvalidOptionError(
            f'{type(cell).__name__} must return two values, (carry, output); it returned '
            f'{describe(result)}',
            mend='return carry, output',
        )
    new_carry, y = result
    if changes := _changes(carry, new_carry):
        raise CarryError(
            f'a step of {type(cell).__name__} changes the form of its carry: {changes}',
            why='the carry of one step goes into the next: structure, shapes and dtypes stay',
            mend='initial_carry of the form that a step returns; or in the cell param_dtype=dtype',
        )
    return new_carry, y


def _changes(before: Carry, after: Carry) -> str:
    """In what the form of a carry differs from that of the one before it; ``''`` if in nothing."""
    tree_before: Any
    leaves_before, tree_before = jax.tree_util.tree_flatten_with_path(before)
    leaves_after, tree_after = jax.tree_util.tree_flatten(after)
    if tree_before != tree_after:
        return f'its structure goes from {tree_before} to {tree_after}'
    found = []
    for (path, leaf), new in zip(leaves_before, leaves_after, strict=True):
        was, now = jax.typeof(leaf), jax.typeof(new)
        is_weak = getattr(was, 'weak_type', False)
        if was.shape != now.shape or (was.dtype != now.dtype and not is_weak):
            name = f'carry{jax.tree_util.keystr(path)}'
            found.append(f'{name} goes from {was.str_short()} to {now.str_short()}')
    return '; '.join(found)


def _concatenate(a: Array, b: Array) -> Array:
    """Joins outputs along the last axis: ``[..., m], [..., n] -> [..., m + n]``."""
    return jnp.concatenate([a, b], axis=-1)


class Bidirectional(Module):
    """Runs over sequences forwards and backwards, and merges the outputs of each step.

    ``[batch..., time, in...] -> [batch..., time, 2 * features]`` where outputs are joined, as they
    are by default. The parameters are those of the fields ``forward_rnn`` and ``backward_rnn``.
    Schuster and Paliwal, "Bidirectional recurrent neural networks", 1997.

    >>> import jax, linnet.linen as nn
    >>> x = jnp.ones((2, 5, 3))
    >>> layer = nn.Bidirectional(nn.RNN(nn.GRUCell(4)), nn.RNN(nn.GRUCell(6)))
    >>> y, variables = layer.init_with_output(jax.random.key(0), x)
    >>> y.shape, sorted(variables['params'])
    ((2, 5, 10), ['backward_rnn', 'forward_rnn'])

    Attributes:
        forward_rnn: an :class:`RNN`, or any module with its call.
        backward_rnn: another one; if it is the same instance, or has the same cell, then both
            directions share parameters, and a warning says so.
        merge_fn: merges the outputs of both, array by array.
        time_major: whether inputs and outputs have time as their first axis; goes before the
            attribute of both layers.
        return_carry: whether to return both carries too.
    """

    forward_rnn: RNNBase
    backward_rnn: RNNBase
    merge_fn: Callable[[Array, Array], Array] = _concatenate
    time_major: bool = False
    return_carry: bool = False

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Carry | None = None,
        init_key: PRNGKey | None = None,
        seq_lengths: Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
    ) -> Output | tuple[tuple[Carry, Carry], Output]:
        """Runs over sequences in both directions.

        Args:
            inputs: ``[batch..., time, in...]``, or time-major ``[time, batch..., in...]``.
            initial_carry: a pair, the carries that forwards and backwards begin with.
            init_key: a key, which is split for the carries that the cells begin with.
            seq_lengths: integers ``[batch...]``; see :meth:`RNN.__call__`.
            return_carry: overrides the attribute of the layer.
            time_major: overrides the attribute of the layer.
            reverse: not used, as both directions are run in any case.
            keep_order: not used, as outputs are in the order of the inputs in any case.

        Returns:
            The merged outputs; with ``return_carry`` a pair, of both carries and them.

        Raises:
            InvalidOptionError: a field is not a recurrent layer, or does not return a pair.
            CarryError: ``initial_carry`` is not a pair, or a carry does not fit.
            InputShapeError: the outputs do not fit each other, or as for :class:`RNN`.
            InputDtypeError: as for :class:`RNN`.
        """
        time_major = _pick(self, 'time_major', time_major)
        return_carry = _pick(self, 'return_carry', return_carry)
        _warn_if_shared(self)
        key_forward = key_backward = None
        if init_key is not None:
            key_forward, key_backward = jax.random.split(check_key(init_key, 'init_key'))
        carry_forward, carry_backward = _pair(initial_carry)
        keywords = dict(seq_lengths=seq_lengths, return_carry=True, time_major=time_major)
        forward = _run(
            self.forward_rnn,
            'forward_rnn',
            inputs,
            initial_carry=carry_forward,
            init_key=key_forward,
            reverse=False,
            **keywords,
        )
        backward = _run(
            self.backward_rnn,
            'backward_rnn',
            inputs,
            initial_carry=carry_backward,
            init_key=key_backward,
            reverse=True,
            keep_order=True,
            **keywords,
        )
        outputs = _merge(self.merge_fn, forward[1], backward[1])
        return ((forward[0], backward[0]), outputs) if return_carry else outputs


def _warn_if_shared(layer: Bidirectional) -> None:
    forward, backward = layer.forward_rnn, layer.backward_rnn
    cells = [getattr(rnn, 'cell', None) for rnn in (forward, backward)]
    shared = 'instance' if forward is backward else 'cell'
    if forward is backward or (cells[0] is not None and cells[0] is cells[1]):
        warn_about(
            SameInstanceWarning,
            layer,
            f'forward_rnn and backward_rnn are the same {shared}, so both directions share '
            'parameters; nn.Bidirectional(nn.RNN(cell), nn.RNN(another_cell)) has some for each',
        )


def _pair(initial_carry: Carry | None) -> tuple[Carry, Carry]:
    if initial_carry is None:
        return None, None
    try:
        forward, backward = initial_carry
    except (TypeError, ValueError):
        raise CarryError(
            f'initial_carry of Bidirectional is {describe(initial_carry)}, not a pair of carries',
            mend='initial_carry=(carry_forward, carry_backward)',
        ) from None
    return forward, backward


def _run(rnn: Any, name: str, inputs: Array, **keywords: Any) -> tuple[Carry, Output]:
    """Calls one of the layers, if it is a recurrent layer."""
    if inspect.isclass(rnn) or not callable(rnn):
        what = (
            f'the class {rnn.__name__}' if inspect.isclass(rnn) else f'of type {type(rnn).__name__}'
        )
        raise InvalidOptionError(
            f'{name} is {what}; a recurrent layer is wanted', mend=f'{name}=nn.RNN(cell)'
        )
    call = type(rnn).__call__ if isinstance(rnn, ModuleBase) else rnn
    known = inspect.signature(call).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in known.values())
    missing = [] if takes_all else sorted(keywords.keys() - known.keys())
    if missing:
        raise InvalidOptionError(
            f'{name} is of type {type(rnn).__name__}, whose call does not take '
            f'{", ".join(missing)}',
            why='both fields are nn.RNN, or modules with the same call',
            mend=f'{name}=nn.RNN(cell)',
        )
    result = rnn(inputs, **keywords)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise InvalidOptionError(
            f'{name} must return two values, (carry, outputs), as return_carry=True asks; '
            f'it returned {describe(result)}',
            mend='return carry, outputs',
        )
    return result[0], result[1]


def _merge(merge_fn: Callable[[Array, Array], Array], forward: Output, backward: Output) -> Output:
    """Merges the outputs of both directions, array by array."""
    structures: list[Any] = [jax.tree_util.tree_structure(x) for x in (forward, backward)]
    if structures[0] != structures[1]:
        raise InputShapeError(
            f'outputs of different structures cannot be merged: {structures[0]} of forward_rnn, '
            f'{structures[1]} of backward_rnn'
        )

    def merge(a: Array, b: Array) -> Array:
        try:
            return merge_fn(a, b)
        except (TypeError, ValueError) as error:
            if jnp.shape(a) == jnp.shape(b):
                raise
            raise InputShapeError(
                f'merge_fn cannot merge outputs of shape {jnp.shape(a)} of forward_rnn and of '
                f'shape {jnp.shape(b)} of backward_rnn',
                mend='cells with the same number of features, or another merge_fn',
            ) from error

    return jax.tree_util.tree_map(merge, forward, backward)

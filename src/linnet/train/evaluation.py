"""Evaluation: every example counts once, and the step is compiled for one size.

The last batch of a data set is short. It is filled up with copies of its last example, and a mask
keeps them out of every sum. That needs a loss and metrics with one value for each example; where
one is a mean over the batch already, a short batch is evaluated as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from linnet.errors.training import BatchError, EmptyDataError
from linnet.train.feed import as_arrays, refuse_one_batch
from linnet.train.forward import Forward
from linnet.train.keys import evaluation_key, stream_keys
from linnet.train.metrics import Averages, Metrics, read_outputs, summed
from linnet.train.precision import Precision
from linnet.train.state import RunState
from linnet.train.step import Loss, batch_size


def make_forward(
    model: Any,
    function: Callable[[Forward, Any], Any],
    streams: Sequence[str] = (),
    precision: str = 'float32',
) -> Callable[..., Any]:
    """Makes ``run(state, batch, number)``: a function of the model, not in training.

    Streams have keys that depend on the seed and the number of the batch, from 1.
    """
    policy = Precision(precision)

    def run(state: RunState, batch: Any, number: int | jax.Array = 1) -> Any:
        keys = stream_keys(evaluation_key(state.key), streams, number)
        net = Forward(model, state.eval_variables, keys=keys, train=False, precision=policy)
        return function(net, batch)

    return run


def make_eval_step(
    model: Any, loss: Loss, *, streams: Sequence[str] = (), precision: str = 'float32'
) -> Callable[..., Metrics]:
    """Makes the function that evaluates one batch.

    Args:
        model: the module.
        loss: as for :func:`~linnet.train.step.make_train_step`; its ``net.train`` is False.
        streams: the random streams that the model draws from in evaluation; mostly none.
        precision: the name of the policy.

    Returns:
        ``eval_step(state, batch, mask=None, number=1) -> metrics``; ``mask`` is ``[batch]``, and
        ``number`` that of the batch, which keys depend on.
    """
    run = make_forward(model, loss, streams, precision)

    def eval_step(state: RunState, batch: Any, mask: Any = None, number: Any = 1) -> Metrics:
        _, metrics = read_outputs(run(state, batch, number), batch_size(batch))
        if mask is not None:
            loose = [name for name, mean in metrics.items() if not mean.is_by_example]
            if loose:
                raise _NotByExample(loose)
        return summed(metrics, mask)

    return eval_step


class _NotByExample(Exception):
    """A mask meets a metric that is a mean over the batch."""


def pad_batch(batch: Any, size: int) -> tuple[Any, np.ndarray]:
    """Fills a batch up with copies of its last example; the mask ``[size]`` is true elsewhere.

    Example::

        >>> pad_batch({'x': np.array([1, 2])}, 3)
        ({'x': array([1, 2, 2])}, array([ True,  True, False]))
    """
    have = batch_size(batch)
    if have != size:
        rows = np.minimum(np.arange(size), have - 1)
        batch = jax.tree.map(lambda leaf: leaf[rows] if np.ndim(leaf) else leaf, batch)
    return batch, np.arange(size) < have


def _shorten(batch: Any, mask: np.ndarray) -> Any:
    """Undoes :func:`pad_batch`."""
    have = int(mask.sum())
    return jax.tree.map(lambda leaf: leaf[:have] if np.ndim(leaf) else leaf, batch)


def padded(data: Iterable[Any]) -> Iterator[tuple[Any, np.ndarray]]:
    """Yields batches, filled up to the largest size of their kind so far, and their masks.

    Batches are of a kind where all other axes are equal, as in one bucket of lengths.
    """
    sizes: dict[Any, int] = {}
    for batch in map(as_arrays, data):
        shapes = tuple(np.shape(leaf)[1:] for leaf in jax.tree.leaves(batch))
        sizes[shapes] = max(sizes.get(shapes, 0), batch_size(batch))
        yield pad_batch(batch, sizes[shapes])


def evaluate(eval_step: Callable[..., Metrics], state: RunState, data: Iterable[Any]) -> Averages:
    """Evaluates all batches with a compiled step of :func:`make_eval_step`.

    Raises:
        EmptyDataError: there is no batch.
    """
    refuse_one_batch(data, 'evaluate')
    averages = Averages()
    number, by_example = 0, True
    for number, (batch, mask) in enumerate(padded(data), 1):
        if by_example:
            try:
                averages.add(eval_step(state, batch, mask, np.int32(number)))
                continue
            except _NotByExample:
                by_example = False
        averages.add(eval_step(state, _shorten(batch, mask), None, np.int32(number)))
    if not number:
        once = isinstance(data, Iterator)
        raise EmptyDataError(
            'there is no batch to evaluate',
            why='a generator can be gone through once' if once else '',
            mend='valid=lambda: make_batches()' if once else 'trainer.evaluate([batch, ...])',
        )
    return averages


def _check_outputs(outputs: Any, size: int) -> None:
    """Refuses what cannot be parted by example."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(outputs):
        if np.shape(leaf)[:1] != (size,):
            name = jax.tree_util.keystr(path, simple=True, separator='/') or 'what the function'
            raise BatchError(
                f'{name} returned has the shape {np.shape(leaf)} for a batch of {size}',
                why='predict joins outputs by their first axis, that of the examples',
                mend='return an output for each example, or call trainer.evaluate for means',
            )


def predict(run: Callable[..., Any], state: RunState, data: Iterable[Any]) -> Any:
    """Runs a compiled function of :func:`make_forward`; joins its outputs, ``[examples, ...]``.

    Raises:
        EmptyDataError: there is no batch.
    """
    refuse_one_batch(data, 'predict')
    parts = []
    for number, (batch, mask) in enumerate(padded(data), 1):
        outputs = jax.device_get(run(state, batch, np.int32(number)))
        _check_outputs(outputs, len(mask))
        parts.append(_shorten(outputs, mask))
    if not parts:
        raise EmptyDataError('there is no batch to predict', mend='trainer.predict([batch, ...])')
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

"""The feed: batches of any iterable, epoch by epoch, checked and gathered into groups.

*Data* is an iterable that can be gone through once for each epoch (a list, a PyTorch loader, a
Grain data set), or a function from the number of the epoch, from 0, to an iterable. A *group* is
the batches that are run in one dispatch: alike in shape, and no more than asked for. Where groups
begin depends on the data alone, so a run that goes on from a checkpoint forms the same ones.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from linnet.errors._suggest import described
from linnet.errors.training import BatchError, EmptyDataError
from linnet.train.step import batch_size

Data = Iterable[Any] | Callable[[int], Iterable[Any]]


class Position(NamedTuple):
    """Where a run stands in its data: the epoch, from 0, and how many of its batches are done.

    ``iterator`` is the state of an iterator that has ``get_state`` and ``set_state``, as Grain's.
    """

    epoch: int = 0
    batch: int = 0
    iterator: Any = None

    def to_json(self) -> list[Any]:
        """What a checkpoint keeps; the state of an iterator is bytes, or what JSON can hold."""
        if isinstance(self.iterator, bytes):
            return [self.epoch, self.batch, {'base64': base64.b64encode(self.iterator).decode()}]
        return list(self)

    @classmethod
    def from_json(cls, saved: list[Any]) -> Position:
        """The position of :meth:`to_json`."""
        epoch, batch, iterator = saved
        if isinstance(iterator, dict) and list(iterator) == ['base64']:
            iterator = base64.b64decode(iterator['base64'])
        return cls(epoch, batch, iterator)


class Group(NamedTuple):
    """Batches to run in one dispatch, each of so many examples, and the position after them.

    Batches of equal ``kind`` are alike in structure, shapes and dtypes.
    """

    batches: tuple[Any, ...]
    size: int
    position: Position
    kind: Any = None


class Feed:
    """Gives the batches of a run in groups of up to ``most``.

    Example::

        >>> feed = Feed([{'x': np.ones(4)}] * 5, most=2)
        >>> [len(group.batches) for group in feed.epoch(Position())]
        [2, 2, 1]
    """

    def __init__(self, data: Data, most: int = 1) -> None:
        self._data = data
        self._most = most
        self._form: Any = None
        self._kind: Any = None
        self._size = 0
        self._listed: tuple[int, Sequence[Any]] | None = None

    def epoch(self, start: Position) -> Iterator[Group]:
        """Yields the groups of one epoch, from a position on.

        Raises:
            EmptyDataError: the epoch has no batch, or fewer than the position says.
            BatchError: a batch is of another form than those before.
        """
        iterator = self._open(start)
        waiting: list[Any] = []
        done = start.batch
        for given in iterator:
            kind, size = self._kind, self._size
            batch = self._read(given)
            if waiting and self._kind is not kind:
                yield Group(tuple(waiting), size, Position(start.epoch, done), kind)
                waiting = []
            waiting.append(batch)
            done += 1
            if len(waiting) == self._most:
                yield self._group(waiting, start.epoch, done, iterator)
                waiting = []
        if waiting:
            yield self._group(waiting, start.epoch, done, iterator)
        if not done:
            raise _no_batch(start.epoch)

    def first(self) -> Any:
        """The first batch, for its shapes; an iterator that is given to be used up keeps it.

        Raises:
            EmptyDataError: there is none.
        """
        iterator = self._iterate(0)
        for batch in iterator:
            if iterator is self._data:
                self._data = itertools.chain([batch], iterator)
            return self._read(batch)
        raise _no_batch(0)

    def ahead(self, start: Position, most: int) -> Iterator[Group]:
        """The groups of an epoch whose batches are in a list, up to ``most``; else none.

        Nothing is taken from the feed.
        """
        data = self._given(start.epoch)
        if isinstance(data, Sequence):
            yield from itertools.islice(Feed(data, self._most).epoch(start), most)

    def _given(self, epoch: int) -> Any:
        """What there is to go through in an epoch; a list is asked for once."""
        if not callable(self._data):
            return self._data
        if self._listed is not None and self._listed[0] == epoch:
            return self._listed[1]
        data = self._data(epoch)
        self._listed = (epoch, data) if isinstance(data, Sequence) else None
        return data

    def _iterate(self, epoch: int) -> Iterator[Any]:
        """The batches of an epoch.

        Raises:
            BatchError: the data cannot be gone through.
        """
        data = self._given(epoch)
        refuse_one_batch(data, 'fit')
        if not isinstance(data, Iterable) and not hasattr(data, '__getitem__'):
            raise BatchError(
                f'data is {described(data)}, which cannot be gone through',
                mend='trainer.fit([batch, ...]), or fit(lambda epoch: batches)',
            )
        return iter(data)

    def _open(self, start: Position) -> Iterator[Any]:
        """The batches of an epoch that are still to be done."""
        iterator = self._iterate(start.epoch)
        if start.iterator is not None and hasattr(iterator, 'set_state'):
            iterator.set_state(start.iterator)
            return iterator
        skipped = sum(1 for _ in itertools.islice(iterator, start.batch))
        if skipped < start.batch:
            raise EmptyDataError(
                f'epoch {start.epoch + 1} has {skipped} batches, {start.batch} were done before',
                why='a run goes on with the data it began with',
            )
        return iterator

    def _group(self, batches: list[Any], epoch: int, done: int, iterator: Any) -> Group:
        state = iterator.get_state() if hasattr(iterator, 'get_state') else None
        return Group(tuple(batches), self._size, Position(epoch, done, state), self._kind)

    def _read(self, batch: Any) -> Any:
        """Makes arrays of a batch; looks closely at the first of a kind."""
        leaves, structure = jax.tree.flatten(batch)
        if not all(isinstance(leaf, np.ndarray | jax.Array) for leaf in leaves):
            batch = as_arrays(batch)
            leaves = jax.tree.leaves(batch)
        kind = (
            structure,
            *[(getattr(x, 'shape', ()), getattr(x, 'dtype', type(x))) for x in leaves],
        )
        if kind != self._kind:
            batch = as_arrays(batch)
            self._check(structure, leaves)
            self._kind, self._size = kind, batch_size(batch)
        return batch

    def _check(self, structure: Any, leaves: list[Any]) -> None:
        """Compares the form of a batch with that of the first."""
        form = structure, [(np.ndim(leaf), _dtype(leaf)) for leaf in leaves]
        if self._form is None:
            self._form = form
        elif form != self._form:
            raise BatchError(
                f'a batch is {_outline(form)}; the first was {_outline(self._form)}',
                mend='the same names, dtypes and numbers of axes in every batch',
            )


def refuse_one_batch(data: Any, method: str) -> None:
    """Refuses a batch where there should be several to go through.

    Raises:
        BatchError: it is a dict, or an array.
    """
    if isinstance(data, Mapping) or hasattr(data, '__array__'):
        kind = described(data) if hasattr(data, '__array__') else f'a {type(data).__name__}'
        raise BatchError(
            f'data is one batch, {kind}',
            why='it is gone through, and what it gives is taken for batches',
            mend=f'trainer.{method}([batch])',
        )


def _no_batch(epoch: int) -> EmptyDataError:
    return EmptyDataError(
        f'the data gave no batch in epoch {epoch + 1}',
        why='a generator can be gone through once' if epoch else '',
        mend='trainer.fit(lambda epoch: make_batches(epoch), ...)',
    )


def as_arrays(batch: Any) -> Any:
    """Makes NumPy arrays of tensors and lists of other libraries' kinds; leaves JAX's alone.

    Raises:
        BatchError: something in the batch is no array of numbers.
    """
    return jax.tree_util.tree_map_with_path(_as_array, batch)


def _as_array(path: Any, leaf: Any) -> Any:
    if isinstance(leaf, jax.Array | int | float):
        return leaf
    array = np.asarray(leaf)
    if array.dtype.kind not in 'biufcV':
        name = jax.tree_util.keystr(path, simple=True, separator='/') or 'the batch'
        raise BatchError(
            f'{name} is {described(leaf)}, which is no array of numbers',
            mend="batch = {'tokens': ids, 'label': labels}, numbers only",
        )
    return array


def _dtype(leaf: Any) -> str:
    return str(leaf.dtype) if hasattr(leaf, 'dtype') else type(leaf).__name__


def _outline(form: Any) -> str:
    structure, leaves = form
    tree = jax.tree.unflatten(structure, [f'{dtype}[{ndim}d]' for ndim, dtype in leaves])
    return f'{tree!s:.200}'

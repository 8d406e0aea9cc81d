"""An iterator that reads ahead in a thread, so that reading data overlaps with the training."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any, Self

from linnet.errors._suggest import brief
from linnet.errors.data import ToolArgumentError


class PrefetchIterator:
    """Gives what another iterator gives, of which a thread holds the next items ready.

    An error of the other iterator is raised when its turn comes, and at each step after that.

    Args:
        data_iter: an iterator or iterable; the thread alone reads it.
        buffer_size: how many items are held ready.

    Raises:
        ToolArgumentError: ``buffer_size`` is not positive, or ``data_iter`` not iterable.

    Example::

        >>> list(PrefetchIterator(iter([1, 2, 3]), buffer_size=2))
        [1, 2, 3]
    """

    def __init__(self, data_iter: Iterable[Any], buffer_size: int = 1) -> None:
        if buffer_size < 1:
            raise ToolArgumentError(f'buffer_size is {buffer_size}', mend='buffer_size=1')
        if not isinstance(data_iter, Iterable) and not hasattr(data_iter, '__getitem__'):
            raise ToolArgumentError(f'data_iter is {brief(data_iter)}, which is not iterable')
        self.buffer_size = buffer_size
        self._data_iter = iter(data_iter)
        self._changed = threading.Condition()
        self._items: deque[Any] = deque()
        self._error: BaseException | None = None
        self._active = True
        self._thread = threading.Thread(target=self._read_ahead, daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._items or not self._active)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            raise StopIteration

    def close(self) -> None:
        """Stops the thread after the item that it reads, and drops what is held ready."""
        with self._changed:
            self._active = False
            self._items.clear()
            self._changed.notify_all()

    def _read_ahead(self) -> None:
        error = None
        try:
            for item in self._data_iter:
                with self._changed:
                    self._changed.wait_for(
                        lambda: len(self._items) < self.buffer_size or not self._active
                    )
                    if not self._active:
                        return
                    self._items.append(item)
                    self._changed.notify_all()
        except BaseException as raised:
            error = raised
        with self._changed:
            self._error = error
            self._active = False
            self._changed.notify_all()

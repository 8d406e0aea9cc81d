"""Reads numbers back from the event files that TensorBoard shows."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from linnet.metrics._events import import_tensorboardx


def read_scalars(folder: str | os.PathLike[str]) -> dict[str, list[tuple[float, int, float]]]:
    """The numbers of a run, by tag: wall time, step and value of each, in the order of writing.

    Pictures, sounds and texts are left out, and so is a record that is not whole yet.

    Raises:
        FileNotFoundError: there is no such folder.
        MissingPackageError: tensorboardX is not installed.

    >>> import tempfile
    >>> from linnet.metrics.tensorboard import SummaryWriter
    >>> folder = tempfile.mkdtemp()
    >>> with SummaryWriter(folder) as writer:
    ...     writer.scalar('loss', 0.5, step=3)
    >>> [(step, value) for _, step, value in read_scalars(folder)['loss']]
    [(3, 0.5)]
    """
    event_type = import_tensorboardx().proto.event_pb2.Event
    scalars: dict[str, list[tuple[float, int, float]]] = {}
    for name in sorted(os.listdir(folder)):
        if '.tfevents.' not in name:
            continue
        for record in _records(Path(folder, name).read_bytes()):
            event = event_type.FromString(record)
            for value in event.summary.value:
                number = _number(value)
                if number is not None:
                    noted = scalars.setdefault(value.tag, [])
                    noted.append((event.wall_time, event.step, number))
    return {tag: sorted(noted) for tag, noted in scalars.items()}


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a file: each stands between its length and a checksum for either."""
    position = 0
    while position + 12 <= len(data):
        (length,) = struct.unpack_from('<Q', data, position)
        start, position = position + 12, position + length + 16
        if position <= len(data):
            yield data[start : start + length]


def _number(value: Any) -> float | None:
    """The number that a value of a summary is, if it is one."""
    if value.HasField('simple_value'):
        return float(value.simple_value)
    plugin = value.metadata.plugin_data.plugin_name
    if not value.HasField('tensor') or plugin not in ('scalars', ''):
        return None
    if value.tensor.tensor_content:
        return float(np.frombuffer(value.tensor.tensor_content, np.float32)[0])
    return float(value.tensor.float_val[0]) if value.tensor.float_val else None

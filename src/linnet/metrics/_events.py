"""The event file that TensorBoard reads: records with checksums, each of one protocol buffer.

The messages and the checksum are those of tensorboardX, which is imported here and in no other
place.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import socket
import struct
import time
from typing import Any

import numpy as np

from linnet import io
from linnet.errors._suggest import described
from linnet.errors.data import MissingPackageError, ToolArgumentError

_numbers = itertools.count()

_DTYPES = {
    'float32': 'DT_FLOAT',
    'float64': 'DT_DOUBLE',
    'float16': 'DT_HALF',
    'bfloat16': 'DT_BFLOAT16',
    'complex64': 'DT_COMPLEX64',
    'complex128': 'DT_COMPLEX128',
    'bool': 'DT_BOOL',
    **{f'int{bits}': f'DT_INT{bits}' for bits in (8, 16, 32, 64)},
    **{f'uint{bits}': f'DT_UINT{bits}' for bits in (8, 16)},
}


def import_tensorboardx() -> Any:
    """Returns the package tensorboardX.

    Raises:
        MissingPackageError: it is not installed.
    """
    if importlib.util.find_spec('tensorboardX') is None:
        raise MissingPackageError('tensorboardX', user='SummaryWriter', extra='tensorboard')
    import tensorboardX

    return tensorboardX


class EventFile:
    """An event file that is being written.

    Args:
        folder: the folder of the run; it is made if it is not there.
    """

    def __init__(self, folder: str) -> None:
        proto = import_tensorboardx().proto
        from tensorboardX.crc32c import crc32c

        self._crc32c = crc32c
        self._event = proto.event_pb2.Event
        io.makedirs(folder)
        host = socket.gethostname()
        name = f'events.out.tfevents.{int(time.time())}.{host}.{os.getpid()}.{next(_numbers)}.v2'
        self._file = io.GFile(os.path.join(folder, name), 'wb')
        self._write(self._event(wall_time=time.time(), file_version='brain.Event:2'))

    def add(self, tag: str, tensor: Any, step: int, metadata: Any) -> None:
        """Writes a tensor, a ``TensorProto``, under a tag."""
        event = self._event(wall_time=time.time(), step=step)
        event.summary.value.add(tag=tag, tensor=tensor, metadata=metadata)
        self._write(event)

    def _write(self, event: Any) -> None:
        data = event.SerializeToString()
        length = struct.pack('<Q', len(data))
        self._file.write(length + self._checksum(length) + data + self._checksum(data))

    def _checksum(self, data: bytes) -> bytes:
        """Returns the CRC-32C of bytes, turned by 15 bits and shifted, as records have it."""
        value = self._crc32c(data)
        turned = (value >> 15 | value << 17) & 0xFFFFFFFF
        return struct.pack('<I', (turned + 0xA282EAD8) & 0xFFFFFFFF)

    def flush(self) -> None:
        """Hands what was written over to the system, where TensorBoard sees it."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def plugin_metadata(name: str, content: bytes = b'') -> Any:
    """Returns the metadata that say which part of TensorBoard shows a tensor."""
    from tensorboardX.proto import summary_pb2

    metadata = summary_pb2.SummaryMetadata()
    metadata.plugin_data.plugin_name = name
    metadata.plugin_data.content = content
    return metadata


def copy_metadata(metadata: Any) -> Any:
    """Returns metadata of TensorFlow, TensorBoard or tensorboardX as the last has them."""
    from tensorboardX.proto import summary_pb2

    if metadata is None:
        return None
    if not hasattr(metadata, 'SerializeToString'):
        raise ToolArgumentError(
            f'metadata is {described(metadata)}, and not a SummaryMetadata',
            mend='from tensorboardX.proto.summary_pb2 import SummaryMetadata',
        )
    return summary_pb2.SummaryMetadata.FromString(metadata.SerializeToString())


def tensor(value: Any) -> Any:
    """Returns an array, a number, or text, as a ``TensorProto``.

    Python's numbers become float32 and int32.

    Raises:
        ToolArgumentError: the value has no form as a tensor.
    """
    from tensorboardX.proto import tensor_pb2, types_pb2

    array = np.asarray(value)
    if not hasattr(value, 'dtype') and array.dtype in (np.float64, np.int64):
        array = array.astype({'f': np.float32, 'i': np.int32}[array.dtype.kind])
    message = tensor_pb2.TensorProto()
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    if array.dtype.kind in 'US' or _is_text(array):
        message.dtype = types_pb2.DT_STRING
        message.string_val.extend(_bytes(text) for text in array.ravel())
        return message
    if array.dtype.name not in _DTYPES:
        raise ToolArgumentError(
            f'{described(value)} has no form as a tensor of TensorBoard',
            mend='pass an array of numbers, or text',
        )
    message.dtype = getattr(types_pb2, _DTYPES[array.dtype.name])
    message.tensor_content = array.tobytes()
    return message


def _is_text(array: np.ndarray[Any, Any]) -> bool:
    return array.dtype == object and all(isinstance(item, str | bytes) for item in array.ravel())


def _bytes(text: Any) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)

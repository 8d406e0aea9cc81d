"""Export and import: variables as a ``.safetensors`` file, which other libraries read too.

The file is a length (8 bytes, little-endian), a table in JSON, and the bytes of all arrays, one
after the other. The table gives for each name its dtype, shape, and the place of its bytes. A name
is a path in the tree of variables, ``params/Dense_0/kernel``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from linnet.errors.data import SerializationError
from linnet.errors.training import CheckpointDamagedError
from linnet.traverse_util import flatten_dict, unflatten_dict

_NAMES = {
    'BOOL': 'bool',
    'U8': 'uint8',
    'I8': 'int8',
    'U16': 'uint16',
    'I16': 'int16',
    'F16': 'float16',
    'BF16': 'bfloat16',
    'U32': 'uint32',
    'I32': 'int32',
    'F32': 'float32',
    'U64': 'uint64',
    'I64': 'int64',
    'F64': 'float64',
    'F8_E4M3': 'float8_e4m3fn',
    'F8_E5M2': 'float8_e5m2',
}
_CODES = {name: code for code, name in _NAMES.items()}


def save_safetensors(
    path: str | Path, variables: Mapping[str, Any], about: Mapping[str, str] | None = None
) -> None:
    """Writes variables to a file, whole or not at all.

    Args:
        path: where to.
        variables: nested dicts of arrays.
        about: texts by name, kept beside the arrays.

    Raises:
        SerializationError: an array is of a dtype that the format does not have.

    Example::

        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / 'model.safetensors'
        >>> save_safetensors(path, {'params': {'w': np.ones((2, 3), np.float32)}})
        >>> load_safetensors(path)['params']['w'].shape
        (2, 3)
    """
    table: dict[str, Any] = {'__metadata__': dict(about)} if about else {}
    parts, place = [], 0
    for name, leaf in sorted(flatten_dict(variables, sep='/').items()):
        array = np.ascontiguousarray(np.asarray(leaf))
        if array.dtype.name not in _CODES:
            raise SerializationError(
                f'{name} is of {array.dtype.name}, which safetensors does not have',
                mend='array.astype(np.float32), or two arrays for a complex one',
            )
        table[name] = {
            'dtype': _CODES[array.dtype.name],
            'shape': list(np.shape(leaf)),
            'data_offsets': [place, place := place + array.nbytes],
        }
        parts.append(array.tobytes())
    head = json.dumps(table, separators=(',', ':')).encode()
    head += b' ' * (-len(head) % 8)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f'{path.name}.part{os.getpid()}')
    beside.write_bytes(b''.join([len(head).to_bytes(8, 'little'), head, *parts]))
    beside.replace(path)


def load_safetensors(path: str | Path) -> dict[str, Any]:
    """Reads a file into nested dicts of NumPy arrays.

    Raises:
        CheckpointDamagedError: the file is cut off, or is of another format.
    """
    content = Path(path).read_bytes()
    try:
        start = 8 + int.from_bytes(content[:8], 'little')
        table = json.loads(content[8:start])
        table.pop('__metadata__', None)
        arrays = {name: _array(content[start:], **row) for name, row in table.items()}
    except (ValueError, TypeError, KeyError, AttributeError, MemoryError) as error:
        raise CheckpointDamagedError(
            f'{path} is no whole file of safetensors: {error!s:.200}',
            mend='fetch or write the file anew',
        ) from error
    nested: dict[str, Any] = unflatten_dict(arrays, sep='/')
    return nested


def _array(content: bytes, dtype: str, shape: list[int], data_offsets: list[int]) -> np.ndarray:
    start, stop = data_offsets
    kind = jnp.dtype(_NAMES[dtype])
    if stop > len(content) or stop - start != kind.itemsize * int(np.prod(shape, dtype=np.int64)):
        raise ValueError('an array goes beyond the end, or has another size than its shape')
    return np.frombuffer(content[start:stop], kind).reshape(shape).copy()

"""Bytes of a state dict: msgpack, with arrays, NumPy scalars and complex numbers as extensions.

An *extension* is a code and some bytes. Code 1 is an array and code 3 a NumPy scalar: a nested
msgpack of shape, dtype name and row-major bytes. Code 2 is a Python complex: its two parts. An
array of more bytes than the *chunk size* becomes a dict of its shape and its flat pieces.
"""

from __future__ import annotations

import enum
from typing import Any

import jax
import ml_dtypes
import msgpack
import numpy as np

from linnet.errors._suggest import brief
from linnet.errors.data import SerializationError

CHUNKED = '__msgpack_chunked_array__'
MAX_DEPTH = 300
_MAX_KEYS_SHOWN = 12
_MAX_KEY_SHOWN = 60
_PLAIN_TYPES = (bool, int, float, complex, str, bytes, bytearray, memoryview, type(None))


class Extension(enum.IntEnum):
    """The codes of the extension types."""

    ARRAY = 1
    COMPLEX = 2
    SCALAR = 3


def _numeric_dtypes() -> dict[str, np.dtype[Any]]:
    codes = '?' + np.typecodes['AllInteger'] + np.typecodes['AllFloat']
    extra = (getattr(ml_dtypes, name) for name in dir(ml_dtypes))
    scalars = [kind for kind in extra if isinstance(kind, type) and issubclass(kind, np.generic)]
    names = [*(np.dtype(code).name for code in codes), *(np.dtype(kind).name for kind in scalars)]
    return {name: np.dtype(name) for name in names}


NUMERIC_DTYPES = _numeric_dtypes()
"""The dtypes that an array in a file may have, by name."""

_DTYPE_NAMES = {dtype: name for name, dtype in NUMERIC_DTYPES.items()}


def place(path: list[Any]) -> str:
    """Returns the path to a node of the tree as text, the middle of a long one left out.

    >>> place(['params', 'kernel'])
    './params/kernel'
    """
    keys = [str(key)[:_MAX_KEY_SHOWN] for key in path]
    if len(keys) > _MAX_KEYS_SHOWN:
        keys[_MAX_KEYS_SHOWN // 2 : -_MAX_KEYS_SHOWN // 2] = ['...']
    return '/'.join(['.', *keys])


def encode(tree: Any, *, sort_keys: bool, chunk_size: int) -> bytes:
    """Returns the bytes of nested dicts and lists of arrays, numbers and strings.

    Args:
        tree: what to write; it is not changed.
        sort_keys: write the items of dicts by sorted key, otherwise as they come.
        chunk_size: the number of bytes above which an array is split, unless it is inside a list.

    Raises:
        SerializationError: a value has no form in bytes.
    """
    writer = _Writer(sort_keys, chunk_size)
    try:
        return msgpack.packb(writer.value(tree), default=pack_extension, strict_types=True)
    except SerializationError as error:
        error.locate(place(writer.path))
        raise
    except (RecursionError, ValueError) as error:
        raise SerializationError(f'the tree has no form in bytes: {error}') from error


def pack_extension(x: Any) -> Any:
    """Returns an array, NumPy scalar or complex as an extension, anything else as it is.

    Raises:
        SerializationError: the dtype is not numeric.
    """
    if isinstance(x, np.ndarray):
        return msgpack.ExtType(Extension.ARRAY, _array_bytes(x))
    if isinstance(x, jax.Array):
        return pack_extension(_as_numpy(x))
    if isinstance(x, np.generic):
        return msgpack.ExtType(Extension.SCALAR, _array_bytes(np.asarray(x)))
    if isinstance(x, complex):
        return msgpack.ExtType(Extension.COMPLEX, msgpack.packb((x.real, x.imag)))
    return x


def _array_bytes(array: np.ndarray[Any, Any]) -> bytes:
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder('='))
    name = _DTYPE_NAMES.get(array.dtype)
    if name is None:
        raise SerializationError(
            f'an array of dtype {array.dtype} has no form in bytes',
            why='only numbers and booleans have',
        )
    return msgpack.packb((array.shape, name, array.tobytes()), use_bin_type=True)


def split_array(array: np.ndarray[Any, Any], chunk_size: int) -> dict[str, Any]:
    """Returns the dict that stands for a large array: its shape, and flat pieces of it."""
    flat = array.ravel()
    step = max(1, chunk_size // array.itemsize)
    chunks = [flat[start : start + step] for start in range(0, flat.size, step)]
    return {CHUNKED: True, 'shape': _numbered(array.shape), 'chunks': _numbered(chunks)}


def _numbered(items: Any) -> dict[str, Any]:
    return {str(index): item for index, item in enumerate(items)}


class _Writer:
    """Turns a tree into one that msgpack can write, and knows its place in it."""

    def __init__(self, sort_keys: bool, chunk_size: int) -> None:
        self.path: list[Any] = []
        self.lists = 0
        self.sort_keys = sort_keys
        self.chunk_size = chunk_size

    def value(self, value: Any) -> Any:
        if type(value) is dict or type(value) is list:
            return self.container(value)
        if isinstance(value, np.ndarray | jax.Array):
            array = value if isinstance(value, np.ndarray) else _as_numpy(value)
            large = array.nbytes > self.chunk_size and not self.lists
            return split_array(array, self.chunk_size) if large else pack_extension(array)
        if isinstance(value, np.generic):
            return pack_extension(value)
        if type(value) not in _PLAIN_TYPES:
            raise _no_form(value)
        if type(value) is int and not -(2**63) <= value < 2**64:
            raise SerializationError(f'the int {brief(value)} does not fit into 64 bits')
        return value

    def container(self, items: dict[Any, Any] | list[Any]) -> Any:
        is_list = isinstance(items, list)
        keys = self.keys(items) if isinstance(items, dict) else range(len(items))
        if len(self.path) >= MAX_DEPTH:
            raise SerializationError(f'the tree is nested more than {MAX_DEPTH} levels deep')
        self.lists += is_list
        result = {}
        for key in keys:
            self.path.append(key)
            result[key] = self.value(items[key])
            self.path.pop()
        self.lists -= is_list
        return list(result.values()) if is_list else result

    def keys(self, items: dict[Any, Any]) -> list[Any]:
        for key in items:
            if type(key) not in (str, int, bool, float, bytes, type(None)):
                raise SerializationError(
                    f'the key {brief(key)} of type {type(key).__name__} has no form in bytes',
                    mend='use strings as keys, or go through to_bytes(tree)',
                )
        try:
            return sorted(items) if self.sort_keys else list(items)
        except TypeError as error:
            raise SerializationError(f'the keys of a dict cannot be sorted: {error}') from error


def _as_numpy(array: jax.Array) -> np.ndarray[Any, Any]:
    """Fetches an array from the device, where it can be."""
    if isinstance(array, jax.core.Tracer):  # which may know its numbers, as one of init does
        array = array.full_lower()
    if isinstance(array, jax.core.Tracer):
        raise SerializationError(
            'an array is being traced and has no bytes yet',
            mend='serialize outside of jit, grad and vmap',
        )
    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        raise SerializationError(
            f'a typed random key ({array.dtype}) has no form in bytes',
            mend='store jax.random.key_data(key), and restore with jax.random.wrap_key_data(data)',
        )
    if not (array.is_fully_addressable or array.is_fully_replicated):
        raise SerializationError(
            f'an array of shape {array.shape} is spread over devices of other processes',
            mend='gather it first: jax.experimental.multihost_utils.process_allgather(tree)',
        )
    return np.asarray(array)


def _no_form(value: Any) -> SerializationError:
    kind = type(value)
    mend = 'store it as an array, number, string, or a dict or list of these'
    if isinstance(value, dict | tuple | list):
        mend = 'pass to_state_dict(tree), or convert it to a plain dict or list'
    return SerializationError(f'a value of type {kind.__name__} has no form in bytes', mend=mend)

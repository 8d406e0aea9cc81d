"""Reads the bytes of a state dict, which are not trusted.

The reader goes through the bytes once. At each step it knows its place in the tree, compares
each size that it meets with the bytes that are left, and looks dtypes up by name in a table; it
allocates nothing for a size that is only claimed, and evaluates nothing. For the format see
:mod:`linnet._msgpack_write`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np

from linnet._msgpack_write import CHUNKED, MAX_DEPTH, NUMERIC_DTYPES, Extension, place
from linnet.errors._suggest import brief
from linnet.errors.data import SerializationError

_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = dict(zip(range(0xCA, 0xD4), ('>f >d >B >H >I >Q >b >h >i >q').split(), strict=True))
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_SIZED = {
    **{0xC4: ('>B', 'binary'), 0xC5: ('>H', 'binary'), 0xC6: ('>I', 'binary')},
    **{0xC7: ('>B', 'extension'), 0xC8: ('>H', 'extension'), 0xC9: ('>I', 'extension')},
    **{0xD9: ('>B', 'text'), 0xDA: ('>H', 'text'), 0xDB: ('>I', 'text')},
    **{0xDC: ('>H', 'array'), 0xDD: ('>I', 'array')},
    **{0xDE: ('>H', 'mapping'), 0xDF: ('>I', 'mapping')},
}


def decode(data: Any) -> Any:
    """Returns the tree of nested dicts and lists whose bytes these are.

    Raises:
        SerializationError: the bytes are truncated, or not what :func:`encode` writes.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise SerializationError(
            f'a tree is read from bytes, not from a {type(data).__name__}',
            mend="open(path, 'rb').read()",
        )
    reader = _Reader(memoryview(data).cast('B'))
    try:
        return reader.whole()
    except SerializationError as error:
        error.locate(place(reader.path))
        raise
    except RecursionError as error:
        raise SerializationError('the bytes are nested too deeply to be read here') from error


def unpack_extension(code: int, data: Any) -> Any:
    """Returns the array, NumPy scalar or complex of an extension.

    Raises:
        SerializationError: the code is unknown, or the bytes are not of its form.
    """
    if code == Extension.ARRAY:
        return _array(data)
    if code == Extension.SCALAR:
        return _scalar(data)
    if code == Extension.COMPLEX:
        real, imag = _fields(data, 'a complex number', float, float)
        return complex(real, imag)
    raise SerializationError(f'there is no extension type of code {code}')


def _fields(data: Any, what: str, *kinds: type) -> list[Any]:
    """Reads the flat list inside an extension."""
    try:
        fields = msgpack.unpackb(
            data, max_str_len=64, max_array_len=64, max_map_len=0, max_ext_len=0
        )
    except ValueError as error:
        raise SerializationError(f'{what} is not written as one: {error}') from error
    given = [type(field) for field in fields] if type(fields) is list else type(fields)
    if given != list(kinds):
        raise SerializationError(f'{what} is written as {brief(given)} instead of {list(kinds)}')
    return fields


def _array(data: Any) -> np.ndarray[Any, Any]:
    shape, name, raw = _fields(data, 'an array', list, str, bytes)
    if not all(type(size) is int and size >= 0 for size in shape):
        raise SerializationError(f'an array has the impossible shape {brief(shape)}')
    if name not in NUMERIC_DTYPES:
        raise SerializationError(
            f'an array has the dtype {brief(name)}',
            why='it is not the name of a numeric dtype that is known here',
        )
    dtype = NUMERIC_DTYPES[name]
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(raw):
        raise SerializationError(
            f'an array of shape {brief(tuple(shape))} and dtype {name} takes {needed} bytes, '
            f'but comes with {len(raw)}'
        )
    try:
        return np.ndarray(shape, dtype, raw)
    except ValueError as error:  # too many axes, or an empty array with one that is too long
        raise SerializationError(f'NumPy has no arrays of shape {brief(shape)}') from error


def _scalar(data: Any) -> Any:
    array = _array(data)
    if array.ndim:
        raise SerializationError(f'a scalar has the shape {array.shape} instead of ()')
    return array[()]


def join_array(pieces: dict[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns the large array that a dict of shape and flat pieces stands for."""
    shape = _numbered_values(pieces, 'shape')
    chunks = _numbered_values(pieces, 'chunks')
    if not all(type(size) is int and size >= 0 for size in shape):
        raise SerializationError(f'a split array has the impossible shape {brief(shape)}')
    if not chunks or not all(isinstance(chunk, np.ndarray) for chunk in chunks):
        raise SerializationError('a split array has pieces that are no arrays')
    kinds = {(chunk.dtype, chunk.ndim) for chunk in chunks}
    sizes = [chunk.size for chunk in chunks]
    if len(kinds) != 1 or chunks[0].ndim != 1 or sum(sizes) != math.prod(shape):
        raise SerializationError(
            f'a split array of shape {brief(tuple(shape))} has flat pieces of sizes '
            f'{brief(sizes)} and dtypes {brief([str(chunk.dtype) for chunk in chunks])}'
        )
    return np.concatenate(chunks).reshape(shape)


def _numbered_values(pieces: dict[Any, Any], name: str) -> list[Any]:
    numbered = pieces.get(name)
    if type(numbered) is not dict or list(numbered) != [str(i) for i in range(len(numbered))]:
        raise SerializationError(f'a split array has no dict {name!r} with the keys 0, 1, …')
    return list(numbered.values())


class _Reader:
    """A position in bytes, and the path in the tree that it stands for."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.position = 0
        self.depth = 0
        self.path: list[Any] = []

    def whole(self) -> Any:
        """Reads the one value that the bytes hold."""
        value = self.value()
        left = len(self.data) - self.position
        if left:
            raise SerializationError(f'{left} bytes follow after the end of the tree')
        return value

    def value(self) -> Any:
        head = self.take(1)[0]
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 0x100
        if head in _CONSTANTS:
            return _CONSTANTS[head]
        if head in _NUMBERS:
            return self.number(_NUMBERS[head])
        size, read = self.tagged(head)
        return read(size)

    def tagged(self, head: int) -> tuple[int, Callable[[int], Any]]:
        """Returns the size of a value with parts, and the method that reads it."""
        if head < 0x90:
            return head & 0x0F, self.mapping
        if head < 0xA0:
            return head & 0x0F, self.array
        if head < 0xC0:
            return head & 0x1F, self.text
        if head in _FIXED_EXTENSIONS:
            return _FIXED_EXTENSIONS[head], self.extension
        if head not in _SIZED:
            raise SerializationError(f'the byte 0x{head:02x} at {self.position - 1} begins nothing')
        form, kind = _SIZED[head]
        return self.number(form), getattr(self, kind)

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if end > len(self.data):
            left = len(self.data) - self.position
            raise SerializationError(
                f'the bytes are truncated: {count} are wanted at {self.position}, {left} are left'
            )
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def binary(self, size: int) -> bytes:
        return bytes(self.take(size))

    def text(self, size: int) -> str:
        try:
            return str(self.take(size), 'utf-8')
        except UnicodeDecodeError as error:
            raise SerializationError(f'a string is not valid UTF-8: {error}') from error

    def extension(self, size: int) -> Any:
        code = self.number('>b')
        return unpack_extension(code, self.take(size))

    def array(self, size: int) -> list[Any]:
        self.descend(size, size)
        items = []
        for index in range(size):
            self.path.append(index)
            items.append(self.value())
            self.path.pop()
        self.depth -= 1
        return items

    def mapping(self, size: int) -> Any:
        self.descend(size, 2 * size)
        items: dict[Any, Any] = {}
        for _ in range(size):
            key = self.value()
            if type(key) not in (str, int, bool, float, bytes, type(None)):
                raise SerializationError(f'a dict has a {type(key).__name__} as key')
            if key in items:
                raise SerializationError(f'a dict has the key {brief(key)} twice')
            self.path.append(key)
            items[key] = self.value()
            self.path.pop()
        self.depth -= 1
        return join_array(items) if CHUNKED in items else items

    def descend(self, size: int, least: int) -> None:
        """Enters a container of ``size`` items, which take at least ``least`` bytes."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise SerializationError(f'the tree is nested more than {MAX_DEPTH} levels deep')
        left = len(self.data) - self.position
        if least > left:
            raise SerializationError(
                f'the bytes are truncated: {size} items are announced, {left} bytes are left'
            )

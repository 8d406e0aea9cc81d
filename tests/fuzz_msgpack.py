"""Feeds bytes that nobody wrote to what reads state dicts: ``python -m tests.fuzz_msgpack``.

Files are made from good ones by damage that knows the format (headers that announce too much,
extensions inside extensions, shapes and dtypes that do not fit, arrays in pieces that lack some,
pickles), by damage that does not (bytes flipped, cut, joined), and from nothing. Each must be read,
or be refused by an error of this library, soon, in memory that its length bounds, and no code in
it may run.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import pickle
import random
import resource
import signal
import struct
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import msgpack
import numpy as np

from linnet import serialization
from linnet.core import freeze
from linnet.errors import LinnetError

SECONDS = 10
MESSAGE = 2000
# The reader holds a frame of Python for each of at most 300 levels, and an error holds them too.
BYTES_FOR_BYTE, BYTES_FOR_ALL = 300, 1 << 19

ran: list[str] = []
"""What a pickle would add to if it were loaded."""

Pair = collections.namedtuple('Pair', 'first second')
Make = Callable[[random.Random], bytes]


class Trap:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _mark, ('a pickle ran',)


def _mark(what: str) -> None:
    ran.append(what)


# Targets, and the good files that come of them.


def _target(rng: random.Random) -> Any:
    name = rng.choice(['float32', 'int8', 'bool', 'complex64', 'bfloat16', 'float8_e4m3fn', 'int4'])
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    array = np.arange(rng.randrange(5)).astype(dtype)
    leaves = [array, array.reshape(1, -1), dtype.type(1), np.ones((), dtype), 1, -2.5, 'text', None,
              True, 1j, b'raw', 2**40]  # fmt: skip
    pick = lambda: rng.choice(leaves)  # noqa: E731
    return rng.choice([
        {'params': {'kernel': array, 'bias': pick()}, 'step': pick()},
        [pick(), (pick(), {'a': pick()}), {}],
        {'pair': Pair(pick(), [pick()]), 'frozen': freeze({'k': pick()})},
        {str(i): pick() for i in range(rng.randrange(20))},
        pick(),
    ])  # fmt: skip


def _good(rng: random.Random) -> bytes:
    with _chunks_of(rng.choice([8, 1 << 30])):
        return serialization.to_bytes(_target(rng))


@contextlib.contextmanager
def _chunks_of(size: int) -> Iterator[None]:
    before, serialization.MAX_CHUNK_SIZE = serialization.MAX_CHUNK_SIZE, size
    try:
        yield
    finally:
        serialization.MAX_CHUNK_SIZE = before


# Damage that does not know the format.


def _flipped(rng: random.Random) -> bytes:
    data = bytearray(_good(rng))
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def _cut(rng: random.Random) -> bytes:
    data = _good(rng)
    start, end = sorted(rng.choices(range(len(data) + 1), k=2))
    return rng.choice([data[:start], data[end:], data[:start] + data[end:], data + data[start:end]])


def _joined(rng: random.Random) -> bytes:
    one, two = _good(rng), _good(rng)
    place = rng.randrange(len(one))
    return one[:place] + two[rng.randrange(len(two)) :]


def _noise(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([1, 8, 64, 512]))


# Damage that knows it.

_HUGE = [0, 1, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1]
_HEADS = [0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xD4, 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF]


def _head(rng: random.Random) -> bytes:
    size = struct.pack('>I', rng.choice(_HUGE))[-rng.choice([1, 2, 4]) :]
    return bytes([rng.choice(_HEADS)]) + size


def _announced(rng: random.Random) -> bytes:
    data = _good(rng)
    place = rng.randrange(len(data) + 1)
    return data[:place] + _head(rng) + data[place + rng.randrange(3) :]


def _deep(rng: random.Random) -> bytes:
    shell = rng.choice([b'\x91', b'\x81\xa1k', b'\x81\xc0', b'\xdc\x00\x01', b'\x92\xc0'])
    return shell * rng.choice([3, 299, 300, 301, 5000]) + rng.choice([b'\xc0', b'\x90', b''])


def _many(rng: random.Random) -> bytes:
    item = rng.choice([b'\xc0', b'\x80', b'\x90', b'\x01\x80', b'\xa0', b'\xcb' + bytes(8)])
    count = rng.choice([100, 3000])
    return rng.choice([b'\xdd', b'\xdf']) + struct.pack('>I', count) + item * count


_NAMES = ['float32', 'int4', 'bfloat16', 'object', 'O', 'V8', 'void', 'str', '<U4', 'U', 'M8[s]',
          'datetime64', 'i4', '>f4', 'f4,i4', 'int128', 'float8_e4m3fn', 'np.int8', '', 'x' * 60,
          'x' * 900, "dtype('O')", 'float128', 'longdouble', 'bool', 'complex64']  # fmt: skip
_SIZES = [0, 1, 2, 3, -1, 2**31, 2**63 - 1, 2**64 - 1, -(2**63), 1.5, None, True, '2', [1], {}]


def _shape(rng: random.Random) -> Any:
    sizes = [rng.choice(_SIZES[: rng.choice([4, 15])]) for _ in range(rng.choice([0, 1, 2, 3, 70]))]
    return rng.choice([sizes, sizes, sizes, {}, None, 3, 'x', dict(enumerate(sizes))])


def _raw(rng: random.Random) -> Any:
    saved = io.BytesIO()
    np.save(saved, np.array([Trap()], object), allow_pickle=True)
    return rng.choice([
        bytes(rng.choice([0, 1, 4, 8, 16, 100])), pickle.dumps(Trap()), saved.getvalue(), 'text',
        None, [1], msgpack.ExtType(1, b'\x93\x90\xa4int8\xc4\x01\x01'),
    ])  # fmt: skip


def _extension(rng: random.Random, depth: int = 0) -> msgpack.ExtType:
    fields = [_shape(rng), rng.choice(_NAMES), _raw(rng)]
    if depth < 20 and rng.random() < 0.3:
        fields[rng.randrange(3)] = _extension(rng, depth + 1)
    if rng.random() < 0.2:
        fields = rng.choice([fields[:2], [*fields, 1], [1.5, 2], [1, 2], {'a': fields}, 3])
    return msgpack.ExtType(rng.choice([1, 1, 1, 2, 3, 3, 0, 4, 127]), msgpack.packb(fields))


def _extended(rng: random.Random) -> bytes:
    return msgpack.packb({'a': [_extension(rng)], 'b': rng.choice([1, _extension(rng)])})


def _pieces(rng: random.Random) -> bytes:
    good = [msgpack.ExtType(1, msgpack.packb([[2], 'int8', b'ab']))] * 2
    chunks = rng.choice([good, good, [good[0], _extension(rng)], [], [b'ab', 3], good * 40])
    keys = rng.choice([[str(i) for i in range(99)], [*range(99)], ['1', '0', *range(99)]])
    tree = {
        '__msgpack_chunked_array__': rng.choice([True, False, None, 1]),
        'shape': rng.choice([{'0': 4}, {'0': 2, '1': 2}, dict(zip(keys, _SIZES, strict=False))]),
        'chunks': rng.choice([dict(zip(keys, chunks, strict=False)), chunks]),
        'more': 1,
    }
    for key in rng.sample(list(tree), rng.randrange(3)):
        del tree[key]
    return msgpack.packb({'x': tree}, use_bin_type=True)


def _pickled(rng: random.Random) -> bytes:
    data = pickle.dumps({'params': [Trap()]}, protocol=rng.randrange(6))
    return rng.choice([data, msgpack.packb({'x': data}), msgpack.packb(msgpack.ExtType(1, data))])


KINDS: dict[str, Make] = {
    'flipped': _flipped, 'cut': _cut, 'joined': _joined, 'noise': _noise, 'announced': _announced,
    'deep': _deep, 'many': _many, 'extended': _extended, 'pieces': _pieces, 'pickled': _pickled,
}  # fmt: skip


# Reading them.


@dataclass
class Report:
    """What became of the files.

    Attributes:
        files: how many of each kind.
        read: how many were read.
        refused: how many were refused.
        failures: what went wrong, with the file that did it.
        slowest: the most seconds that one file took.
        most_memory: the most bytes that one file took, and its length.
    """

    files: collections.Counter[str] = field(default_factory=collections.Counter)
    read: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    most_memory: tuple[int, int] = (0, 0)


def _reads(data: bytes, target: Any) -> None:
    serialization.from_bytes(target, data)


def fuzz(files: int, seed: int, read: Callable[[bytes, Any], Any] = _reads) -> Report:
    """Makes files and reads each, with and without a target.

    Args:
        files: how many.
        seed: of what is drawn.
        read: takes the bytes and a target.
    """
    rng, report, ran[:] = random.Random(seed), Report(), []
    before = signal.signal(signal.SIGALRM, _too_slow)
    tracemalloc.start()
    try:
        for _ in range(files):
            kind = rng.choice(list(KINDS))
            data, target = KINDS[kind](rng), rng.choice([None, _target(rng)])
            report.files[kind] += 1
            _read_one(report, kind, data, target, read)
    finally:
        tracemalloc.stop()
        signal.signal(signal.SIGALRM, before)
    return report


def _read_one(
    report: Report, kind: str, data: bytes, target: Any, read: Callable[[bytes, Any], Any]
) -> None:
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    began, wrong = time.perf_counter(), ''
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings(action='ignore'):
            read(data, target)
        report.read += 1
    except LinnetError as error:
        report.refused += 1
        if not 0 < len(str(error)) < MESSAGE:
            wrong = f'a message of {len(str(error))} letters'
    except Exception as error:
        wrong = f'{type(error).__name__}: {error}'
    finally:
        signal.alarm(0)
    took, memory = time.perf_counter() - began, tracemalloc.get_traced_memory()[1] - held
    report.slowest = max(report.slowest, took)
    report.most_memory = max(report.most_memory, (memory, len(data)))
    if ran:
        wrong, ran[:] = 'code ran', []
    if memory > BYTES_FOR_BYTE * len(data) + BYTES_FOR_ALL:
        wrong = f'{memory} bytes of memory for a file of {len(data)}'
    if wrong:
        report.failures.append(f'{kind}: {wrong}: {data[:60]!r}')


def _too_slow(*_: Any) -> None:
    raise TimeoutError(f'a file took more than {SECONDS} s')


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description='Feeds damaged files to the reader.')
    parser.add_argument('--files', type=int, default=200_000)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = fuzz(options.files, options.seed)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f'{options.files} files, seed {options.seed}: {dict(sorted(report.files.items()))}')
    print(f'read {report.read}, refused {report.refused}, failed {len(report.failures)}')
    print(
        f'slowest {report.slowest * 1e3:.1f} ms; most memory {report.most_memory[0]} bytes for a '
        f'file of {report.most_memory[1]}; the process grew by {grown / 1024:.1f} MiB'
    )
    print(*report.failures[:20], sep='\n')
    return bool(report.failures)


if __name__ == '__main__':
    sys.exit(main())

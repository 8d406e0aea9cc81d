"""Pictures and sounds as the bytes of a file: PNG and WAV."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from typing import Any

import numpy as np

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """Returns a picture ``[height, width, 1 to 4]`` in uint8 as the bytes of a PNG file.

    >>> png(np.zeros((2, 3, 3), np.uint8))[1:4]
    b'PNG'
    """
    height, width, channels = pixels.shape
    header = struct.pack('>IIBBBBB', width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    rows = pixels.reshape(height, -1)
    data = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)  # rows have no filter
    chunks = [(b'IHDR', header), (b'IDAT', zlib.compress(data.tobytes())), (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', checksum)


def wav(samples: np.ndarray[Any, Any], sample_rate: int) -> bytes:
    """Returns a sound ``[time, channels]``, from -1 to 1, as the bytes of a WAV file of 16 bits.

    >>> wav(np.zeros((4, 1)), sample_rate=8000)[:4]
    b'RIFF'
    """
    scaled = np.asarray(samples, np.float64) * 2**15
    rounded = np.trunc(scaled + np.copysign(0.5, scaled))
    target = io.BytesIO()
    with wave.open(target, 'wb') as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(int(sample_rate))
        file.writeframes(np.clip(rounded, -(2**15), 2**15 - 1).astype('<i2').tobytes())
    return target.getvalue()

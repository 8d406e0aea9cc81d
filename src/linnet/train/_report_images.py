"""Images of a report: arrays as PNG files, written into the page."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np

from linnet.errors.training import TrainOptionError

_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # grey, grey and alpha, RGB, RGBA


def image_address(image: Any) -> str:
    """The address of an image that is part of the page: ``data:image/png;base64,...``.

    Args:
        image: `[height, width]` or `[height, width, channels]` with 1 to 4 channels; bytes, or
            numbers from 0 to 1, which are cut to that range.

    Raises:
        TrainOptionError: it is of another shape.
    """
    return f'data:image/png;base64,{base64.b64encode(_png(_pixels(image))).decode()}'


def _pixels(image: Any) -> np.ndarray:
    """Bytes `[height, width, channels]` of an image."""
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in _COLOR_TYPES or not array.size:
        raise TrainOptionError(
            f'a sample is an array of shape {np.shape(image)}, no image',
            mend='[height, width] or [height, width, channels] with 1 to 4 channels',
        )
    if array.dtype == np.uint8:
        return array
    cut = np.clip(np.nan_to_num(array.astype(np.float64)), 0, 1)
    return np.round(cut * 255).astype(np.uint8)


def _png(pixels: np.ndarray) -> bytes:
    height, width, channels = pixels.shape
    head = struct.pack('>2I5B', width, height, 8, _COLOR_TYPES[channels], 0, 0, 0)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    parts = [(b'IHDR', head), (b'IDAT', zlib.compress(rows.tobytes(), 9)), (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', crc)

"""A writer of logs for TensorBoard, which needs tensorboardX and nothing else.

Its files are those that TensorFlow writes: everything is a tensor, and its metadata say which part
of TensorBoard shows it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from linnet.errors._suggest import brief, described
from linnet.errors.data import ToolArgumentError
from linnet.errors.sharp_bits import LeftOutWarning
from linnet.metrics._encodings import png, wav
from linnet.metrics._events import EventFile, copy_metadata, plugin_metadata, tensor
from linnet.sharp_bits import warn

_DEFAULT_BINS = 30
_AUDIO_IS_WAV = b'\x10\x0b'


class SummaryWriter:
    """Writes numbers, pictures, sounds and texts of a run into a folder that TensorBoard watches.

    Values may be of NumPy, of JAX or of Python.

    Args:
        log_dir: the folder; it is made if it is not there.
        auto_flush: hand each value over at once, so that TensorBoard sees it.

    Raises:
        MissingPackageError: tensorboardX is not installed.

    Example::

        >>> import tempfile
        >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
        ...     writer.hparams({'lr': 0.1, 'depth': 2})
        ...     for step in range(3):
        ...         writer.scalar('loss', 1 / (step + 1), step)
    """

    def __init__(self, log_dir: str | os.PathLike[str], auto_flush: bool = True) -> None:
        self._auto_flush = auto_flush
        self._file: EventFile | None = EventFile(os.fspath(log_dir))

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Writes what is left and closes the file; nothing can be written after that."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def flush(self) -> None:
        """Hands what was written over, so that TensorBoard sees it."""
        self._opened().flush()

    def _opened(self) -> EventFile:
        if self._file is None:
            raise ToolArgumentError('the writer is closed', mend='writer = SummaryWriter(log_dir)')
        return self._file

    def _add(self, tag: str, value: Any, step: Any, metadata: Any) -> None:
        file = self._opened()
        if not isinstance(tag, str):
            raise ToolArgumentError(f'the tag is {brief(tag)}, which is no text', mend="tag='loss'")
        file.add(tag, tensor(value), _integer('step', step), metadata)
        if self._auto_flush:
            file.flush()

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Writes a number.

        Args:
            tag: its name; names with the same part before a ``/`` are shown together.
            value: a number, or an array ``[]``; written as float32.
            step: the number of the step.

        Raises:
            ToolArgumentError: the value is no single number, or the step no integer.
        """
        array = np.asarray(value)
        if array.ndim or array.dtype.kind in 'OUS':
            raise ToolArgumentError(
                f'the value of {tag!r} is {described(value)}, and not one number',
                mend='writer.histogram(tag, value, step), or the mean of the values',
            )
        self._add(tag, array.astype(np.float32), step, plugin_metadata('scalars'))

    def image(self, tag: str, image: Any, step: int, max_outputs: int = 3) -> None:
        """Writes pictures.

        Args:
            tag: their name.
            image: ``[height, width]``, ``[height, width, 1 or 3]``, ``[batch, height, width]`` or
                ``[batch, height, width, 1 to 4]``. Floats are from 0 to 1, what is outside is
                clipped; integers are uint8.
            step: the number of the step.
            max_outputs: at most so many pictures of a batch are written.

        Raises:
            ToolArgumentError: the array has another form, or integers that are not uint8.
        """
        pixels = _pixels(tag, image)[: _integer('max_outputs', max_outputs)]
        height, width = pixels.shape[1:3]
        values = [b'%d' % width, b'%d' % height, *map(png, pixels)]
        self._add(tag, np.array(values, object), step, plugin_metadata('images'))

    def audio(
        self,
        tag: str,
        audiodata: Any,
        step: int,
        sample_rate: int = 44100,
        max_outputs: int = 3,
    ) -> None:
        """Writes sounds.

        Args:
            tag: their name.
            audiodata: ``[batch, time, channels]`` in floats from -1 to 1; what is outside is
                clipped.
            step: the number of the step.
            sample_rate: the number of samples in a second.
            max_outputs: at most so many sounds of a batch are written.

        Raises:
            ToolArgumentError: the array has another form.
        """
        samples = np.asarray(audiodata)
        if samples.ndim != 3 or not _is_float(samples):
            raise ToolArgumentError(
                f'the sounds of {tag!r} are {described(audiodata)}',
                why='they are floats of the form [batch, time, channels]',
                mend='audiodata[None, :, None] for one sound of one channel',
            )
        samples = samples[: _integer('max_outputs', max_outputs)]
        values = np.empty((len(samples), 2), object)
        for row, sound in zip(values, samples, strict=True):
            row[:] = wav(sound, sample_rate), b''
        self._add(tag, values, step, plugin_metadata('audio', _AUDIO_IS_WAV))

    def histogram(self, tag: str, values: Any, step: int, bins: int | None = None) -> None:
        """Writes how values are distributed.

        Args:
            tag: their name.
            values: an array of numbers of any shape; what is not finite is left out.
            step: the number of the step.
            bins: the number of bins; 30 by default.

        Raises:
            ToolArgumentError: the values are no numbers, or ``bins`` is not positive.
        """
        count = _DEFAULT_BINS if bins is None else _integer('bins', bins)
        if count < 1:
            raise ToolArgumentError(f'bins is {bins}', mend=f'bins={_DEFAULT_BINS}')
        numbers = np.asarray(values)
        if numbers.dtype.kind in 'OUSc':
            raise ToolArgumentError(f'the values of {tag!r} are {described(values)}')
        numbers = numbers.astype(np.float64).ravel()
        finite = numbers[np.isfinite(numbers)]
        if len(finite) < len(numbers):
            what = f'of the {len(numbers)} values of {tag!r}, {len(numbers) - len(finite)} are NaN'
            warn(LeftOutWarning(f'{what} or infinite, and left out'))
        self._add(tag, _buckets(finite, count), step, plugin_metadata('histograms'))

    def text(self, tag: str, textdata: str | bytes, step: int) -> None:
        """Writes a text, in Markdown.

        Args:
            tag: its name.
            textdata: the text.
            step: the number of the step.

        Raises:
            ToolArgumentError: it is no text.
        """
        if not isinstance(textdata, str | bytes):
            raise ToolArgumentError(
                f'the text of {tag!r} is {described(textdata)}', mend='str(textdata)'
            )
        self._add(tag, textdata, step, plugin_metadata('text'))

    def hparams(self, hparams: Mapping[str, Any]) -> None:
        """Writes the settings of the run, by which TensorBoard compares runs.

        Args:
            hparams: a dict; an item of a dict in it is named ``outer.inner``. Values that are no
                number, truth value or text are written as text.

        Raises:
            ToolArgumentError: it is no dict.
        """
        from tensorboardX.proto import plugin_hparams_pb2

        settings = dict(_flattened(hparams))
        data = plugin_hparams_pb2.HParamsPluginData()
        start = data.session_start_info
        for name, value in settings.items():
            kind = {bool: 'bool', int: 'number', float: 'number'}.get(type(value), 'string')
            setattr(start.hparams[name], f'{kind}_value', value)
        text = json.dumps(settings, sort_keys=True, separators=(',', ':'))
        start.group_name = hashlib.sha256(text.encode()).hexdigest()
        start.start_time_secs = time.time()
        metadata = plugin_metadata('hparams', data.SerializeToString())
        self._add('_hparams_/session_start_info', np.zeros(0, np.float32), 0, metadata)

    def write(self, tag: str, tensor: Any, step: int, metadata: Any = None) -> None:
        """Writes any tensor, for a part of TensorBoard that the other methods do not serve.

        Args:
            tag: its name.
            tensor: an array of numbers, or text.
            step: the number of the step.
            metadata: a message ``SummaryMetadata``, of tensorboardX, TensorBoard or TensorFlow.

        Raises:
            ToolArgumentError: the value has no form as a tensor.
        """
        self._add(tag, tensor, step, copy_metadata(metadata))


def _integer(name: str, value: Any) -> int:
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in 'iu':
        raise ToolArgumentError(f'{name} is {brief(value)}, which is no integer', mend=f'{name}=1')
    return int(array)


def _is_float(array: np.ndarray[Any, Any]) -> bool:
    return array.dtype.kind == 'f' or array.dtype.name == 'bfloat16'


def _pixels(tag: str, image: Any) -> np.ndarray[Any, Any]:
    """Returns pictures as ``[batch, height, width, channels]`` in uint8."""
    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[-1] in (1, 3):
        pixels = pixels[None]
    elif pixels.ndim == 2:
        pixels = pixels[None, ..., None]
    elif pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or pixels.shape[-1] not in (1, 2, 3, 4):
        raise ToolArgumentError(
            f'the pictures of {tag!r} are {described(image)}',
            why='they are of the form [height, width, 1 or 3], or a batch of such',
        )
    if _is_float(pixels):
        clipped = np.where(np.isnan(pixels), 0, np.clip(pixels, 0, 1)).astype(pixels.dtype)
        scaled = np.floor(clipped * pixels.dtype.type(255.5))
        pixels = np.minimum(scaled, 255).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ToolArgumentError(
            f'the pictures of {tag!r} are {described(image)}',
            why='integers are uint8; others could be of any range',
            mend='image.astype(np.uint8), or image / image.max()',
        )
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def _buckets(values: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """Returns left edge, right edge and number of values of each bin.

    Equal values have bins without width, of which the last holds them all.
    """
    if not len(values):
        return np.zeros((count, 3))
    low, high = values.min(), values.max()
    if low == high:
        numbers = np.append(np.zeros(count - 1), len(values))
        return np.stack([np.full(count, low), np.full(count, low), numbers], axis=-1)
    width = (high - low) / count
    places = np.minimum(np.floor((values - low) / width).astype(np.int64), count - 1)
    edges = np.linspace(low, high, count + 1)
    numbers = np.bincount(places, minlength=count)
    return np.stack([edges[:-1], edges[1:], numbers], axis=-1)


def _flattened(settings: Any, prefix: str = '') -> list[tuple[str, Any]]:
    """Returns settings by the path of their names, as what a message can hold."""
    if not isinstance(settings, Mapping):
        raise ToolArgumentError(f'hparams is {described(settings)}', mend="hparams={'lr': 0.1}")
    items: list[tuple[str, Any]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            items += _flattened(value, f'{prefix}{key}.')
        else:
            items.append((f'{prefix}{key}', _setting(value)))
    return items


def _setting(value: Any) -> Any:
    is_scalar = isinstance(value, np.generic) or (hasattr(value, 'ndim') and not value.ndim)
    plain = value.item() if is_scalar else value
    return plain if isinstance(plain, bool | int | float | str) else str(plain)

"""What the writer writes, read back: records and checksums, tensors, pictures and sounds."""

from __future__ import annotations

import importlib.util
import inspect
import io
import pathlib
import struct
import wave
import zlib
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto import event_pb2, plugin_hparams_pb2, summary_pb2, types_pb2

from linnet.errors import LeftOutWarning, MissingPackageError, ToolArgumentError
from linnet.metrics.tensorboard import SummaryWriter

DTYPES = {
    types_pb2.DT_FLOAT: np.float32,
    types_pb2.DT_DOUBLE: np.float64,
    types_pb2.DT_INT32: np.int32,
    types_pb2.DT_INT64: np.int64,
    types_pb2.DT_UINT8: np.uint8,
    types_pb2.DT_BOOL: np.bool_,
    types_pb2.DT_BFLOAT16: jnp.bfloat16,
}


@pytest.fixture
def writer(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        yield writer


def checksum(data: bytes) -> int:
    value = crc32c(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder: pathlib.Path) -> list[Any]:
    """Reads the records of all event files in a folder, and compares their checksums."""
    found = []
    for path in sorted(folder.glob('events.out.tfevents.*')):
        data = io.BytesIO(path.read_bytes())
        while header := data.read(12):
            length, expected = struct.unpack('<QI', header)
            assert checksum(header[:8]) == expected
            record = data.read(length)
            assert struct.unpack('<I', data.read(4)) == (checksum(record),)
            found.append(event_pb2.Event.FromString(record))
    return found


def values(folder: pathlib.Path) -> list[tuple[int, str, str, Any]]:
    """Step, tag, plugin and array of everything that was written."""
    first, *rest = events(folder)
    assert first.file_version == 'brain.Event:2'
    assert all(event.wall_time > 1.7e9 for event in [first, *rest])
    found = []
    for event in rest:
        (value,) = event.summary.value
        plugin = value.metadata.plugin_data.plugin_name
        found.append((event.step, value.tag, plugin, array(value.tensor)))
    return found


def array(tensor: Any) -> Any:
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype == types_pb2.DT_STRING:
        return np.array([*tensor.string_val, None], object)[:-1].reshape(shape)
    return np.frombuffer(tensor.tensor_content, DTYPES[tensor.dtype]).reshape(shape)


def picture(data: bytes) -> Any:
    """Decodes a PNG whose rows have no filter."""
    assert data[:8] == b'\x89PNG\r\n\x1a\n'
    chunks, position = {}, 8
    while position < len(data):
        (length,) = struct.unpack('>I', data[position : position + 4])
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        assert data[position + 8 + length :][:4] == struct.pack('>I', zlib.crc32(kind + body))
        chunks[kind] = body
        position += 12 + length
    width, height, depth, colours = struct.unpack('>IIBB', chunks[b'IHDR'][:10])
    assert depth == 8
    rows = np.frombuffer(zlib.decompress(chunks[b'IDAT']), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, {0: 1, 2: 3, 4: 2, 6: 4}[colours])


def sound(data: bytes) -> tuple[int, Any]:
    with wave.open(io.BytesIO(data)) as file:
        frames = np.frombuffer(file.readframes(file.getnframes()), '<i2')
        return file.getframerate(), frames.reshape(-1, file.getnchannels())


def test_methods_take_what_they_take_in_flax():
    methods = {
        name: ', '.join(
            p.name if p.default is p.empty else f'{p.name}={p.default}'
            for p in inspect.signature(method).parameters.values()
        )
        for name, method in vars(SummaryWriter).items()
        if inspect.isfunction(method) and (name[0] != '_' or name == '__init__')
    }
    assert methods == {
        '__init__': 'self, log_dir, auto_flush=True',
        'audio': 'self, tag, audiodata, step, sample_rate=44100, max_outputs=3',
        'close': 'self',
        'flush': 'self',
        'histogram': 'self, tag, values, step, bins=None',
        'hparams': 'self, hparams',
        'image': 'self, tag, image, step, max_outputs=3',
        'scalar': 'self, tag, value, step',
        'text': 'self, tag, textdata, step',
        'write': 'self, tag, tensor, step, metadata=None',
    }


def test_numbers(tmp_path, writer):
    for step, value in enumerate([1.5, np.float64(2), jnp.bfloat16(3), 4, True]):
        writer.scalar('a/b c', value, jnp.int32(step))
    found = values(tmp_path)
    assert [entry[:3] for entry in found] == [(i, 'a/b c', 'scalars') for i in range(5)]
    assert [entry[3].item() for entry in found] == [1.5, 2, 3, 4, 1]
    assert {entry[3].dtype for entry in found} == {np.dtype('float32')}


def test_texts(tmp_path, writer):
    writer.text('t', 'é *x*', 1)
    writer.text('t', b'bytes', 2)
    assert values(tmp_path) == [(1, 't', 'text', 'é *x*'.encode()), (2, 't', 'text', b'bytes')]


GREY = np.array([[-0.5, 0.0, 0.5], [0.998, 2.0, np.nan]])
GREY_PIXELS = [[0, 0, 127], [254, 255, 0]]


@pytest.mark.parametrize(
    ('image', 'expected'),
    [
        (GREY, GREY_PIXELS),
        (GREY[..., None], GREY_PIXELS),
        (GREY[:1].astype(np.float16), GREY_PIXELS[:1]),
        (np.arange(6, dtype=np.uint8).reshape(2, 3), [[0, 1, 2], [3, 4, 5]]),
        (jnp.array([[0.0, 0.5, 1.0]], jnp.bfloat16), [[0, 128, 255]]),
        ([[0.0, 1.0]], [[0, 255]]),
    ],
)
def test_a_grey_picture_has_three_equal_channels(tmp_path, writer, image, expected):
    writer.image('i', image, 7)
    ((step, tag, plugin, tensor),) = values(tmp_path)
    assert (step, tag, plugin) == (7, 'i', 'images')
    pixels = picture(tensor[2])
    np.testing.assert_array_equal(pixels, np.repeat(np.array(expected)[..., None], 3, -1))
    assert list(tensor[:2]) == [b'%d' % pixels.shape[1], b'%d' % pixels.shape[0]]


@pytest.mark.parametrize('shape', [(5, 2, 3, 3), (5, 2, 3, 4), (5, 2, 3, 2), (5, 2, 4), (2, 3, 3)])
def test_batches_of_pictures_are_cut(tmp_path, writer, shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    writer.image('i', pixels, 1, max_outputs=2)
    tensor = values(tmp_path)[0][3]
    batch = pixels[None] if shape == (2, 3, 3) else pixels if len(shape) == 4 else pixels[..., None]
    assert len(tensor) == 2 + min(2, len(batch))
    for data, expected in zip(tensor[2:], batch, strict=False):
        decoded = picture(data)
        np.testing.assert_array_equal(decoded, np.broadcast_to(expected, decoded.shape))


@pytest.mark.parametrize(
    'image',
    [
        np.ones(3),
        np.ones((1, 1, 2, 3, 3)),
        np.ones((1, 2, 2, 5)),
        np.ones((2, 2), np.int32),
        np.ones((2, 2), bool),
        np.array([['a']]),
    ],
)
def test_other_arrays_are_no_pictures(writer, image):
    with pytest.raises(ToolArgumentError, match="the pictures of 'i' are an array of shape"):
        writer.image('i', image, 1)


def test_sounds(tmp_path, writer):
    samples = np.array([[-2, 1, 0.5, 0.25], [0.5, 1.5, 2.5, -0.5]])[..., None]
    samples[1] /= 2**15
    writer.audio('s', samples, 2, sample_rate=8000)
    writer.audio('s', jnp.zeros((5, 3, 2)), 3, max_outputs=2)
    (step, tag, plugin, tensor), (*_, other) = values(tmp_path)
    assert (step, tag, plugin) == (2, 's', 'audio')
    assert list(tensor[:, 1]) == [b'', b'']
    rate, frames = sound(tensor[0, 0])
    assert (rate, frames.ravel().tolist()) == (8000, [-32768, 32767, 16384, 8192])
    assert sound(tensor[1, 0])[1].ravel().tolist() == [1, 2, 3, -1]
    assert (len(other), sound(other[0, 0])[1].shape) == (2, (3, 2))


@pytest.mark.parametrize('data', [np.ones(3), np.ones((2, 3)), np.ones((1, 3, 1), np.int16)])
def test_other_arrays_are_no_sounds(writer, data):
    with pytest.raises(ToolArgumentError, match=r'\[batch, time, channels\]'):
        writer.audio('s', data, 1)


@pytest.mark.parametrize(
    ('numbers', 'bins', 'expected'),
    [
        ([0, 1, 2, 9], 3, [[0, 3, 3], [3, 6, 0], [6, 9, 1]]),
        (np.full((2, 2), 5.0), 2, [[5, 5, 0], [5, 5, 4]]),
        ([], 2, [[0, 0, 0], [0, 0, 0]]),
        (3, 1, [[3, 3, 1]]),
        (jnp.array([1, 2], jnp.bfloat16), 1, [[1, 2, 2]]),
        ([True, False], 2, [[0, 0.5, 1], [0.5, 1, 1]]),
    ],
)
def test_histograms(tmp_path, writer, numbers, bins, expected):
    writer.histogram('h', numbers, 4, bins=bins)
    writer.histogram('h', numbers, 5)
    (step, tag, plugin, table), (*_, default) = values(tmp_path)
    assert (step, tag, plugin) == (4, 'h', 'histograms')
    np.testing.assert_array_equal(table, expected)
    assert table.dtype == np.float64
    assert (default.shape, default[:, 2].sum()) == ((30, 3), np.size(numbers))


def test_values_that_are_not_finite_are_left_out_of_histograms(tmp_path, writer):
    with pytest.warns(LeftOutWarning, match="of the 4 values of 'h', 2 are NaN or infinite"):
        writer.histogram('h', [1, np.nan, 2, np.inf], 1, bins=1)
    np.testing.assert_array_equal(values(tmp_path)[0][3], [[1, 2, 2]])


@pytest.mark.parametrize('bins', [0, -1, 1.5, [0, 1], 'auto'])
def test_the_number_of_bins_is_positive(writer, bins):
    with pytest.raises(ToolArgumentError, match='bins is'):
        writer.histogram('h', [1.0], 1, bins=bins)


@pytest.mark.parametrize('numbers', [['a'], [1j], [None]])
def test_histograms_are_of_numbers(writer, numbers):
    with pytest.raises(ToolArgumentError, match="the values of 'h' are"):
        writer.histogram('h', numbers, 1)


def test_settings(tmp_path, writer):
    inner = {'b': 1, 'c': {'d': 'x'}, 'empty': {}}
    writer.hparams({'lr': 0.1, 'flag': True, 'none': None, 'a': inner, 'l': [1, 2],
                    'np': np.float32(2), 'jax': jnp.int32(3)})  # fmt: skip
    ((step, tag, plugin, tensor),) = values(tmp_path)
    assert (step, tag, plugin, tensor.shape) == (0, '_hparams_/session_start_info', 'hparams', (0,))
    metadata = events(tmp_path)[1].summary.value[0].metadata
    data = plugin_hparams_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
    start = data.session_start_info
    settings = {
        name: getattr(value, value.WhichOneof('kind')) for name, value in start.hparams.items()
    }
    assert settings == {
        'lr': 0.1, 'flag': True, 'none': 'None', 'a.b': 1, 'a.c.d': 'x', 'l': '[1, 2]', 'np': 2,
        'jax': 3,
    }  # fmt: skip
    assert type(settings['flag']) is bool
    assert start.start_time_secs > 1.7e9
    assert len(start.group_name) == 64


def test_equal_settings_are_one_group(tmp_path):
    names = []
    for run, settings in enumerate([{'a': 1, 'b': 2}, {'b': 2, 'a': 1}, {'a': 2, 'b': 2}]):
        with SummaryWriter(tmp_path / f'{run}') as writer:
            writer.hparams(settings)
        content = events(tmp_path / f'{run}')[1].summary.value[0].metadata.plugin_data.content
        data = plugin_hparams_pb2.HParamsPluginData.FromString(content)
        names.append(data.session_start_info.group_name)
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (np.arange(3), np.arange(3)),
        (1.5, np.float32(1.5)),
        ([1, 2], np.int32([1, 2])),
        (True, np.True_),
        (np.float64(2), np.float64(2)),
        (jnp.ones(2, jnp.bfloat16), np.ones(2, jnp.bfloat16)),
        (np.zeros((0, 2), np.uint8), np.zeros((0, 2), np.uint8)),
        ('abc', np.array(b'abc', object)),
        (['a', b'b'], np.array([b'a', b'b'], object)),
    ],
)
def test_any_tensor(tmp_path, writer, value, expected):
    metadata = summary_pb2.SummaryMetadata(display_name='shown')
    metadata.plugin_data.plugin_name = 'mine'
    writer.write('w', value, 1, metadata=metadata)
    writer.write('w', value, 2)
    first, second = values(tmp_path)
    assert (first[:3], second[:3]) == ((1, 'w', 'mine'), (2, 'w', ''))
    for _, _, _, tensor in (first, second):
        np.testing.assert_array_equal(tensor, expected)
        assert np.asarray(tensor).dtype == np.asarray(expected).dtype


def test_what_is_refused(writer):
    refusals = [
        ('has no form as a tensor', lambda: writer.write('w', object(), 1)),
        ('has no form as a tensor', lambda: writer.write('w', None, 1)),
        ('not a SummaryMetadata', lambda: writer.write('w', 1, 1, metadata={'plugin': 'x'})),
        ('not one number', lambda: writer.scalar('a', np.ones(2), 1)),
        ('not one number', lambda: writer.scalar('a', 'x', 1)),
        ('step is 1.5', lambda: writer.scalar('a', 1, 1.5)),
        ('step is None', lambda: writer.scalar('a', 1, None)),
        ('the tag is None', lambda: writer.scalar(None, 1, 1)),
        ('the text of', lambda: writer.text('t', ['a'], 1)),
        ('hparams is', lambda: writer.hparams([('lr', 1)])),
    ]
    for words, call in refusals:
        with pytest.raises(ToolArgumentError, match=words):
            call()


def test_values_are_seen_at_once_or_after_a_flush(tmp_path):
    at_once, later = SummaryWriter(tmp_path / 'a'), SummaryWriter(tmp_path / 'b', auto_flush=False)
    for writer in (at_once, later):
        writer.scalar('x', 1, 1)
    assert (len(events(tmp_path / 'a')), len(events(tmp_path / 'b'))) == (2, 0)
    later.flush()
    assert len(events(tmp_path / 'b')) == 2
    for writer in (at_once, later):
        writer.close()
        writer.close()
        with pytest.raises(ToolArgumentError, match='the writer is closed'):
            writer.scalar('x', 1, 2)
        with pytest.raises(ToolArgumentError, match='the writer is closed'):
            writer.flush()


def test_each_writer_has_a_file(tmp_path):
    for step in range(2):
        with SummaryWriter(str(tmp_path)) as writer:
            writer.scalar('x', step, step)
    assert len(list(tmp_path.iterdir())) == 2
    assert [event.step for event in events(tmp_path) if event.summary.value] == [0, 1]


def test_without_the_package_the_way_to_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'linnet\[tensorboard\]'"):
        SummaryWriter(tmp_path)
    assert list(tmp_path.iterdir()) == []

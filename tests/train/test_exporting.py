"""Files of safetensors: every dtype back, the bytes that the format says, damage found."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest

from linnet.errors import CheckpointDamagedError, SerializationError
from linnet.train import exporting
from linnet.train.exporting import load_safetensors, save_safetensors
from tests.train.toys import assert_same


def test_every_dtype_comes_back(tmp_path):
    tree = {
        'params': {name: np.arange(3).astype(jnp.dtype(name)) for name in exporting._CODES},
        'stats': {'scalar': np.float32(2), 'empty': np.zeros((0, 2), np.float32)},
    }
    path = tmp_path / 'a' / 'model.safetensors'
    save_safetensors(path, tree, {'made_by': 'a test'})
    found = load_safetensors(path)
    assert_same(found, tree)
    assert found['params']['bfloat16'].dtype == jnp.bfloat16
    assert [other.name for other in path.parent.iterdir()] == ['model.safetensors']


def test_the_bytes_are_those_of_the_format(tmp_path):
    path = tmp_path / 'model.safetensors'
    save_safetensors(
        path, {'b': {'w': np.array([1, 2], np.int16)}, 'a': jnp.float32(1)}, {'k': 'v'}
    )
    content = path.read_bytes()
    size = int.from_bytes(content[:8], 'little')
    assert size % 8 == 0
    assert json.loads(content[8 : 8 + size]) == {
        '__metadata__': {'k': 'v'},
        'a': {'dtype': 'F32', 'shape': [], 'data_offsets': [0, 4]},
        'b/w': {'dtype': 'I16', 'shape': [2], 'data_offsets': [4, 8]},
    }
    assert content[8 + size :] == b'\x00\x00\x80\x3f\x01\x00\x02\x00'


@pytest.mark.parametrize('cut', [0, 4, 40, -1])
def test_a_file_that_is_cut_off(tmp_path, cut):
    path = tmp_path / 'model.safetensors'
    save_safetensors(path, {'w': np.ones(4, np.float32)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointDamagedError, match='no whole file of safetensors'):
        load_safetensors(path)


def test_a_dtype_that_the_format_lacks(tmp_path):
    with pytest.raises(SerializationError, match='w is of complex64'):
        save_safetensors(tmp_path / 'x', {'w': np.ones(1, np.complex64)})

"""The reader of digits, run as a person runs it: it learns, and keeps and shows what was best."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linnet.train import load_safetensors

ROOT = Path(__file__).resolve().parents[2]
Load = Callable[[str, str], ModuleType]
DEEP = os.environ.get('LINNET_DEEP') == '1'


def run(out: Path, *arguments: str, fast: bool = True) -> tuple[float, str]:
    """Runs the example to its end; returns the accuracy, and all that it prints."""
    script = 'examples/image_classification/train.py'
    command = (sys.executable, '-W', 'error', script, '--out', str(out), *arguments)
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT / 'src')}
    if fast:  # most of a short run is compiling
        environment['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = re.search(r'^held-out accuracy +(\S+) on 360 digits$', done.stdout, re.MULTILINE)
    assert found, done.stdout
    return float(found[1]), done.stdout


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Imports a file of an example by its bare name, for one test."""
    loaded = []

    def file(example: str, name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(ROOT / 'examples' / example))
        sys.modules.pop(name, None)
        loaded.append(name)
        return importlib.import_module(name)

    yield file
    for name in (*loaded, 'data', 'model'):
        sys.modules.pop(name, None)


def test_it_learns_and_shows_what_is_hard(tmp_path: Path) -> None:
    short = ('steps=150', 'batch=32', 'width=8', 'ema=0.9')
    accuracy, _ = run(tmp_path, *(word for pair in short for word in ('--set', pair)))
    assert 0.8 <= accuracy <= 1.0  # chance gives 0.1
    best = load_safetensors(tmp_path / 'best.safetensors')
    assert sorted(best) == ['batch_stats', 'params']
    assert best['params']['ResidualBlock_2']['projection']['kernel'].shape == (1, 1, 16, 32)
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    assert page.count('<figure class="sample ') == 12
    assert 'Confusion' in page


def test_the_parts_are_those_of_the_demo(load: Load) -> None:
    parts = load('image_classification', 'data').load_splits()
    for part, other in zip(parts, load('digits', 'digits').load_splits(), strict=True):
        np.testing.assert_array_equal(part['image'], other.images)
        np.testing.assert_array_equal(part['label'], other.labels)


def test_batches_are_full_and_of_one_order_for_each_seed(load: Load) -> None:
    data = load('image_classification', 'data')
    part = {'image': np.arange(10.0), 'label': np.arange(10)}
    assert [len(batch['label']) for batch in data.batches(part, 4)] == [4, 4, 2]
    one, again, other = (list(data.shuffled(part, 4, *seed)) for seed in ((0, 1), (0, 1), (0, 2)))
    labels = np.concatenate([batch['label'] for batch in one])
    assert len(set(labels)) == len(labels) == 8
    assert all((a['label'] == b['label']).all() for a, b in zip(one, again, strict=True))
    assert any((a['label'] != b['label']).any() for a, b in zip(one, other, strict=True))


def test_images_are_varied_on_the_device_in_their_own_dtype(load: Load) -> None:
    model = load('image_classification', 'model')
    images = jnp.asarray(np.random.default_rng(0).random((3, 8, 8, 1)), jnp.bfloat16)
    keys = {'augment': jax.random.key(0)}
    still, varied = (
        model.Augment(strength).apply({}, images, rngs=keys) for strength in (0.0, 1.0)
    )
    assert varied.dtype == jnp.bfloat16
    np.testing.assert_array_equal(still, images)
    changed = np.abs(np.asarray(varied - images, np.float32)).max((1, 2, 3))
    assert (changed > 0.1).all()


def test_the_whole_network_is_applied_in_the_precision_of_the_settings(
    load: Load, tmp_path: Path
) -> None:
    train = load('image_classification', 'train')
    settings = train.DigitSettings(out=tmp_path, precision='bfloat16', width=4)
    trainer = train.make_trainer(settings, None)
    batch = {'image': np.zeros((5, 8, 8, 1), np.float32), 'label': np.zeros(5, np.int32)}
    state = jax.eval_shape(trainer.init, batch)
    step = str(jax.make_jaxpr(trainer.train_step)(state, batch))
    forward = [line for line in step.splitlines() if re.search(r'\[5,8,8,4\] = conv_general', line)]
    assert len(forward) >= 3
    assert all('bf16[5,8,8,4] =' in line for line in forward), forward
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state.params))


def test_a_new_block_passes_on_its_input(load: Load) -> None:
    model = load('image_classification', 'model')
    x, block = np.random.default_rng(0).random((2, 4, 4, 3), np.float32), model.ResidualBlock(3)
    y, _ = jax.jit(partial(block.init_with_output, train=False))(jax.random.key(1), x)
    np.testing.assert_array_equal(y, x)


@pytest.mark.skipif(not DEEP, reason='three whole runs; LINNET_DEEP=1 makes them')
def test_a_whole_run_reads_99_of_100(tmp_path: Path) -> None:
    found = [run(tmp_path / str(seed), '--seed', str(seed), fast=False)[0] for seed in range(3)]
    assert np.mean(found) >= 0.99, found

"""The page of layers is complete, and the plugin that writes it counts what runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import layer_table

ROOT = Path(__file__).resolve().parents[1]
PAGE = layer_table.read((ROOT / 'docs' / 'layers.md').read_text())

PROGRAM = """
import jax, jax.numpy as jnp, pytest
import linnet.linen as nn
from linnet.errors import AssignSubModuleError
from hypothesis import given, settings, strategies as st

X, KEY = jnp.ones((2, 4, 3)), jax.random.key(0)

def init(layer, x=X):
    return jax.eval_shape(layer.init, KEY, x)

class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Sequential([nn.BatchApply(nn.LayerNorm()), nn.relu])(x)

@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16'])
def test_dtypes(dtype):
    init(nn.Dense(1, dtype=dtype))
    init(nn.Dense(2, dtype=dtype))

@given(st.integers(1, 2))
@settings(max_examples=2, deadline=None)
def test_drawn(window):
    jax.eval_shape(lambda x: nn.avg_pool(x, (window,)), X)

def test_gradient():
    def loss(x):
        return nn.max_pool(Net().init_with_output(KEY, x)[0], (2,)).sum()
    jax.eval_shape(jax.grad(loss), X)

def test_bad_input():
    for call in (
        lambda: nn.avg_pool(X, (2, 2, 2, 2, 2)),
        lambda: init(nn.RNN(nn.GRUCell(3)), jnp.ones(3)),
        lambda: nn.Sequential(3),
    ):
        with pytest.raises(ValueError):
            call()

class Careless(nn.Module):
    def __call__(self, x):
        return nn.Embed(2, 3)(x)

def test_a_module_of_ones_own():
    with pytest.raises(AssignSubModuleError):
        init(nn.Sequential([Careless()]))

@pytest.mark.xfail(reason='a failure is no case')
def test_failing():
    init(nn.GroupNorm(3))
    assert False
"""


def test_what_is_counted(tmp_path: Path) -> None:
    """In two processes, whose counts are added up."""
    (tmp_path / 'test_program.py').write_text(PROGRAM)
    command = [sys.executable, '-m', 'pytest', '-q', '-n', '2', '-p', 'tests.layer_table']
    command += ['-p', 'no:cacheprovider', f'--layer-table={tmp_path}/page.md', 'test_program.py']
    paths = {'PYTHONPATH': f'{ROOT}:{ROOT}/src', 'JAX_PLATFORMS': 'cpu'}
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **paths}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = layer_table.read((tmp_path / 'page.md').read_text())
    found = {name: tuple(row.values()) for name, row in counts.items() if any(row.values())}
    assert found == {
        'avg_pool': (2, 0, 0, 1),
        'BatchApply': (1, 1, 0, 0),
        'Dense': (3, 0, 2, 0),
        'LayerNorm': (1, 1, 0, 0),
        'max_pool': (1, 1, 0, 0),
        'pool': (3, 1, 0, 1),
        'RNN': (0, 0, 0, 1),
        'Sequential': (1, 1, 0, 1),
    }


def test_the_page_lists_every_layer() -> None:
    assert list(PAGE) == layer_table.LAYERS


@pytest.mark.parametrize('kind', layer_table.KINDS)
def test_no_layer_is_without_cases(kind: str) -> None:
    assert [name for name in PAGE if not PAGE[name][kind]] == []

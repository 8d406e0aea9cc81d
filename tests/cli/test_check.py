"""``linnet check``: findings as a table or as data, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.processes import linnet, python

PROGRAM = """
import sys
import jax
import jax.numpy as jnp
import linnet.linen as nn

net = nn.Dropout(0.5, deterministic=False)
for i in range(2):
    net.apply({}, jnp.full(4, i, float), rngs={'dropout': jax.random.key(0)})
print('ran', *sys.argv[1:])
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / 'train.py').write_text(PROGRAM)
    allowed = PROGRAM.replace('key(0)})', 'key(0)})  # linnet: allow LN811')
    (tmp_path / 'allowed.py').write_text(allowed)
    return tmp_path


PAIR = """
import jax, jax.numpy as jnp
import linnet.linen as nn

layer, x = nn.Dense(3), jnp.ones((2, 3))
logits = layer.apply(layer.init(jax.random.key(0), x), x, mutable=[])
print(logits - 1.0)
"""


def test_data_goes_to_the_output_and_prints_beside_it(folder: Path) -> None:
    done = linnet('check', '--json', '-m', 'train', '0', 'b', cwd=folder)
    assert done.returncode == 1
    (found,) = json.loads(done.stdout)
    assert (found['code'], found['line']) == ('LN811', 9)
    assert found['file'].endswith('train.py')
    assert 'ran 0 b' in done.stderr


def test_a_clean_program_ends_with_its_own_status(folder: Path) -> None:
    done = linnet('check', 'allowed.py', '3', cwd=folder)
    assert done.returncode == 3
    assert done.stdout == 'ran 3\n'
    assert done.stderr == 'The sanitizer found nothing.\n'


def test_a_process_is_watched_by_a_variable(folder: Path) -> None:
    # Coverage would import this library, and so JAX, before the program and then forget it.
    uncovered = {'COVERAGE_PROCESS_START': '', 'COVERAGE_PROCESS_CONFIG': ''}
    done = python('train.py', '0', cwd=folder, LINNET_SANITIZE='1', **uncovered)
    assert done.returncode == 0
    assert 'train.py:9: RepeatedKeyFinding: [LN811]' in done.stderr
    assert 'LN811 │     1 │' in done.stderr


def test_a_process_that_ends_by_an_error_tells_its_cause(folder: Path) -> None:
    (folder / 'pair.py').write_text(PAIR)
    uncovered = {'COVERAGE_PROCESS_START': '', 'COVERAGE_PROCESS_CONFIG': ''}
    done = python('pair.py', cwd=folder, LINNET_SANITIZE='1', **uncovered)
    assert done.returncode == 1
    assert 'TypeError' in done.stderr
    assert 'LN846 │     1 │' in done.stderr


def test_a_text_is_a_failure(folder: Path) -> None:
    (folder / 'fails.py').write_text("import sys; sys.exit('no data')")
    done = linnet('check', 'fails.py', cwd=folder)
    assert done.returncode == 1
    assert done.stderr == 'no data\nThe sanitizer found nothing.\n'


def test_no_such_file(folder: Path) -> None:
    done = linnet('check', 'missing.py', cwd=folder)
    assert done.returncode == 2
    assert "there is no file 'missing.py'" in done.stderr

"""Whole programs for Flax print the same losses on Linnet, to the bit, run as they are or moved."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import jax
import pytest

from tests.architecture import ROOT
from tests.cli.processes import linnet, python

PROGRAMS = ROOT / 'tests' / 'programs'


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the processes share what they compile, and compile quickly outside of the deep run."""
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(jax.config.jax_compilation_cache_dir))
    monkeypatch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
    monkeypatch.setenv('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '-1')
    if os.environ.get('LINNET_DEEP') != '1':
        monkeypatch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')


def test_programs_print_the_same_losses(tmp_path: Path) -> None:
    pytest.importorskip('flax')
    under_flax = python('everything.py', cwd=PROGRAMS)
    assert under_flax.stderr.splitlines()[-1] == 'flax'
    names = [line.split()[0] for line in under_flax.stdout.splitlines()]
    assert {name: names.count(name) for name in names} == {'vae': 4, 'ppo': 5, 'resnet': 7}

    served = linnet('run', 'everything.py', cwd=PROGRAMS)
    assert served.stdout == under_flax.stdout
    library, summary = served.stderr.splitlines()[-2:]
    assert library == 'flax linnet'
    assert summary.startswith('linnet run: served flax.core, flax.linen, flax.linen.initializers')

    copy = shutil.copytree(PROGRAMS, tmp_path / 'programs', ignore=lambda *_: ['__pycache__'])
    moved = linnet('migrate', '--write', '.', cwd=copy)
    assert (moved.returncode, moved.stdout) == (0, '')
    assert moved.stderr.startswith('Moved 3 files, ')
    after = python('everything.py', cwd=copy)
    assert after.stdout == under_flax.stdout
    assert after.stderr.splitlines()[-1] == 'linnet'

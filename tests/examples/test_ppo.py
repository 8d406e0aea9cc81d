"""The agent that balances a pole, run as people run it: it learns, and goes on to the same bits."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEEP = os.environ.get('LINNET_DEEP') == '1'


def run(out: Path, *arguments: str) -> str:
    """Runs the example to its end; returns what it prints."""
    command = (sys.executable, '-W', 'error', 'examples/ppo/train.py', '--out', str(out))
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT / 'src')}
    done = subprocess.run(
        (*command, *arguments), cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def mean_return(printed: str) -> float:
    """What the closing line says."""
    found = re.search(r'^mean return +([\d.]+) of 100 new episodes', printed, re.MULTILINE)
    assert found, printed
    return float(found[1])


def saved(out: Path, step: int) -> dict[str, object]:
    """What a checkpoint tells: the rows so far, and a checksum of each array."""
    text = (out / 'checkpoints' / str(step) / 'about' / 'metadata').read_text()
    about: dict[str, object] = json.loads(text)
    return about


def test_it_learns_and_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    printed = run(tmp_path, '--steps', '440')
    assert re.findall(r'step (\d+)/440: valid_return', printed) == ['400', '440']
    assert 100 <= mean_return(printed) <= 500  # an agent that has not learnt reaches 10
    assert 'A pole in balance' in (tmp_path / 'report.html').read_text()

    unbroken = saved(tmp_path, 440)
    shutil.rmtree(tmp_path / 'checkpoints' / '440')
    resumed = run(tmp_path, '--steps', '440', '--resume')
    assert 'step 400/440' not in resumed
    assert mean_return(resumed) == mean_return(printed)
    assert saved(tmp_path, 440) == unbroken


@pytest.mark.skipif(not DEEP, reason='the full run takes minutes: LINNET_DEEP=1')
@pytest.mark.parametrize('seed', range(3))
def test_the_full_run_balances_the_pole(tmp_path: Path, seed: int) -> None:
    assert mean_return(run(tmp_path, '--seed', str(seed))) >= 475

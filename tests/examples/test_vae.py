"""The autoencoder of digits, run as a person runs it: it learns, and draws."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

ROOT = Path(__file__).resolve().parents[2]
DEEP = os.environ.get('LINNET_DEEP') == '1'


def run(out: Path, *arguments: str) -> str:
    """Runs the example to its end; returns what it prints."""
    command = (sys.executable, '-W', 'error', 'examples/vae/train.py', '--out', str(out))
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT / 'src')}
    done = subprocess.run(
        (*command, *arguments), cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def nats(printed: str, name: str) -> float:
    """The bound that stands after a name."""
    found = re.search(rf'^{name} +(-[\d.]+) nats', printed, re.MULTILINE)
    assert found, printed
    return float(found[1])


def test_it_learns_and_draws(tmp_path: Path) -> None:
    printed = run(tmp_path, '--steps', '300')
    elbo, bound = nats(printed, 'held-out ELBO'), nats(printed, 'tighter bound')
    assert -106 < elbo < bound < -80  # what is known of each pixel alone gives -107.9
    picture = image.imread(tmp_path / 'vae.png')[..., :3]
    assert picture.shape[0] == picture.shape[1] > 1000
    for half in np.array_split(picture, 2):
        for quarter in np.array_split(half, 2, axis=1):
            assert quarter.std() > 0.1, 'a quarter of the picture is empty'
    assert 'Digits from codes' in (tmp_path / 'report.html').read_text()


@pytest.mark.skipif(not DEEP, reason='the full run takes minutes: LINNET_DEEP=1')
def test_the_full_run_reaches_its_figure(tmp_path: Path) -> None:
    found = [nats(run(tmp_path / seed, '--seed', seed), 'held-out ELBO') for seed in '012']
    assert np.mean(found) > -95

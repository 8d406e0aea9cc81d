"""The demo, run as a person runs it: it learns, repeats itself exactly, and stops when asked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib import image

from linnet import serialization
from tests.ctrl_c import HEARING

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, '-u', '-W', 'error', 'examples/digits/train.py')
EPOCH = re.compile(r'epoch (\d+)/(\d+): loss [\d.]+, accuracy [\d.]+, validation [\d.]+')


def environment() -> dict[str, str]:
    """What a run sees: the CPU, and the package of this checkout."""
    return {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT / 'src')}


@dataclass(frozen=True)
class Run:
    """What a finished run left behind."""

    out: Path
    printed: str

    def value(self, name: str) -> str:
        """The word that stands after ``name`` in the closing lines."""
        found = re.search(rf'^{name} +(\S+)', self.printed, re.MULTILINE)
        assert found, self.printed
        return found[1]


def run(out: Path, *arguments: str) -> Run:
    """Runs the demo to its end."""
    command = (*COMMAND, '--out', str(out), *arguments)
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return Run(out, done.stdout)


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of six epochs."""
    return run(tmp_path_factory.mktemp('digits'), '--steps', '120')


def test_it_shows_every_epoch_and_learns(finished: Run) -> None:
    assert [found[1] for found in EPOCH.finditer(finished.printed)] == list('123456')
    assert 0.94 <= float(finished.value('held-out accuracy')) <= 1.0


def test_the_picture_shows_something(finished: Run) -> None:
    picture = image.imread(finished.value('picture'))
    height, width, _ = picture.shape
    assert width > 1000
    assert height > 800
    assert (picture[:5, :, :3] == 1.0).all(), 'the background is not white'
    for rows in np.array_split(picture, 2):
        for quarter in np.array_split(rows, 2, axis=1):
            assert quarter[..., :3].std() > 0.05, 'a quarter of the picture is empty'


def test_the_report_shows_what_was_read_as_what(finished: Run) -> None:
    page = Path(finished.value('report')).read_text(encoding='utf-8')
    assert 'of 360 right' in page
    assert page.count('<img src="data:image/png;base64,') == 16
    assert page.count('<figure class="chart">') == 2


def test_a_second_run_gives_the_same_parameters(finished: Run, tmp_path: Path) -> None:
    again = run(tmp_path, '--steps', '120', '--set', 'plot=no')
    assert again.value('their SHA-256') == finished.value('their SHA-256')
    assert again.value('held-out accuracy') == finished.value('held-out accuracy')
    assert [path.name for path in tmp_path.iterdir()] == ['best.msgpack']


def test_another_seed_gives_other_parameters(finished: Run, tmp_path: Path) -> None:
    other = run(tmp_path, '--steps', '20', '--seed', '1', '--set', 'plot=no')
    assert other.value('their SHA-256') != finished.value('their SHA-256')


def test_ctrl_c_ends_it_with_the_best_parameters_saved(finished: Run, tmp_path: Path) -> None:
    arguments = (*COMMAND[1:], '--out', str(tmp_path), '--steps', '10000')
    process = subprocess.Popen(
        (*HEARING, *arguments),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        while not (line := process.stdout.readline()).startswith('epoch 2/'):
            assert line, process.communicate()[1]
        process.send_signal(signal.SIGINT)
        printed, complaints = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert complaints == ''
    assert re.search(r'Stopped after \d+ of 500 epochs: the best so far is in ', printed)
    best = tmp_path / 'best.msgpack'
    assert str(best) in printed
    variables, complete = (
        serialization.msgpack_restore(path.read_bytes())
        for path in (best, finished.out / 'best.msgpack')
    )
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, complete)


def test_it_refuses_to_train_for_no_steps(tmp_path: Path) -> None:
    command = (*COMMAND, '--out', str(tmp_path), '--steps', '0')
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2
    assert 'steps=0 is no count from 1' in done.stderr

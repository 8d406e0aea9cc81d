"""The adding network, run as a person runs it: it learns, shows samples, and goes on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEEP = os.environ.get('LINNET_DEEP') == '1'


def run(out: Path, *arguments: str) -> str:
    """Runs the example to its end; returns what it prints."""
    command = (sys.executable, '-W', 'error', 'examples/seq2seq/train.py', '--out', str(out))
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT / 'src')}
    done = subprocess.run(
        (*command, *arguments), cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A short run."""
    out = tmp_path_factory.mktemp('seq2seq')
    return out, run(out, '--steps', '250')


def test_it_learns_what_an_answer_looks_like(finished: tuple[Path, str]) -> None:
    rows = [json.loads(row) for row in (finished[0] / 'rows.jsonl').read_text().splitlines()]
    valid = [row['valid_loss'] for row in rows if 'valid_loss' in row]
    assert rows[-1]['step'] == 250
    assert valid[-1] < 2.0  # that of guessing each digit evenly is 2.3


def test_it_answers_sums_that_it_never_saw(finished: tuple[Path, str]) -> None:
    samples = re.findall(r'(\d+)\+(\d+) = (\d+) +(CORRECT|INCORRECT)', finished[1])
    assert len(samples) == 4
    for a, b, total, verdict in samples:
        assert verdict == ('CORRECT' if int(a) + int(b) == int(total) else 'INCORRECT')
    accuracy = re.search(r'sequence accuracy +(0\.\d{4}) on 5120 held-out sums', finished[1])
    assert accuracy
    page = (finished[0] / 'report.html').read_text(encoding='utf-8')
    shown = re.search(r'<dt>sequence accuracy</dt><dd>(\S+)</dd>', page)
    assert shown
    assert float(shown[1]) == pytest.approx(float(accuracy[1]), abs=1e-4)
    assert page.count('<figure class="sample ') == 12


def test_it_refuses_to_train_for_no_steps() -> None:
    with pytest.raises(AssertionError, match='steps=0 is no count from 1'):
        run(Path('out'), '--steps', '0')


@pytest.mark.skipif(not DEEP, reason='the full run takes minutes: LINNET_DEEP=1')
def test_the_full_run_reaches_what_is_promised(tmp_path: Path) -> None:
    accuracy = re.search(r'sequence accuracy +(\S+)', run(tmp_path))
    assert accuracy
    assert float(accuracy[1]) >= 0.99

"""The classifier, run as a person runs it: on what it makes, and on files of both forms."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import DEEP, LIGHT

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'examples' / 'text_classification'
SST2 = ROOT.parent / 'shared' / 'data' / 'sst2'


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the example to its end."""
    command = (sys.executable, '-W', 'error', 'examples/text_classification/train.py')
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT / 'src')}
    return subprocess.run(
        (*command, *arguments), cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module ``data`` of the example."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, 'data', raising=False)
    import data

    yield data
    del sys.modules['data']


def test_it_says_that_it_makes_its_sentences_and_learns_them(tmp_path: Path) -> None:
    done = run('--out', str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert 'training on a small set of sentences that this program makes' in done.stdout
    accuracy = re.search(r'mean test accuracy (\S+) of 1 seeds', done.stdout)
    assert accuracy
    assert float(accuracy[1]) >= 0.9
    assert (tmp_path / 'seed0.jsonl').exists()
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    assert 'Confusion matrix' in page
    assert 'negative' in page


@pytest.mark.skipif(LIGHT, reason='one Python is enough; LINNET_LIGHT is set')
def test_a_run_that_was_ended_early_goes_on_to_the_same_figure(tmp_path: Path) -> None:
    def figure(done: subprocess.CompletedProcess[str]) -> str:
        assert done.returncode == 0, done.stderr
        return done.stdout[done.stdout.index('mean test accuracy') :].split('\n')[0]

    straight = run('--out', str(tmp_path / 'one'), '--set', 'epochs=2')
    run('--out', str(tmp_path / 'two'), '--set', 'epochs=2', '--steps', '20')
    resumed = run('--out', str(tmp_path / 'two'), '--set', 'epochs=2', '--resume')
    assert figure(resumed) == figure(straight)
    assert 'step 20/40: accuracy' in straight.stdout
    assert 'step 20/40: accuracy' not in resumed.stdout


def test_it_refuses_to_train_for_no_epochs() -> None:
    done = run('--set', 'epochs=0')
    assert done.returncode == 2
    assert 'epochs and seeds take 1 or more' in done.stderr


def test_both_forms_of_files_are_read(data: Any, tmp_path: Path) -> None:
    (tmp_path / 'train.tsv').write_text('sentence\tlabel\na fine film\t1\nbad\t0\n')
    (tmp_path / 'dev.tsv').write_text('a fine film\t1\n\nbad\t0\n')
    (tmp_path / 'test.tsv').write_text('index\tsentence\tlabel\n0\ta fine film\t1\n1\tbad\t0\n')
    splits = data.read_splits(tmp_path)
    assert splits.train == splits.dev == splits.test
    assert splits.train == [(('a', 'fine', 'film'), 1), (('bad',), 0)]
    (tmp_path / 'dev.tsv').write_text('a fine film\n')
    with pytest.raises(ValueError, match=r'dev.tsv: sentence 1 has no label'):
        data.read_splits(tmp_path)


def test_every_sentence_is_in_a_batch_of_its_length(data: Any) -> None:
    sentences = [data.Sentence(('w',) * n, n % 2) for n in range(1, 80)]
    buckets = data.Buckets(sentences, {'w': 2})
    for batches in (list(buckets.batches(5)), buckets.shuffled(5, seed=0, epoch=1)):
        lengths = np.concatenate([batch['length'] for batch in batches])
        assert set(lengths) == set(range(1, 65))
        for batch in batches:
            width = batch['tokens'].shape[1]
            assert width in data.LENGTHS
            assert ((batch['tokens'] != data.PAD).sum(1) == batch['length']).all()
    assert sum(len(batch['label']) for batch in buckets.batches(5)) == len(sentences)
    one, other = (buckets.shuffled(5, seed=0, epoch=epoch) for epoch in (1, 2))
    again = buckets.shuffled(5, seed=0, epoch=1)
    assert all((a['tokens'] == b['tokens']).all() for a, b in zip(one, again, strict=True))
    assert any(
        a['tokens'].shape != b['tokens'].shape or (a['length'] != b['length']).any()
        for a, b in zip(one, other, strict=True)
    )


def test_the_vocabulary_is_that_of_the_training_set(data: Any) -> None:
    sentences = [data.Sentence(('good', 'good', 'film'), 1)]
    assert data.make_vocabulary(sentences) == {'good': 2, 'film': 3}
    assert data.make_vocabulary(sentences, min_count=2) == {'good': 2}
    batch = next(data.Buckets([data.Sentence(('good', 'plot'), 1)], {'good': 2}).batches(1))
    assert batch['tokens'].tolist() == [[2, data.UNKNOWN] + [data.PAD] * 10]


@pytest.mark.skipif(not DEEP, reason='five full runs take many minutes: LINNET_DEEP=1')
@pytest.mark.skipif(not SST2.is_dir(), reason='SST-2 is not here')
def test_the_full_runs_reach_what_is_promised(tmp_path: Path) -> None:
    done = run('--set', f'data={SST2}', '--set', 'seeds=5', '--out', str(tmp_path))
    accuracy = re.search(r'mean test accuracy (\S+) of 5 seeds', done.stdout)
    assert accuracy, done.stderr
    assert float(accuracy[1]) >= 0.79

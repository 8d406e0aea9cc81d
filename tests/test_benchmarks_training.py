"""The benchmarks of training run, and the losses of a run are those of the oracle, to the bit."""

from __future__ import annotations

import json
import sys

import jax
import pytest

from benchmarks import _processes, examples, sst2, trainer

pytest.importorskip('flax')


def test_the_losses_of_a_run_on_sentences_are_those_of_the_oracle(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sst2, 'RESULTS', tmp_path)
    monkeypatch.setattr(sst2._machine, 'about', lambda command: {'command': command})
    monkeypatch.setattr(sst2._machine, 'title', lambda about: about['command'])
    sst2.main('--rounds 1 --steps 20 --width 8 --batch 16 --name short'.split())
    found = json.loads((tmp_path / 'short.json').read_text())
    assert found['steps'] == 20
    if jax.__version_info__ >= (0, 12):  # before, XLA adds in another order in the two loops
        assert found['losses']['linnet'] == found['losses']['flax']
        assert found['steps equal to the bit, from the first'] == 20
    assert found['largest relative difference'] < 1e-6
    assert len(set(found['losses']['linnet'])) == 20
    assert f'ratio {found["ratio"]:.3f}' in capsys.readouterr().out


def test_losses_that_differ_are_counted_from_the_first():
    losses = {'linnet': [1.0, 2.0, 3.0], 'flax': [1.0, 2.5, 3.0]}
    found = sst2.compare(losses)
    assert found['steps equal to the bit, from the first'] == 1
    assert found['largest relative difference'] == 0.2


@pytest.mark.parametrize('together', [1, 10])
def test_both_loops_take_steps(together):
    speeds = trainer.measure(width=8, together=together, steps=50, rounds=1)
    assert list(speeds) == ['Trainer', 'by hand']
    assert all(value > 0 for values in speeds.values() for value in values)


PROGRAM = """
import dataclasses
from pathlib import Path
from linnet.train import Settings, setting


@dataclasses.dataclass(frozen=True)
class Chosen(Settings):
    steps: int = setting(3, 'steps')
    out: Path = setting(Path('out'), 'folder')
    rate: float = setting(0.5, 'of learning')


def run(settings):
    return {'reached': settings.steps * settings.rate}
"""


def test_an_example_is_run_with_settings_of_its_own(tmp_path, monkeypatch):
    (tmp_path / 'train.py').write_text(PROGRAM)
    monkeypatch.setattr('sys.path', [*sys.path])
    monkeypatch.setitem(sys.modules, 'train', None)
    figures = examples.child(str(tmp_path / 'train.py'), str(tmp_path / 'out'), 'rate=0.25')
    assert figures.pop('seconds') >= 0
    assert figures == {'reached': 0.75}


def test_all_examples_are_run_and_what_fails_is_told(tmp_path, monkeypatch, capsys):
    def run_child(arguments):
        if 'steps=5' not in arguments:
            return {'cpu, cpu': 1}
        if 'ppo' in arguments[3]:
            raise _processes.ChildError('ppo failed')
        return {'accuracy': 0.98765, 'given': float('data=here' in arguments), 'seconds': 12.3}

    monkeypatch.setattr(examples, 'RESULTS', tmp_path)
    monkeypatch.setattr(_processes, 'run_child', run_child)
    assert examples.main(['--steps', '5', '--set', 'text_classification.data=here']) == 1
    told = capsys.readouterr()
    assert '| seq2seq | accuracy 0.9877, given 0 | 12 s |' in told.out
    assert '| text_classification | accuracy 0.9877, given 1 | 12 s |' in told.out
    assert 'ppo failed' in told.err
    assert len(list(tmp_path.glob('*-examples.json'))) == 1
    monkeypatch.setattr(_processes, 'run_child', lambda _: {'seconds': 1.0})
    examples.main(['seq2seq', f'--out={tmp_path}', '--set', f'seq2seq.data={tmp_path}'])
    (written,) = (file.read_text() for file in tmp_path.glob('*-examples.json'))
    assert 'seq2seq --out=FOLDER --set seq2seq.data=FOLDER' in written
    assert str(tmp_path) not in written
    with pytest.raises(SystemExit):
        examples.main(['nothing'])
    assert "there are no examples ['nothing']" in capsys.readouterr().err

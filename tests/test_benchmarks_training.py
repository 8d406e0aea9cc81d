"""The benchmarks of training run, and the losses of a run are those of the oracle, to the bit."""

from __future__ import annotations

import json

import pytest

from benchmarks import sst2, trainer

pytest.importorskip('flax')


def test_the_losses_of_a_run_on_sentences_are_those_of_the_oracle(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sst2, 'RESULTS', tmp_path)
    monkeypatch.setattr(sst2._machine, 'about', lambda command: {'command': command})
    monkeypatch.setattr(sst2._machine, 'title', lambda about: about['command'])
    sst2.main('--rounds 1 --steps 20 --width 8 --batch 16 --name short'.split())
    found = json.loads((tmp_path / 'short.json').read_text())
    assert found['steps'] == found['steps equal to the bit, from the first'] == 20
    assert found['largest relative difference'] == 0
    assert found['losses']['linnet'] == found['losses']['flax']
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

"""Benchmarks as tests: what they report, and what becomes of assertions that fail."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

import pytest

from linnet.metrics.event_reader import read_scalars
from linnet.metrics.tensorboard import SummaryWriter
from linnet.testing import Benchmark

PROGRAM = """
import os
from absl.testing import absltest
from linnet.testing import Benchmark

class Toy(Benchmark):
    def test_failing(self):
        folder = self.get_tmp_model_dir()
        assert folder.endswith('Toy.test_failing') and os.path.isdir(folder)
        self.report_wall_time(1.5)
        self.report_metrics({'accuracy': 0.5, 'loss': 1})
        self.report_metric('more', 2.0)
        self.report_extras({'what': 'digits'})
        self.report_extra('where', 'here')
        assert not self.has_outstanding_fails()
        self.assertEqual(1, 2)
        self.assertTrue(False, 'second')
        assert self.has_outstanding_fails()

    def test_passing(self):
        with self.assertRaises(KeyError):
            {}['a']
        self.assertEqual(1, 1)
        self.report_wall_time(0.1)

if __name__ == '__main__':
    absltest.main()
"""


def test_a_program(tmp_path: Path) -> None:
    """The reports are those that Flax writes of the same program."""
    (tmp_path / 'program.py').write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, 'program.py', f'--benchmark_output_dir={tmp_path}/reports'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2] / 'src')},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert 'FAILED (failures=1)' in done.stderr
    assert '1 != 2\nFalse is not true : second' in done.stderr
    reports = {path.stem: path.read_text() for path in (tmp_path / 'reports').glob('*.json')}
    assert reports['Toy.test_passing'] == (
        '{"name": "Toy.test_passing", "succeeded": true, "metrics": {}, "extras": {}, '
        '"wall_time": 0.1}'
    )
    assert json.loads(reports['Toy.test_failing']) == {
        'name': 'Toy.test_failing',
        'succeeded': False,
        'metrics': {'accuracy': 0.5, 'loss': 1, 'more': 2.0},
        'extras': {
            'what': 'digits',
            'where': 'here',
            'failed_assertions': '1 != 2\nFalse is not true : second',
        },
        'wall_time': 1.5,
    }


class Silent(Benchmark):
    """Reports nothing, which is a mistake."""

    __test__ = False

    def test_it(self) -> None:
        assert not self.has_outstanding_fails()


class Reading(Benchmark):
    """Reports what it reads."""

    __test__ = False

    def test_it(self) -> None:
        folder = self.get_tmp_model_dir()
        with SummaryWriter(folder) as writer:
            writer.scalar('accuracy', 0.25, step=1)
            writer.scalar('accuracy', 0.5, step=2)
        self.report_extra('read', str([v[1:] for v in self.read_summaries(folder)['accuracy']]))
        assert self._extras == {'read': '[(1, 0.25), (2, 0.5)]'}


def run(case: type[Benchmark]) -> str:
    """What unittest says of a case, which it runs with flags as they are by default."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS(['test'])
    said = io.StringIO()
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    unittest.TextTestRunner(said).run(suite)
    return said.getvalue()


def test_a_benchmark_that_reports_nothing() -> None:
    assert re.search(r'LN622.*the benchmark Silent.test_it reported nothing', run(Silent))


def test_a_benchmark_reads_what_a_program_wrote() -> None:
    assert run(Reading).endswith('OK\n')


def test_numbers_are_read_and_nothing_else(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path) as writer:
        writer.text('words', 'good', step=1)
        writer.scalar('loss', 2.0, step=1)
        writer.scalar('loss', 1.0, step=2)
    (tmp_path / 'notes.txt').write_text('nothing to read')
    assert [values[1:] for values in read_scalars(tmp_path)['loss']] == [(1, 2.0), (2, 1.0)]
    assert list(read_scalars(tmp_path)) == ['loss']
    (path,) = tmp_path.glob('*tfevents*')
    path.write_bytes(path.read_bytes()[:-3])  # the last record is not whole
    assert [values[1:] for values in read_scalars(tmp_path)['loss']] == [(1, 2.0)]


def test_numbers_as_tensorboardx_writes_them(tmp_path: Path) -> None:
    import tensorboardX

    with tensorboardX.SummaryWriter(tmp_path) as writer:
        writer.add_scalar('loss', 2.5, 7)
    assert [values[1:] for values in read_scalars(tmp_path)['loss']] == [(7, 2.5)]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='nowhere'):
        read_scalars(tmp_path / 'nowhere')

"""Damaged files are read or refused, and what looks for the rest finds it."""

from __future__ import annotations

import pickle
import time

from linnet import serialization
from linnet.training import checkpoints
from tests import fuzz_msgpack
from tests.fuzz_msgpack import KINDS, fuzz


def test_damaged_files_are_read_or_refused_and_nothing_else():
    report = fuzz(files=1200, seed=1)
    assert report.failures == []
    assert report.files.keys() == KINDS.keys()
    assert report.read + report.refused == 1200
    assert report.read > 50
    assert report.refused > 800


def test_a_reader_that_runs_code_is_found():
    def read(data, target):
        try:
            pickle.loads(data)
        except Exception:
            serialization.msgpack_restore(data)

    assert any('code ran' in failure for failure in fuzz(200, 2, read).failures)


def test_a_reader_that_raises_or_takes_too_much_is_found(monkeypatch):
    monkeypatch.setattr(fuzz_msgpack, 'SECONDS', 1)

    def raises(data, target):
        raise KeyError(target)

    def takes(data, target):
        return bytes(10**6)

    def waits(data, target):
        time.sleep(5)

    for read, failure in ((raises, 'KeyError'), (takes, 'bytes of memory'), (waits, 'Timeout')):
        (line,) = fuzz(1, 3, read).failures
        assert failure in line


def test_damaged_checkpoints_are_restored_or_refused_and_nothing_else(tmp_path):
    path = tmp_path / 'checkpoint_1'

    def restore(data, target):
        path.write_bytes(data)
        checkpoints.restore_checkpoint(path, target)

    report = fuzz(300, 4, restore)
    assert report.failures == []
    assert report.read + report.refused == 300

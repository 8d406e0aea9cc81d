"""What a run says when its disk fails it, and what it leaves: real processes, files and limits."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOUNTED = ('unshare', '-Urm', 'sh', '-c', 'mount -t tmpfs -o size=2m none "$0" && exec "$@"')


def run(folder: Path, *faults: str, within: tuple[str, ...] = ()) -> dict[str, Any]:
    """Runs into faults in a process; returns what it printed of each."""
    done = subprocess.run(
        (*within, sys.executable, '-m', 'tests.train.fault_program', str(folder), *faults),
        cwd=ROOT,
        env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT / 'src')},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one['fault'] for one in found] == list(faults)
    return {one['fault']: one for one in found}


@pytest.fixture(scope='module')
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process said of all faults that need no file system of their own."""
    return run(tmp_path_factory.mktemp('faults'), 'limited', 'read_only', 'removed')


@pytest.mark.parametrize(
    ('fault', 'cause', 'mend'),
    [
        ('limited', 'File too large', 'make room, or name another folder'),
        ('read_only', 'Permission denied', 'chmod u+w '),
    ],
)
def test_a_disk_that_cannot_be_written(
    found: dict[str, Any], fault: str, cause: str, mend: str
) -> None:
    told = found[fault]['told']
    assert 'step 6 cannot be written to the folder' in told
    assert f'/{fault}: ' in told
    assert cause in told
    assert 'whole are the steps [3]' in told
    assert mend in told
    assert found[fault]['steps'] == [3]
    assert found[fault]['same']


def test_a_folder_that_somebody_removes(found: dict[str, Any]) -> None:
    told = found['removed']['told']
    assert '/removed: the folder was removed while the run went on' in told
    assert 'there is no other step yet' in told


@functools.cache
def may_mount() -> bool:
    """Whether a file system may be mounted here, for one process."""
    if shutil.which('unshare') is None:
        return False
    command = (*MOUNTED[:4], 'mount -t tmpfs none /mnt')
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(
    os.environ.get('LINNET_DEEP') != '1' or not may_mount(),
    reason='LINNET_DEEP=1, where a file system may be mounted; "limited" is the same otherwise',
)
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    full = run(tmp_path, 'full', within=(*MOUNTED, str(tmp_path)))['full']
    assert 'step 6 cannot be written to the folder' in full['told']
    assert 'No space left on device' in full['told']
    assert full['steps'] == [3]
    assert full['same']

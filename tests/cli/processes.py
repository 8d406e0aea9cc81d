"""Runs the command line, and Python itself, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.architecture import SOURCE

LINNET = ['-m', 'linnet']


def environment() -> dict[str, str]:
    """What a process needs to import this library, without a cache of its own making."""
    inherited = {name: value for name, value in os.environ.items() if name != 'PYTHONSAFEPATH'}
    return {**inherited, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(SOURCE), 'COLUMNS': '80'}


def python(*words: str | Path, cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Runs ``python WORDS`` in a folder; ``extra`` goes to the environment."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**environment(), **extra},
        capture_output=True,
        text=True,
        timeout=400,
    )


def linnet(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs ``linnet WORDS`` in a folder."""
    return python(*LINNET, *words, cwd=cwd)

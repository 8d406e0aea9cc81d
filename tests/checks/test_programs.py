"""Programs that show a pitfall, and correct ones: the sanitizer finds the one and not the other.

A program says in a comment what is found in it, as ``# Finds: LN811``, or ``nothing``.
"""

from __future__ import annotations

import itertools
import re
import runpy
import warnings
from pathlib import Path

import jax
import pytest

from linnet.checks import Report, sanitize, watcher
from linnet.errors.findings import Finding

PROGRAMS = sorted((Path(__file__).parent / 'programs').glob('*.py'))


@pytest.fixture(autouse=True)
def _share_compiled_operations(monkeypatch):
    """Lets programs, which have no function in common, share what JAX compiled of single steps."""
    monkeypatch.setattr(watcher, '_numbers', itertools.repeat('programs'))


@pytest.fixture(autouse=True, scope='module')
def _compile_fast():
    """Programs run for milliseconds: to optimise them takes longer than it saves."""
    before = jax.config.read('jax_disable_most_optimizations')
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', before)


def run(path: Path) -> Report:
    with warnings.catch_warnings(), sanitize(show=False) as report:
        warnings.simplefilter('ignore')
        names = runpy.run_path(str(path))  # held to the end, as those of a program are
    del names
    return report


def wanted(path: Path) -> list[str]:
    found = re.search(r'^# Finds: (.*)$', path.read_text(), re.MULTILINE)
    return [] if found[1] == 'nothing' else found[1].split()


@pytest.mark.parametrize('path', PROGRAMS, ids=lambda path: path.stem)
def test_what_is_found_in_a_program(path):
    report = run(path)
    ours = [found for found in report.findings if isinstance(found.finding, Finding)]
    looked_at = ours if wanted(path) else report.findings  # what is said at once has its own tests
    assert sorted({found.code for found in looked_at}) == wanted(path), report.table(100)
    for found in ours:
        assert found.line[0] == str(path)
        assert found.finding.mend
        assert found.finding.where

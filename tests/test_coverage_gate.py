"""The gate on coverage lets a report pass, or stops it, by each of its two bounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import coverage_gate


@pytest.mark.parametrize(
    ('lines', 'branches', 'failures'), [(950, 90, 0), (949, 90, 1), (950, 89, 1), (0, 0, 2)]
)
def test_bounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: int, branches: int, failures: int
) -> None:
    totals = {
        'covered_lines': lines,
        'num_statements': 1000,
        'covered_branches': branches,
        'num_branches': 100,
    }
    report = tmp_path / 'coverage.json'
    report.write_text(json.dumps({'totals': totals}))
    assert coverage_gate.main(str(report)) == failures
    assert f'branches: {branches:.1f} %' in capsys.readouterr().out

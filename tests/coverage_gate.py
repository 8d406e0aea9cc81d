"""Prints how much of the library the tests ran, by lines and by branches, and fails below a bound.

``make coverage`` calls it with the report that pytest-cov wrote.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

BOUNDS = {'lines': 95.0, 'branches': 90.0}


def shares(report: Path) -> dict[str, float]:
    """The covered per cent of lines and of branches."""
    totals = json.loads(report.read_text())['totals']
    return {
        'lines': 100 * totals['covered_lines'] / totals['num_statements'],
        'branches': 100 * totals['covered_branches'] / totals['num_branches'],
    }


def main(report: str) -> int:
    """Prints a line for each share; returns how many are too small."""
    found = shares(Path(report))
    for kind, share in found.items():
        print(f'coverage of {kind}: {share:.1f} %, at least {BOUNDS[kind]:.0f} % wanted')
    return sum(share < BOUNDS[kind] for kind, share in found.items())


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))

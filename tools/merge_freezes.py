"""Writes constraints.txt from two outputs of `pip freeze`, of Python 3.11 and of a newer one.

python tools/merge_freezes.py freeze-3.11.txt freeze-3.13.txt > constraints.txt
"""

from __future__ import annotations

import sys
from pathlib import Path

HEADER = """\
# The releases that the demo, the tests and the checks run with. Users of the package are not bound
# by this file: pyproject.toml says which releases the package works with."""


def read_pins(path: str) -> dict[str, str]:
    """Returns the release of each package; skips editable installs and files."""
    lines = (line.strip() for line in Path(path).read_text().splitlines())
    return dict(line.split('==') for line in lines if '==' in line and not line.startswith('-'))


def merge(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Pins each package once where both agree, and by the version of Python where they differ."""
    lines = []
    for name in sorted(old.keys() | new.keys(), key=str.lower):
        if old.get(name) == new.get(name):
            lines.append(f'{name}=={new[name]}')
            continue
        for pins, marker in ((old, '<'), (new, '>=')):
            if name in pins:
                lines.append(f'{name}=={pins[name]} ; python_version {marker} "3.12"')
    return lines


if __name__ == '__main__':
    print('\n'.join([HEADER, *merge(read_pins(sys.argv[1]), read_pins(sys.argv[2]))]))

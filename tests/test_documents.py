"""What the documents show is true: their links lead somewhere, and the first program runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md')])


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r'(```|~~~).*?\1', '', page.read_text(), flags=re.DOTALL)
    for target in re.findall(r'\]\(([^)#]+)[^)]*\)', text):
        if '://' not in target:
            assert (page.parent / target).exists(), f'{page} links to {target}'


def test_the_program_of_the_readme_runs() -> None:
    program = re.search(r'```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL)
    assert program
    namespace: dict[str, Any] = {}
    exec(program[1], namespace)
    assert namespace['y'].shape == (3, 4, 3)
    assert namespace['variables']['params']['Dense_0']['kernel'].shape == (4, 3)

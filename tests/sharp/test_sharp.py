"""Pitfalls, each a program: nothing passes in silence, and what is said speaks of the cause.

``LINNET_WRITE=1 pytest tests/sharp`` writes ``docs/sharp_bits_table.md``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.sharp.judge import (
    ABOUT_TIME,
    BY_THE_SANITIZER,
    OWN,
    SHARED,
    TABLE,
    Outcome,
    head,
    programs,
    row,
    run,
    title,
)

# What no library can tell, with the reason.
SAID_BY_THE_SANITIZER = {
    '035': 'Python raises an error about a tuple; the sanitizer names the pair of apply (LN846)',
    '105': 'JAX raises an error without a name; the sanitizer names the array and the mend (LN845)',
}
ROWS: dict[str, str] = {}

own = pytest.mark.parametrize('path', programs(OWN), ids=lambda path: path.stem)
shared = pytest.mark.parametrize(
    'path',
    [p for p in programs(SHARED) if p.name[:3] not in BY_THE_SANITIZER | ABOUT_TIME],
    ids=lambda path: path.stem,
)


def check(path: Path, outcome: Outcome) -> None:
    assert outcome.kind not in ('silent', 'cryptic'), (outcome.missing, outcome.text)
    wanted = {want.replace('warn', 'warning') for want in head(path, 'Want').split('|')}
    assert outcome.kind in wanted | {'works'}, outcome.text
    ROWS[path.name[:3]] = row(path, outcome)


@own
def test_a_pitfall_of_ours(path: Path) -> None:
    check(path, run(path))


@own
def test_the_head_of_a_program(path: Path) -> None:
    assert re.fullmatch(rf'# {path.name[:3]} .+', path.read_text().partition('\n')[0])
    assert head(path, 'Source')
    assert set(head(path, 'Want').split('|')) <= {'error', 'warn', 'works'}
    assert head(path, 'Says')


@pytest.mark.skipif(not SHARED.is_dir(), reason='there is no ../shared/sharp beside the repository')
@shared
def test_a_pitfall_of_the_shared_folder(path: Path) -> None:
    outcome = run(path)
    if head(path, 'Want') == 'fast':
        assert outcome.kind == 'works'
        ROWS[path.name[:3]] = row(path, outcome)
    else:
        check(path, outcome)


def test_the_table_is_current() -> None:
    """Whether the document has the rows of the programs that ran before this test."""
    if os.environ.get('LINNET_WRITE') == '1':
        TABLE.write_text(document())
    written = TABLE.read_text()
    for number, line in ROWS.items():
        assert line in written.splitlines(), f'{number}: LINNET_WRITE=1 pytest tests/sharp'
    numbers = re.findall(r'^\| (\d{3}) ', written, re.M)
    assert numbers == sorted(numbers)
    assert {path.name[:3] for path in programs(OWN)} <= set(numbers)


def document() -> str:
    """The table of all pitfalls, of those that ran in this process."""
    rows = dict(ROWS)
    for path in programs(SHARED):
        number = path.name[:3]
        if number in BY_THE_SANITIZER:
            said = 'correct programs look the same while they are traced'
            said = SAID_BY_THE_SANITIZER.get(number, said)
            rows[number] = f'| {number} | {title(path)} | sanitizer | {said} |'
        elif number in ABOUT_TIME:
            rows[number] = f'| {number} | {title(path)} | fast | measured by the benchmarks |'
    lines = [
        '# Sharp bits, one by one',
        '',
        'Each row is a program, and what Linnet does with it: it *works*, there is a *warning* at',
        "the line in question, or an *error* that speaks of the cause, not of Python's or JAX's",
        'affairs. What stands under *sanitizer* is found by `linnet check` and',
        '`linnet.sanitize()`. The tests run the programs and check the table; those from 201 on',
        'are in `tests/sharp`.',
        '',
        '| id | pitfall | Linnet | what it says |',
        '| --- | --- | --- | --- |',
        *(rows[number] for number in sorted(rows)),
    ]
    return '\n'.join(lines) + '\n'

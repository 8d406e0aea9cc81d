"""The guide to sharp bits is true, in both languages: its programs run and print what stands there.

The programs of a page share one namespace. They are compiled under the page's own name and line
numbers, so that tracebacks, warnings and ``# linnet: allow`` find their lines in the page.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

DOCS = Path(__file__).resolve().parents[1] / 'docs'
PAGES = [DOCS / 'sharp_bits.md', DOCS / 'sharp_bits.zh.md']
BLOCK = re.compile(r'^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?', re.DOTALL | re.MULTILINE)
FREE = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.fixture
def fast_compilation() -> Iterator[None]:
    """Compiles without most optimizations, which the programs of a page are too small to need."""
    before = jax.config.read('jax_disable_most_optimizations')
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', before)


def blocks(page: Path) -> list[tuple[int, str, str]]:
    """The line above each program of a page, the program, and what it is said to print."""
    text = page.read_text()
    return [(text[: m.start(1)].count('\n'), m[1], m[2] or '') for m in BLOCK.finditer(text)]


def printed(page: Path, line: int, program: str, namespace: dict[str, Any]) -> str:
    """What a program prints that is run as lines of its page."""
    code = compile('\n' * line + program, str(page), 'exec', dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, namespace)
    return out.getvalue()


@pytest.mark.usefixtures('fast_compilation')
@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_programs_run_and_print_what_the_page_shows(page: Path) -> None:
    namespace: dict[str, Any] = {'__name__': 'sharp_bits_guide'}
    for line, program, shown in blocks(page):
        got = printed(page, line, program, namespace)
        same = doctest.OutputChecker().check_output(shown, got, FREE)
        assert same, f'{page.name}, line {line + 1}: printed\n{got}'


def test_both_pages_have_the_same_programs() -> None:
    english, chinese = (
        [(ast.dump(ast.parse(program)), shown) for _, program, shown in blocks(page)]
        for page in PAGES
    )
    assert len(english) >= 12
    assert chinese == english


def test_both_pages_name_the_same_codes_in_the_same_order_of_parts() -> None:
    english, chinese = (
        [set(re.findall(r'LN\d{3}', part)) for part in re.split(r'^##+ ', text, flags=re.MULTILINE)]
        for text in (page.read_text() for page in PAGES)
    )
    assert chinese == english


def test_every_warning_and_error_of_the_guide_has_a_page() -> None:
    pages = (DOCS / 'errors.md').read_text()
    for code in re.findall(r'LN\d{3}', PAGES[0].read_text()):
        assert f'### {code} ' in pages


def test_the_guide_begins_with_the_program_of_the_readme() -> None:
    readme = re.search(r'```python\n(.*?)```', (DOCS.parent / 'README.md').read_text(), re.DOTALL)
    assert readme
    assert blocks(PAGES[0])[0][1].startswith(readme[1])


@pytest.mark.usefixtures('fast_compilation')
def test_the_mask_of_the_program_is_that_of_the_oracle() -> None:
    oracle = pytest.importorskip('flax.linen')
    _, program, _ = blocks(PAGES[0])[0]
    program = program.replace('training=False', 'training=True')
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    exec(program, ours)
    exec(program.replace('linnet.linen', oracle.__name__), theirs)
    assert ours['y'].tolist() == theirs['y'].tolist()
    assert (ours['y'] == 0).any()

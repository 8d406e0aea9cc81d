"""Notebooks moved from Flax to Linnet: the code of the cells changes, not the file around it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.cli import _python_source
from linnet.cli._notebook import move


def notebook(*sources: Any, **extra: Any) -> dict[str, Any]:
    cells = [{'cell_type': 'code', 'source': source, 'outputs': ['flax']} for source in sources]
    return {'cells': [{'cell_type': 'markdown', 'source': ['import flax']}, *cells], **extra}


def moved(book: dict[str, Any], **how: Any) -> list[Any]:
    """Moves a notebook; returns the sources of its code cells, and checks that all else stays."""
    before = json.dumps(book, **how)
    changes = move(before)
    after = json.loads(changes.applied_to(before))
    sources = [cell['source'] for cell in after['cells'][1:]]
    for cell, old in zip(after['cells'], book['cells'], strict=True):
        cell['source'] = old['source']
    assert after == book
    assert move(changes.applied_to(before)).edits == []
    return sources


def test_cells_are_one_program() -> None:
    book = notebook(['import flax\n', 'x = "é😀\\n"; flax.ids'], 'flax.core\nawait f()', [])
    for ascii_only in (True, False):
        assert moved(book, ensure_ascii=ascii_only, indent=1) == [
            ['import linnet\n', 'x = "é😀\\n"; linnet.ids'],
            'linnet.core\nawait f()',
            [],
        ]


def test_a_change_over_several_lines() -> None:
    book = notebook(['from flax import (linen,\n', '  nnx)\n', 'nnx'])
    expected = ['from linnet import linen\nfrom flax import (', 'nnx)\n', 'nnx']
    assert moved(book) == [expected]


def test_lines_of_ipython_are_passed_over() -> None:
    source = """\
%matplotlib inline
import flax  # is it?
files = !ls
flax.linen?
if flax:
    !echo \\
       flax.x
    flax.core
"""
    expected = source.replace('import flax', 'import linnet').replace('if flax', 'if linnet')
    expected = expected.replace('    flax.core', '    linnet.core')
    assert moved(notebook(source)) == [expected]
    timed = notebook('%%time\nimport flax', '%%bash\nimport flax')
    assert moved(timed) == ['%%time\nimport linnet', '%%bash\nimport flax']


def test_commands_that_install() -> None:
    line = '!pip install -q "flax>=0.8" flax[all]==1 git+https://x/flax.git flaxx'
    expected = '!pip install -q linnet linnet git+https://x/flax.git flaxx'
    assert moved(notebook(line, '!echo flax')) == [expected, '!echo flax']
    kept = '!pip install -q flax linnet'
    assert moved(notebook('!pip install -q flax', 'from flax import nnx'))[0] == kept


def test_a_cell_with_a_mistake_is_said_and_the_others_move() -> None:
    book = json.dumps(notebook('1 +', 'x = 1\nflax..x', 'import flax'), indent=1)
    changes = move(book)
    assert 'import linnet' in changes.applied_to(book)
    (remark,) = changes.remarks
    assert remark.text == 'this cell is not Python: invalid syntax'
    assert 'flax..x' in book.splitlines()[remark.line - 2]
    assert changes.keeps_flax


def test_remarks_name_the_line_of_the_file() -> None:
    book = json.dumps(notebook(['x = 3\n', 'import flax.nnx']), indent=1)
    (remark,) = move(book).remarks
    assert 'import flax.nnx' in book.splitlines()[remark.line - 1]


def test_other_languages_are_left_alone() -> None:
    book = notebook('import flax', metadata={'kernelspec': {'language': 'julia'}})
    assert move(json.dumps(book)).edits == []
    assert move('[3, null, true]').edits == []


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(ValueError, match='Expecting'):
        move('{"cells": flax')


@given(
    st.lists(st.text(st.characters(exclude_categories=('Cs', 'Cc')), max_size=5), max_size=4),
    st.sampled_from([None, 1, '\t']),
    st.booleans(),
)
def test_the_file_around_the_code_stays(texts: list[str], indent: Any, ascii_only: bool) -> None:
    lines = ['import flax\n', *(f'x = {text!r}; flax.ids  # {text}\n' for text in texts)]
    book = notebook(lines, ''.join(lines), metadata={'flax': texts})
    program = ''.join(lines)
    expected = _python_source.move(program).applied_to(program)
    first, second = moved(book, indent=indent, ensure_ascii=ascii_only)
    assert ''.join(first) == second == expected

"""``linnet explain``."""

from __future__ import annotations

from typing import Any

from linnet.cli.main import main
from linnet.errors import codes, explain, pages


def test_it_prints_pages(capsys: Any) -> None:
    assert main(['explain', 'LN101', 'ln205']) == 0
    assert capsys.readouterr().out == f'{explain("LN101")}\n{explain("LN205")}\n'


def test_it_lists_the_codes(capsys: Any) -> None:
    assert main(['explain']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:5] for line in lines] == list(codes())


def test_it_prints_the_document(capsys: Any) -> None:
    assert main(['explain', '--all']) == 0
    assert capsys.readouterr().out == pages.document()


def test_it_refuses_a_code_that_is_none(capsys: Any) -> None:
    assert main(['explain', 'LN102']) == 2
    assert "there is no code 'LN102'; linnet explain lists them" in capsys.readouterr().err

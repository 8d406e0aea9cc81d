"""The page of each code: there is one, its program runs into it, and the document is current."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from linnet.errors import UnknownCodeError, codes, explain, pages

ROOT = Path(__file__).resolve().parents[1]

# What takes files, several processes, devices or a whole training to run into.
WITHOUT = """
    InvalidCheckpointError MPACheckpointingRequiredError MPARestoreTargetRequiredError
    MPARestoreDataCorruptedError CheckpointNotFoundError CheckpointContentError ToolArgumentError
    DeviceBatchError MissingPackageError PartialRestoreWarning LossError BatchError StreamError
    NonFiniteLossError CheckpointMismatchError CheckpointDamagedError CheckpointWriteError
""".split()


def is_of_a_run(cls: type) -> bool:
    """What the sanitizer finds takes a program that is watched: its own tests run one for each."""
    return cls.__module__.endswith('findings')


def test_every_code_has_a_page() -> None:
    for code, cls in codes().items():
        page = explain(code)
        assert page.startswith(f'{code} · {cls.__name__}\n===')
        assert ('\n\nWrong:\n\n' in page) == ('Wrong::' in (cls.__doc__ or ''))
        assert '::' not in page.replace('::2', '')
        assert '``' not in page
    assert explain('ln101') == explain('LN101')


def test_every_code_has_a_program() -> None:
    lacking = {
        cls.__name__
        for code, cls in codes().items()
        if code not in pages.examples() and not is_of_a_run(cls)
    }
    assert lacking <= set(WITHOUT)
    assert pages.examples().keys() <= codes().keys()


@pytest.mark.parametrize('code', pages.examples())
def test_the_program_runs_into_the_code(code: str) -> None:
    program = compile(
        pages.PRELUDE + pages.examples()[code], f'<{code}>', 'exec', dont_inherit=True
    )
    found: list[Any] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        try:
            exec(program, {'__name__': '__main__'})
        except Exception as error:
            found.append(error)
    found += [warning.message for warning in caught]
    assert code in [getattr(message, 'code', '') for message in found], found
    assert len({getattr(message, 'code', '') for message in found}) == 1, found
    assert f'[{code}]' in str(found[-1])


def test_programs_fit_the_page() -> None:
    for program in pages.examples().values():
        assert all(len(line) <= 96 for line in program.splitlines())


def test_no_page_of_an_unknown_code() -> None:
    with pytest.raises(UnknownCodeError, match=r"LN704.*no code 'LN999'"):
        explain('LN999')


def test_the_document_is_current() -> None:
    written = (ROOT / 'docs' / 'errors.md').read_text()
    assert written == pages.document(), 'python -m linnet explain --all > docs/errors.md'
    assert re.findall(r'^### (LN\d{3})', written, re.M) == list(codes())

"""The programs of the page on training run, in the order in which they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'training.md'


def test_the_programs_of_the_page_run(capsys: Any) -> None:
    namespace: dict[str, Any] = {}
    programs = re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL)
    assert len(programs) == 4
    for program in programs:
        exec(program, namespace)
    assert namespace['rows'][-1]['valid_accuracy'] > 0.8
    assert int(namespace['again'].state.step) == 30
    assert "'loss': 0." in capsys.readouterr().out

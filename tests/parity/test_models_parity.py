"""Every model and program of the registry gives the same under both libraries, bit for bit."""

from __future__ import annotations

import pytest

from tests.parity import models
from tests.parity.harness import run_mode, same

# What some models are about is what the warnings are about.
pytestmark = [
    pytest.mark.filterwarnings(f'ignore::linnet.errors.{kind}Warning')
    for kind in 'SameInstance SharedDefault SownAgain StateRestarted UncalledModule'.split()
]

models.load_all()

_RUNS = [(name, mode) for name, case in models.MODELS.items() for mode in case.modes]


@pytest.mark.parametrize(('name', 'mode'), _RUNS, ids=[f'{n}-{m}' for n, m in _RUNS])
def test_model(name: str, mode: str) -> None:
    run_mode(models.MODELS[name], mode)


@pytest.mark.parametrize('name', models.PROGRAMS)
def test_program(name: str) -> None:
    same(models.PROGRAMS[name], name)


def test_that_there_are_enough_of_them() -> None:
    assert len(models.MODELS) >= 50

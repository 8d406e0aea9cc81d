"""Lists of requirements moved from Flax to Linnet."""

from __future__ import annotations

import tomllib
from collections.abc import Callable

import pytest

from linnet.cli import _requirements
from linnet.cli._edits import Changes

LINES = 'jax\nflax==0.8.2  # nets\n  flax[all]>=0.7,<1 ; python_version<"3.12"\nflaxmodels'
CFG = '[metadata]\nname = flax\n[options]\ninstall_requires =\n    flax>=1\n    jax\n'
EXTRAS = '[options.extras_require]\nt = flax\n'
SETUP = """\
reqs = ['flax>=0.1', "jax"]
setup(name='flax', install_requires=reqs, extras_require={'a': ["flax ; a<'3'"]}, keywords=['flax'])
"""
CONDA = """\
name: flax
dependencies:
  - conda-forge::flax=0.8  # yes
  - flaxx
  - pip:
    - "flax>=0.8"
  - jax
"""
PYPROJECT = """\
[project]
name = "flax"  # "flax"
dependencies = ["jax", 'flax>=0.8 ; a < "3"',
  "flax==1", # flax
]
keywords = ["flax"]
description = \"\"\"["flax"]\"\"\"
[project.optional-dependencies]
test = ["flax"]
[dependency-groups]
dev = [{include-group = "flax"}, "flax~=0.8"]
[tool.poetry.dependencies]
flax = "^0.8"
[tool.poetry.group.dev.dependencies]
flax = {version = "^0.8", extras = ["all"]}
[tool.other]
flax = "1"
"""

CASES: list[tuple[Callable[..., Changes], str, str, str]] = [
    (
        _requirements.move_lines,
        LINES,
        'jax\nlinnet  # nets\n  linnet ; python_version<"3.12"\nflaxmodels',
        'jax\nlinnet\nflax==0.8.2  # nets\n  linnet ; python_version<"3.12"\n'
        '  flax[all]>=0.7,<1 ; python_version<"3.12"\nflaxmodels',
    ),
    (
        _requirements.move_lines,
        'flax @ git+https://x/flax.git\r\n-e .\r\n',
        'linnet\r\n-e .\r\n',
        'linnet\r\nflax @ git+https://x/flax.git\r\n-e .\r\n',
    ),
    (
        _requirements.move_setup_cfg,
        CFG + EXTRAS,
        (CFG + EXTRAS).replace('flax>=1', 'linnet').replace('t = flax', 't = linnet'),
        CFG.replace('flax>=1', 'linnet\n    flax>=1')
        + EXTRAS.replace('t = flax', 't = \n    linnet\n    flax'),
    ),
    (
        _requirements.move_setup_py,
        SETUP,
        SETUP.replace("'flax>=0.1'", "'linnet'").replace('"flax ;', '"linnet ;'),
        SETUP.replace("'flax>=0.1'", "'linnet', 'flax>=0.1'").replace(
            '"flax ; a<\'3\'"', '"linnet ; a<\'3\'", "flax ; a<\'3\'"'
        ),
    ),
    (
        _requirements.move_conda,
        CONDA,
        CONDA.replace('conda-forge::flax=0.8', 'linnet').replace('"flax>=0.8"', 'linnet'),
        CONDA.replace('conda-forge::flax', 'linnet\n  - conda-forge::flax').replace(
            '"flax>=0.8"', 'linnet\n    - "flax>=0.8"'
        ),
    ),
]


@pytest.mark.parametrize(('mover', 'before', 'alone', 'beside'), CASES)
def test_linnet_in_place_of_flax_or_beside_it(
    mover: Callable[..., Changes], before: str, alone: str, beside: str
) -> None:
    for keep, after in ((False, alone), (True, beside)):
        assert mover(before, keep=keep).applied_to(before) == after
        assert mover(after, keep=keep).edits == []
    later = mover(beside, keep=False)
    assert later.edits == []
    assert {remark.text for remark in later.remarks} == {'linnet is listed too: flax can go'}


def test_conda_may_not_have_linnet() -> None:
    (remark,) = _requirements.move_conda(CONDA, keep=False).remarks
    assert remark == (3, 'conda may not have linnet: it can stand in a list "- pip:"')


def test_a_pyproject() -> None:
    after = _requirements.move_pyproject(PYPROJECT, keep=False).applied_to(PYPROJECT)
    expected = tomllib.loads(PYPROJECT)
    expected['project']['dependencies'] = ['jax', 'linnet ; a < "3"', 'linnet']
    expected['project']['optional-dependencies'] = {'test': ['linnet']}
    expected['dependency-groups'] = {'dev': [{'include-group': 'flax'}, 'linnet']}
    linnet = {'dependencies': {'linnet': '*'}}
    expected['tool']['poetry'] = {**linnet, 'group': {'dev': linnet}}
    assert tomllib.loads(after) == expected
    assert _requirements.move_pyproject(after, keep=False).edits == []


def test_a_pyproject_of_programs_that_still_need_flax() -> None:
    after = _requirements.move_pyproject(PYPROJECT, keep=True).applied_to(PYPROJECT)
    table = tomllib.loads(after)
    listed = ['jax', 'linnet ; a < "3"', 'flax>=0.8 ; a < "3"', 'linnet', 'flax==1']
    assert table['project']['dependencies'] == listed
    assert table['tool']['poetry']['dependencies'] == {'linnet': '*', 'flax': '^0.8'}
    assert _requirements.move_pyproject(after, keep=True).edits == []
    assert len(_requirements.move_pyproject(after, keep=False).remarks) == 6


def test_a_lock_with_hashes_is_left_alone() -> None:
    changes = _requirements.move_lines('flax==0.8.2 \\\n    --hash=sha256:aa\n', keep=False)
    assert changes.edits == []
    assert [remark.line for remark in changes.remarks] == [1]


@pytest.mark.parametrize('text', ['[project\nflax', 'dependencies = ["flax"]]'])
def test_what_is_not_toml_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match='line'):
        _requirements.move_pyproject(text, keep=False)


@pytest.mark.parametrize(
    'text', ['flax-models', 'flax.extra', 'flaxx>=1', 'nflax', 'flax nets', '', '# flax']
)
def test_other_requirements_are_left_alone(text: str) -> None:
    assert _requirements.moved(text) is None
    assert _requirements.move_lines(text, keep=False).edits == []

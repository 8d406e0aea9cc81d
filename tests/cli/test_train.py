"""``linnet train`` and ``linnet examples``: what they find, run, and miss."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from linnet.cli import _examples, main
from tests.architecture import SOURCE
from tests.cli.processes import linnet, python

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = '''"""Trains a toy.

More of it.
"""

import dataclasses

import model
from linnet.train import Settings, command, setting


@dataclasses.dataclass(frozen=True)
class ToySettings(Settings):
    features: int = setting(128, 'width of the layers')


def run(settings: ToySettings) -> dict[str, float]:
    print('ran', settings.steps, settings.features, model.NAME)
    return {}


if __name__ == '__main__':
    command(run, ToySettings)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of examples: ``toy``, and ``poor``, which needs what is not there."""
    for name in ('toy', 'poor'):
        (tmp_path / 'examples' / name).mkdir(parents=True)
        (tmp_path / 'examples' / name / 'train.py').write_text(PROGRAM)
        (tmp_path / 'examples' / name / 'model.py').write_text(f'NAME = {name!r}\n')
    more = 'def draw():\n    from sklearn_of_nowhere.tree import x\n    import matplotlib.no\n'
    (tmp_path / 'examples' / 'poor' / 'report.py').write_text(more)
    monkeypatch.setattr(_examples, 'PLACES', (tmp_path / 'nowhere', tmp_path / 'examples'))
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'examples'


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Takes back what loading a program does to this process."""
    monkeypatch.setattr(sys, 'path', [*sys.path])
    monkeypatch.setattr(sys, 'argv', [*sys.argv])
    yield
    for name in ('train', 'model', 'program'):
        sys.modules.pop(name, None)


def train(*words: str) -> int | str | None:
    """The exit status of ``linnet train WORDS``."""
    try:
        return main(['train', *words])
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize('name', ['toy', 'examples/toy', 'examples/toy/train.py'])
def test_a_program_is_found_by_name_folder_and_file(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(name, '--steps', '5', '--set', 'features=64') == 0
    assert capsys.readouterr().out == 'ran 5 64 toy\n'


def test_the_options_are_those_of_the_program(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train('toy', '--set', 'featurs=1') == 2
    assert "Did you mean 'features'?" in capsys.readouterr().err


def test_the_program_has_help_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train('toy', '--help') == 0
    printed = capsys.readouterr().out
    assert printed.startswith('Usage: linnet train toy [OPTIONS]\n\n  Trains a toy.\n')
    assert 'features=128  width of the layers' in printed


def test_an_unknown_name_suggests_a_near_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train('toys') == 2
    printed = capsys.readouterr().err
    assert "there is no example 'toys', and no such folder or file. Did you mean 'toy'?" in printed
    assert "The examples are 'poor', 'toy'." in printed


def test_what_is_missing_is_said_before_anything_runs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train('poor') == 1
    text = "Error: poor needs sklearn_of_nowhere: pip install 'linnet[examples]'\n"
    assert capsys.readouterr().err == text


def test_the_distribution_is_named_where_it_has_another_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_examples._DISTRIBUTIONS, 'sklearn_of_nowhere', 'scikit-nowhere')
    assert _examples.missing(folder / 'poor' / 'train.py') == ['scikit-nowhere']


def test_examples_are_listed_with_what_they_miss(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['examples']) == 0
    assert capsys.readouterr().out == (
        'poor  Trains a toy. (needs sklearn_of_nowhere)\n'
        'toy   Trains a toy.\n'
        "\nWhat is missing: pip install 'linnet[examples]'\n"
    )


def test_where_there_are_no_examples(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_examples, 'PLACES', (folder / 'nowhere',))
    assert main(['examples']) == 1
    assert 'there are no examples in' in capsys.readouterr().err
    assert train('toy') == 2


@pytest.mark.parametrize(
    'text',
    [
        'from linnet.train import Settings\n\n\ndef run(settings): ...\n',
        'from linnet.train import Settings\n\n\nclass Own(Settings): ...\n',
        PROGRAM + '\n\nclass Other(ToySettings): ...\n',
    ],
)
def test_a_program_of_another_form_is_told_what_is_wanted(folder: Path, text: str) -> None:
    (folder / 'toy' / 'program.py').write_text(text)
    message = train('examples/toy/program.py')
    assert isinstance(message, str)
    assert 'has to define a function run(settings) and one subclass of Settings' in message


def test_a_file_of_another_kind_is_refused(folder: Path) -> None:
    (folder / 'toy' / 'program.txt').write_text('')
    assert (
        train('examples/toy/program.txt') == 'linnet: examples/toy/program.txt is no file of Python'
    )


def test_a_wheel_brings_the_examples_to_where_they_are_looked_for() -> None:
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))
    included = project['tool']['hatch']['build']['targets']['wheel']['force-include']
    assert included == {'examples': 'linnet/examples'}
    assert _examples.PLACES == (SOURCE / 'linnet' / 'examples', ROOT / 'examples')


def test_the_real_examples_are_listed_and_lack_nothing() -> None:
    done = linnet('examples', cwd=ROOT)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    names = [path.parent.name for path in sorted((ROOT / 'examples').glob('*/train.py'))]
    assert [line.split()[0] for line in lines] == names
    assert {'digits', 'seq2seq', 'text_classification'} <= set(names)
    assert all(line.endswith('.') for line in lines)


@pytest.mark.parametrize(
    'program', sorted((ROOT / 'examples').glob('*/train.py')), ids=lambda path: path.parent.name
)
def test_each_example_has_the_form_of_a_program(program: Path) -> None:
    tree = ast.parse(program.read_text(encoding='utf-8'))
    kinds = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and 'Settings' in map(ast.unparse, node.bases)
    ]
    runs = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == 'run']
    assert (len(kinds), len(runs)) == (1, 1)
    assert ast.unparse(tree.body[-1]).endswith(f'command(run, {kinds[0]})')
    assert _examples.about(program).endswith('.')


def test_a_real_example_is_loaded(tmp_path: Path) -> None:
    done = linnet('train', 'seq2seq', '--help', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('Usage: linnet train seq2seq [OPTIONS]')
    assert 'features=128      width of the LSTMs' in done.stdout


def test_the_programs_of_the_page_run(tmp_path: Path) -> None:
    page = (ROOT / 'docs' / 'programs.md').read_text(encoding='utf-8')
    program, addition = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    (tmp_path / 'train.py').write_text(program)
    words = ['train', '.', '--set', 'noise=0', '--steps']
    first = linnet(*words, '100', cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    again = linnet(*words, '300', '--resume', cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    figure = re.search(r'^loss (\S+)$', again.stdout, re.MULTILINE)
    assert figure
    assert float(figure[1]) < 1e-6
    report = (tmp_path / 'out' / 'line' / 'report.html').read_text(encoding='utf-8')
    assert '<th scope="row">noise</th><td>0.0</td>' in report
    assert '<td>python train.py --set noise=0 --steps 300 --resume</td>' in report
    assert ',20,&quot;' in report  # a step of the first run
    (tmp_path / 'addition.py').write_text(addition)
    done = python('addition.py', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '2 of 3 right' in (tmp_path / 'out' / 'report.html').read_text(encoding='utf-8')

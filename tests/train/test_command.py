"""The command line of a program that trains: settings by their types, resuming, and Ctrl-C."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from linnet.errors.training import TrainOptionError
from linnet.train import Settings, command, setting
from linnet.train.settings import describe_settings, read_settings
from tests.cli.processes import environment
from tests.ctrl_c import HEARING


@dataclasses.dataclass(frozen=True)
class ToySettings(Settings):
    """Has a field of every kind."""

    steps: int = setting(40, 'of 128 sums each')
    out: Path = setting(Path('out/toy'), 'folder for results')
    features: int = setting(128, 'width of the layers')
    rate: float = setting(1e-3, 'of learning')
    name: str = setting('toy')
    plot: bool = setting(True)
    data: Path | None = setting(None, 'folder of the data')
    clip: float | None = setting(None)
    optimizer: Literal['adam', 'sgd'] = setting('adam')
    depth: Literal[1, 2] = setting(1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features % 2:
            raise ValueError('features is odd')


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*words: str, run: Any = None) -> tuple[int | str | None, list[ToySettings]]:
    """The exit status, and the settings that the program was run with."""
    seen: list[ToySettings] = []

    def record(settings: ToySettings) -> dict[str, float]:
        seen.append(settings)
        return {}

    with pytest.raises(SystemExit) as ended:
        command(run or record, ToySettings, words, program='linnet train toy')
    return ended.value.code, seen


def test_without_options_all_is_as_the_class_says() -> None:
    assert call() == (0, [ToySettings()])


def test_options_and_settings_reach_the_program() -> None:
    words = '--steps 3 --seed 7 --out x --set features=64 --set rate=0.5 --set features=32'
    expected = ToySettings(steps=3, seed=7, out=Path('x'), features=32, rate=0.5)
    assert call(*words.split()) == (0, [expected])


def test_an_option_comes_before_a_setting_of_its_name() -> None:
    assert call('--set', 'steps=5', '--set', 'seed=2', '--steps', '6') == (
        0,
        [ToySettings(steps=6, seed=2)],
    )


@pytest.mark.parametrize(
    ('pair', 'value'),
    [
        ('features=1_024', 1024),
        ('rate=3e-4', 3e-4),
        ('rate=1', 1.0),
        ('name=a=b c', 'a=b c'),
        ('name=', ''),
        ('plot=no', False),
        ('plot=True', True),
        ('plot=0', False),
        ('data=a/b', Path('a/b')),
        ('data=None', None),
        ('clip=none', None),
        ('clip=0.5', 0.5),
        ('optimizer=sgd', 'sgd'),
        ('depth=2', 2),
    ],
)
def test_a_value_is_read_as_the_type_says(pair: str, value: Any) -> None:
    found = read_settings(ToySettings, [pair])
    assert found == {pair.partition('=')[0]: value}
    assert type(next(iter(found.values()))) is type(value)


@pytest.mark.parametrize(
    ('pair', 'text'),
    [
        ('features=wide', 'features=wide is not an int'),
        ('features=1.5', 'features=1.5 is not an int'),
        ('rate=fast', 'rate=fast is not a float'),
        ('plot=maybe', 'plot=maybe is not true or false'),
        ('clip=x', 'clip=x is not a float or None'),
        ('optimizer=adamw', "optimizer=adamw is not one of 'adam', 'sgd'"),
        ('depth=3', "depth=3 is not one of '1', '2'"),
        ('features', "'features' is no pair; --set key=value"),
        ('features=3', 'features is odd'),
        ('steps=0', 'steps=0 is no count from 1; --steps 1000'),
    ],
)
def test_a_bad_value_names_key_value_and_type(
    pair: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call('--set', pair) == (2, [])
    assert f'Error: {text}\n' in capsys.readouterr().err


def test_an_unknown_key_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert call('--set', 'featurs=3') == (2, [])
    printed = capsys.readouterr().err
    assert "there is no setting 'featurs'. Did you mean 'features'?" in printed
    for line in describe_settings(ToySettings):
        assert f'  {line}\n' in printed
    assert '  features=128    width of the layers\n' in printed


def test_a_type_that_no_text_has_is_an_error_of_the_program() -> None:
    @dataclasses.dataclass(frozen=True)
    class Own(Settings):
        sizes: tuple[int, ...] = setting((1, 2))

    Own.__annotations__['sizes'] = tuple
    with pytest.raises(TrainOptionError, match='sizes is a tuple, which no text can be read as'):
        read_settings(Own, ['sizes=3'])


def test_help_shows_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert call('--help') == (0, [])
    printed = capsys.readouterr().out
    assert printed.startswith('Usage: linnet train toy [OPTIONS]')
    assert 'The command line of a program that trains' in printed
    assert '--steps INTEGER  of 128 sums each  [40]' in printed
    for line in describe_settings(ToySettings, without=('steps', 'seed', 'out', 'resume')):
        assert line in printed


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert call('--bogus') == (2, [])
    assert call('word') == (2, [])
    assert call('--steps', 'x') == (2, [])
    assert 'Usage: linnet train toy' in capsys.readouterr().err


def test_settings_refuse_no_steps() -> None:
    with pytest.raises(TrainOptionError, match='steps=0 is no count from 1'):
        Settings(steps=0)


def test_resume_with_nothing_to_resume_says_so_and_begins(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call('--resume') == (0, [ToySettings(resume=True)])
    assert capsys.readouterr().out == 'nothing to resume in out/toy: beginning anew\n'


def save(step: int) -> None:
    """Makes the folder of a step, and the rubbish of one that was not finished."""
    for name in (f'{step}', f'{step + 5}.orbax-checkpoint-tmp'):
        (ToySettings().checkpoints / name).mkdir(parents=True)


def test_resume_goes_on_silently_where_there_is_a_checkpoint(
    capsys: pytest.CaptureFixture[str],
) -> None:
    save(10)
    save(20)
    assert ToySettings().saved_step() == 20
    assert call('--resume') == (0, [ToySettings(resume=True)])
    assert capsys.readouterr().out == ''


def test_a_run_is_not_mixed_with_one_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    save(20)
    assert call() == (2, [])
    text = 'out/toy holds a run up to step 20: --resume goes on with it, --out names another folder'
    assert f'Error: {text}\n' in capsys.readouterr().err
    assert call('--out', 'other') == (0, [ToySettings(out=Path('other'))])


@pytest.mark.parametrize('words', [['--set', 'name=a b'], ['--set', 'name=a b', '--resume']])
def test_ctrl_c_says_how_to_go_on(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(settings: ToySettings) -> dict[str, float]:
        save(30)
        raise KeyboardInterrupt

    assert call(*words, run=interrupted) == (130, [])
    again = "linnet train toy --set 'name=a b' --resume"
    assert f'stopped; to go on from step 30: {again}\n' in capsys.readouterr().out


def test_ctrl_c_before_anything_is_saved(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(settings: ToySettings) -> dict[str, float]:
        raise KeyboardInterrupt

    assert call(run=interrupted) == (130, [])
    assert capsys.readouterr().out == 'stopped; there is no checkpoint to go on from\n'


def test_without_click_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'click', None)
    status, seen = call()
    assert status == "linnet: the command line needs click: pip install 'linnet[cli]'"
    assert seen == []


def test_an_error_of_the_program_stays_one() -> None:
    def fails(settings: ToySettings) -> dict[str, float]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command(fails, ToySettings, [])


PROGRAM = """
import time
from linnet.train import Settings, command


class Own(Settings):
    pass


def run(settings):
    step = settings.checkpoints / str(settings.steps)
    step.mkdir(parents=True)
    print('ready', flush=True)
    time.sleep(60)


command(run, Own)
"""


def test_a_program_reads_its_own_command_line_and_hears_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / 'train.py').write_text(PROGRAM)
    process = subprocess.Popen(
        [*HEARING, 'train.py', '--steps', '12'],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == 'ready\n'
        process.send_signal(signal.SIGINT)
        printed, complaints = process.communicate(timeout=60)
    finally:
        process.kill()
    assert complaints == ''
    assert printed == 'stopped; to go on from step 12: python train.py --steps 12 --resume\n'
    assert process.returncode == 130

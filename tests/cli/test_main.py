"""``linnet`` itself: help, version, and exit statuses."""

from __future__ import annotations

import runpy
import sys

import click
import pytest

import linnet
from linnet.cli import main
from linnet.cli.commands import COMMANDS


@pytest.mark.parametrize('words', [[], ['--help'], ['-h']])
def test_help_lists_the_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.startswith('Usage: linnet ')
    for command in COMMANDS:
        assert f'  {command.name} ' in printed


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        assert main([str(command.name), '--help']) == 0
        assert capsys.readouterr().out.startswith(f'Usage: linnet {command.name} ')


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'linnet {linnet.__version__}\n'


@pytest.mark.parametrize('words', [['bogus'], ['--bogus'], ['run'], ['run', '--bogus']])
def test_wrong_usage_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ''
    assert printed.err.startswith('Usage: linnet ')


def test_without_click_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, 'click', None)
    assert main(['--help']) == 1
    line = "linnet: the command line needs click: pip install 'linnet[cli]'\n"
    assert capsys.readouterr().err == line


def test_ctrl_c_stops_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(context: click.Context) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS[0], 'invoke', interrupt)
    assert main([str(COMMANDS[0].name), 'x.py']) == 130
    assert capsys.readouterr().err.strip() == 'linnet: stopped'


def test_python_runs_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, 'argv', ['linnet', '--version'])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module('linnet', run_name='__main__')
    assert ended.value.code == 0
    assert capsys.readouterr().out == f'linnet {linnet.__version__}\n'

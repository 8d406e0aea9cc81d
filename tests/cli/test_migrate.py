"""``linnet migrate``: the files of a code base, what is shown, written and said."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from linnet.cli import _files, main

Migrate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def migrate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Migrate:
    """Runs the command in an empty folder; gives its status and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        status = main(['migrate', *words])
        out, err = capfdbinary.readouterr()
        return status, out.decode(errors='surrogateescape'), err.decode()

    return run


def put(files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_a_diff_is_shown_and_nothing_written(migrate: Migrate) -> None:
    put({'a.py': 'import flax.linen as nn', 'b.py': 'import jax'})
    assert migrate('.') == (
        0,
        '--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-import flax.linen as nn\n'
        '\\ No newline at end of file\n+import linnet.linen as nn\n\\ No newline at end of file\n',
        '1 file, 1 place: add --write to make the change.\n',
    )
    assert Path('a.py').read_text() == 'import flax.linen as nn'


def test_a_terminal_shows_colours(migrate: Migrate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('FORCE_COLOR', '1')
    put({'a.py': b'# coding: latin-1\nimport flax # \xe9\n'})
    _, out, _ = migrate('a.py')
    lines = out.splitlines()
    assert lines[0] == '\x1b[1m--- a/a.py\x1b[0m'
    assert lines[4].startswith('\x1b[31m-import flax # ')
    assert lines[5].startswith('\x1b[32m+import linnet # ')


# What must come back byte for byte around the change.
BYTES = [
    b'\xef\xbb\xbfimport flax\n',
    b'import flax\r\nx = 3\r\n\tflax' b'\r\n'.replace(b'\tflax', b''),
    b'# -*- coding: latin-1 -*-\nimport flax # \xe9\xff',
    b'# coding: shift_jis\nimport flax # \x83\x5c\n',
    b'\n\f\nif 1:\n\timport flax\n\n\n',
    'import flax; "é😀"; flax.ids'.encode(),
]  # fmt: skip


@pytest.mark.parametrize('before', BYTES)
def test_all_else_stays_to_the_byte(before: bytes, migrate: Migrate) -> None:
    put({'a.py': before})
    status, _, err = migrate('--write', 'a.py')
    assert (status, err[:13]) == (0, 'Moved 1 file,')
    assert Path('a.py').read_bytes() == before.replace(b'flax', b'linnet')
    assert migrate('--write', '.') == (0, '', 'Nothing to move in .: looked at 1 file.\n')


def test_requirements_follow_what_the_programs_need(migrate: Migrate) -> None:
    wanted = {
        'requirements.txt': 'flax==0.8\n',
        'requirements/dev.txt': 'flax\n',
        'setup.cfg': '[options]\ninstall_requires =\n  flax\n',
        'setup.py': 'import flax\nsetup(install_requires=["flax>=1"])',
        'pyproject.toml': '[project]\ndependencies = ["flax>=1"]\n',
        'environment.yml': '- pip:\n  - flax\n',
    }
    put({**wanted, 'a.py': 'import flax.linen'})
    status, _, err = migrate('--write', '.')
    assert (status, err) == (0, 'Moved 7 files, 8 places.\n')
    assert all('flax' not in Path(name).read_text() for name in wanted)
    put({**wanted, 'a.py': 'from flax import linen, nnx'})
    status, _, err = migrate('--write', '.')
    assert status == 0
    assert '  a.py:1: flax.nnx: NNX is outside of Linnet' in err
    for name in wanted:
        assert Path(name).read_text().count('flax') == 1, name
        assert 'linnet' in Path(name).read_text()
    assert migrate('--write', '.')[2].endswith('Nothing to move in .: looked at 7 files.\n')


def test_folders_of_tools_and_links_are_passed_over(migrate: Migrate) -> None:
    skipped = '.git .venv venv node_modules __pycache__ build site-packages x.egg-info other'
    put({f'p/{folder}/a.py': 'import flax' for folder in skipped.split()})
    put({'p/other/pyvenv.cfg': '', 'elsewhere.py': 'import flax', 'p/notes.md': 'import flax'})
    os.symlink('../elsewhere.py', 'p/link.py')
    assert migrate('--write', 'p') == (0, '', 'Nothing to move in p: looked at 0 files.\n')


def test_a_link_that_is_named_stays_a_link(migrate: Migrate) -> None:
    put({'real/train': 'import flax'})
    os.chmod('real/train', 0o750)
    os.symlink('real/train', 'train')
    assert migrate('--write', 'train', 'real/train')[0] == 0
    assert os.path.islink('train')
    assert Path('real/train').read_text() == 'import linnet'
    assert stat.S_IMODE(os.stat('real/train').st_mode) == 0o750
    assert os.listdir('real') == ['train']


BROKEN = {
    'bytes.py': (b'import flax # \xff', 'not Python: invalid or missing encoding'),
    'far.py': (b'\n\nimport flax # \xff', 'its text cannot be read: '),
    'coding.py': (b'# coding: nonsense\nimport flax', 'not Python: unknown encoding'),
    'deep.ipynb': (b'[' * 100000 + b'"flax"', 'it is nested too deeply'),
    'notes.ipynb': (b'flax', 'Expecting value'),
    'null.py': (b'import flax\0', 'null'),
    'syntax.py': (b'import flax\ndef f(:', 'line 2: not Python: invalid syntax'),
    'utf7.py': (b'# coding: utf-7\nimport flax # +AGE-', 'does not come back as it was'),
}


def test_what_fails_is_said_and_the_rest_goes_on(migrate: Migrate) -> None:
    put({name: content for name, (content, _) in BROKEN.items()})
    put({'good.py': 'import flax', 'locked.py': 'import flax', 'requirements.txt': 'flax'})
    os.chmod('locked.py', 0o444)
    status, _, err = migrate('--write', '.')
    assert status == 1
    for name, (content, reason) in BROKEN.items():
        (line,) = (line for line in err.splitlines() if line.startswith(f'  {name}: '))
        assert reason in line
        assert Path(name).read_bytes() == content
    assert '  locked.py: the file is read-only\n' in err
    assert Path('locked.py').read_text() == 'import flax'
    assert Path('good.py').read_text() == 'import linnet'
    assert Path('requirements.txt').read_text() == 'linnet\nflax'
    assert err.endswith('Moved 2 files, 2 places.\n')


def test_a_file_that_cannot_be_replaced_stays_whole(
    migrate: Migrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: str, target: Path) -> None:
        raise OSError(28, 'No space left on device')

    put({'a.py': 'import flax'})
    monkeypatch.setattr(os, 'replace', fail)
    status, _, err = migrate('--write', '.')
    assert (status, os.listdir('.')) == (1, ['a.py'])
    assert Path('a.py').read_text() == 'import flax'
    assert err == 'Failed; these files are as they were:\n  a.py: no space left on device\n'


def test_a_folder_that_cannot_be_read_is_said(
    migrate: Migrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, *rest: object) -> list[str]:
        raise PermissionError(13, 'Permission denied', str(folder))

    put({'p/a.py': 'import flax'})
    monkeypatch.setattr(_files.os, 'scandir', refuse)
    monkeypatch.setattr(_files.os, 'listdir', refuse)
    status, _, err = migrate('p')
    assert (status, err.splitlines()[1]) == (1, '  p: permission denied')


def test_a_path_that_is_not_there_is_wrong_usage(migrate: Migrate) -> None:
    status, _, err = migrate('nowhere')
    assert status == 2
    assert "Path 'nowhere' does not exist." in err

"""``linnet run``: programs for Flax get Linnet, and notice nothing else of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from linnet.cli import _program
from tests.cli.processes import LINNET, environment, linnet, python
from tests.ctrl_c import HEARING

SERVED = """
    import sys
    assert 'jax' not in sys.modules, 'a program may want to configure JAX first'
    import importlib, importlib.util, json
    from flax import linen as nn
    import flax, flax.linen.linear, flax.core.frozen_dict as frozen, library
    from flax.training.train_state import TrainState
    import linnet.linen, linnet.training.train_state, linnet.core.frozen_dict

    assert flax.linen is nn is linnet.linen is importlib.import_module('flax.linen')
    assert flax.linen.linear is linnet.linen.linear is sys.modules['flax.linen.linear']
    assert TrainState is linnet.training.train_state.TrainState
    assert frozen.FrozenDict is flax.core.FrozenDict is linnet.core.frozen_dict.FrozenDict
    assert library.Dense is linnet.linen.Dense
    assert flax.config is linnet.config
    assert linnet.linen.__spec__.name == linnet.linen.__name__ == 'linnet.linen'
    assert importlib.reload(linnet.ids) is flax.ids
    assert {'linen', 'struct'} <= set(dir(flax))
    assert flax.__version__.startswith('0.12')
    assert importlib.util.find_spec('flax.linen') is not None
    assert not hasattr(flax, 'nnx')
    files = [str(getattr(module, '__file__', '')) for module in sys.modules.values()]
    assert not any('/flax/' in file.replace(chr(92), '/') for file in files)

    said = {}
    for line in sys.argv[1:]:
        try:
            exec(line)
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            said[line] = [kinds, error.name, str(error)]
    print(json.dumps(said))
"""

MISSING = {
    'from flax import nnx': ('flax.nnx', 'NNX is outside of Linnet'),
    'import flax.nnx': ('flax.nnx', 'NNX is outside of Linnet'),
    'import flax.nnx.helpers': ('flax.nnx', 'by python, with flax installed'),
    'from flax import optim': ('flax.optim', 'take the optimiser from optax'),
    'import flax.nn': ('flax.nn', 'write the model with flax.linen'),
    'from flax.linen import Dens': ('flax.linen.Dens', "Did you mean 'Dense'?"),
    'from flax.struct import dataclas': ('flax.struct.dataclas', 'import dataclass'),
    'from flax.training import train_stat': ('flax.training.train_stat', "'train_state'?"),
    'from flax.linen.linear import Embeed': ('flax.linen.linear.Embeed', 'import Embed'),
    'import flax.struct.zzz': ('flax.struct.zzz', 'has no flax.struct.zzz'),
}


def write(folder: Path, **programs: str) -> None:
    for name, text in programs.items():
        (folder / f'{name}.py').write_text(dedent(text))


def test_a_program_gets_the_very_modules_of_linnet(tmp_path: Path) -> None:
    write(tmp_path, program=SERVED, library='from flax.linen import Dense')
    done = linnet('run', 'program.py', *MISSING, 'flax.nnx', 'nn.Dens', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for line, (name, words) in MISSING.items():
        kinds, named, text = said.pop(line)
        assert {'NotInLinnetError', 'LinnetError', 'ModuleNotFoundError'} <= set(kinds)
        assert named == name
        assert f'[LN801] Linnet has no {name}' in text
        assert words in text
    kinds, _, text = said.pop('flax.nnx')
    assert kinds[0] == 'AttributeError'
    assert 'NNX is outside of Linnet' in text
    assert said.pop('nn.Dens')[0][0] == 'AttributeError'
    assert not said
    *_, last = done.stderr.splitlines()
    assert last.startswith('linnet run: served flax.')
    assert {'flax.linen', 'flax.ids', 'flax.training.train_state'} <= set(re.split('[ ,]+', last))


PROGRAMS = {
    'plain': 'import sys; print(sys.argv, sys.path[0], __name__, __file__, __spec__, __package__)',
    'status': 'import sys; sys.exit(3)',
    'text': 'import sys; sys.exit("no such model")',
    'raises': 'def f():\n    1 / 0\ntry:\n    f()\nexcept ZeroDivisionError:\n    {}["a"]',
    'syntax': 'def f(:\n    pass',
    'hook': 'import sys\nsys.excepthook = lambda *what: print(what[1])\n1 / 0',
    'late': 'import atexit\nvalue = 3\natexit.register(lambda: print(value))',
}


@pytest.mark.parametrize('name', PROGRAMS)
def test_a_program_runs_as_under_python(name: str, tmp_path: Path) -> None:
    write(tmp_path, program=PROGRAMS[name])
    words = ('program.py', '-q', '--help', '-m', 'x')
    expected = python(*words, cwd=tmp_path)
    done = linnet('run', '-q', *words, cwd=tmp_path)
    assert done.stdout == expected.stdout
    assert done.stderr == expected.stderr
    assert done.returncode == expected.returncode


def test_a_module_a_package_and_a_folder_run_as_under_python(tmp_path: Path) -> None:
    package = tmp_path / 'project'
    package.mkdir()
    write(package, __init__='', __main__=PROGRAMS['plain'], train=PROGRAMS['plain'])
    for words in (['-m', 'project'], ['-m', 'project.train', '--help', '-q'], ['project', 'x']):
        expected = python(*words, cwd=tmp_path).stdout
        expected = re.sub(r'ModuleSpec.*\)\)? ', 'SPEC ', expected)
        stdout = linnet('run', '-q', *words, cwd=tmp_path).stdout
        assert re.sub(r'ModuleSpec.*\)\)? ', 'SPEC ', stdout) == expected
        assert '__main__' in stdout


def test_serving_begins_once_and_forgets_what_was_imported(tmp_path: Path) -> None:
    program = """
        import sys, types
        sys.modules['flax'] = sys.modules['flax.ids'] = types.ModuleType('flax')
        from linnet.cli._serving import serve
        assert serve() is serve()
        import flax.ids, linnet.ids
        assert flax.ids is linnet.ids
    """
    write(tmp_path, program=program)
    assert python('program.py', cwd=tmp_path).stderr == ''


def test_a_child_that_was_forked_says_nothing(tmp_path: Path) -> None:
    program = 'import os, sys\nif not os.fork():\n    sys.exit()\nos.wait()'
    write(tmp_path, program=program)
    done = linnet('run', 'program.py', cwd=tmp_path)
    assert done.stderr == 'linnet run: the program imported nothing of flax\n'


def test_a_refused_import_is_shown_from_the_program_on(tmp_path: Path) -> None:
    package = tmp_path / 'project'
    package.mkdir()
    write(package, __init__='import flax\nflax.nnx')
    done = linnet('run', '-m', 'project', cwd=tmp_path)
    assert done.returncode == 1
    first, *lines = done.stderr.splitlines()
    assert first == 'Traceback (most recent call last):'
    files = [line for line in lines if line.startswith('  File')]
    assert files == [f'  File "{package / "__init__.py"}", line 2, in <module>']
    assert lines[-1] == 'linnet run: served flax'


LIBRARY = """
    from flax import linen as nn, nnx
    from flax.nnx import statelib
    import flax.nnx.helpers

    class Of(nnx.Module):
        param: nnx.Param[int] | None = None

    def kind(module):
        return 'nnx' if isinstance(module, (nnx.Module, statelib.State)) else 'linen'
"""
USES_LIBRARY = """
    import flax.linen as nn, library
    print(library.kind(nn.Dense(3)))
    for what in (library.Of, library.nnx.Linear, library.nnx.initializers.zeros):
        try:
            what(2, rngs=None)
        except ImportError as error:
            print(error.name)
    print(hasattr(library.nnx, '__wrapped__'), hasattr(library.nnx.jit, '__wrapped__'))
"""


def test_a_library_may_import_nnx_until_it_uses_it(tmp_path: Path) -> None:
    folder = tmp_path / 'site-packages'
    folder.mkdir()
    write(folder, library=LIBRARY)
    program = f'import sys\nsys.path.append({str(folder)!r})\n' + dedent(USES_LIBRARY)
    write(tmp_path, program=program, own=LIBRARY, asks='import own')
    done = linnet('run', 'program.py', cwd=tmp_path)
    used = ['flax.nnx.Module', 'flax.nnx.Linear', 'flax.nnx.initializers.zeros']
    assert done.stdout.splitlines() == ['linen', *used, 'False False'], done.stderr
    assert done.stderr.endswith(
        '; libraries import flax.nnx, flax.nnx.helpers, which Linnet lacks\n'
    )
    done = linnet('run', 'asks.py', cwd=tmp_path)
    assert done.returncode == 1
    assert '[LN801] Linnet has no flax.nnx' in done.stderr


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    done = linnet('run', 'nowhere.py', cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no file 'nowhere.py'" in done.stderr
    (tmp_path / 'empty').mkdir()
    for words, said in (
        (['-m', 'nowhere'], 'there is no module nowhere to run'),
        (['-m', 'nowhere.at.all'], 'there is no module nowhere.at.all to run'),
        (['-m', 'a.py'], 'there is no module a.py to run; without -m it would be a file'),
        (['empty'], 'the folder empty holds no __main__.py'),
    ):
        done = linnet('run', *words, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (1, f'linnet: {said}\n')


def test_a_file_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'argv', ['secret.py'])
    with pytest.raises(_program.NoProgramError, match=r'cannot open secret\.py: No such file'):
        _program._from_file(str(tmp_path / 'secret.py'))


def test_a_module_whose_package_lacks_an_import_says_which(tmp_path: Path) -> None:
    package = tmp_path / 'project'
    package.mkdir()
    write(package, __init__='import nowhere', train='')
    done = linnet('run', '-q', '-m', 'project.train', cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f'Traceback (most recent call last):\n  File "{package}')
    assert done.stderr.endswith("No module named 'nowhere'\n")


CHILDREN = """
    import multiprocessing, sys
    import flax.ids

    class Thing:
        pass

    def work(thing):
        import linnet.ids
        return type(thing), flax.ids is linnet.ids

    if __name__ == '__main__':
        for method in sys.argv[1:]:
            with multiprocessing.get_context(method).Pool(1) as pool:
                assert pool.map(work, [Thing()]) == [(Thing, True)], method
        print('done')
"""


def test_child_processes_are_served_too(tmp_path: Path) -> None:
    write(tmp_path, program=CHILDREN)
    done = linnet('run', 'program.py', 'spawn', 'forkserver', cwd=tmp_path)
    assert (done.stdout, done.stderr) == ('done\n', 'linnet run: served flax.ids\n')


def test_ctrl_c_stops_a_program_as_under_python(tmp_path: Path) -> None:
    write(tmp_path, program='import time\nprint("on", flush=True)\ntime.sleep(60)')
    process = subprocess.Popen(
        [*HEARING, *LINNET, 'run', 'program.py'],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == 'on\n'
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    first, frame, *_ = errors.splitlines()
    assert first == 'Traceback (most recent call last):'
    assert re.search(r'program\.py", line [23], in <module>$', frame)
    assert errors.splitlines()[-1] == 'linnet run: the program imported nothing of flax'

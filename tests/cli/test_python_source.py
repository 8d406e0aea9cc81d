"""Programs moved from Flax to Linnet: what changes, what does not, and what is said."""

from __future__ import annotations

import ast
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.cli._python_source import NotSafeError, move

# Programs that move wholly: each @ is flax before, and linnet after.
MOVED = [
    'import @',
    'import @.linen as nn, jax',
    'from @ import linen as nn, struct',
    'from @.linen import *',
    'from @ . linen import Dense',
    'import \\\n  @\nfrom \\\n @ import linen',
    'import @\nx = @.linen.Dense("flax")\ny = [@.core, "é", @.ids]',
    'import @ as fx\nfx.linen.Dense',
    'import @ as flax\nflax.linen',
    'é = 3; import @; @.linen; "é"; @.core',
    # The name means one thing in all of its scope, and other things in others.
    'try:\n  import @\nexcept ImportError:\n  @ = None\n@ and @.core',
    'def f():\n  global @\n  import @\ndef g(): return @.linen\nasync def h(): @',
    'def f():\n  import @\n  def g():\n    nonlocal @\n    del @\n  return @\nflax.x',
    'def f(flax, *a, **k): return flax.x\nimport @',
    'class A:\n  import @\n  x = @.linen\n  def f(self): return flax.linen',
    'import @\n[flax for flax in @]; {@: 1 for x in y}; lambda flax=@: flax.x',
    'import @\n[(@ := 3) for x in y]; @',
    'import @\nf"{@.linen!r:>{@.core}} é {@.struct}"',
    'import @\ng(@)[0].flax.x(flax=@)',
    # Types
    'import @\nx: "@.linen.Module" = 3',
    'import @\ndef f(a: "list[@.core.A]", b: Literal["flax.linen"]) -> "@.core.A": ...',
    'import @\ny = 3  # type: @.linen.Module',
    # Modules by their names
    'import importlib\nimportlib.import_module("@.linen"); __import__(\'@\'); f("flax")',
]
MOVED = [program.replace('core.A', 'core.FrozenDict') for program in MOVED]

# A program that is left to Flax in part, what becomes of it, and what is said.
LEFT = [
    ('from flax import nnx\nnnx.Module', None, '1: flax.nnx: NNX is outside'),
    (
        'from flax import linen as nn, nnx',
        'from linnet import linen as nn\nfrom flax import nnx',
        '1: flax.nnx: NNX is outside',
    ),
    (
        'if 1: from flax import nnx, linen',
        'if 1: from linnet import linen; from flax import nnx',
        '1: flax.nnx',
    ),
    (
        'from flax import (\n  linen,  # 1\n  nnx,  # 2\n  struct,  # 3\n)',
        'from linnet import linen, struct\nfrom flax import (\n    # 1\n  nnx,  # 2\n    # 3\n)',
        '3: flax.nnx',
    ),
    (
        'from flax import (nnx,\n  linen, struct)',
        'from linnet import linen, struct\nfrom flax import (nnx)',
        '1: flax.nnx',
    ),
    (
        'from flax.linen import Dens, Dense as D',
        'from linnet.linen import Dense as D\nfrom flax.linen import Dens',
        "1: flax.linen.Dens: Linnet has no such name. Did you mean 'Dense'?",
    ),
    ('import flax.nnx as n, flax.struct as s', 'import flax.nnx as n, linnet.struct as s', '1: '),
    ('from flax.optim import Adam', None, '1: flax.optim: flax.optim is what came before optax'),
    ('import flax.nn', None, '1: flax.nn: flax.nn is what came before Linen'),
    (
        'import flax\nflax.linen\nflax.nnx.f\nprint(flax)',
        'import flax, linnet\nlinnet.linen\nflax.nnx.f\nprint(flax)',
        '3: flax.nnx: NNX is outside',
    ),
    (
        'import flax.linen, os\nflax.linen.Dense\nflax.nnx',
        'import flax, linnet.linen, os\nlinnet.linen.Dense\nflax.nnx',
        '3: flax.nnx',
    ),
    ('import flax.nnx\nflax.ids', 'import flax.nnx, linnet\nlinnet.ids', '1: flax.nnx'),
    ('import flax as f\nf.ids\nf.nnx', 'import flax as f, linnet\nlinnet.ids\nf.nnx', '3: '),
    ('import flax\nflax.nnx', None, '2: flax.nnx'),
    ('import flax.linen as nn\nnn.Foo', 'import linnet.linen as nn\nnn.Foo', '2: flax.linen.Foo: '),
    ('from flax import linen\nlinen.Foo', 'from linnet import linen\nlinen.Foo', '2: '),
    ('import flax\nlinnet = 3', None, '1: linnet already means something else, at line 2'),
    ('import flax\nimport a as linnet', None, '1: linnet already means something else, at line 2'),
    ('import flax\nclass linnet: ...', None, '1: linnet already means something else, at line 2'),
    ('import flax\ntry: 1\nexcept E as flax: 1', None, '1: flax is also bound in another way, at'),
    ('try: import flax\nexcept E: import other as flax\nflax.ids', None, 'another way, at line 2'),
    ('import flax\nmatch x:\n  case {**flax}: 1', None, 'at line 3'),
    ('import flax\nmatch x:\n  case [*flax]: 1', None, 'at line 3'),
    ('import flax\nflax = 3\nflax.nnx; flax.ids', None, '1: flax is also assigned, at line 2'),
    ('import_module("flax" ".linen")', None, "1: 'flax.linen' is not written plainly"),
    ('import_module("flax.nnx")', None, '1: flax.nnx: NNX is outside'),
]  # fmt: skip

# Programs that only look as if they used Flax.
UNTOUCHED = [
    'flax = 3\nflax.linen',
    'from . import flax\nflax.linen',
    'from .flax import linen',
    'import flaxmodels\nfrom flax_tools import x',
    'x = "import flax"  # import flax\n"""flax.linen"""',
    'import_module(flax); import_module(); other.import_module("flax.linen")',
    'def f(x: "flax") -> "a flax.": ...  # type: ignore flax.x',
    'x: "fl\\x61x.linen"',
]  # fmt: skip


def before_and_after(program: str) -> tuple[str, str]:
    return program.replace('@', 'flax'), program.replace('@', 'linnet')


@pytest.mark.parametrize('program', MOVED)
def test_what_moves(program: str) -> None:
    before, after = before_and_after(program)
    changes = move(before)
    assert changes.applied_to(before) == after
    assert changes.remarks == []
    assert not changes.keeps_flax
    assert move(after).edits == []


@pytest.mark.parametrize(('before', 'after', 'said'), LEFT, ids=range(len(LEFT)))
def test_what_is_left_to_flax(before: str, after: str | None, said: str) -> None:
    changes = move(before)
    assert changes.applied_to(before) == (after or before)
    assert any(said in f'{remark.line}: {remark.text}' for remark in changes.remarks)
    assert changes.keeps_flax == ('.Foo' not in before)
    assert move(after or before).edits == []


@pytest.mark.parametrize('program', UNTOUCHED)
def test_what_is_not_flax(program: str) -> None:
    changes = move(program)
    assert (changes.edits, changes.remarks) == ([], [])


@pytest.mark.skipif(sys.version_info < (3, 12), reason='the syntax is of Python 3.12')
def test_parameters_of_types() -> None:
    program = (
        'import flax\ndef f[T: flax.ids]() -> T: ...\nclass C[U: flax.io]: ...\ntype A = flax.io'
    )
    assert move(program).applied_to(program) == program.replace('flax', 'linnet')


def test_lines_that_end_as_of_old() -> None:
    before, after = before_and_after('import @\rx = 3  # type: @.linen.Dense\r\ry = 3\r')
    assert move(before).applied_to(before) == after


def test_what_is_not_python_is_refused() -> None:
    with pytest.raises(SyntaxError):
        move('import flax\ndef f(:')


def test_other_letters_that_python_reads_as_flax() -> None:
    with pytest.raises(NotSafeError, match='only look the same'):
        move('import \ufb02ax')
    (remark,) = move('import flax\n\ufb02ax.linen').remarks
    assert remark.text == 'flax is not written plainly, at line 2'


def test_a_change_that_would_break_the_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('linnet.cli._python_source.LINNET', 'lin net')
    with pytest.raises(NotSafeError, match='would break line 1'):
        move('import flax')


# Whole programs, drawn from statements that move and others that only look so.
letters = st.characters(exclude_characters='@\r\n\0', exclude_categories=('Cs', 'Cc'))
pieces = st.one_of(
    st.sampled_from(MOVED[:7]),
    st.text(letters, max_size=8).map(lambda text: f'# flax {text}'),
    st.text(letters, max_size=8).map(lambda text: f'z = {text + "flax"!r}'),
    st.sampled_from(['', '\t', '\f', 'def f(flax):\n\treturn flax.linen', '"""flax\n  .linen"""']),
)


@given(st.lists(pieces, max_size=8), st.sampled_from(['\n', '\r\n']), st.booleans())
def test_all_but_the_imports_stays_to_the_character(
    programs: list[str], newline: str, ends: bool
) -> None:
    program = '\n'.join(['import @', *programs]).replace('\n', newline) + newline * ends
    before, after = before_and_after(program)
    assert move(before).applied_to(before) == after
    assert move(after).edits == []
    ast.parse(after)

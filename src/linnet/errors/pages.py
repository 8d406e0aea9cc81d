"""The page of each code: what happened, a program that does it, why, and what mends it.

A page is the docstring of the class of error or warning, and a program of ``examples.txt``, which
the tests run. ``linnet explain LN101`` prints one, and the document of all errors is made of them.
"""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
from importlib import resources

from linnet.errors._base import Message
from linnet.errors.settings import UnknownCodeError

PRELUDE = """\
import jax
import jax.numpy as jnp

import linnet
import linnet.linen as nn

key = jax.random.key(0)
x = jnp.ones((2, 3))
"""
"""What every program of a page begins with."""

_KINDS = {
    '1': 'Randomness',
    '2': 'Variables',
    '3': 'Modules',
    '4': 'Transforms',
    '5': 'Layers',
    '6': 'Data and files',
    '7': 'Settings',
    '8': 'Findings and programs',
    '9': 'Training',
}


def codes() -> dict[str, type[Message]]:
    """The class of each code, in order; that of all errors, and that of all warnings, have none."""
    found = {cls.code: cls for cls in _below(Message) if cls.code != Message.code}
    return dict(sorted(found.items()))


def _below(cls: type[Message]) -> list[type[Message]]:
    ours = [sub for sub in cls.__subclasses__() if sub.__module__.startswith('linnet.')]
    return [*ours, *(deeper for sub in ours for deeper in _below(sub))]


@functools.cache
def examples() -> dict[str, str]:
    """By code, a program that runs into it, without what all begin with."""
    text = (resources.files('linnet.errors') / 'examples.txt').read_text()
    _, *parts = re.split(r'^(LN\d{3})\n', text, flags=re.M)
    return {
        code: textwrap.dedent(program)
        for code, program in zip(parts[::2], parts[1::2], strict=True)
    }


def explain(code: str) -> str:
    """The page of a code, as text.

    >>> print(explain('ln317').splitlines()[0])
    LN317 · ParentError

    Raises:
        UnknownCodeError: no error or warning has the code.
    """
    code = code.upper()
    cls = codes().get(code)
    if cls is None:
        raise UnknownCodeError(code)
    title = f'{code} · {cls.__name__}'
    return f'{title}\n{"=" * len(title)}\n\n{_body(cls, quote=False)}'


def document() -> str:
    """The pages of all codes, as Markdown."""
    lines = [
        '# Errors and warnings',
        '',
        'Every error and warning of Linnet has a code. `linnet explain LN101` prints its page, and',
        '`linnet explain --all` wrote this document. The programs that run into one begin with',
        '',
        f'```python\n{PRELUDE}```',
    ]
    kind = ''
    for code, cls in codes().items():
        if _KINDS[code[2]] != kind:
            kind = _KINDS[code[2]]
            lines += ['', f'## {kind}']
        lines += ['', f'### {code} · {cls.__name__}', '', _body(cls, quote=True).rstrip()]
    return '\n'.join(lines) + '\n'


def _body(cls: type[Message], quote: bool) -> str:
    """A page without its title; ``quote`` sets programs between fences."""
    parts = re.split(r'^(Wrong|Right)::\n', inspect.getdoc(cls) or '', flags=re.M)
    head, blocks = parts[0], dict(zip(parts[1::2], parts[2::2], strict=True))
    right, _, reason = blocks.get('Right', '').partition('\nReason: ')
    program = examples().get(cls.code)
    text = [head.strip()]
    for title, block in (('Wrong', blocks.get('Wrong')), ('Right', right)):
        if block:
            text += [f'{title}:', _program(textwrap.dedent(block).strip(), quote)]
    if reason:
        text.append(f'Why: {" ".join(reason.split())}' if quote else f'Why: {reason.strip()}')
    if program:
        text += ['A program that runs into it:', _program(program.strip(), quote)]
    return '\n\n'.join(text).replace('``', '`') + '\n'


def _program(text: str, quote: bool) -> str:
    return f'~~~python\n{text}\n~~~' if quote else textwrap.indent(text, '    ')

"""Moves what a project requires from Flax to Linnet.

A version that was asked of Flax says nothing about Linnet and goes; a marker such as
``; python_version < "3.12"`` stays. Where some program still needs Flax, Linnet stands beside it.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator

from linnet.cli._edits import Changes, Edit, Places, Remark, line_of, newline_of
from linnet.cli._scopes import plain_content

# A requirement of Flax: extras, then versions or a place, then a marker.
_REQUIREMENT = re.compile(
    r"""
    (?P<name>[Ff]lax) \s* (?:\[[^\]]*\])? \s*
    (?: \(?(?:(?:===|==|~=|!=|<=|>=|<|>)[^;\#,\s"')]+[\s,]*)+\)? | @\s*[^\s;\#"']+ )? \s*
    (?P<marker>;[^\#"']*(?:["'][^"']*["'][^\#"']*)*)? $
    """,
    re.VERBOSE,
)
_WORD = re.compile(
    r"""(?<![\w./=@:-])(["']?)flax(\[[^\]]*\])?((==|~=|!=|<=|>=|<|>)[^\s"';]+)?\1(?![\w./@=-])"""
)
_CONDA = re.compile(
    r"""\s*-\s*((?P<quote>["']?)(?:[\w-]+::)?flax(?:\s*[=<>!~][^"'#]*?)?(?P=quote))\s*(?:\#|$)"""
)
_LISTS = set(
    """
    dependencies dependency-groups dev-dependencies extra-dependencies optional-dependencies
    requires
    """.split()
)
_SETUP = {'extras_require', 'install_requires', 'setup_requires', 'tests_require'}


def moved(requirement: str) -> str | None:
    """Returns what to require in place of Flax, or None for another requirement.

    >>> moved('flax[all]>=0.8,<1 ; python_version < "3.12"')
    'linnet ; python_version < "3.12"'
    >>> moved('flaxmodels')
    """
    found = _REQUIREMENT.fullmatch(requirement.strip())
    if found is None:
        return None
    return f'linnet {found["marker"].rstrip()}' if found['marker'] else 'linnet'


def move_command(line: str, *, keep: bool) -> list[Edit]:
    """Returns the changes of a command of the shell that installs Flax."""
    if not re.match(r'\s*[%!].*\bpip3?\s+install\b', line) or 'linnet' in line:
        return []
    return [
        Edit(found.start(), found.end(), f'{found[0]} linnet' if keep else 'linnet')
        for found in _WORD.finditer(line)
    ]


def move_lines(text: str, *, keep: bool) -> Changes:
    """Moves a file of requirements, one a line, as pip reads it."""
    changes = Changes()
    lines = list(_lines(text))
    there = any(re.match(r'linnet\b', line.strip()) for line, _ in lines)
    for line, start in lines:
        body = re.split(r'(?:^|\s)#', line)[0].rstrip()
        if body.endswith('\\') and _REQUIREMENT.fullmatch(body.rstrip('\\').strip()):
            number = line_of(text, start)
            changes.remarks.append(Remark(number, 'flax is locked with hashes: lock it again'))
        elif (new := moved(body)) is not None:
            indent = len(body) - len(body.lstrip())
            _replace_line(changes, text, (start + indent, start + len(body)), new, (keep, there))
    return changes


def _is_settled(changes: Changes, text: str, start: int, state: tuple[bool, bool]) -> bool:
    """Whether Linnet is required already; remarks that Flax can go, where it can.

    A state is whether Flax has to stay, and whether Linnet is there.
    """
    keep, there = state
    if there and not keep:
        changes.remarks.append(Remark(line_of(text, start), 'linnet is listed too: flax can go'))
    return there


def _replace_line(
    changes: Changes, text: str, span: tuple[int, int], new: str, state: tuple[bool, bool]
) -> None:
    """Puts Linnet on a line, or a line before it where Flax has to stay."""
    start, end = span
    if _is_settled(changes, text, start, state):
        return
    if state[0]:
        line_start = max(text.rfind('\n', 0, start), text.rfind('\r', 0, start)) + 1
        new = f'{new}{newline_of(text)}{text[line_start:start]}'
        changes.edits.append(Edit(start, start, new))
    else:
        changes.edits.append(Edit(start, end, new))


def move_conda(text: str, *, keep: bool) -> Changes:
    """Moves the dependencies of a conda environment, and those that pip installs in it."""
    changes = Changes()
    there = re.search(r'^\s*-\s*["\']?linnet\b', text, re.MULTILINE) is not None
    pip_indent = -1
    for line, start in _lines(text):
        indent = len(line) - len(line.lstrip())
        if re.match(r'\s*-\s*pip\s*:', line):
            pip_indent = indent
        elif line.strip() and indent <= pip_indent:
            pip_indent = -1
        item = _CONDA.match(line)
        if item:
            span = (start + item.start(1), start + item.end(1))
            _replace_line(changes, text, span, 'linnet', (keep, there))
            if pip_indent < 0 and not there:
                words = 'conda may not have linnet: it can stand in a list "- pip:"'
                changes.remarks.append(Remark(line_of(text, start), words))
    return changes


def move_setup_cfg(text: str, *, keep: bool) -> Changes:
    """Moves the requirements in a ``setup.cfg``."""
    changes = Changes()
    there = re.search(r'^\s+linnet\b', text, re.MULTILINE) is not None
    section = key = ''
    for line, start in _lines(text):
        head = re.match(r'\[(.+)\]', line)
        option = re.match(r'([\w.-]+)\s*[=:]\s*', line)
        if head or option:
            section = head[1] if head else section
            key = option[1] if option else ''
        required = section == 'options.extras_require' or (section == 'options' and key in _SETUP)
        first = option.end() if option else len(line) - len(line.lstrip())
        new = moved(line[first:]) if required else None
        if new is None:
            continue
        if keep and option and not there:
            indent = f'{newline_of(text)}    '
            changes.edits.append(Edit(start + first, start + first, f'{indent}{new}{indent}'))
        else:
            span = (start + first, start + len(line.rstrip()))
            _replace_line(changes, text, span, new, (keep, there))
    return changes


def move_setup_py(text: str, *, keep: bool) -> Changes:
    """Moves the requirements in a ``setup.py``: strings in the lists that it gives to ``setup``.

    Raises:
        SyntaxError: the file is not Python.
    """
    tree = ast.parse(text)
    values = [
        keyword.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg in _SETUP
    ]
    names = {node.id for value in values for node in ast.walk(value) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and names & {ast.unparse(name) for name in node.targets}:
            values.append(node.value)
    places = Places(text)
    spans = {
        (
            places.offset(node.lineno, node.col_offset),
            places.offset(node.end_lineno or 0, node.end_col_offset or 0),
        ): node.value
        for value in values
        for node in ast.walk(value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return _move_strings(text, spans, keep=keep)


def _move_strings(text: str, spans: dict[tuple[int, int], str], *, keep: bool) -> Changes:
    """Moves those of some literals that require Flax."""
    changes = Changes()
    there = any(re.match(r'linnet\b', value) for value in spans.values())
    for (start, end), value in spans.items():
        new, first = moved(value), plain_content(text[start:end], value)
        if new is None or first is None or _is_settled(changes, text, start, (keep, there)):
            continue
        literal = f'{text[end - 1]}{new}{text[end - 1]}'
        replaced = f'{literal}, {text[start:end]}' if keep else literal
        changes.edits.append(Edit(start, end, replaced))
    return changes


def move_pyproject(text: str, *, keep: bool) -> Changes:
    """Moves the requirements in a ``pyproject.toml``, those of Poetry included.

    Raises:
        ValueError: the file is not TOML, or would not be any more.
    """
    tomllib.loads(text)
    spans = {span: text[span[0] + 1 : span[1] - 1] for span in _listed_strings(text)}
    changes = _move_strings(text, spans, keep=keep)
    _move_poetry(changes, text, keep=keep)
    tomllib.loads(changes.applied_to(text))
    return changes


_TOML = re.compile(
    r"""
    (?P<comment>\#[^\r\n]*) | (?P<long>\"\"\".*?\"\"\" | '''.*?''')
    | (?P<string>"(?:[^"\\\r\n]|\\.)*" | '[^'\r\n]*')
    | ^[ \t]*\[\[?(?P<table>[^\]\r\n]+)\]\]?
    | ^[ \t]*(?P<key>[\w.-]+|"[^"\r\n]*")[ \t]*=
    | (?P<open>[\[{]) | (?P<close>[\]}])
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)


def _listed_strings(text: str) -> Iterator[tuple[int, int]]:
    """Yields the spans of strings in those arrays of a TOML file that list requirements."""
    table = key = opened = ''
    for found in _TOML.finditer(text):
        match found.lastgroup:
            case 'table' if not opened:
                table, key = found['table'], ''
            case 'key' if not opened:
                key = found['key']
            case 'open':
                opened += found[0]
            case 'close':
                opened = opened[:-1]
            case 'string' if opened.endswith('['):
                if _LISTS & set(re.split(r'[\s."]+', f'{table}.{key}')):
                    yield found.span()


def _move_poetry(changes: Changes, text: str, *, keep: bool) -> None:
    """Moves keys of Poetry's tables, as ``flax = "^0.8"``."""
    table = ''
    there = re.search(r'^\s*linnet\s*=', text, re.MULTILINE) is not None
    for line, start in _lines(text):
        head = re.match(r'\s*\[([^\[\]]+)\]', line)
        table = head[1].strip() if head else table
        found = re.match(r'\s*(flax\s*=\s*(?:"[^"]*"|\'[^\']*\'|\{[^{}]*\}))', line)
        if found and re.fullmatch(r'tool\.(poetry|pixi)\.(.*\.)?(.*-)?dependencies', table):
            span = (start + found.start(1), start + found.end(1))
            _replace_line(changes, text, span, 'linnet = "*"', (keep, there))


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Yields each line without its end, and where it begins."""
    for found in re.finditer(r'[^\r\n]+', text):
        yield found[0], found.start()

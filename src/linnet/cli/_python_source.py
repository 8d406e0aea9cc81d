"""Moves the imports of a Python program from Flax to Linnet.

``import flax`` and the uses of that name move together; ``from flax import ...`` moves by itself. A
name that Linnet lacks is left to Flax, with a remark, and so is what needs it.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from linnet.cli import _surface
from linnet.cli._edits import Changes, Edit, Remark, newline_of
from linnet.cli._scopes import ImportedName, Reader, Scope, Use, dotted_names, plain_content

if TYPE_CHECKING:
    from linnet.errors.programs import NotInLinnetError

FLAX, LINNET = 'flax', 'linnet'

# Functions whose first argument is the name of a module.
_IMPORTERS = """
    __import__ find_spec import_module importlib.__import__ importlib.import_module
    importlib.util.find_spec importorskip pytest.importorskip util.find_spec
""".split()


class NotSafeError(Exception):
    """The changes would leave a program that Python does not read."""


@dataclass
class Group:
    """A name that is bound by an import of Flax, and all that means it."""

    imports: list[ImportedName] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    unnamed_line: int = 0


def parse(text: str) -> ast.Module:
    """Parses a program, or the cells of a notebook, which may await outside of functions.

    Raises:
        SyntaxError: it is not Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        return compile(text, '<program>', 'exec', flags, dont_inherit=True)


def move(text: str, readable: str = '') -> Changes:
    """Returns the changes that move a program to Linnet.

    Args:
        text: the program.
        readable: the same, character by character, with blanks in place of what is not Python.

    Raises:
        SyntaxError: the program is not Python.
        NotSafeError: it would not be Python any more, or says ``flax`` in odd letters.

    >>> move('import flax.linen as nn').applied_to('import flax.linen as nn')
    'import linnet.linen as nn'
    """
    readable = readable or text
    mover = _Mover(readable, parse(readable))
    try:
        parse(mover.changes.applied_to(readable))
    except SyntaxError as error:
        raise NotSafeError(f'the change would break line {error.lineno}') from error
    return mover.changes


class _Mover:
    """Finds the changes of one program."""

    def __init__(self, text: str, tree: ast.Module) -> None:
        self.text = text
        self.reader = Reader(text, tree)
        self.changes = Changes()
        self._read_type_comments()
        for statement in self.reader.statements:
            self._move_statement(statement)
        for call in self.reader.calls:
            self._move_call(call)
        taken = self._where_linnet_is_taken()
        for name, group in self._groups():
            self._move_group(name, group, taken)
        self._check_uses_of_modules()

    def _read_type_comments(self) -> None:
        """Adds the names in comments that give types to the uses of their scopes."""
        if not re.search(r'#\s*type:.*\bflax\b', self.text):
            return
        for token in tokenize.generate_tokens(io.StringIO(self.text, newline='').readline):
            comment = re.match(r'#\s*type:(?!\s*ignore\b)', token.string)
            if token.type == tokenize.COMMENT and comment:
                line = token.start[0]
                start = self.reader.places.line_start(line) + token.start[1] + comment.end()
                for use in dotted_names(token.string[comment.end() :]):
                    use = use._replace(offset=start + use.offset, line=line)
                    self.reader.innermost(line).uses.append(use)

    # Statements that bind other names than flax

    def _move_statement(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.ImportFrom):
            if node.level == 0 and node.module and _is_flax(node.module):
                self._move_import_from(node, node.module.partition('.')[2])
            return
        for alias in node.names:
            if alias.asname and alias.name.startswith(f'{FLAX}.'):
                lack = _surface.lacking(alias.name.partition('.')[2])
                if lack is None:
                    self._rename(self.reader.start(alias))
                else:
                    self._leave(alias.lineno, lack)

    def _move_import_from(self, node: ast.ImportFrom, module: str) -> None:
        moved, kept = [], []
        for alias in node.names:
            path = '.'.join(part for part in (module, alias.name) if part and part != '*')
            lack = _surface.lacking(path)
            if lack is None:
                moved.append(alias)
            else:
                kept.append(alias)
                self._leave(alias.lineno, lack)
        if moved and not kept:
            start = self.reader.start(node)
            self._rename(start + self.text[start:].find(FLAX))
        elif moved:
            self._split(node, module, moved)

    def _split(self, node: ast.ImportFrom, module: str, moved: list[ast.alias]) -> None:
        """Takes names out of a statement, into one of their own before it."""
        start = self.reader.start(node)
        indent = self.text[self.reader.places.line_start(node.lineno) : start]
        separator = '; ' if indent.strip() else f'{newline_of(self.text)}{indent}'
        names = ', '.join(_as_written(alias) for alias in moved)
        source = f'{LINNET}.{module}' if module else LINNET
        self.changes.edits.append(Edit(start, start, f'from {source} import {names}{separator}'))
        last_kept = max(n for n, alias in enumerate(node.names) if alias not in moved)
        for number, alias in enumerate(node.names):
            if alias not in moved:
                continue
            begin, end = self.reader.start(alias), self.reader.end(alias)
            if number < last_kept:
                following = self.reader.start(node.names[number + 1])
                comma = end + self.text[end:following].index(',') + 1
                end = comma if '#' in self.text[end:following] else following
            else:
                before = self.reader.end(node.names[number - 1])
                gap = self.text[before:begin]
                if '#' not in gap:
                    begin = before
                else:
                    end += len(re.match(r'\s*,?', self.text[end:])[0])  # type: ignore[index]
            self.changes.edits.append(Edit(begin, end, ''))

    # Strings

    def _move_call(self, node: ast.Call) -> None:
        name = node.args[0] if node.args else None
        if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            return
        if not _is_flax(name.value) or ast.unparse(node.func) not in _IMPORTERS:
            return
        start = self.reader.start(name)
        content = plain_content(self.text[start : self.reader.end(name)], name.value)
        lack = _surface.lacking(name.value.partition('.')[2])
        if lack is not None:
            self._leave(node.lineno, lack)
        elif content is None:
            self._remark(node.lineno, f'{name.value!r} is not written plainly', keeps=True)
        else:
            self._rename(start + content)

    # The name flax

    def _where_linnet_is_taken(self) -> int:
        """Returns the line where the name ``linnet`` is given another meaning, or 0."""
        for scope in self.reader.scopes:
            if LINNET in scope.unnamed:
                return scope.unnamed[LINNET]
            for use in scope.uses:
                if use.name == LINNET and use.binds:
                    return use.line
            for alias, statement in scope.imports.get(LINNET, ()):
                if alias.asname or isinstance(statement, ast.ImportFrom):
                    return statement.lineno
        return 0

    def _groups(self) -> Iterator[tuple[str, Group]]:
        """Yields the names that stand for the package ``flax`` itself."""
        groups: dict[tuple[int, str], Group] = {}
        for scope in self.reader.scopes:
            for name, imported in scope.imports.items():
                for item in imported:
                    if _binds_the_package(item):
                        key = (id(scope.resolve(name)), name)
                        groups.setdefault(key, Group()).imports.append(item)
        for scope in self.reader.scopes:
            for name in {use.name for use in scope.uses} | set(scope.unnamed) | set(scope.imports):
                group = groups.get((id(scope.resolve(name)), name))
                if group:
                    group.uses += [use for use in scope.uses if use.name == name]
                    group.unnamed_line = group.unnamed_line or _other_binding(scope, name)
        for (_, name), group in groups.items():
            yield name, group

    def _move_group(self, name: str, group: Group, taken: int) -> None:
        renamed = any(alias.asname is None for alias, _ in group.imports)
        lacks = [(use, _surface.lacking('.'.join(use.chain))) for use in group.uses]
        bad_imports = [
            (item, lack)
            for item in group.imports
            if (lack := _surface.lacking(item.alias.name.partition('.')[2])) is not None
        ]
        clean = not bad_imports and not any(lack for _, lack in lacks)
        obstacle = self._obstacle(name, group, taken, renamed=renamed, clean=clean)
        if obstacle:
            self._remark(group.imports[0].statement.lineno, obstacle, keeps=True)
            return
        for item, lack in bad_imports:
            self._leave(item.statement.lineno, lack)
        for use, missing in lacks:
            if missing is not None:
                self._leave(use.line, missing)
        if clean:
            for alias, _ in group.imports:
                self._rename(self.reader.start(alias))
            for use in group.uses if renamed else ():
                self._rename(use.offset)
            return
        good = [use for use, lack in lacks if lack is None and use.chain]
        if good:
            self._import_beside(group, {id(item.alias) for item, _ in bad_imports})
            for use in good:
                self.changes.edits.append(Edit(use.offset, use.offset + len(name), LINNET))

    def _obstacle(
        self, name: str, group: Group, taken: int, *, renamed: bool, clean: bool
    ) -> str | None:
        """Says why a name cannot be changed, or None."""
        if not renamed and clean:
            return None
        if taken:
            return f'{LINNET} already means something else, at line {taken}'
        if group.unnamed_line:
            return f'{name} is also bound in another way, at line {group.unnamed_line}'
        for use in group.uses:
            if use.binds and not clean:
                return f'{name} is also assigned, at line {use.line}, and only a part could move'
            if self.text[use.offset : use.offset + len(name)] != name:
                return f'{name} is not written plainly, at line {use.line}'
        return None

    def _import_beside(self, group: Group, bad: set[int]) -> None:
        """Lets statements that import Flax, and have to go on so, import Linnet too."""
        good = [item.alias for item in group.imports if id(item.alias) not in bad]
        for alias in good or [group.imports[0].alias]:
            start, end = self.reader.start(alias), self.reader.end(alias)
            if id(alias) in bad or alias.asname:
                text = f'{self.text[start:end]}, {LINNET}'
            else:
                text = f'{FLAX}, {LINNET}{alias.name.removeprefix(FLAX)}'
            self.changes.edits.append(Edit(start, end, text))

    # What a moved module lacks

    def _check_uses_of_modules(self) -> None:
        """Remarks on attributes, as ``nn.Foo``, that a module of Linnet does not have."""
        for scope in self.reader.scopes:
            for use in scope.uses:
                home = scope.resolve(use.name) if use.chain else None
                for item in home.imports.get(use.name, ()) if home else ():
                    path = _module_path(item)
                    if path and _surface.lacking(path) is None:
                        lack = _surface.lacking('.'.join([path, *use.chain]))
                        if lack is not None:
                            self._leave(use.line, lack, keeps=False)

    # What is noted

    def _rename(self, start: int) -> None:
        if not self.text.startswith(FLAX, start):
            raise NotSafeError(f'{FLAX} is written in letters that only look the same')
        self.changes.edits.append(Edit(start, start + len(FLAX), LINNET))

    def _leave(self, line: int, lack: NotInLinnetError, *, keeps: bool = True) -> None:
        self._remark(line, _surface.sentence(lack), keeps=keeps)

    def _remark(self, line: int, text: str, *, keeps: bool) -> None:
        self.changes.remarks.append(Remark(line, text))
        self.changes.keeps_flax |= keeps


def _is_flax(name: str) -> bool:
    return name == FLAX or name.startswith(f'{FLAX}.')


def _as_written(alias: ast.alias) -> str:
    return f'{alias.name} as {alias.asname}' if alias.asname else alias.name


def _binds_the_package(item: ImportedName) -> bool:
    """Whether a name stands for ``flax`` as a whole after ``import flax`` or ``flax.linen``."""
    alias, statement = item
    if isinstance(statement, ast.ImportFrom) or not _is_flax(alias.name):
        return False
    return alias.asname is None or alias.name == FLAX


def _other_binding(scope: Scope, name: str) -> int:
    """Returns the line where a name is bound, neither by importing Flax nor as a plain name."""
    for item in scope.imports.get(name, ()):
        if not _binds_the_package(item):
            return item.statement.lineno
    return scope.unnamed.get(name, 0)


def _module_path(item: ImportedName) -> str:
    """Returns ``linen`` for a name bound to ``flax.linen``; nothing for other names."""
    alias, statement = item
    if isinstance(statement, ast.ImportFrom):
        if statement.level or not statement.module or not _is_flax(statement.module):
            return ''
        return '.'.join([*statement.module.split('.')[1:], alias.name])
    return alias.name.partition('.')[2] if alias.asname and _is_flax(alias.name) else ''

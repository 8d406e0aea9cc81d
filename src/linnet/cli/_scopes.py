"""Which names of a Python program mean the same thing.

A *scope* is a module, class, function or comprehension. A *use* is a place where a name stands,
with the attributes that are taken of it: ``flax.linen.Dense`` is a use of ``flax`` with the chain
``linen.Dense``. A *group* is a scope and a name that it binds by an import of Flax, with all uses
that mean this binding, in inner scopes too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from linnet.cli._edits import Places

Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Use(NamedTuple):
    """A place where a name stands; ``binds`` where a value is given to it."""

    name: str
    offset: int
    line: int
    chain: tuple[str, ...] = ()
    binds: bool = False


class ImportedName(NamedTuple):
    """One name of a statement ``import``, which binds it."""

    alias: ast.alias
    statement: ast.Import | ast.ImportFrom


@dataclass
class Scope:
    """What is bound and used in a stretch of a program, without its inner scopes."""

    first_line: int
    last_line: int
    parent: Scope | None = None
    is_class: bool = False
    is_comprehension: bool = False
    bound: set[str] = field(default_factory=set)
    unnamed: dict[str, int] = field(default_factory=dict)
    outer: dict[str, type[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, list[ImportedName]] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)

    def resolve(self, name: str) -> Scope | None:
        """Returns the scope whose binding a name means here."""
        if name in self.outer:
            return self._enclosing(name) if self.outer[name] is ast.Nonlocal else self._module()
        return self if name in self.bound else self._enclosing(name)

    def _enclosing(self, name: str) -> Scope | None:
        scope = self.parent
        while scope is not None and scope.is_class:
            scope = scope.parent
        return scope.resolve(name) if scope else None

    def _module(self) -> Scope:
        return self if self.parent is None else self.parent._module()

    def bind(self, name: str) -> None:
        """Notes that a value is given to a name here, or where it is said to live."""
        self.bound.add(name)
        if self.outer.get(name) is ast.Global:
            self._module().bound.add(name)


class Reader(ast.NodeVisitor):
    """Reads the scopes of a program, and the strings by which it imports at run time."""

    def __init__(self, text: str, tree: ast.Module) -> None:
        self.text = text
        self.places = Places(text)
        self.scope = Scope(1, len(text) + 1)
        self.scopes = [self.scope]
        self.statements: list[ast.Import | ast.ImportFrom] = []
        self.calls: list[ast.Call] = []
        self._in_annotation = False
        self.visit(tree)

    def start(self, node: ast.expr | ast.stmt | ast.alias) -> int:
        """Returns the first character of a node."""
        return self.places.offset(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt | ast.alias) -> int:
        """Returns the character after a node."""
        return self.places.offset(node.end_lineno or 0, node.end_col_offset or 0)

    def innermost(self, line: int) -> Scope:
        """Returns the smallest scope that a line is in."""
        around = [scope for scope in self.scopes if scope.first_line <= line <= scope.last_line]
        return min(around, key=lambda scope: scope.last_line - scope.first_line)

    # Names

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            chain.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self._use(inner, tuple(chain))
        else:
            self.visit(inner)

    def visit_Name(self, node: ast.Name) -> None:
        self._use(node, ())

    def visit_Constant(self, node: ast.Constant) -> None:
        """Takes a string among annotations for the expression that it is."""
        if not self._in_annotation or not isinstance(node.value, str):
            return
        content = plain_content(self.text[self.start(node) : self.end(node)], node.value)
        if content is None or '.' not in node.value:
            return
        first = self.start(node) + content
        for name in dotted_names(node.value):
            self.scope.uses.append(name._replace(offset=first + name.offset, line=node.lineno))

    def _use(self, node: ast.Name, chain: tuple[str, ...]) -> None:
        binds = not isinstance(node.ctx, ast.Load)
        if binds:
            self._bind(node.id)
        self.scope.uses.append(Use(node.id, self.start(node), node.lineno, chain, binds))

    def _bind(self, name: str, line: int = 0) -> None:
        """Notes a binding; with a line where the name has no node that could be changed."""
        self.scope.bind(name)
        if line:
            self.scope.unnamed[name] = line

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        inner = self.scope
        while self.scope.is_comprehension and self.scope.parent:
            self.scope = self.scope.parent
        self.visit(node.target)
        self.scope = inner

    # Statements that bind

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.statements.append(node)
        for alias in node.names:
            name = alias.asname or alias.name.partition('.')[0]
            self.scope.bind(name)
            self.scope.imports.setdefault(name, []).append(ImportedName(alias, node))

    visit_ImportFrom = visit_Import

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        first = self.start(node)
        for name in node.names:
            self.scope.outer[name] = type(node)
            found = re.search(rf'\b{name}\b', self.text[first : self.end(node)])
            if found:
                self.scope.uses.append(Use(name, first + found.start(), node.lineno))

    visit_Nonlocal = visit_Global

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name, node.lineno)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        if node.name:
            self._bind(node.name, node.lineno)
        self.generic_visit(node)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self._bind(node.rest, node.lineno)
        self.generic_visit(node)

    # Inner scopes

    def visit_FunctionDef(self, node: Function) -> None:
        self._bind(node.name, node.lineno)
        self._visit_all([*node.decorator_list, *getattr(node, 'type_params', ())])
        self._outside_of_function(node.args)
        self._annotation(node.returns)
        self._enter(node, node.args)
        self._visit_all(node.body)
        self._leave()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._outside_of_function(node.args)
        self._enter(node, node.args)
        self.visit(node.body)
        self._leave()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name, node.lineno)
        self._visit_all([*node.decorator_list, *node.bases, *node.keywords])
        self._visit_all(list(getattr(node, 'type_params', ())))
        self._enter(node).is_class = True
        self._visit_all(node.body)
        self._leave()

    def _comprehension(self, node: Comprehension) -> None:
        first, *others = node.generators
        self.visit(first.iter)
        self._enter(node).is_comprehension = True
        self._visit_all([first.target, *first.ifs, *others])
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._visit_all(parts)
        self._leave()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def _enter(self, node: ast.expr | ast.stmt, arguments: ast.arguments | None = None) -> Scope:
        self.scope = Scope(node.lineno, node.end_lineno or node.lineno, parent=self.scope)
        self.scopes.append(self.scope)
        for argument in _arguments(arguments) if arguments else ():
            self._bind(argument.arg, argument.lineno)
        return self.scope

    def _leave(self) -> None:
        assert self.scope.parent is not None
        self.scope = self.scope.parent

    def _outside_of_function(self, node: ast.arguments) -> None:
        """Visits defaults and annotations, which are evaluated where the function is defined."""
        self._visit_all([*node.defaults, *(default for default in node.kw_defaults if default)])
        for argument in _arguments(node):
            self._annotation(argument.annotation)

    # Annotations and calls

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        self._annotation(node.annotation)
        if node.value:
            self.visit(node.value)

    def _annotation(self, node: ast.expr | None) -> None:
        if node is not None:
            self._in_annotation = True
            self.visit(node)
            self._in_annotation = False

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Leaves the strings of ``Literal[...]`` what they are."""
        outside = self._in_annotation
        self.visit(node.value)
        self._in_annotation = outside and not ast.unparse(node.value).endswith('Literal')
        self.visit(node.slice)
        self._in_annotation = outside

    def visit_Call(self, node: ast.Call) -> None:
        self.calls.append(node)
        self.generic_visit(node)

    def _visit_all(self, nodes: list[ast.AST] | list[ast.stmt] | list[ast.expr]) -> None:
        for node in nodes:
            self.visit(node)


def _arguments(node: ast.arguments) -> Iterator[ast.arg]:
    yield from (*node.posonlyargs, *node.args, *node.kwonlyargs)
    yield from (argument for argument in (node.vararg, node.kwarg) if argument)


def plain_content(literal: str, value: str) -> int | None:
    """Returns where the characters of a string begin in its literal; None if they are not plain.

    >>> plain_content("r'flax.linen'", 'flax.linen')
    2
    """
    found = re.match(r"""[rRuU]?('''|\"""|'|")""", literal)
    plain = found and literal == f'{found[0]}{value}{found[1]}'
    return found.end() if found and plain else None


def dotted_names(text: str) -> Iterator[Use]:
    """Yields the names with attributes in an expression that is written in a string or comment.

    >>> [(use.name, use.chain) for use in dotted_names('dict[str, flax.core.FrozenDict]')]
    [('flax', ('core', 'FrozenDict'))]
    """
    for found in re.finditer(r'(?<![\w.])([^\W\d]\w*)((?:\s*\.\s*[^\W\d]\w*)+)', text):
        chain = tuple(part.strip() for part in found[2].split('.')[1:])
        yield Use(found[1], found.start(), 0, chain)

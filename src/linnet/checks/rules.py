"""What a rule of the sanitizer is: one kind of mistake, told of all that happens in a program.

A program is followed twice. While it is *traced*, or runs uncompiled, a rule is told of each call
of ``apply`` or ``init`` and of what happens in it, and may ask for values. When it *runs*, those
values come in, once for each run of the compiled program.
"""

from __future__ import annotations

from typing import Any

from linnet.checks.calls import Call, Draw, Outside
from linnet.checks.report import Line, Report
from linnet.errors.findings import Finding


class Rule:
    """A kind of mistake; a subclass overrides what it wants to be told.

    Args:
        report: where findings go.
    """

    def __init__(self, report: Report) -> None:
        self.report = report

    def begin(self, call: Call) -> None:
        """A call of ``apply`` or ``init`` begins."""

    def enter(self, call: Call, module: Any, method: str, args: Any, kwargs: Any) -> None:
        """A method of a module begins."""

    def exit(self, call: Call, module: Any, method: str, output: Any) -> None:
        """A method of a module ended."""

    def draw(self, call: Call, draw: Draw) -> None:
        """A key was drawn."""

    def attention(self, call: Call | Outside, bias: Any, mask: Any) -> None:
        """Attention was called on a bias and a mask."""

    def made(self, call: Call, path: tuple[str, ...], value: Any) -> None:
        """A parameter that did not exist was made."""

    def end(self, call: Call) -> None:
        """A call of ``apply`` or ``init`` ends; values asked for now are the last."""

    def failed(self, error: BaseException) -> None:
        """The program ended with an error."""

    def finish(self) -> None:
        """The program ended: what can only be judged from the whole is judged."""

    def found(
        self, kind: type[Finding], what: str, *, why: str = '', mend: str = '', where: str = '',
        line: Line = ('', 0), other_lines: tuple[Line, ...] = (),
    ) -> None:  # fmt: skip
        """Reports a finding."""
        self.report.add(kind(what, why=why, mend=mend, where=where), line, other_lines)

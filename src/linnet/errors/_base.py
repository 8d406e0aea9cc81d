"""The root of every exception of this library, and the form of its message.

Words: *what* happened, with actual values and shapes; *where*, the path and class of the module;
*why* that is wrong; *mend*, the line of code that puts it right. Layers raise an error without
*where*; the machinery of module calls fills it in when the error leaves the innermost module.
"""

from __future__ import annotations

import textwrap
from typing import Any, ClassVar


class Message:
    """What happened, where, why it is wrong, and what mends it: the text of an error or warning.

    Args:
        what: one sentence on what happened, with the actual values.
        why: the rule that was broken, where the sentence does not say it.
        mend: a line of code that puts it right.
        where: path and class of the module, as ``/encoder/Dense_0 (Dense)``.

    Attributes:
        code: the stable code of the cause, as ``LN101``; its page is the class's docstring.
    """

    code: ClassVar[str] = 'LN000'

    def __init__(self, what: str, *, why: str = '', mend: str = '', where: str = '') -> None:
        super().__init__(what)  # type: ignore[call-arg]
        self.what = what
        self.why = why
        self.mend = mend
        self.where = where

    def locate(self, path: str, cls: str = '') -> None:
        """Records path and class of the module in which the error arose.

        A place that is known is kept; if it is that path, without a class, the class is added.
        """
        if self.where in ('', path):
            self.where = f'{path} ({cls})' if cls else path

    def __str__(self) -> str:
        head, *rest = self._parts()
        return '\n'.join([head, *(textwrap.indent(part, '  ') for part in rest)])

    def _parts(self) -> list[str]:
        place = f'{self.where}: ' if self.where else ''
        parts = {'Why': self.why, 'Mend': self.mend}
        text = [f'{name}: {part}' for name, part in parts.items() if part]
        return [f'[{self.code}] {place}{self.what}', *text]

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)  # type: ignore[attr-defined]


def _rebuild(cls: Any, args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    """Restores a pickled error or warning without running the constructor of its class."""
    message = cls.__new__(cls, *args)
    message.args = args
    message.__dict__.update(state)
    return message


class LinnetError(Message, Exception):
    """Base of all errors that this library raises.

    Layers raise one without *where*: the call machinery adds the innermost module.
    """


FlaxError = LinnetError


class SharpBitWarning(Message, UserWarning):
    """A program that runs, and probably does not do what was meant.

    Each cause is a subclass with a code and a page of its own. The text begins with the code, so
    that Python's own filters can tell the causes apart::

        warnings.filterwarnings('error', r'\\[LN251\\]')
        warnings.simplefilter('ignore', linnet.errors.UnreadParametersWarning)

    ``linnet.errors.silence`` and the flag ``linnet_sharp_bits`` do the same; a comment
    ``# linnet: allow LN251`` silences a cause in its line.
    """

    def __str__(self) -> str:
        # One line, below which Python shows that of the program.
        *parts, last = self._parts()
        return ' '.join([*(part if part.endswith('?') else f'{part}.' for part in parts), last])

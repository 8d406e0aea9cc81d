"""Errors about programs that were written for Flax (LN8xx)."""

from __future__ import annotations

from collections.abc import Iterable

from linnet.errors._base import LinnetError
from linnet.errors._suggest import did_you_mean, near


class NotInLinnetError(LinnetError, ModuleNotFoundError):
    """A program under ``linnet run`` imports a name of Flax that Linnet does not have.

    Wrong::

        from flax import nnx
        from flax.linen import Dens

    Right::

        from flax import linen as nn
        from flax.linen import Dense

    Reason: Linnet is Flax Linen and what goes with it. NNX, and what came before Linen, are
    outside: such a program runs by ``python`` with Flax installed.
    """

    code = 'LN801'

    def __init__(
        self, name: str, *, why: str = '', mend: str = '', known: Iterable[str] = ()
    ) -> None:
        known = tuple(known)
        parent, _, last = name.rpartition('.')
        other = near(last, known)
        super().__init__(
            f'Linnet has no {name}',
            why=why or did_you_mean(last, known),
            mend=mend or (f'from {parent} import {other}' if other else ''),
        )
        self.name = name

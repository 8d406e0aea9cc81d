"""Errors about the flags of the library (LN7xx)."""

from __future__ import annotations

from collections.abc import Iterable

from linnet.errors._base import LinnetError
from linnet.errors._suggest import did_you_mean, listing, sentences


class UnknownFlagError(LinnetError, LookupError, AttributeError):
    """A flag was named that does not exist.

    Wrong::

        linnet.config.update('flax_return_frozen_dict', True)

    Right::

        linnet.config.update('flax_return_frozendict', True)

    Reason: a flag that nothing reads would change nothing; ``print(linnet.config)`` lists them.
    """

    code = 'LN701'

    def __init__(self, name: object, *, known: Iterable[str] = ()) -> None:
        known = tuple(known)
        super().__init__(
            f'there is no flag {name!r}',
            why=sentences(did_you_mean(name, known), f'The flags are {listing(known)}.'),
            mend='print(linnet.config)',
        )


class FlagValueError(LinnetError, ValueError):
    """A flag was given a value of the wrong kind, often by its environment variable.

    Wrong::

        os.environ['LINNET_PROFILE'] = 'maybe'

    Right::

        os.environ['LINNET_PROFILE'] = '0'

    Reason: a boolean flag is 1, true, yes, on, or 0, false, no, off, in any case of letters; a
    number is written in digits.
    """

    code = 'LN702'

    def __init__(self, name: str, value: object, *, wanted: str, mend: str) -> None:
        super().__init__(f'{name} is {value!r}, which is not {wanted}', mend=f'{name}={mend}')


class FlagTruthError(LinnetError, TypeError):
    """The holder of a flag was used as a condition in place of its value.

    Wrong::

        if configurations.flax_profile: ...

    Right::

        if configurations.flax_profile.value: ...

    Reason: the holder is an object and would always be true; its ``value`` is what is set.
    """

    code = 'LN703'

    def __init__(self, name: str) -> None:
        super().__init__(
            f'the holder of the flag {name!r} was used as a condition',
            mend=f'config.{name}, or {name}.value',
        )


class UnknownCodeError(LinnetError, LookupError):
    """A code was asked for that no error or warning has.

    Wrong::

        linnet.errors.explain('LN999')

    Right::

        print(*linnet.errors.codes())

    Reason: a code is LN and three digits, of which the first is that of the subject.
    """

    code = 'LN704'

    def __init__(self, code: str) -> None:
        super().__init__(
            f'there is no code {code!r}',
            mend='print(*linnet.errors.codes()), or linnet explain without a code',
        )

"""Errors about random streams and their keys (LN1xx)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from linnet.errors._base import LinnetError
from linnet.errors._suggest import SPLITTING, described, listing, near, sentences


class InvalidRngError(LinnetError, ValueError):
    """A random stream is needed and no usable key was given for it.

    Wrong::

        model.apply(variables, x)                    # a Dropout inside draws from 'dropout'

    Right::

        model.apply(variables, x, rngs={'dropout': jax.random.key(1)})

    Reason: every draw comes from a named stream, and a stream is one key that the caller passes
    in ``rngs``. A key is one ``jax.random.key(seed)`` (or one raw key of ``PRNGKey``), never an
    array of keys: ``jax.random.split`` gives several, take one of them for each stream.
    """

    code = 'LN101'

    def __init__(self, msg: str, *, why: str = '', mend: str = '', where: str = '') -> None:
        super().__init__(msg, why=why, mend=mend, where=where)

    @classmethod
    def missing_stream(
        cls,
        stream: str,
        *,
        given: Iterable[str] = (),
        where: str = '',
        initializing: bool = False,
        hidden_by: str = '',
    ) -> InvalidRngError:
        """A module draws from a stream that has no key.

        Args:
            stream: the stream asked for.
            given: the streams that do have a key.
            where: path of the module, where the caller knows it.
            initializing: whether the call was ``init``.
            hidden_by: the lifted transform, as ``nn.scan``, that was not told of the stream
                although a key was passed from outside.
        """
        given = tuple(given)
        what = f'draws from the random stream {stream!r}, no key was given for it'
        mend = f"model.apply(variables, x, rngs={{'{stream}': key}})"
        if hidden_by:
            what = f'draws from the random stream {stream!r}, which {hidden_by} hides from it'
            splits = hidden_by in SPLITTING
            why = f'{hidden_by} passes on only the streams that {"split_" * splits}rngs names'
            mend = f"{hidden_by}(..., split_rngs={{'{stream}': True}})"
            if not splits:
                mend = f'{hidden_by}(..., rngs=True)'
            return cls(what, why=why, mend=mend, where=where)
        if initializing:
            second = next(iter(given), 'dropout') if stream == 'params' else stream
            mend = f"model.init({{'params': key, '{second}': other_key}}, x)"
        other = near(stream, given)
        why = sentences(
            f'the streams given are {listing(given)}' if given else '',
            f'(is {other!r} a misspelling of {stream!r}?)' if other else '',
        )
        return cls(what, why=why, mend=mend, where=where)

    @classmethod
    def not_a_key(cls, stream: Any, value: Any) -> InvalidRngError:
        """What was given for a stream is no single key, or the stream's name is no string."""
        if not isinstance(stream, str):
            return cls(
                f'rngs has the key {stream!r} of type {type(stream).__name__}, which is not the '
                'name of a stream',
                mend="rngs={'dropout': key}",
            )
        what = f'rngs[{stream!r}] is {described(value)}, which is not one key'
        mend = f"rngs={{'{stream}': jax.random.key(seed)}}"
        count = _number_of_keys(value)
        if count is None:
            return cls(what, mend=mend)
        return cls(
            what,
            why=f'it is an array of {count} keys, as jax.random.split gives; '
            'a stream takes a single key',
            mend=f"rngs={{'{stream}': keys[0]}}",
        )

    @classmethod
    def not_rngs(cls, value: Any) -> InvalidRngError:
        """The argument ``rngs`` is neither a key nor a mapping from streams to keys."""
        count = _number_of_keys(value)
        return cls(
            f'rngs is {described(value)}, neither one key nor a dict from stream to key',
            why=f'it is an array of {count} keys, not one key' if count is not None else '',
            mend=_key_mend(value),
        )


def _key_mend(value: Any) -> str:
    """The line that makes a key of what was given in its place."""
    if callable(value):
        return f'{getattr(value, "__name__", "jax.random.key")}(0), which makes a key'
    if isinstance(value, int):
        return f'jax.random.key({value}), or rngs={{"dropout": jax.random.key({value})}}'
    if hasattr(value, 'shape') and _number_of_keys(value) is None:
        return 'model.init(key, x), the key first; or rngs={"dropout": key}'
    return "rngs={'params': key, 'dropout': other_key}"


def _number_of_keys(value: Any) -> int | None:
    """How many keys an array holds along its first axis; None where it is no array of keys."""
    shape, dtype = tuple(getattr(value, 'shape', ())), str(getattr(value, 'dtype', ''))
    typed = dtype.startswith('key<') and len(shape) > 0
    raw = dtype == 'uint32' and len(shape) > 1 and shape[-1] in (2, 4)
    return shape[0] if typed or raw else None

"""Keys: how each draw of randomness gets a key of its own.

A *stream* is a named source of keys. It has a *base* key and a *suffix*, the host-side path by
which its scope differs from the place where the base was given. Each draw folds the suffix and
a running *count* into the base: a SHA-1 digest of both, computed once per path and memoised.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from linnet import struct
from linnet.configurations import config
from linnet.core.ledger import Ledger
from linnet.core.materialize import fold_in
from linnet.errors.randomness import InvalidRngError
from linnet.typing import PRNGFoldable, PRNGKey, RNGSequences


class LazyRng(struct.PyTreeNode):
    """A base key with the path that is still to be folded into it.

    Attributes:
        rng: the base key.
        suffix: strings and ints, folded in by :meth:`as_jax_rng`.
    """

    rng: PRNGKey
    suffix: tuple[PRNGFoldable, ...] = struct.field(pytree_node=False)

    def as_jax_rng(self, fold_in: Callable[..., PRNGKey] = fold_in) -> PRNGKey:
        """The key: the suffix folded into the base, as ``fold_in`` does it."""
        return fold(self.rng, self.suffix, fold_in)

    @staticmethod
    def create(rng: LazyRng | PRNGKey, *suffix: PRNGFoldable) -> LazyRng:
        """Extends a key, or a lazy key, by ``suffix``."""
        if isinstance(rng, LazyRng):
            return LazyRng(rng.rng, rng.suffix + suffix)
        return LazyRng(rng, suffix)

    def clear_suffix(self) -> LazyRng:
        """The base key alone, as a lazy key from whose place paths begin anew."""
        return LazyRng(self.rng, ())


class Counts:
    """How many keys each path has drawn from each stream, in one call of ``init`` or ``apply``.

    All scopes of the call share it, inside and outside of transforms: a path that is met again
    goes on counting where it stopped. The ledger is what else they share, and the programs of
    modules that were met before, and the fields of those met last.
    """

    def __init__(self, ledger: Ledger | None = None) -> None:
        self._by_path: dict[tuple[str, ...], dict[str, int]] = {}
        self.ledger = ledger or Ledger()
        self.programs: dict[Any, Any] = {}
        self.fields: dict[type, Any] = {}

    def at(self, path: tuple[str, ...]) -> dict[str, int]:
        """The counts of one path, by stream."""
        counts = self._by_path.get(path)
        if counts is None:
            counts = self._by_path[path] = {}
            self.ledger.draws(path)
        return counts

    def drawn(self) -> set[str]:
        """The streams from which any path has drawn."""
        return {stream for counts in self._by_path.values() for stream in counts}

    def below(self, path: tuple[str, ...]) -> tuple[Any, ...]:
        """The counts from a path downwards, as a hashable value."""
        return tuple(
            sorted(
                (p, tuple(sorted(counts.items())))
                for p, counts in self._by_path.items()
                if p[: len(path)] == path
            )
        )

    def restore(self, state: tuple[Any, ...]) -> None:
        """Sets counts to what :meth:`below` returned."""
        for path, counts in state:
            self.at(path).update(counts)


def fold(
    base: PRNGKey,
    path: tuple[PRNGFoldable, ...],
    fold_in: Callable[..., PRNGKey] = fold_in,
) -> PRNGKey:
    """Folds a path of strings and ints into a key; an empty path leaves the key as it is."""
    if not path:
        return base
    return fold_in(base, _digest(path, config.flax_fix_rng_separator))


@functools.lru_cache(maxsize=1 << 16, typed=True)
def _digest(path: tuple[PRNGFoldable, ...], separate: bool) -> np.uint32:
    """The first four bytes of the SHA-1 of the path's elements.

    Without the separator ``('a', 'b')`` and ``('ab',)`` have one digest: kept, since masks and
    parameters must stay the same bits as ever.
    """
    sha = hashlib.sha1(usedforsecurity=False)
    for element in path:
        if separate:
            sha.update(b'\0')
        if isinstance(element, str):
            sha.update(element.encode('utf-8'))
        else:
            sha.update(element.to_bytes((element.bit_length() + 7) // 8, byteorder='big'))
    return np.uint32(int.from_bytes(sha.digest()[:4], byteorder='big'))


def as_streams(rngs: Any) -> RNGSequences:
    """Names and checks the keys that a user gave: a dict by stream, or one key for ``params``.

    Args:
        rngs: ``None``, a key, or a mapping of names of streams to keys.

    Raises:
        InvalidRngError: something in ``rngs`` is no key, or not one key.
    """
    if rngs is None:
        return {}
    if not isinstance(rngs, Mapping):
        if not is_key(rngs):
            raise InvalidRngError.not_rngs(rngs)
        return {'params': rngs}
    for stream, key in rngs.items():
        if not isinstance(stream, str) or not is_key(key):
            raise InvalidRngError.not_a_key(stream, key)
    return dict(rngs)


def is_key(key: Any) -> bool:
    """Tells whether a value is one key: typed, raw words of the default generator, or lazy."""
    if isinstance(key, LazyRng):
        return True
    dtype, shape = getattr(key, 'dtype', None), getattr(key, 'shape', None)
    if dtype is None or shape is None:
        return False
    if jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        return shape == ()
    return dtype == np.uint32 and shape == _raw_key_shape(jax.config.jax_default_prng_impl)


@functools.lru_cache
def _raw_key_shape(impl: str) -> tuple[int, ...]:
    """Shape of the words of one key of the generator ``impl``."""
    return jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=impl))).shape

"""How keys are derived: the rule as constants.

A drawing folds one number into the key of its stream: the first four bytes of the SHA-1 digest of
the names on the path, in UTF-8, and of the count, big-endian in as few bytes as hold it.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.configurations import config


class Drawing(NamedTuple):
    """The ``count``-th call of ``make_rng(stream)`` at a path, and what it gives."""

    seed: int
    stream: str
    path: tuple[str, ...]
    count: int
    folded: int
    key: tuple[int, int]


DRAWINGS = [
    Drawing(0, 'params', (), 1, 0xBF8B4530, (0x5527B11E, 0xC7BE436D)),
    Drawing(0, 'params', ('Dense_0',), 1, 0xB2B71315, (0xB5672C9F, 0xDA530980)),
    Drawing(0, 'params', ('Dense_0',), 2, 0x8916588A, (0xAD93E90A, 0xD97750F8)),
    Drawing(1, 'dropout', ('enc', 'Dropout_0'), 1, 0x58F240DA, (0x009045B7, 0x5B2BBC4F)),
    Drawing(1, 'dropout', ('enc', 'Dropout_0'), 2, 0x1A29A633, (0xA9925F73, 0x55B8177B)),
    Drawing(7, 'noise', ('a', 'b'), 1, 0xA3538C90, (0x07CFABE1, 0x1EF6E77B)),
    Drawing(7, 'noise', ('ab',), 1, 0xA3538C90, (0x07CFABE1, 0x1EF6E77B)),
    Drawing(7, 'noise', ('größe',), 3, 0x6FFD1846, (0x555D17FF, 0xABB4F70D)),
    Drawing(42, 'params', ('Dense_0',), 256, 0xF4F98E19, (0x9BD62910, 0xB163E248)),
]

# With flax_fix_rng_separator a zero byte goes before every name and count, so no two paths meet.
SEPARATED = [
    Drawing(7, 'noise', ('a', 'b'), 1, 0x7E83DD75, (0xCEBB75E0, 0x75E81768)),
    Drawing(7, 'noise', ('ab',), 1, 0x6A12908A, (0xF8A54CA1, 0x40D4B128)),
    Drawing(42, 'params', ('Dense_0',), 256, 0xB97F8762, (0xBBB84ABA, 0x728A98DE)),
]

both_kinds = pytest.mark.parametrize('new_key', [jax.random.key, jax.random.PRNGKey])


class At(nn.Module):
    """Draws several keys at a path below, and returns the last."""

    below: tuple[str, ...]
    stream: str
    count: int

    @nn.compact
    def __call__(self) -> Any:
        if self.below:
            return At(self.below[1:], self.stream, self.count, name=self.below[0])()
        return [self.make_rng(self.stream) for _ in range(self.count)][-1]


def draw(drawing: Drawing, rngs: dict[str, Any]) -> Any:
    return At(drawing.path, drawing.stream, drawing.count).apply({}, rngs=rngs)


def digest(drawing: Drawing, separator: bytes = b'') -> int:
    count = drawing.count.to_bytes((drawing.count.bit_length() + 7) // 8, 'big')
    parts = [*(name.encode() for name in drawing.path), count]
    text = b''.join(separator + part for part in parts)
    return int.from_bytes(hashlib.sha1(text).digest()[:4], 'big')


def words(key: Any) -> tuple[int, ...]:
    """The bits of a key of either kind."""
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return tuple(map(int, jax.random.key_data(key) if typed else key))


@both_kinds
@pytest.mark.parametrize('drawing', DRAWINGS)
def test_drawing(drawing: Drawing, new_key: Any) -> None:
    base = new_key(drawing.seed)
    key = draw(drawing, {drawing.stream: base})
    assert words(key) == drawing.key
    assert key.dtype == base.dtype


@pytest.mark.parametrize('drawing', SEPARATED)
def test_drawing_with_separators(drawing: Drawing) -> None:
    with config.temp_flip_flag('fix_rng_separator', True):
        assert words(draw(drawing, {drawing.stream: jax.random.key(drawing.seed)})) == drawing.key
    assert digest(drawing, b'\0') == drawing.folded


@pytest.mark.parametrize('drawing', DRAWINGS)
def test_the_constants_follow_the_rule(drawing: Drawing) -> None:
    assert digest(drawing) == drawing.folded
    folded = jax.random.fold_in(jax.random.key(drawing.seed), np.uint32(drawing.folded))
    assert words(folded) == drawing.key


@both_kinds
def test_params_stands_in_for_a_stream_that_was_not_given(new_key: Any) -> None:
    for drawing in DRAWINGS:
        assert words(draw(drawing, {'params': new_key(drawing.seed)})) == drawing.key


@both_kinds
def test_each_parameter_draws_once_in_the_order_of_the_calls(new_key: Any) -> None:
    keys = []

    def init(key: Any, shape: Any, dtype: Any) -> Any:
        keys.append(words(key))
        return jnp.zeros(shape, dtype)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.Dense(2, kernel_init=init, bias_init=init)(x)

    Net().init(new_key(0), jnp.ones((1, 2)))
    assert keys == [
        drawing.key for drawing in DRAWINGS if drawing[:3] == (0, 'params', ('Dense_0',))
    ]

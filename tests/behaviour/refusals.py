"""Makes models in which a mistake lies two modules deep, and checks how it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import linnet.linen as nn
from linnet import errors

KEY = jax.random.key(0)
X = np.ones((2, 4), np.float32)


class Block(nn.Module):
    """Two modules below the root, so that a path has three parts."""

    make: Callable[[], Any]

    @nn.compact
    def __call__(self, x):
        return self.make()(x)


class Net(nn.Module):
    make: Callable[[], Any]

    @nn.compact
    def __call__(self, x):
        return Block(self.make, name='block')(x)


def deep(make: Callable[[], Any]) -> Net:
    """A model that holds what ``make`` makes as ``/block/<Class>_0``."""
    return Net(make)


def body(call: Callable[[Any, Any], Any], **more: Any) -> Any:
    """A model whose ``/block/Body_0`` does what the function says, as its compact method."""

    class Body(nn.Module):
        width: int = 3

        def setup(self):
            more.get('setup', lambda self: None)(self)

        @nn.compact
        def __call__(self, x):
            return call(self, x)

    return deep(Body)


def refuses(program: Callable[[], Any], error: type[Exception], *words: str) -> str:
    """Asserts that the program fails with the error and that its message holds the words."""
    with pytest.raises(error) as info:
        program()
    message = str(info.value)
    assert isinstance(info.value, errors.LinnetError), f'{info.value!r}'
    for word in words:
        assert word in message, f'{word!r} is missing in:\n{message}'
    return message

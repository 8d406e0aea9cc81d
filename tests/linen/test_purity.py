"""What is proved of code, what is not, and which values are one."""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet._frozen_field import FrozenField
from linnet.linen.module.purity import Unproved, identity, proof_of

HERE = sys.modules[__name__]
LIST: list[Any] = []
OPERATIONS = (math.sqrt, np.square, functools.partial(jnp.sum, axis=0))
WORDS = frozenset({'a'})


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Sizes:
    width: int = 3
    rates: tuple[float, ...] = (0.1,)

    @property
    def double(self) -> int:
        return 2 * self.width


@dataclasses.dataclass
class Loose:
    width: int = 3


class Pure(nn.Module):
    sizes: Sizes = Sizes()
    act: Any = nn.gelu
    table: Any = dataclasses.field(default_factory=dict)
    constant = (1, 2.0, Color.RED)

    @property
    def width(self) -> int:
        return self.sizes.double

    @staticmethod
    def doubled(x: Any) -> Any:
        return 2 * x

    @classmethod
    def halved(cls, x: Any) -> Any:
        return x / 2

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return OPERATIONS[1](helper(x)) + len(WORDS) + HERE.helper(x)


class MadeByAFactory(nn.Module):
    table: Any = dataclasses.field(default_factory=lambda: LIST)


@jax.jit
def helper(x: Any, *, power: int = 2) -> Any:
    return sized(x**power)


def sized(x: Any) -> Any:
    return x * SIZES.width + METHOD(x)


SIZES = Sizes()
METHOD = Pure.halved


def of_a_list() -> Any:
    return LIST


def of_a_module_of_ours() -> Any:
    return HERE


def of_a_loose_dataclass() -> Any:
    return LOOSE


LOOSE = Loose()


def of_a_layer() -> Any:
    return LAYER


LAYER = nn.Dense(3)


def of_a_method() -> Any:
    return APPEND(1)


APPEND = LIST.append


def of_an_object() -> Any:
    return OBJECT()


class Callable:
    def __call__(self) -> Any:
        return None


OBJECT = Callable()


def assigning(x: Any) -> None:
    x.width = 1


def deleting(x: Any) -> None:
    del x.width


def nonlocally() -> Any:
    count = 0

    def inner() -> None:
        nonlocal count
        count += 1

    return inner


def not_yet_there() -> Any:
    def inner() -> Any:
        return later

    proof = inner
    if LIST:
        later = 1
    return proof


def test_a_class_is_proved_once_and_as_long_as_its_names_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proof = proof_of(Pure)
    assert proof_of(Pure) is proof
    monkeypatch.setattr(HERE, 'SIZES', Sizes(4))
    assert not proof.holds()
    assert proof_of(Pure) is not proof


@pytest.mark.parametrize(
    'thing',
    [
        of_a_list,
        of_a_module_of_ours,
        of_a_loose_dataclass,
        of_a_layer,
        of_a_method,
        of_an_object,
        assigning,
        deleting,
        nonlocally,
        not_yet_there(),
        MadeByAFactory,
    ],
    ids=lambda thing: thing.__qualname__,
)
def test_these_are_not_proved(thing: Any) -> None:
    for _ in range(2):
        with pytest.raises(Unproved):
            proof_of(thing)


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        (np.float32(1), np.float64(1)),
        ((1,), (1.0,)),
        (Sizes(3), Sizes(True)),
        (nn.initializers.normal(0.1), nn.initializers.normal(0.2)),
        (functools.partial(sized, 1), functools.partial(sized, 2)),
        (FrozenField(a=1), FrozenField(a=2)),
        (Color.RED, 1),
        (nn.relu, nn.gelu),
        (jnp.float32, jnp.bfloat16),
        (None, ...),
    ],
)
def test_what_is_equal_is_one_and_what_differs_is_two(one: Any, other: Any) -> None:
    assert identity(one) == identity(one)
    assert hash(identity(one)) == hash(identity(one))
    assert identity(one) != identity(other)


def test_factories_of_jax_give_one_initialiser_for_equal_arguments() -> None:
    assert identity(nn.initializers.normal(0.1)) == identity(nn.initializers.normal(0.1))


@pytest.mark.parametrize('value', [[1], {}, np.ones(2), jnp.ones(2), LAYER, LOOSE, OBJECT])
def test_what_may_change_has_no_identity(value: Any) -> None:
    with pytest.raises(Unproved):
        identity(value)

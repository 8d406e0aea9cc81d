"""Sequential: how arguments travel, and what it says of a layer that does not take them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

import linnet.linen as nn
from linnet.errors import InvalidOptionError
from linnet.linen import FrozenDict

KEY = jax.random.key(0)
X = jnp.ones((2, 3))


class Pair(NamedTuple):
    a: int
    b: int


class Spy:
    """A layer that records what it was called with."""

    def __init__(self, returns: Any = None) -> None:
        self.returns = returns
        self.calls: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((args, kwargs))
        return self.returns


@pytest.mark.parametrize(
    ('returned', 'expected'),
    [
        (1, ((1,), {})),
        ((1, 2), ((1, 2), {})),
        ((), ((), {})),
        ([1, 2], (([1, 2],), {})),
        (Pair(1, 2), ((1, 2), {})),
        ({'a': 1}, ((), {'a': 1})),
        (OrderedDict(a=1), ((), {'a': 1})),
        (FrozenDict(a=1), ((FrozenDict(a=1),), {})),
        (None, ((None,), {})),
    ],
)
def test_what_is_returned_becomes_the_arguments_of_the_next(returned: Any, expected: Any) -> None:
    first, second = Spy(returned), Spy('the end')
    assert nn.Sequential([first, second]).apply({}, 1, 2, z=3) == 'the end'
    assert first.calls == [((1, 2), {'z': 3})]
    assert second.calls == [expected]


def test_the_last_result_is_returned_as_it_is() -> None:
    assert nn.Sequential([Spy({'a': 1})]).apply({}) == {'a': 1}


def test_names_of_parameters() -> None:
    model = nn.Sequential((nn.Dense(4), nn.relu, nn.Sequential([nn.Dense(2)])))
    shapes = jax.tree.map(jnp.shape, model.init(KEY, X)['params'])
    assert shapes == {
        'layers_0': {'kernel': (3, 4), 'bias': (4,)},
        'layers_2': {'layers_0': {'kernel': (4, 2), 'bias': (2,)}},
    }


@pytest.mark.filterwarnings('ignore::linnet.errors.SameInstanceWarning')
def test_a_layer_that_is_used_twice_has_one_set_of_parameters() -> None:
    layer = nn.Dense(3)
    assert list(nn.Sequential([layer, layer]).init(KEY, X)['params']) == ['layers_0']


@pytest.mark.parametrize('layers', [3, {'a': nn.Dense(3)}, nn.Dense(3), iter([nn.Dense(3)])])
def test_layers_that_are_no_sequence(layers: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r'not a list or tuple[\s\S]*nn.Sequential\(\['):
        nn.Sequential(layers)


def test_no_layers() -> None:
    with pytest.raises(InvalidOptionError, match='Sequential has no layers'):
        nn.Sequential([]).apply({}, X)


@pytest.mark.parametrize(
    ('layer', 'said'),
    [
        (3, r'layers_1 \(int\)'),
        (None, r'layers_1 \(NoneType\)'),
        (nn.Dense, r'layers_1 \(Dense\)[\s\S]*Dense\(\.\.\.\)'),
    ],
)
def test_a_layer_that_cannot_be_called(layer: Any, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=f'Sequential cannot call {said}'):
        nn.Sequential([nn.Dense(3), layer]).init(KEY, X)


@pytest.mark.parametrize('first', [nn.Dense(4), nn.relu])
def test_keywords_that_the_first_layer_does_not_take(first: Any) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        nn.Sequential([first, nn.Dropout(0.5)]).init(KEY, X, deterministic=True)
    said = str(caught.value)
    assert f'layers_0 ({"Dense" if first != nn.relu else "relu"}) of Sequential' in said
    assert "['deterministic']" in said
    assert 'the first layer only' in said
    assert 'nn.Dropout(0.5, deterministic=True)' in said


def test_keywords_that_the_first_layer_takes() -> None:
    model = nn.Sequential([nn.Dropout(0.5), nn.Dense(4)])
    assert model.init_with_output(KEY, X, deterministic=True)[0].shape == (2, 4)


@pytest.mark.parametrize(
    ('returned', 'said'),
    [((X, X), 'a tuple'), ({'y': X}, 'a dict')],
)
def test_a_result_that_the_next_layer_does_not_take(returned: Any, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=r'layers_1 \(Dense\)') as caught:
        nn.Sequential([Spy(returned), nn.Dense(4)]).init(KEY, X)
    assert f'layers_0 (Spy) returned {said}' in str(caught.value)


def test_an_error_inside_a_layer_stays_as_it_is() -> None:
    def fails(x: Any) -> Any:
        return x + 'text'

    with pytest.raises(TypeError, match=r'text|str') as caught:
        nn.Sequential([fails]).apply({}, 1)
    assert type(caught.value) is TypeError


def test_an_error_inside_a_builtin_stays_as_it_is() -> None:
    with pytest.raises(TypeError, match='iterable'):
        nn.Sequential([dict]).apply({}, 1)

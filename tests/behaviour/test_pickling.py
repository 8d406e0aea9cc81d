"""Modules travel between processes and survive copies: what comes back equals what went."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import jax
import numpy as np
import pytest

import linnet.linen as nn

KEY = jax.random.key(0)
X = np.ones((2, 4), np.float32)


def double(x):
    return 2 * x


class Net(nn.Module):
    """A model of the user's own, with a module and a list among its fields."""

    head: nn.Module
    sizes: Any = (3, 4)

    def setup(self):
        self.layers = [nn.Dense(n) for n in self.sizes]

    def __call__(self, x):
        for layer in self.layers:
            x = nn.relu(layer(x))
        return self.head(x)


MODULES = {
    'layer': nn.Dense(3),
    'options': nn.Dense(3, use_bias=False, dtype='bfloat16', bias_init=nn.initializers.ones),
    'sequential': nn.Sequential((nn.Dense(3), double, nn.LayerNorm())),
    'own': Net(nn.Dense(2, name='x'), sizes=(2, 3)),
}


def _round_trips(module: Any) -> list[Any]:
    return [
        pickle.loads(pickle.dumps(module)),
        copy.copy(module),
        copy.deepcopy(module),
    ]


@pytest.mark.parametrize('name', MODULES)
def test_round_trip(name: str) -> None:
    module = MODULES[name]
    for again in _round_trips(module):
        assert again == module
        assert hash(again) == hash(module)
        assert repr(again) == repr(module)
        jax.tree.map(np.testing.assert_array_equal, module.init(KEY, X), again.init(KEY, X))


@pytest.mark.parametrize('name', MODULES)
def test_cloudpickle(name: str) -> None:
    """By value too: what the other process knows nothing of comes along."""
    cloudpickle = pytest.importorskip('cloudpickle')
    module = MODULES[name]
    again = cloudpickle.loads(cloudpickle.dumps(module))
    assert repr(again) == repr(module)
    jax.tree.map(np.testing.assert_array_equal, module.init(KEY, X), again.init(KEY, X))


def test_a_bound_module_keeps_its_variables() -> None:
    module = MODULES['own']
    bound = module.bind(module.init(KEY, X))
    expected = bound(X)
    for again in (copy.deepcopy(bound), pickle.loads(pickle.dumps(bound))):
        np.testing.assert_array_equal(again(X), expected)


def test_a_class_made_in_a_function() -> None:
    cloudpickle = pytest.importorskip('cloudpickle')

    class Local(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.width)(x)

    again = cloudpickle.loads(cloudpickle.dumps(Local(3)))
    np.testing.assert_array_equal(
        again.init_with_output(KEY, X)[0], Local(3).init_with_output(KEY, X)[0]
    )

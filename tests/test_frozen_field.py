"""A dict in a field of a module: a dict, and frozen."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import linnet.linen as nn
from linnet import serialization
from linnet._frozen_dict import FrozenDict, freeze, unfreeze
from linnet._frozen_field import FrozenField
from linnet.errors import FrozenDictError

FIELD = FrozenField(b=1, a=FrozenField(c=2))


def test_a_module_sees_a_dict() -> None:
    class Net(nn.Module):
        config: Any

        @nn.compact
        def __call__(self) -> Any:
            assert isinstance(self.config, dict)
            assert isinstance(self.config['inner'], dict)
            assert isinstance(self.config, FrozenDict)
            assert hash(self.config) == hash(FrozenDict(inner=FrozenDict(width=3)))
            return self.config

    assert Net({'inner': {'width': 3}}).apply({}) == {'inner': {'width': 3}}


def test_it_equals_what_it_holds() -> None:
    plain = {'a': {'c': 2}, 'b': 1}
    for other in (plain, freeze(plain), FIELD):
        assert other == FIELD
    assert FIELD != {'b': 1}
    assert FIELD != 3
    assert repr(FIELD) == repr(FrozenDict(b=1, a={'c': 2}))
    assert json.loads(json.dumps(FIELD)) == plain
    assert unfreeze(FIELD) == FIELD.unfreeze() == plain
    assert type(FIELD.unfreeze()['a']) is dict
    assert serialization.from_state_dict(FIELD, serialization.to_state_dict(FIELD)) == FIELD


@pytest.mark.parametrize(
    'copied', [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies(copied: Any) -> None:
    assert type(copied(FIELD)) is FrozenField
    assert copied(FIELD) == FIELD


def test_it_is_changed_by_copying_only() -> None:
    assert FIELD.copy({'b': 3}) == {'b': 3, 'a': {'c': 2}}
    assert FIELD.pop('b') == ({'a': {'c': 2}}, 1)
    field: Any = FIELD
    for change in (
        lambda: field.update(b=2),
        lambda: field.clear(),
        lambda: field.setdefault('c', 3),
        lambda: field.popitem(),
        lambda: field.__setitem__('b', 2),
        lambda: field.__delitem__('b'),
        lambda: field.__ior__({'b': 2}),
    ):
        with pytest.raises(FrozenDictError, match=r'LN610.*changed'):
            change()


def test_it_is_a_tree() -> None:
    doubled = jax.tree.map(lambda x: 2 * x, FIELD)
    assert type(doubled) is FrozenField
    assert doubled == {'a': {'c': 4}, 'b': 2}
    paths = jax.tree_util.tree_flatten_with_path(FIELD)[0]
    assert [jax.tree_util.keystr(path) for path, _ in paths] == ["['a']['c']", "['b']"]
    assert jax.jit(lambda x: x)(FrozenField(x=jnp.ones(2)))['x'].shape == (2,)

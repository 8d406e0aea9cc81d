"""The small classes among the names of types."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linnet import typing


def test_missing_names_itself():
    assert repr(typing.MISSING) == 'MISSING'


def test_keys_are_hashable_and_ordered():
    assert [typing.is_key_like(x) for x in ('a', 1, (1,), [1], {})] == [True] * 3 + [False] * 2


def test_a_mapping_that_hashes():
    mapping = typing.HashableMapping({'a': 1})
    assert {mapping: 1}[typing.HashableMapping({'a': 1})] == 1
    assert 'a' in mapping
    assert 'b' not in mapping
    assert mapping != {'a': 1}
    assert len(mapping.update({'b': 2})) == 2
    assert dict(mapping) == {'a': 1}


@pytest.mark.parametrize(
    ('count', 'text'),
    [(1000, '1,000 B'), (1001, '1.0 KB'), (10**6, '1,000.0 KB'), (2 * 10**9, '2.0 GB')],
)
def test_sizes_print_with_a_unit(count, text):
    assert repr(typing.SizeBytes(7, count)) == f'7 ({text})'


def test_sizes_add_up_over_a_tree():
    tree = {'a': jnp.ones((2, 3)), 'b': [np.ones(2, np.int8), 'no array']}
    assert typing.SizeBytes.from_any(tree) == typing.SizeBytes(8, 26)


def test_a_deque_is_a_pytree():
    items = jax.tree.map(lambda x: x + 1, typing.PytreeDeque([1, 2]))
    assert type(items) is typing.PytreeDeque
    assert list(items) == [2, 3]


def test_a_setting_may_hold_any_value():
    class Setting(typing.BaseConfigContext):
        stack: list = []  # noqa: RUF012 - one stack for the class is the point

        @classmethod
        def get_default(cls):
            return 'default'

        @classmethod
        def get_stack(cls):
            return cls.stack

    with Setting(None):
        assert Setting.current_value() is None
    assert Setting.current_value() == 'default'

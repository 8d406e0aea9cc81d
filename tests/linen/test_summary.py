"""Tables of models: what is ours alone, and how values are written."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import linnet.linen as nn
from linnet.errors import InvalidInstanceModuleError
from linnet.linen import _summary_text as text
from linnet.linen.summary import _get_module_table

KEY = jax.random.key(0)
PLAIN = {'width': 160, 'force_terminal': False}


def test_shapes_are_enough() -> None:
    shown = nn.Dense(4).tabulate(
        KEY, jax.ShapeDtypeStruct((2, 3), jnp.float32), console_kwargs=PLAIN
    )
    assert shown == nn.Dense(4).tabulate(KEY, jnp.ones((2, 3)), console_kwargs=PLAIN)
    assert 'Total Parameters: 16 (64 B)' in shown


def test_a_class_has_no_table() -> None:
    with pytest.raises(InvalidInstanceModuleError, match='tabulate'):
        nn.Dense.tabulate(KEY, jnp.ones((2, 3)))


def test_a_model_without_variables() -> None:
    assert 'Total Parameters:' in nn.Sequential([nn.relu]).tabulate(KEY, jnp.ones(3))


def test_calls_of_an_apply_inside_have_no_row() -> None:
    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x):
            inner = nn.Dense(2, parent=None)
            return inner.apply(inner.init(jax.random.key(1), x), x)

    table = _get_module_table(Outer(), None, False, False, False)(KEY, jnp.ones((1, 3)))
    assert [row.path for row in table] == [()]


def test_columns_are_in_the_order_of_making() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.variable('z', 'a', lambda: jnp.zeros(3, jnp.int8))
            return nn.Dense(2)(x)

    table = _get_module_table(Net(), None, False, False, False)(KEY, jnp.ones((1, 3)))
    assert table.collections == ('z', 'params')
    assert table[0].size_and_bytes(table.collections) == {'z': (3, 3), 'params': (0, 0)}


@pytest.mark.parametrize(
    ('count', 'shown'),
    [(0, ''), (3, '3 (12 B)'), (250, '250 (1.0 KB)'), (1_000_000, '1,000,000 (4.0 MB)')],
)
def test_sizes(count: int, shown: str) -> None:
    assert text.size_text({'w': jax.ShapeDtypeStruct((count,), jnp.float32)}) == shown


def test_outline() -> None:
    tree = {'a': (1, {'b': [2, []]}), 'c': {}}
    assert text.outline(tree) == 'a:\n- 1\n- b:\n  - 2\n  - []\nc: {}'


def test_costs_of_a_model_that_returns_more_than_arrays() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(x), 'text', 3

    table = _get_module_table(Net(), None, False, True, True)(KEY, jnp.ones((1, 3)))
    assert [row.flops for row in table] == [14, 14]  # 6 products, 6 sums, 2 of the bias
    assert all(row.vjp_flops > row.flops for row in table)


def test_a_long_path_is_folded_and_not_cut() -> None:
    layer = nn.MultiHeadDotProductAttention(2, name='attention_with_a_long_name')
    text = layer.tabulate(
        KEY, jnp.ones((2, 3, 4)), console_kwargs={'width': 60, 'force_terminal': False}
    )
    assert '…' not in text
    paths = [line.split('│')[1].strip() for line in text.splitlines() if line.startswith('│')]
    assert 'query' in ''.join(paths)

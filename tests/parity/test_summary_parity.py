"""Tables of models: the rows, sizes and costs of the oracle."""

from __future__ import annotations

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import pytest

flax = pytest.importorskip('flax')

X = jnp.ones((2, 3))
KEY = jax.random.key(0)


def deep(nn: Any) -> Any:
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, train=True, *, scale=None):
            x = nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(x))
            again = nn.Dense(4)
            return {'a': again(again(x)), 'b': (x, None)}

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train=True):
            boxed = nn.with_partitioning(nn.initializers.ones, ('embed',))
            x = x * self.param('scale', boxed, (3,))
            return Block()(x, train, scale=jnp.ones(2))

    return Net()


def methods(nn: Any) -> Any:
    class Part(nn.Module):
        def setup(self):
            self.dense = nn.Dense(4)

        def encode(self, x):
            return self.dense(x)

        def __call__(self, x):
            return self.encode(x), nn.relu(x)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            part = Part(name='part')
            self.variable('state', 'count', lambda: jnp.zeros((), jnp.int32))
            self.sow('intermediates', 'x', x)
            return [part.encode(x)], (), {}, 3, 'text', part(x)

    return Net()


def layers(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.MultiHeadAttention(num_heads=1, qkv_features=2)(x[None])
            words = nn.Embed(5, 3)(jnp.array([1, 2]))
            return nn.LayerNorm()(nn.Conv(3, (2,))(x)), words

    return Net()


def constant(nn: Any) -> Any:
    """Some of the work does not depend on the inputs."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x) + nn.make_causal_mask(jnp.ones((2, 8))).sum()

    return Net()


def structured(nn: Any) -> Any:
    """Values of dataclasses go in and out, and dicts that are not in the order of their keys."""
    struct = importlib.import_module(nn.__name__.replace('linen', 'struct'))

    @struct.dataclass
    class Pair:
        b: Any
        a: Any
        n: int = struct.field(pytree_node=False, default=3)

    class Part(nn.Module):
        @nn.compact
        def __call__(self, pair):
            return {'z': nn.Dense(2)(pair.a), 'b': Pair(b=[pair], a=None)}

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Part()(Pair(b=2.0, a=x))

    return Net()


def looping(nn: Any) -> Any:
    """A loop over a method of the model itself, in which the layer is made."""

    class Net(nn.Module):
        @nn.compact
        def step(self, carry, x):
            return carry, nn.Dense(3)(x)

        def __call__(self, x):
            loop = nn.scan(Net.step, variable_broadcast='params', split_rngs={'params': False})
            return loop(self, jnp.zeros(()), x)

    return Net()


def shown(leaf: Any) -> str:
    """A leaf of inputs or outputs: an array by shape and dtype, another by itself."""
    if hasattr(leaf, 'shape'):
        return f'{leaf.dtype}{tuple(leaf.shape)}'
    return str(leaf.obj)


def rows(name: str, build: Any, *args: Any, **options: Any) -> list[Any]:
    nn = importlib.import_module(f'{name}.linen')
    summary = importlib.import_module(f'{name}.linen.summary')
    options = {
        'depth': None, 'show_repeated': False, 'compute_flops': False, 'compute_vjp_flops': False,
        **options,
    }  # fmt: skip
    table = summary._get_module_table(build(nn), **options)(KEY, *args)
    assert type(table).__name__ == 'Table'
    return [
        (
            row.path,
            row.method,
            type(row.module_copy).__name__,
            jax.tree.map(shown, (row.inputs, row.outputs)),
            row.size_and_bytes(sorted(table.collections)),
            (row.flops, row.vjp_flops),
        )
        for row in table
    ]


@pytest.mark.parametrize(
    'options', [{}, {'depth': 1}, {'depth': 0}, {'show_repeated': True}], ids=str
)
@pytest.mark.parametrize('build', [deep, methods, layers, looping])
def test_rows(build: Any, options: dict[str, Any]) -> None:
    assert rows('linnet', build, X, **options) == rows('flax', build, X, **options)


@pytest.mark.parametrize('build', [deep, layers, constant])
def test_costs(build: Any) -> None:
    options = {'compute_flops': True, 'compute_vjp_flops': True}
    assert rows('linnet', build, X, **options) == rows('flax', build, X, **options)


@pytest.mark.parametrize('build', [methods, layers, structured, looping])
def test_text(build: Any) -> None:
    """The drawn table has the same words, whatever the order of the collections' columns."""

    def words(name: str) -> list[str]:
        nn = importlib.import_module(f'{name}.linen')
        options = {'console_kwargs': {'width': 200, 'force_terminal': False}}
        text = build(nn).tabulate(KEY, X, **options)
        assert text == nn.tabulate(build(nn), KEY, **options)(X)
        return sorted(text.replace('│', ' ').replace('━', '─').split())

    plain = [w for w in words('linnet') if not set(w) & set('─┏┳┓┡╇┩├┼┤└┴┘')]
    assert plain == [w for w in words('flax') if not set(w) & set('─┏┳┓┡╇┩├┼┤└┴┘')]

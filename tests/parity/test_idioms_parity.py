"""Idioms of programs in the wild: the same parameters, outputs and gradients in both libraries."""

from __future__ import annotations

import collections
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as linnet_nn
from tests.parity.harness import Library, same

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (2, 7, 12))


def _partial_of_a_class(lib: Library, name: str) -> Any:
    nn: Any = lib.nn

    class Net(nn.Module):
        width: int
        depth: int = 1

        @nn.compact
        def __call__(self, x: Any) -> Any:
            for _ in range(self.depth):
                x = nn.Dense(self.width)(x)
            return x

    options: dict[str, Any] = {}
    if name == 'vmap':
        options = {'variable_axes': {'params': 0}, 'split_rngs': {'params': True}}
        options |= {'in_axes': None, 'axis_size': 3}
    lifted = getattr(nn, name)(functools.partial(functools.partial(Net, 5), depth=2), **options)

    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return lifted()(x), lifted(depth=1)(x)

    return Outer().init_with_output(KEY, X)


@pytest.mark.parametrize('name', ['vmap', 'remat', 'checkpoint', 'jit'])
def test_a_partial_of_a_class_is_lifted(name: str) -> None:
    same(lambda lib: _partial_of_a_class(lib, name))


def test_map_variables_sees_dicts_in_the_order_of_their_keys() -> None:
    def run(lib: Library) -> Any:
        nn: Any = lib.nn
        seen = []

        class M(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                def enter(v: Any) -> Any:
                    params = v.get('params', {})
                    seen.append(list(params))
                    return {'params': {n: a + i for i, (n, a) in enumerate(params.items())}}

                def leave(v: Any) -> Any:
                    seen.append(list(v.get('params', {})))
                    return {'params': dict(reversed(v['params'].items()))} if v else v

                mapped = nn.map_variables(nn.Dense, 'params', enter, leave, init=True)
                return mapped(2, name='d')(x)

        variables = M().init(KEY, X)
        given = {'params': {'d': {'kernel': jnp.ones((12, 2)), 'bias': jnp.ones(2)}}}
        return list(variables['params']['d']), variables, M().apply(given, X), set(map(str, seen))

    same(run)


def test_who_watches_a_method_with_a_name_scope() -> None:
    def run(lib: Library) -> Any:
        nn: Any = lib.nn

        class M(nn.Module):
            @nn.compact_name_scope
            def attend(self, x: Any) -> Any:
                return nn.Dense(2)(x)

            @nn.compact
            def __call__(self, x: Any) -> Any:
                return self.attend(x)

        def doubled(fn: Any, args: Any, kwargs: Any, context: Any) -> Any:
            y = fn(*args, **kwargs)
            return y * 2 if isinstance(context.module, M) else y

        variables = M().init(KEY, X)
        with nn.intercept_methods(doubled):
            y = M().apply(variables, X)
        captured = M().apply(
            variables, X, capture_intermediates=lambda *_: True, mutable=['intermediates']
        )
        return y, captured, M().apply(variables, X, method='attend')

    same(run)


@pytest.mark.parametrize('static', [0, (0, 2), 2])
def test_self_among_the_static_arguments(static: Any) -> None:
    def run(lib: Library) -> Any:
        nn: Any = lib.nn

        class B(nn.Module):
            @nn.compact
            def __call__(self, x: Any, train: Any) -> Any:
                return nn.Dense(2)(x) if static == 0 or train else x

        return nn.jit(B, static_argnums=static)().init_with_output(KEY, X, True)

    same(run)


def test_all_that_a_recurrent_layer_calls_is_captured() -> None:
    def run(lib: Library) -> Any:
        nn: Any = lib.nn
        layer = nn.RNN(nn.GRUCell(3))
        variables = layer.init(KEY, X)
        everything = {'capture_intermediates': lambda *_: True, 'mutable': ['intermediates']}
        return jax.jit(lambda v: layer.apply(v, X, **everything))(variables)

    same(run)


@pytest.mark.parametrize('name', ['fn', 'module', 'orig_method', 'scopes', 'bound'])
def test_arguments_may_have_any_name(name: str) -> None:
    def run(lib: Library) -> Any:
        nn: Any = lib.nn
        namespace: dict[str, Any] = {'nn': nn}
        text = f'def __call__(self, x, *, {name}): return nn.Dense(2)(x) * {name}'
        exec(text, namespace)
        body = nn.compact(namespace['__call__'])
        net = type(nn.Module)('Net', (nn.Module,), {'__call__': body, '__module__': __name__})()
        given = {name: 2.0}
        variables = net.init(KEY, X, **given)
        table = nn.tabulate(net, KEY)(X, **given)
        return variables, net.apply(variables, X, **given), 'Dense_0' in table

    same(run)


@pytest.mark.parametrize('inner', ['vmap', 'grad'])
@pytest.mark.parametrize('outer', ['', 'vmap', 'scan', 'jit', 'remat'])
@pytest.mark.parametrize('layer', ['Dense', 'LayerNorm'])
def test_a_layer_is_made_inside_of_a_transform_of_jax(inner: str, outer: str, layer: str) -> None:
    """As mixtures of experts do it; the first values of biases and scales are constants."""

    def run(lib: Library) -> Any:
        nn: Any = lib.nn
        options: dict[str, Any] = {}
        if outer in ('vmap', 'scan'):
            options = {'variable_axes': {'params': 0}, 'split_rngs': {'params': True}}

        def call(module: Any, x: Any) -> Any:
            if inner == 'vmap':
                return jax.vmap(module)(x)
            return jax.grad(lambda x: module(x).sum())(x)

        def step(module: Any, carry: Any, x: Any) -> Any:
            return carry, call(module, x)

        class Net(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                module = nn.Dense(3) if layer == 'Dense' else nn.LayerNorm()
                if outer == 'scan':
                    return nn.scan(step, **options)(module, 0.0, x)
                return (getattr(nn, outer)(call, **options) if outer else call)(module, x)

        variables = Net().init(KEY, X)
        return variables, Net().apply(variables, X)

    same(run)


@pytest.mark.parametrize('transform', ['remat', 'jit'])
@pytest.mark.parametrize('name', ['args', 'kwargs', 'variables', 'rngs', 'program'])
def test_keyword_arguments_under_a_transform_may_have_any_name(transform: str, name: str) -> None:
    """JAX fails where a keyword has the name of a parameter of the function that it traces."""

    class Block(linnet_nn.Module):
        @linnet_nn.compact
        def __call__(self, x: Any, **given: Any) -> Any:
            return linnet_nn.Dense(2)(x) * given[name].sum()

    class Net(linnet_nn.Module):
        cls: Any

        @linnet_nn.compact
        def __call__(self, x: Any) -> Any:
            return self.cls(name='block')(x, **{name: x})

    model = Net(getattr(linnet_nn, transform)(Block))
    variables = model.lazy_init(KEY, jax.ShapeDtypeStruct(X.shape, X.dtype))
    y, gradient = jax.value_and_grad(lambda v: model.apply(v, X).sum())(variables)
    expected = jax.value_and_grad(lambda v: Net(Block).apply(v, X).sum())(variables)
    assert jax.tree.all(jax.tree.map(jnp.allclose, (y, gradient), expected))


@pytest.mark.parametrize('around', ['', 'jit', 'remat'])
def test_lazy_init_of_a_derivative_of_ones_own(around: str) -> None:
    class Net(linnet_nn.Module):
        @linnet_nn.compact
        def __call__(self, x: Any) -> Any:
            def call(layer: Any, x: Any) -> Any:
                return layer(x)

            def forward(layer: Any, x: Any) -> Any:
                return linnet_nn.vjp(call, layer, x)

            own = linnet_nn.custom_vjp(call, forward, lambda backward, y_bar: backward(y_bar))
            return own(linnet_nn.Dense(2), x)

    model = getattr(linnet_nn, around)(Net)() if around else Net()
    expected = model.init(KEY, X)
    lazy = model.lazy_init(KEY, jax.ShapeDtypeStruct(X.shape, X.dtype))
    assert jax.tree.structure(lazy) == jax.tree.structure(expected)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, lazy, expected))


def test_a_part_of_the_perturbations_is_refused() -> None:
    def run(lib: Library) -> Any:
        class Net(lib.nn.Module):
            @lib.nn.compact
            def __call__(self, x: Any) -> Any:
                return self.perturb('b', self.perturb('a', x))

        perturbations = Net().init(KEY, X)['perturbations']
        with pytest.raises(ValueError, match='perturbations'):
            Net().apply({'perturbations': {'a': perturbations['a']}}, X)
        return perturbations

    same(run)


def test_attributes_of_a_class_may_be_changed() -> None:
    def run(lib: Library) -> Any:
        nn: Any = lib.nn

        class R(nn.Module):
            widths: ClassVar[dict[str, int]] = {'a': 2}
            seen: ClassVar[list[int]] = []

            @nn.compact
            def __call__(self, x: Any) -> Any:
                self.seen.append(1)
                return nn.Dense(self.widths['a'])(x)

        return R().init(KEY, X), len(R.seen) > 0

    same(run)


@pytest.mark.parametrize('kind', [collections.OrderedDict, dict])
def test_the_order_of_a_dict_in_a_field(kind: Any) -> None:
    def run(lib: Library) -> Any:
        nn: Any = lib.nn

        class N(nn.Module):
            widths: Any

            @nn.compact
            def __call__(self, x: Any) -> Any:
                for name, width in self.widths.items():
                    x = nn.Dense(width, name=name)(x)
                return x

        return N(kind([('b', 4), ('a', 3)])).init_with_output(KEY, X)

    same(run)


def test_modules_in_a_dict_with_a_constructor_of_its_own() -> None:
    def run(lib: Library) -> Any:
        nn: Any = lib.nn

        class D(nn.Module):
            layers: Any

            def __call__(self, x: Any) -> Any:
                return self.layers['b'](x) + self.layers['a'](x)

        layers = collections.defaultdict(list, b=nn.Dense(3), a=nn.Dense(3))
        return D(layers).init_with_output(KEY, X)

    same(run)


def test_a_key_is_copied_in_init() -> None:
    def run(lib: Library) -> Any:
        nn: Any = lib.nn

        class Net(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                return nn.Dense(3)(x) + jax.random.normal(jax.random.key(1).copy(), (3,))

        return Net().init_with_output(KEY, X)

    same(run)


def test_a_class_gives_no_name() -> None:
    def run(lib: Library) -> Any:
        nn: Any = lib.nn

        class Encoder(nn.Module):
            width: int = 3
            name: str = 'encoder'

            @nn.compact
            def __call__(self, x: Any) -> Any:
                return nn.Dense(self.width)(x)

        class Net(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                return Encoder()(x) + Encoder(3, name='given')(x)

        return Encoder().name, Net().init_with_output(KEY, X)

    same(run)


def test_a_dict_in_a_field_has_bytes() -> None:
    def run(lib: Library) -> Any:
        nn: Any = lib.nn

        class Net(nn.Module):
            options: Any

            def __call__(self) -> Any:
                return self.options

        options = Net({'b': 1, 'a': {'c': [1, 2]}}).apply({})
        serialization: Any = lib.load('serialization')
        data = serialization.to_bytes(options)
        return data, dict(serialization.from_bytes(options, data))['b']

    same(run)


_BLOCKS = {
    'differences of neighbours': lambda nn, x, s, t: x + jnp.tanh(x[s] - x[t])[:5],
    'messages': lambda nn, x, s, t: (
        x + jax.ops.segment_sum(nn.Dense(3)(x[s] * x[t]) * (x[s] - x[t]), s, 5)
    ),
    'one row': lambda nn, x, s, t: x + jnp.tanh(jnp.take(nn.Dense(3)(x), s, 0))[:5],
    'slices': lambda nn, x, s, t: x * jax.lax.dynamic_slice(x, (1, 0), (1, 3)) - x[::-1],
}


@pytest.mark.parametrize('name', _BLOCKS)
def test_gradients_of_equal_blocks_that_gather(name: str) -> None:
    source, target = map(jnp.array, np.where(~np.eye(5, dtype=bool)))
    x = jax.random.normal(KEY, (5, 3))

    def run(lib: Library) -> Any:
        nn: Any = lib.nn

        class Block(nn.Module):
            @nn.compact
            def __call__(self, x: Any, source: Any, target: Any) -> Any:
                return _BLOCKS[name](nn, x, source, target)

        class Net(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                for _ in range(3):
                    x = Block()(x, source, target)
                return jnp.sin(x).sum()

        variables = Net().init(KEY, x)
        return jax.jit(jax.value_and_grad(Net().apply, (0, 1)))(variables, x)

    same(run)


def _dropped(lib: Library, x: Any, around: str) -> Any:
    nn: Any = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            drop = functools.partial(nn.Dropout, deterministic=False)
            if around == 'norms':
                x = nn.LayerNorm()(x + drop(0.1)(nn.Dense(x.shape[-1])(x)))
                return nn.LayerNorm()(x + drop(0.3)(nn.gelu(nn.Dense(x.shape[-1])(x))))
            if around == 'only norms':
                return nn.LayerNorm()(drop(0.1)(nn.LayerNorm()(drop(0.1)(x))))
            if around == 'attention':
                layer = nn.MultiHeadDotProductAttention(2, dropout_rate=0.2, deterministic=False)
                return nn.LayerNorm()(x + layer(x, x))
            x = nn.Conv(4, (3,) * (x.ndim - 2))(x)
            return drop(0.5)(nn.relu(x) if around == 'convolution' else x).mean(1)

    rngs = {'params': jax.random.key(2), 'dropout': jax.random.key(3)}
    variables = Net().init(rngs, x)

    def loss(variables: Any, x: Any) -> Any:
        y = Net().apply(variables, x, rngs={'dropout': jax.random.key(4)})
        return jnp.sum(jnp.cos(y)), y

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(variables, x)


@pytest.mark.parametrize('shape', [(2, 7, 12), (4, 9, 16), (2, 8, 8, 3)])
@pytest.mark.parametrize('around', ['norms', 'only norms', 'attention', 'convolution', 'mean'])
def test_programs_with_dropout_are_the_same_to_the_bit(around: str, shape: Any) -> None:
    if around == 'attention' and len(shape) > 3:
        shape = (2, 8, 4)
    x = jax.random.normal(jax.random.key(1), shape)
    same(lambda lib: _dropped(lib, x, around))

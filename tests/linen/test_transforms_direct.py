"""Transforms that map variables, derive, branch and loop, and stacks of transforms, by hand."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import linnet.linen as nn
from linnet.core import lift

KEY = jax.random.key(0)
X = np.arange(6.0, dtype=np.float32).reshape(3, 2)


class Scale(nn.Module):
    """``w * x``, with how often it was called in ``state/n``."""

    start: float = 2.0

    @nn.compact
    def __call__(self, x):
        w = self.param('w', lambda key: jnp.float32(self.start))
        n = self.variable('state', 'n', lambda: jnp.int32(0))
        if self.is_mutable_collection('state'):
            n.value += 1
        return w * x


def compact(body: Any) -> Any:
    """A module whose ``__call__`` is ``body(self, x)``."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return body(self, x)

    return Net()


def shapes(variables: Any) -> Any:
    return jax.tree.map(jnp.shape, variables)


def test_map_variables_shows_other_values() -> None:
    def double(tree: Any) -> Any:
        return jax.tree.map(lambda x: x * 2, tree)

    def halve(tree: Any) -> Any:
        return jax.tree.map(lambda x: x / 2, tree)

    net = nn.map_variables(Scale, 'params', double, halve, init=True, mutable=True)()
    y, variables = net.init_with_output(KEY, X)
    np.testing.assert_array_equal(y, 2 * X)
    assert variables['params']['w'] == 1


def test_metadata_of_an_axis() -> None:
    init = nn.with_partitioning(lambda key, shape, dtype: jnp.zeros(shape, dtype), ('in', 'out'))
    names = {nn.PARTITION_NAME: 'layers'}
    dense = functools.partial(nn.Dense, use_bias=False, kernel_init=init)
    kinds = {
        'vmap': nn.vmap(nn.Dense, {'params': 0}, {'params': True}, metadata_params=names),
        'added': nn.add_metadata_axis(nn.Dense, {'params': 0}, names),
    }
    for kind, cls in kinds.items():
        box = cls(**dense.keywords, features=4).init(KEY, X)['params']['kernel']
        assert box.names == ('layers', 'in', 'out')
        assert box.value.shape == ((3, 2, 4) if kind == 'vmap' else (2, 4))


def test_derivatives() -> None:
    def body(self: Any, x: Any) -> Any:
        scale = Scale(name='s')

        def f(mdl: Any, x: Any) -> Any:
            return (mdl(x) ** 2).sum()

        y, back = nn.vjp(f, scale, x)
        params_bar, x_bar = back(1.0)
        (grad,) = nn.grad(f, scale, x)
        value, (again,) = nn.value_and_grad(f, scale, x)
        _, dot = nn.jvp(f, scale, (x,), (jnp.ones_like(x),), {})
        return {'y': (y, value), 'w': params_bar, 'x': (x_bar, grad, again), 'dot': dot}

    net = compact(body)
    variables = net.init(KEY, X)
    out, state = net.apply(variables, X, mutable='state')
    assert out['y'] == (4 * (X**2).sum(),) * 2
    assert out['w'] == {'params': {'w': 4 * (X**2).sum()}}
    for gradient in out['x']:
        np.testing.assert_array_equal(gradient, 8 * X)
    assert out['dot'] == 8 * X.sum()
    assert state['state']['s']['n'] == 8


def test_own_derivatives() -> None:
    def body(self: Any, x: Any) -> Any:
        def f(mdl: Any, x: Any) -> Any:
            return mdl(x).sum()

        def backward(back: Any, y_bar: Any) -> Any:
            params_bar, x_bar = back(y_bar)
            return jax.tree.map(lambda g: 100 * g, params_bar), 0 * x_bar

        return nn.custom_vjp(f, functools.partial(nn.vjp, f), backward)(Scale(name='s'), x)

    net = compact(body)
    variables = net.init(KEY, X)

    def loss(params: Any, x: Any) -> Any:
        return net.apply({**variables, 'params': params}, x)

    params_bar, x_bar = jax.grad(loss, argnums=(0, 1))(variables['params'], X)
    assert params_bar == {'s': {'w': 100 * X.sum()}}
    assert not x_bar.any()


def test_branches() -> None:
    def body(self: Any, x: Any) -> Any:
        mdl = Scale(name='s')

        def negative(mdl: Any, x: Any) -> Any:
            return -mdl(x)

        def plain(mdl: Any, x: Any) -> Any:
            return mdl(x)

        yes = nn.cond(x.sum() > 0, plain, negative, mdl, x)
        no = nn.cond(x.sum() < 0, plain, negative, mdl, x)
        return yes, no, nn.switch(1, [plain, negative, plain], mdl, x)

    y, variables = compact(body).init_with_output(KEY, X)
    np.testing.assert_array_equal(y, [2 * X, -2 * X, -2 * X])
    assert variables['state']['s']['n'] == 3


def test_loops_without_a_length() -> None:
    def body(self: Any, x: Any) -> Any:
        mdl = Scale(name='s')
        y = mdl(x)
        if self.is_initializing():
            return y
        return nn.while_loop(
            lambda mdl, x: x.max() < 100,
            lambda mdl, x: mdl(x),
            mdl,
            y,
            carry_variables='state',
            broadcast_variables='params',
        )

    net = compact(body)
    variables = net.init(KEY, X)
    y, state = net.apply(variables, X, mutable='state')
    np.testing.assert_array_equal(y, 32 * X)
    assert state['state']['s']['n'] == 1 + 1 + 4


def test_named_calls() -> None:
    class Net(nn.Module):
        @nn.named_call
        def helper(self, x):
            return jnp.sin(x)

        def __call__(self, x):
            return self.helper(x)

    assert nn.named_call(nn.Dense) is nn.Dense
    text = jax.jit(lambda x: Net().apply({}, x)).lower(X).as_text(debug_info=True)
    assert 'Net.helper' in text


def test_stacks_of_transforms() -> None:
    """A loop over recomputed ensembles: axes are added from the inside out."""
    ensemble = nn.vmap(Scale, {True: 0}, {True: True}, in_axes=None, axis_size=2, out_axes=0)

    class Step(nn.Module):
        @nn.compact
        def __call__(self, c, _):
            return nn.remat(ensemble)(name='e')(c).sum(0), None

    loop = nn.scan(Step, {True: 0}, split_rngs={True: True}, length=3)()
    (y, _), variables = loop.init_with_output(KEY, X, None)
    np.testing.assert_array_equal(y, 4.0**3 * X)
    assert shapes(variables) == {'params': {'e': {'w': (3, 2)}}, 'state': {'e': {'n': (3, 2)}}}


def test_the_core_has_the_same_transforms() -> None:
    assert lift.remat is lift.checkpoint
    assert nn.remat is nn.checkpoint

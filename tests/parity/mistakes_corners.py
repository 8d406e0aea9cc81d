"""Corners that both libraries refuse."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tests.parity.harness import Library
from tests.parity.mistakes import mistake
from tests.parity.models import X

KEY = jax.random.key(0)


@mistake
def partial_new_module_in_setup(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.f = functools.partial(nn.Dense(3))

        def __call__(self, x):
            return self.f(x)

    return Net().init_with_output(KEY, X)


@mistake
def reassign_attr(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.a = nn.Dense(3)
            self.a = nn.Dense(2)

        def __call__(self, x):
            return self.a(x)

    return Net().init_with_output(KEY, X)


@mistake
def setup_unnamed_local(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            d = nn.Dense(3)
            self.y = d(jnp.ones((1, 4)))

        def __call__(self, x):
            return self.y

    return Net().init_with_output(KEY, X)


@mistake
def variable_none_init(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            v = self.variable('c', 'v')
            v.value = x
            return v.value, self.variable('c', 'w').value if self.has_variable('c', 'w') else None

    return Net().init_with_output(KEY, X), Net().apply({'c': {'v': X * 2}}, X, mutable=['c'])


@mistake
def variable_none_unset(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.variable('c', 'v').value

    return Net().init_with_output(KEY, X)


@mistake
def sow_name_is_submodule(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.Dense(3, name='a')(x)
            self.sow('intermediates', 'a', x)
            return y

    return Net().init_with_output(KEY, X, mutable=True)


@mistake
def init_mutable_false(lib: Library) -> Any:
    return lib.nn.Dense(3).init(KEY, X, mutable=False)


@mistake
def param_shape_broadcastable(lib: Library) -> Any:
    n = lib.nn.Dense(3)
    return n.apply({'params': {'kernel': jnp.ones((4, 3)), 'bias': jnp.ones((1, 3))}}, X)


@mistake
def param_scalar_for_array(lib: Library) -> Any:
    n = lib.nn.Dense(3)
    return n.apply({'params': {'kernel': jnp.ones((4, 3)), 'bias': 2.0}}, X)


@mistake
def callable_field_called_call(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        fn: Callable

        def __call__(self, x):
            return self.fn(self, x)

    return Net(lambda m, x: m.param('w', nn.initializers.ones, (2,))).init(KEY, X)


@mistake
def apply_makes_submodules_in_fn(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x

    return nn.init_with_output(lambda m, x: nn.Dense(3)(x), Net())(KEY, X)


@mistake
def top_level_dense_in_fn_with_parent(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x

    return nn.init_with_output(lambda m, x: nn.Dense(3, parent=m, name='z')(x), Net())(KEY, X)

"""Corners of scopes: modules on bare scopes, variables under odd names, private helpers in use."""

from __future__ import annotations

import collections
from typing import Any

import jax
import jax.numpy as jnp

from tests.parity.harness import Library, kind_of, repr_without_library
from tests.parity.models import X, program

KEY = jax.random.key(0)


@program
def module_on_child_scope(lib: Library) -> Any:
    nn = lib.nn
    core = lib.core

    def f(scope, x):
        a = nn.Dense(3, parent=scope.push('a'))(x)
        b = nn.Dense(3, parent=scope.push(prefix='b'))(x)
        return a + b

    return core.init(f)(KEY, X)


@program
def module_on_scope_named(lib: Library) -> Any:
    nn = lib.nn
    core = lib.core

    def f(scope, x):
        return nn.Dense(3, parent=scope, name='q')(x)

    return core.init(f)(KEY, X)


@program
def scope_child_of_module(lib: Library) -> Any:
    nn = lib.nn

    def g(scope, x):
        return scope.param('w', nn.initializers.normal(), (2,))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.scope.child(g, 'kid')(x), self.scope.child(g)(x), nn.Dense(2)(x)

    return Net().init_with_output(KEY, X)


@program
def scope_push_then_module(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            s = self.scope.push('sub')
            return nn.Dense(2, parent=s)(x), nn.Dense(2)(x)

    return Net().init_with_output(KEY, X)


@program
def freeze_attr(lib: Library) -> Any:
    f = lib.load('linen.module')._freeze_attr
    return [
        (kind_of(f(v)), repr_without_library(f(v)))
        for v in (
            [1, [2]],
            (1, [2]),
            {'a': [1]},
            {1: 2},
            's',
            None,
            {1, 2},
            lib.core.freeze({'a': 1}),
            collections.OrderedDict(a=[1]),
        )
    ]


@program
def module_stack(lib: Library) -> Any:
    nn = lib.nn
    ctx = lib.load('linen.module')._context
    seen = []

    class C(nn.Module):
        @nn.compact
        def __call__(self, x):
            seen.append([type(m).__name__ for m in ctx.module_stack])
            return x

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            seen.append([type(m).__name__ for m in ctx.module_stack])
            return C()(x)

    Net().init(KEY, X)
    seen.append([type(m).__name__ for m in ctx.module_stack])
    return seen


@program
def parent_none_in_compact_apply(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            d = nn.Dense(3, parent=None)
            v = self.param('d', lambda k: d.init(k, x))
            return d.apply(v, x), d.name

    return Net().init_with_output(KEY, X)


@program
def dropout_rng_arg(lib: Library) -> Any:
    return (
        lib.nn.Dropout(0.5).apply({}, X, deterministic=False, rng=KEY),
        lib.nn.Dropout(0.0).apply({}, X, deterministic=False),
        lib.nn.Dropout(1.0).apply({}, X, deterministic=False),
    )


@program
def variables_prop_types(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        @nn.compact
        def __call__(self, x):
            d = nn.Dense(2)
            d(x)
            return (
                type(self.variables).__name__,
                type(self.variables['params']).__name__,
                d.variables,
            )

    b = B()
    v = b.init(KEY, X)
    return b.init_with_output(KEY, X), b.apply(v, X), b.apply(v, X, mutable=True)


@program
def rngs_order(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        @nn.compact
        def __call__(self, x):
            return list(self.scope.rngs)

    return B().apply({}, X, rngs={'z': KEY, 'a': KEY})


@program
def put_var_then_param(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.put_variable('params', 'w', jnp.ones(2))
            return self.param('w', nn.initializers.zeros, (2,))

    return B().init_with_output(KEY, X)


@program
def get_variable_other_scope(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        @nn.compact
        def __call__(self, x):
            nn.Dense(2)(x)
            return (
                self.get_variable('params', 'Dense_0'),
                self.has_variable('params', 'Dense_0'),
                self.get_variable('zz', 'q', 3),
            )

    return B().init_with_output(KEY, X)


@program
def empty_collections(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        @nn.compact
        def __call__(self, x):
            if self.is_mutable_collection('c'):
                self.put_variable('c', 'd', {})
            return x

    return (
        B().init(KEY, X),
        B().apply({'params': {}}, X, mutable=True),
        B().apply({'params': {}, 'c': {}}, X, mutable=['c', 'e']),
    )


@program
def partially_given(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2, name='b')(nn.Dense(3, name='a')(x))

    v = B().init(KEY, X)
    part = {'params': {'a': v['params']['a']}}
    return B().apply(part, X, rngs={'params': KEY}, mutable=['params'])

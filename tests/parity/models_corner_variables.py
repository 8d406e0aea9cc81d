"""Corners of variables: sown under taken names, perturbed twice, passed in odd forms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.parity.harness import Library
from tests.parity.models import X, program

KEY = jax.random.key(0)


@program
def variable_repr_eq(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            v = self.variable('c', 'v', jnp.zeros, (2,))
            return v.collection, v.name, v.unbox, v.is_mutable(), type(v).__name__

    return Net().init_with_output(KEY, X)


@program
def sow_in_setup(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.d = nn.Dense(3)
            self.sow('intermediates', 'a', 1.0)

        def __call__(self, x):
            return self.d(x)

    return Net().init_with_output(KEY, X, mutable=True), Net().apply(
        Net().init(KEY, X), X, mutable=['intermediates']
    )


@program
def sow_name_is_param(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.param('a', nn.initializers.ones, (2,))
            self.sow('intermediates', 'a', x)
            return x

    return Net().init_with_output(KEY, X, mutable=True)


@program
def sow_into_params(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.sow('params', 'a', x)

    return Net().init_with_output(KEY, X), Net().apply({}, X)


@program
def var_same_name_two_collections(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            a = self.variable('c1', 'v', jnp.zeros, (2,))
            b = self.variable('c2', 'v', jnp.ones, (2,))
            p = self.param('v', nn.initializers.ones, (2,))
            return a.value, b.value, p

    return Net().init_with_output(KEY, X)


@program
def perturb_existing(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.perturb('x', x) * 1.0

    n = Net()
    v = n.init(KEY, X)
    return (
        v,
        n.apply({}, X),
        n.apply({}, X, mutable=['perturbations']),
        n.apply({'perturbations': {'x': X}}, X),
        n.apply({'perturbations': {'x': X}}, X, mutable=True),
    )


@program
def perturb_twice(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.perturb('x', x) + self.perturb('x', x)

    return Net().init(KEY, X)


@program
def apply_extra_collections(lib: Library) -> Any:
    n = lib.nn.Dense(3)
    v = n.init(KEY, X)
    return (
        n.apply({**v, 'extra': {'a': 1}}, X),
        n.apply({**v, 'extra': {'a': 1}}, X, mutable=True),
        n.apply({**v, 'extra': {}}, X, mutable='extra'),
        n.apply({**v, 'extra': {'a': jnp.ones(1)}}, X, mutable=['extra', 'other']),
    )


@program
def apply_does_not_touch_inputs(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            c = self.variable('s', 'c', lambda: jnp.zeros(()))
            c.value += 1
            return nn.Dense(2)(x)

    n = Net()
    v = n.init(KEY, X)
    before = jax.tree.map(lambda a: a, v)
    _, u = n.apply(v, X, mutable=['s'])
    return before, v, u, u['s'] is v['s']


@program
def mutable_result_identity(lib: Library) -> Any:
    nn = lib.nn
    n = nn.Dense(3)
    v = n.init(KEY, X)
    _, u = n.apply(v, X, mutable=True)
    return u['params'] is v['params'], u['params']['kernel'] is v['params']['kernel']


@program
def nested_apply(lib: Library) -> Any:
    nn = lib.nn
    inner = nn.Dense(3)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            p = self.param('inner', lambda k: inner.init(k, x)['params'])
            return inner.apply({'params': p}, x)

    return Net().init_with_output(KEY, X)


@program
def nested_init_inside(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            d = nn.Dense(3, parent=None)
            p = self.param('inner', lambda k: d.init(k, x))
            return d.apply(p, x)

    return Net().init_with_output(KEY, X)


@program
def make_rng_default(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.make_rng(), self.make_rng('params'), self.make_rng('zz')

    return Net().init_with_output({'params': KEY}, X), Net().apply({}, X, rngs={'params': KEY})


@program
def rngs_none(lib: Library) -> Any:
    d = lib.nn.Dense(3)
    v = d.init(KEY, X)
    return d.apply(v, X, rngs=None), d.apply(v, X, rngs={})


@program
def share_scope_counts(lib: Library) -> Any:
    nn = lib.nn

    class Child(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x) + jax.random.normal(self.make_rng('n'), (2, 3))

    class Net(nn.Module):
        def setup(self):
            self.c = Child()
            nn.share_scope(self, self.c)

        @nn.compact
        def __call__(self, x):
            return self.c(x), self.make_rng('n'), nn.Dense(3, name='own')(x), self.c.path

    return Net().init_with_output({'params': KEY, 'n': KEY}, X)


@program
def capture_multi(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        @nn.compact
        def __call__(self, x):
            return {'o': nn.Dense(4)(x)}

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            b = B()
            return b(b(x)['o'])['o']

    n = Net()
    v = n.init(KEY, X)
    return n.apply(v, X, capture_intermediates=True, mutable=['intermediates'])


@program
def is_init_in_apply(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return (
                self.is_initializing(),
                self.is_mutable_collection('params'),
                self.has_variable('params', 'w'),
            )

    n = Net()
    return (
        n.init_with_output(KEY, X),
        n.apply({}, X),
        n.apply({}, X, mutable=True),
        n.init_with_output(KEY, X, mutable=False),
    )


@program
def param_int_shape(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.param('a', lambda k, s: jnp.ones(s), 3)

    n = Net()
    v = n.init(KEY, X)
    return v, n.apply(v, X)


@program
def param_numpy_and_python(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return (
                self.param('a', lambda k: np.ones(3)),
                self.param('b', lambda k: 2),
                self.param('c', lambda k: True),
                self.param('d', lambda k: None),
            )

    n = Net()
    v = n.init(KEY, X)
    return v, n.apply(v, X)


@program
def param_value_none_passed(lib: Library) -> Any:
    n = lib.nn.Dense(3)
    return n.apply({'params': {'kernel': jnp.ones((4, 3)), 'bias': None}}, X)


@program
def param_dtype_mismatch(lib: Library) -> Any:
    n = lib.nn.Dense(3)
    return n.apply(
        {'params': {'kernel': jnp.ones((4, 3), jnp.bfloat16), 'bias': np.ones(3, np.int32)}}, X
    )


@program
def param_boxed_passed_to_plain(lib: Library) -> Any:
    n = lib.nn.Dense(3)
    b = lib.load('core.meta').Partitioned
    return n.apply(
        {'params': {'kernel': b(jnp.ones((4, 3)), names=('a', 'b')), 'bias': jnp.ones(3)}}, X
    )


@program
def plain_passed_to_boxed(lib: Library) -> Any:
    nn = lib.nn
    n = nn.Dense(3, kernel_init=nn.with_partitioning(nn.initializers.ones, ('a', 'b')))
    return n.apply({'params': {'kernel': jnp.ones((4, 3)), 'bias': jnp.ones(3)}}, X)

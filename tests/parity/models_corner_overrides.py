"""Corners of what classes may override and wrap: methods, attributes, decorators, fields."""

from __future__ import annotations

import dataclasses
import functools
import typing
from typing import Any

import jax
import jax.numpy as jnp

from tests.parity.harness import Library
from tests.parity.models import X, program

KEY = jax.random.key(0)


@program
def private_attr_names(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        _w: int = 3

        def setup(self):
            self._d = nn.Dense(self._w)
            self.__e = nn.Dense(2)

        def __call__(self, x):
            return self._d(x), self.__e(x)

    return Net().init_with_output(KEY, X), Net(4).init(KEY, X)


@program
def override_param(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def param(self, name, *a, **k):
            return super().param('p_' + name, *a, **k)

        @nn.compact
        def __call__(self, x):
            return self.param('w', nn.initializers.ones, (2,))

    return Net().init_with_output(KEY, X)


@program
def override_apply(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def apply(self, v, *a, **k):
            return super().apply({'params': v}, *a, **k)

        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(x)

    return Net().apply(Net().init(KEY, X)['params'], X)


@program
def override_make_rng(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def make_rng(self, name='params'):
            return jax.random.key(7)

        @nn.compact
        def __call__(self, x):
            return self.make_rng('q'), nn.Dropout(0.5, deterministic=False)(x)

    return Net().init_with_output(KEY, X)


@program
def override_variable(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def variable(self, col, name, *a, **k):
            return super().variable('other_' + col, name, *a, **k)

        @nn.compact
        def __call__(self, x):
            return self.variable('c', 'w', jnp.ones, (2,)).value

    return Net().init_with_output(KEY, X)


@program
def override_getattr(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def __getattr__(self, n):
            if n.startswith('magic'):
                return 5
            return super().__getattr__(n)

        @nn.compact
        def __call__(self, x):
            return self.magic1

    return Net().init_with_output(KEY, X), Net().magic2


@program
def override_setattr(lib: Library) -> Any:
    nn = lib.nn
    log = []

    class Net(nn.Module):
        def __setattr__(self, n, v):
            log.append(n)
            super().__setattr__(n, v)

        def setup(self):
            self.d = nn.Dense(2)

        def __call__(self, x):
            return self.d(x)

    y = Net().init_with_output(KEY, X)
    return y, [n for n in log if n in ('d',)].__len__() > 0


@program
def override_eq_hash(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        a: int = 1

        def __eq__(self, o):
            return True

        def __hash__(self):
            return 5

        def __repr__(self):
            return 'custom'

        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(x)

    return Net(1) == Net(2), hash(Net()), repr(Net()), Net().init(KEY, X)


@program
def nontrivial_super_call(lib: Library) -> Any:
    nn = lib.nn

    class A(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x)

    class B(A):
        def __call__(self, x):
            return super().__call__(x) * 2

    class C(B):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(super().__call__(x))

    return B().init_with_output(KEY, X), C().init_with_output(KEY, X)


@program
def compact_helper_decorated_twice(lib: Library) -> Any:
    nn = lib.nn

    class A(nn.Module):
        @nn.compact
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x)

    return A().init_with_output(KEY, X)


@program
def wraps_decorator(lib: Library) -> Any:
    nn = lib.nn

    def deco(f):
        @functools.wraps(f)
        def g(self, *a, **k):
            return f(self, *a, **k) * 2

        return g

    class A(nn.Module):
        @nn.compact
        @deco
        def __call__(self, x):
            return nn.Dense(3)(x)

    class B(nn.Module):
        @deco
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x)

    return A().init_with_output(KEY, X), B().init_with_output(KEY, X)


@program
def partialmethod(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        def f(self, x, n):
            return x * n

        g = functools.partialmethod(f, n=3)

        def __call__(self, x):
            return self.g(x)

    return B().init_with_output(KEY, X)


@program
def singledispatch(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        @functools.singledispatchmethod
        def f(self, x):
            return 0

        @f.register
        def _(self, x: int):
            return 1

        def __call__(self, x):
            return self.f(3), self.f('a')

    return B().init_with_output(KEY, X)


@program
def annotations_as_text(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        x: int
        y: Any = None
        z: typing.ClassVar[int] = 3

        @nn.compact
        def __call__(self, i):
            return nn.Dense(self.x)(i), self.z

    return B(2).init_with_output(KEY, X), [f.name for f in dataclasses.fields(B)]


@program
def nested_class_in_module(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        class Inner(nn.Module):
            @nn.compact
            def __call__(self, x):
                return nn.Dense(2)(x)

        @nn.compact
        def __call__(self, x):
            return self.Inner()(x)

    return B().init_with_output(KEY, X)


@program
def wrap_list_returned(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        def setup(self):
            self.l = [nn.Dense(2)]

        def get(self):
            return self.l

        def __call__(self, x):
            return self.get()[0](x)

    return B().init_with_output(KEY, X)


@program
def unnamed_in_nested_fn(lib: Library) -> Any:
    nn = lib.nn

    def block(n):
        def f(x):
            return nn.Dense(n)(nn.LayerNorm()(x))

        return f

    class B(nn.Module):
        @nn.compact
        def __call__(self, x):
            for f in [block(3), block(2), lambda x: nn.relu(x)]:
                x = f(x)
            return x

    return B().init_with_output(KEY, X)


@program
def sequential_with_functions(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Sequential(
                [
                    nn.Dense(3),
                    lambda x: x * 2,
                    functools.partial(nn.softmax, axis=-1),
                    lambda x: nn.Dense(2)(x),
                ]
            )(x)

    return B().init_with_output(KEY, X)


@program
def method_returns_module(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        def setup(self):
            self.d = nn.Dense(3)

        def get(self):
            return self.d

        def __call__(self, x):
            return self.get()(x)

    b = B()
    v = b.init(KEY, X)
    m = b.apply(v, method='get')
    return type(m).__name__, m(X), m.path


@program
def static_trace_counts(lib: Library) -> Any:
    nn = lib.nn
    n = []

    class B(nn.Module):
        def setup(self):
            n.append('s')

        def __call__(self, x):
            n.append('c')
            return x

    b = B()
    b.init(KEY, X)
    b.apply({}, X)
    bb = b.bind({})
    bb(X)
    bb(X)
    return n


@program
def setup_lazy_children(lib: Library) -> Any:
    nn = lib.nn
    n = []

    class C(nn.Module):
        tag: str

        def setup(self):
            n.append(self.tag)

        def __call__(self, x):
            return x

    class B(nn.Module):
        def setup(self):
            self.a = C('a')
            self.b = C('b')
            n.append('B')

        def __call__(self, x):
            n.append('call')
            return self.b(self.a(x))

    B().init(KEY, X)
    return n


@program
def post_init_order(lib: Library) -> Any:
    nn = lib.nn
    n = []

    class B(nn.Module):
        a: int = 1

        def __post_init__(self):
            n.append('pre')
            super().__post_init__()
            n.append('post')

        def setup(self):
            n.append('setup')

        def __call__(self, x):
            return x

    b = B()
    b.init(KEY, X)
    b.apply({}, X)
    return n


@program
def kw_only_decorated(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        a: int
        _: dataclasses.KW_ONLY
        b: int = 2

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.a + self.b)(x)

    return B(1, b=3).init(KEY, X), [(f.name, f.kw_only) for f in dataclasses.fields(B)]


@program
def field_kw_only(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        a: int = dataclasses.field(kw_only=True)
        b: int = 2

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.a + self.b)(x)

    return B(1, a=3).init(KEY, X), [(f.name, f.kw_only) for f in dataclasses.fields(B)]

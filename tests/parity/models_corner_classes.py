"""Corners of classes and attributes: odd containers, overrides, descriptors, reassigned names."""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tests.parity.harness import Library, kind_of, repr_without_library
from tests.parity.models import X, program

KEY = jax.random.key(0)


@program
def namedtuple_in_setup(lib: Library) -> Any:
    nn = lib.nn

    class Pair(NamedTuple):
        a: Any
        b: Any

    class Net(nn.Module):
        def setup(self):
            self.pair = Pair(nn.Dense(3), [nn.Dense(3)])

        def __call__(self, x):
            return self.pair.a(x) + self.pair.b[0](x), type(self.pair).__name__

    return Net().init_with_output(KEY, X)


@program
def partial_module_in_setup(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.d = nn.Dense(3)
            self.f = functools.partial(self.d)

        def __call__(self, x):
            return self.f(x)

    return Net().init_with_output(KEY, X)


@program
def lambda_default_field(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        act: Callable = nn.relu
        post: Callable = lambda x: x * 2

        @nn.compact
        def __call__(self, x):
            return self.post(self.act(nn.Dense(3)(x)))

    return Net().init_with_output(KEY, X), Net(nn.tanh).init_with_output(KEY, X)


@program
def diamond(lib: Library) -> Any:
    nn = lib.nn

    class A(nn.Module):
        w: int = 2

        def setup(self):
            self.names = ['A']
            self.a = nn.Dense(self.w)

        def f(self, x):
            return self.a(x)

    class B(A):
        b: int = 3

        def setup(self):
            super().setup()
            self.d = nn.Dense(self.b)

    class C(A):
        c: int = 4

        def setup(self):
            super().setup()
            self.e = nn.Dense(self.c)

    class D(B, C):
        def setup(self):
            super().setup()
            self.g = nn.Dense(1)

        def __call__(self, x):
            return self.f(x), self.d(x), self.e(x), self.g(x), self.names

    return D().init_with_output(KEY, X), [f.name for f in dataclasses.fields(D)]


@program
def override_default_no_annotation(lib: Library) -> Any:
    nn = lib.nn

    class A(nn.Module):
        w: int = 2

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.w)(x)

    class B(A):
        w = 5

    return B().init_with_output(KEY, X), B(3).init(KEY, X)


@program
def override_field_with_property(lib: Library) -> Any:
    nn = lib.nn

    class A(nn.Module):
        @property
        def w(self):
            return 2

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.w)(x)

    class B(A):
        w: int = 4

    return A().init_with_output(KEY, X), B().init_with_output(KEY, X)


@program
def abstract(lib: Library) -> Any:
    nn = lib.nn

    class A(nn.Module, abc.ABC):
        w: int

        @abc.abstractmethod
        def f(self, x): ...
        @nn.compact
        def __call__(self, x):
            return self.f(nn.Dense(self.w)(x))

    class B(A):
        def f(self, x):
            return x * 2

    return B(3).init_with_output(KEY, X)


@program
def enum_fields(lib: Library) -> Any:
    nn = lib.nn

    class E(enum.Enum):
        A = 1
        B = 2

    class Net(nn.Module):
        e: E = E.A

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.e.value)(x)

    return Net(E.B).init_with_output(KEY, X)


@program
def array_fields(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        a: Any

        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(x) * self.a, type(self.a).__name__

    return Net(jnp.ones(2)).init_with_output(KEY, X), Net(np.ones(2, np.float32)).init_with_output(
        KEY, X
    )


@program
def nested_list_fields_types(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        a: Any

        def __call__(self, x):
            return repr_without_library(self.a), kind_of(self.a)

    return [
        Net(v).init_with_output(KEY, X)[0]
        for v in (
            [1, [2, {'a': [3]}]],
            {'x': {'y': [1]}},
            (1, [2]),
            collections.OrderedDict(a=1),
            {1, 2},
            frozenset([1]),
        )
    ]


@program
def setup_attr_types(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.a = [1, [2]]
            self.b = {'x': [1]}
            self.c = jnp.ones(2)
            self.d = (1, [2])
            self.e = {1, 2}
            self.f = 's'
            self.g = np.ones(2)

        def __call__(self, x):
            return [
                (kind_of(v), repr_without_library(v))
                for v in (self.a, self.b, self.d, self.e, self.f, self.c, self.g)
            ]

    return Net().init_with_output(KEY, X)


@program
def delete_attr(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.a = nn.Dense(3)
            del self.a
            self.b = nn.Dense(2)

        def __call__(self, x):
            return self.b(x)

    return Net().init_with_output(KEY, X)


@program
def reassign_none(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.a = None
            self.a = nn.Dense(2)

        def __call__(self, x):
            return self.a(x)

    return Net().init_with_output(KEY, X)


@program
def generator_method(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for layer in self.layers():
                x = layer(x)
            return x

        def layers(self):
            for _ in range(2):
                yield nn.Dense(3)

    return Net().init_with_output(KEY, X)


@program
def init_subclass_kwargs(lib: Library) -> Any:
    nn = lib.nn

    class Base(nn.Module):
        def __init_subclass__(cls, tag=None, **kw):
            cls.tag = tag
            super().__init_subclass__(**kw)

        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x), self.tag

    class Net(Base, tag='t'):
        pass

    return Net().init_with_output(KEY, X)


@program
def setup_calls_param_and_sub(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            d = nn.Dense(3, name='hidden')
            self.d = d
            self.y = d(jnp.ones((1, 4)))

        def __call__(self, x):
            return self.d(x) + self.y

    return Net().init_with_output(KEY, X)


@program
def method_default_arg_module(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.f(x)

        def f(self, x, layer=None):
            layer = layer or nn.Dense(3)
            return layer(x)

    return Net().init_with_output(KEY, X)


@program
def bool_of_sequential(lib: Library) -> Any:
    return bool(lib.nn.Sequential([]))


@program
def recursion(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        depth: int

        @nn.compact
        def __call__(self, x):
            return Net(self.depth - 1)(nn.Dense(3)(x)) if self.depth else x

    return Net(3).init_with_output(KEY, X)


@program
def method_in_other_class(lib: Library) -> Any:
    nn = lib.nn

    def f(self, x):
        return nn.Dense(3)(x)

    class Net(nn.Module):
        __call__ = nn.compact(f)

    class Net2(nn.Module):
        __call__ = nn.compact(f)

    return Net().init(KEY, X), Net2().init(KEY, X)


@program
def frozen_dict_config_apply(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        cfg: Any

        @nn.compact
        def __call__(self, x):
            return (
                nn.Dense(**self.cfg)(x),
                self.cfg.get('features'),
                'use_bias' in self.cfg,
                dict(**self.cfg),
            )

    return Net({'features': 3, 'use_bias': False}).init_with_output(KEY, X)


@program
def tuple_of_dicts(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        cfg: Any

        @nn.compact
        def __call__(self, x):
            for c in self.cfg:
                x = nn.Dense(**c)(x)
            return x

    return Net([{'features': 3}, {'features': 2}]).init_with_output(KEY, X)


@program
def default_dict_factory(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        cfg: dict = dataclasses.field(default_factory=dict)

        @nn.compact
        def __call__(self, x):
            return nn.Dense(3, **self.cfg)(x), kind_of(self.cfg)

    return Net().init_with_output(KEY, X), kind_of(Net().cfg)

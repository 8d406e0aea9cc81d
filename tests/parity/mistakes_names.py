"""Corners of names and decorators that both libraries refuse."""

from __future__ import annotations

from typing import Any

import jax

from tests.parity.harness import Library
from tests.parity.mistakes import mistake
from tests.parity.models import X

KEY = jax.random.key(0)


@mistake
def setup_then_compact_names(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.Dense_0 = nn.Dense(3)

        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x) + self.Dense_0(x)

    return Net().init_with_output(KEY, X)


@mistake
def setup_list_name_clash(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.a = [nn.Dense(3)]
            self.a_0 = nn.Dense(3)

        def __call__(self, x):
            return self.a[0](x) + self.a_0(x)

    return Net().init_with_output(KEY, X)


@mistake
def field_named_like_setup(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        sub: Any

        def setup(self):
            self.sub_0 = nn.Dense(3)

        def __call__(self, x):
            return self.sub[0](x) + self.sub_0(x)

    return Net([nn.Dense(3)]).init_with_output(KEY, X)


@mistake
def subclass_noncompact_override_of_compact(lib: Library) -> Any:
    nn = lib.nn

    class A(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x)

    class B(A):
        def __call__(self, x):
            return nn.Dense(3)(x)

    return B().init_with_output(KEY, X)


@mistake
def nowrap_compact(lib: Library) -> Any:
    nn = lib.nn

    class A(nn.Module):
        @nn.nowrap
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x)

    return A().init_with_output(KEY, X)


@mistake
def deco_no_wraps_outer(lib: Library) -> Any:
    nn = lib.nn

    def deco(f):
        def g(self, *a, **k):
            return f(self, *a, **k) * 2

        return g

    class B(nn.Module):
        @deco
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x)

    return B().init_with_output(KEY, X)


@mistake
def module_class_attr_instance(lib: Library) -> Any:
    nn = lib.nn

    class B(nn.Module):
        d = nn.Dense(3)

        @nn.compact
        def __call__(self, x):
            return self.d(x)

    return B().init_with_output(KEY, X)


@mistake
def global_instance_called_inside(lib: Library) -> Any:
    nn = lib.nn
    d = nn.Dense(3)

    class B(nn.Module):
        @nn.compact
        def __call__(self, x):
            return d(x)

    return B().init_with_output(KEY, X)

"""Corners of running: bound modules, odd arguments, parents and children that call each other."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from tests.parity.harness import Library
from tests.parity.models import X, program

KEY = jax.random.key(0)


@program
def clone_in_method(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        w: int = 3

        @nn.compact
        def __call__(self, x):
            if self.w > 1:
                return self.clone(w=1, parent=self, name='small')(x)
            return nn.Dense(self.w)(x)

    return Net().init_with_output(KEY, X)


@program
def call_parent_method_from_child(lib: Library) -> Any:
    nn = lib.nn

    class Child(nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.parent.helper(nn.Dense(3)(x)), type(self.parent).__name__

    class Net(nn.Module):
        def setup(self):
            self.h = nn.Dense(2)
            self.c = Child()

        def helper(self, x):
            return self.h(x)

        def __call__(self, x):
            return self.c(x)

    return Net().init_with_output(KEY, X)


@program
def child_made_by_parent_method(lib: Library) -> Any:
    nn = lib.nn

    class Child(nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.parent.make()(x)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Child()(x), nn.Dense(1)(x)

        def make(self):
            return nn.Dense(2)

    return Net().init_with_output(KEY, X)


@program
def root_name(lib: Library) -> Any:
    nn = lib.nn
    return nn.Dense(3, name='x').init(KEY, X), nn.Dense(3, name='x').module_paths(
        KEY, X
    ).keys().__len__()


@program
def init_methods_w_static(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, *, train, mode='a'):
            return nn.Dense(2)(x) if train else nn.Dense(3)(x), mode

    return Net().init_with_output(KEY, X, train=True, mode='b'), Net().init(KEY, X, train=False)


@program
def kwarg_named_variables(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, name='n', self_=1, fn=None):
            return nn.Dense(2)(x), name

    n = Net()
    v = n.init(KEY, X, name='q')
    return v, n.apply(v, X, name='z', fn=3)


@program
def tree_input(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, d):
            return nn.Dense(2)(d['a']) + nn.Dense(2)(d['b'][0])

    return Net().init_with_output(KEY, {'a': X, 'b': (X, None)})


@program
def interceptor_exception(lib: Library) -> Any:
    nn = lib.nn

    def i(f, a, k, c):
        raise KeyError('x')

    try:
        with nn.intercept_methods(i):
            nn.Dense(3).init(KEY, X)
    except KeyError:
        pass
    return nn.Dense(3).init(KEY, X)


@program
def init_on_bound(lib: Library) -> Any:
    nn = lib.nn
    n = nn.Dense(3)
    v = n.init(KEY, X)
    b = n.bind(v)
    return b.init(jax.random.key(1), X), b.apply(v, X)


@program
def bound_submodule_use(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.e = nn.Dense(3)
            self.l = [nn.Dense(2), nn.Dense(2)]

        def __call__(self, x):
            return self.l[0](self.e(x)), self.l[1](x)

    n = Net()
    v = n.init(KEY, X)
    b = n.bind(v)
    return b.e(X), b.l[1](X), b.l[1].variables, b.l[0].unbind()[1], b.l[0].name, b.e.scope.path


@program
def bind_compact_children(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x)

    n = Net()
    v = n.init(KEY, X)
    b = n.bind(v)
    return b(X), b(X), b(X * 2)


@program
def bind_state(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            c = self.variable('s', 'c', lambda: 0)
            c.value += 1
            return c.value

    n = Net()
    v = n.init(KEY, X)
    b = n.bind(v, mutable=['s'])
    return b(X), b(X), b.variables, v


@program
def bind_rng_counts(lib: Library) -> Any:
    nn = lib.nn
    n = nn.Dropout(0.5, deterministic=False)
    b = n.bind({}, rngs={'dropout': KEY})
    return b(X), b(X), b(X)


@program
def jit_init_keys_dict(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dropout(0.5, deterministic=False)(nn.Dense(3)(x))

    return jax.jit(Net().init)({'params': KEY, 'dropout': jax.random.PRNGKey(1)}, X)


@program
def grad_of_init(lib: Library) -> Any:
    n = lib.nn.Dense(3)
    return jax.jacobian(lambda x: n.init_with_output(KEY, x)[0].sum())(X)


@program
def module_as_static(lib: Library) -> Any:
    n = lib.nn.Dense(3)
    v = n.init(KEY, X)
    f = jax.jit(lambda m, v, x: m.apply(v, x), static_argnums=0)
    return f(n, v, X), f(lib.nn.Dense(3), v, X)


@program
def dataclasses_replace(lib: Library) -> Any:
    n = lib.nn.Dense(3)
    return dataclasses.replace(n, features=4).init(KEY, X), dataclasses.asdict(
        lib.nn.LayerNorm()
    ).keys().__len__()


@program
def dataclass_replace_nested(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        sub: Any

        def __call__(self, x):
            return self.sub(x)

    return dataclasses.replace(Net(nn.Dense(2)), sub=nn.Dense(3)).init(KEY, X)


@program
def apply_fn_method(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.d = nn.Dense(3)

        def __call__(self, x):
            return self.d(x)

    n = Net()
    v = n.init(KEY, X)
    methods = [lambda m, x: m.d(x) + m(x), lambda m, x: m.d.features]
    return [n.apply(v, X, method=method) for method in methods]

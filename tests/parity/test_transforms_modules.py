"""Transforms and the rest of the module system: scopes that are shared, names, flags, observers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from tests.parity.harness import Library, same
from tests.parity.models import X
from tests.parity.test_transforms_forms import LIFTS, lifts
from tests.parity.transforms import numbers

KEY = jax.random.key(0)
RNGS = {'params': KEY, 'noise': jax.random.key(1)}
Program = Callable[[Library, Any], Any]
PROGRAMS: dict[str, Program] = {}


def program(run: Program) -> Program:
    """Registers ``run(lib, lift)``, for each of the transforms that keep a signature."""
    PROGRAMS[run.__name__] = run
    return run


def dense(nn: Any, **options: Any) -> Any:
    return nn.Dense(4, kernel_init=numbers, **options)


def whole(net: Any, **options: Any) -> Any:
    y, variables = net.init_with_output(RNGS, X)
    changed = net.apply(variables, X, rngs={'noise': KEY}, mutable=True, **options)
    return y, variables, changed


@program
def shared_scopes(lib: Library, lift: Any) -> Any:
    nn = lib.nn

    class Outer(nn.Module):
        inner: Any

        def setup(self):
            nn.share_scope(self, self.inner)

        def __call__(self, x):
            return self.inner(x)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return lift(Outer)(dense(nn, name='d'))(x) + Outer(lift(nn.Dense)(4))(x)

    return whole(Net())


@program
def name_scopes(lib: Library, lift: Any) -> Any:
    nn = lib.nn

    class Body(nn.Module):
        @nn.compact_name_scope
        def up(self, x):
            return dense(nn)(x)

        @nn.compact
        def __call__(self, x):
            return dense(nn)(self.up(dense(nn)(x)))

    return whole(lift(Body)())


@program
def what_a_module_knows_inside(lib: Library, lift: Any) -> Any:
    """Path, name, flags, which variables and streams there are; noted while tracing."""
    nn, notes = lib.nn, []

    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = dense(nn)(x)
            notes.append((self.path, self.name, type(self).__name__, self.is_initializing()))
            notes.append([self.is_mutable_collection(c) for c in ('params', 'state', 'other')])
            notes.append([self.has_rng(s) for s in ('params', 'noise', 'other')])
            notes.append([self.has_variable('params', n) for n in ('Dense_0', 'none')])
            notes.append(jax.tree_util.tree_map(jnp.shape, dict(self.variables)))
            notes.append((self.scope.path, self.parent is None, dict(self.scope.flags)))
            return y

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return lift(Body)(name='b')(x)

    return whole(Net()), list(notes)


@program
def intermediates_are_captured(lib: Library, lift: Any) -> Any:
    nn = lib.nn

    class Body(nn.Module):
        def setup(self):
            self.one = dense(nn)

        def helper(self, x):
            return self.one(x)

        def __call__(self, x):
            return self.helper(x) + self.helper(2 * x)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            mdl = lift(Body)()
            return mdl(mdl(x))

    some = whole(Net(), capture_intermediates=True)
    return some, whole(Net(), capture_intermediates=lambda _, name: name != 'setup')


@program
def calls_are_intercepted(lib: Library, lift: Any) -> Any:
    nn, seen = lib.nn, []

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return lift(nn.Dense)(4, kernel_init=numbers)(dense(nn)(x))

    def interceptor(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if context.method_name == '__call__':
            seen.append((type(context.module).__name__, context.module.name))
        y = next_fun(*args, **kwargs)
        return y * 2 if context.method_name == '__call__' else y

    net = Net()
    variables = net.init(RNGS, X)
    with nn.intercept_methods(interceptor):
        return net.apply(variables, X), seen


@program
def bound_modules(lib: Library, lift: Any) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.layer = dense(nn)
            self.lifted = lift(nn.Dense)(4, kernel_init=numbers)

        @lift
        def encode(self, x):
            return self.layer(x)

        def __call__(self, x):
            return self.lifted(self.encode(x))

    net = Net()
    variables = net.init(KEY, X)
    bound = net.bind(variables)
    unbound, again = bound.lifted.unbind()
    return bound(X), bound.encode(X), bound.lifted(X), again, unbound.apply(again, X)


@program
def methods_of_another_name(lib: Library, lift: Any) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.layer = dense(nn)

        @lift
        def encode(self, x):
            return self.layer(x)

        def __call__(self, x):
            return self.encode(x)

    variables = Net().init(KEY, X, method='encode')
    out = [Net().apply(variables, X, method=m) for m in ('encode', Net.encode, Net().encode)]
    return variables, out, Net().apply(variables, X, method=lambda mdl, x: mdl.encode(x) * 2)


@program
def parameters_of_a_parent(lib: Library, lift: Any) -> Any:
    """A lifted method next to parameters that the module has itself."""
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            before = self.param('before', numbers, (4,))

            def body(self, x):
                inside = self.param('inside', numbers, (4,))
                return x * inside + self.get_variable('params', 'before')

            y = lift(body)(self, x)
            return y + self.param('after', numbers, (4,)) + before, self.make_rng('noise')

    return whole(Net())


@program
def deep_trees_of_fields(lib: Library, lift: Any) -> Any:
    nn = lib.nn

    @lib.struct.dataclass
    class Parts:
        one: Any
        many: Any

    class Body(nn.Module):
        parts: Any

        @nn.compact
        def __call__(self, x):
            for part in (self.parts.one, *self.parts.many['k']):
                x = part(x)
            return x

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            one = dense(nn)
            return lift(Body)(Parts(one, {'k': [dense(nn), one]}))(x) + one(x)

    return whole(Net())


@program
def inherited_methods(lib: Library, lift: Any) -> Any:
    nn = lib.nn

    class Base(nn.Module):
        @lift
        @nn.compact
        def __call__(self, x):
            return self.last(dense(nn)(x))

        def last(self, x):
            return x

    class Child(Base):
        def last(self, x):
            return dense(nn)(x) * 2

    return whole(Child()), whole(Base())


@program
def methods_that_call_each_other(lib: Library, lift: Any) -> Any:
    """Inside, the module is of the class that was lifted: its methods are plain."""
    nn = lib.nn

    class Body(nn.Module):
        def setup(self):
            self.layer = dense(nn)

        def helper(self, x):
            return self.layer(x).sum(0), type(self).__name__ == 'Body'

        def __call__(self, x):
            y, plain = self.helper(x)
            return y * 2, plain

    cls = lift(Body) if lift is nn.fold_rngs else lift(Body, methods=['helper', '__call__'])

    class Child(lift(Body)):
        def helper(self, x):
            return x * 10, None

    return whole(cls()), whole(Child())


@program
def lifted_twice(lib: Library, lift: Any) -> Any:
    nn = lib.nn
    cls = lift(nn.remat(nn.Dense))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = cls(4, kernel_init=numbers)(x)
            return nn.remat(lambda mdl, x: lift(lambda mdl, x: mdl(x))(mdl, x))(dense(nn), y)

    return whole(Net()), cls.__name__


@program
def with_module_paths(lib: Library, lift: Any) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            shared = dense(nn)
            return lift(nn.Sequential)([shared, dense(nn)])(shared(x))

    paths = Net().module_paths(RNGS, X)
    return {path: type(mdl).__name__ for path, mdl in paths.items()}, whole(Net())


@pytest.mark.parametrize('lift', LIFTS)
@pytest.mark.parametrize('name', PROGRAMS)
def test_modules(name: str, lift: str) -> None:
    same(lambda lib: PROGRAMS[name](lib, lifts(lib.nn)[lift]), name)

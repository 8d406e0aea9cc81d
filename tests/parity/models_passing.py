"""Models by how modules are handed to modules: sharing, adoption, functions that hold modules."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tests.parity.harness import Library
from tests.parity.models import X, model


def _wrapper(nn: Any) -> Any:
    """A class whose instances call the module they were given."""

    class Wrapper(nn.Module):
        sub: Any

        @nn.compact
        def __call__(self, x):
            return self.sub(x)

    return Wrapper


@model(X)
def shared_by_passing_in_setup(nn: Any) -> Any:
    wrapper = _wrapper(nn)

    class Net(nn.Module):
        def setup(self):
            self.shared = nn.Dense(4)
            self.a = wrapper(self.shared)
            self.b = wrapper(self.shared)

        def __call__(self, x):
            return self.b(self.a(x)), self.a.sub.path, self.b.sub.path

    return Net()


@model(X)
def shared_by_passing_in_compact(nn: Any) -> Any:
    wrapper = _wrapper(nn)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            shared = nn.Dense(4, name='core')
            return wrapper(shared)(wrapper(shared)(x)) + shared(x)

    return Net()


@model(X)
def shared_by_passing_from_outside(nn: Any) -> Any:
    """One instance in two fields of fields stays one module."""
    wrapper = _wrapper(nn)
    shared = nn.Dense(4)

    class Net(nn.Module):
        a: Any
        b: Any

        def __call__(self, x):
            return self.a(x) + self.b(x)

    return Net(a=wrapper(shared), b=wrapper(shared))


@model(X)
def shared_in_one_list_field(nn: Any) -> Any:
    shared = nn.Dense(4)

    class Net(nn.Module):
        layers: Any

        def __call__(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    return Net(layers=[shared, nn.Dense(4), shared])


@model(X)
def made_for_a_child_in_compact(nn: Any) -> Any:
    """A module made as an argument belongs to the parent in whose method it is made."""
    wrapper = _wrapper(nn)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            unnamed = wrapper(nn.Dense(3))
            named = wrapper(nn.Dense(3, name='given'))
            return unnamed(x) + named(x), unnamed.sub.path, named.sub.path

    return Net()


@model(X)
def adopted_from_outside(nn: Any) -> Any:
    """A module made outside any method is named by the field that holds it."""
    wrapper = _wrapper(nn)
    return wrapper(wrapper(nn.Dense(3)))


@model(X)
def adopted_with_given_names(nn: Any) -> Any:
    wrapper = _wrapper(nn)

    class Net(nn.Module):
        first: Any
        rest: Any

        def __call__(self, x):
            x = self.first(x)
            for name in self.rest:
                x = self.rest[name](x)
            return x, self.first.name, [m.name for m in self.rest.values()]

    rest = {'z': nn.Dense(3, name='zed'), 'a': wrapper(nn.Dense(4, name='deep'))}
    return Net(nn.Dense(4, name='one'), rest)


@model(X)
def list_field_of_modules(nn: Any) -> Any:
    class Net(nn.Module):
        layers: Any
        pair: Any = ()

        def __call__(self, x):
            for layer in (*self.layers, *self.pair):
                x = layer(x)
            return x, type(self.layers).__name__, type(self.pair).__name__

    return Net([nn.Dense(3), nn.Dense(4)], (nn.Dense(2), nn.relu))


@model(X)
def nested_dict_field_of_modules(nn: Any) -> Any:
    frozen = Library.of(nn).core.FrozenDict

    class Net(nn.Module):
        table: Any

        def __call__(self, x):
            left, right = self.table['left'], self.table['right']
            kinds = [isinstance(table, frozen) for table in (self.table, left)]
            return left['a'](x) + right[0](x), kinds

    return Net({'right': [nn.Dense(3)], 'left': {'a': nn.Dense(3)}})


@model(X)
def default_instance_is_shared(nn: Any) -> Any:
    """A module as the default of a field is one object, adopted by each instance in turn."""

    class Block(nn.Module):
        sub: Any = nn.Dense(4)

        def __call__(self, x):
            return self.sub(x)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Block()(Block()(x))

    return Net()


@model(X)
def class_as_field(nn: Any) -> Any:
    class Net(nn.Module):
        layer: Callable[..., Any]

        @nn.compact
        def __call__(self, x):
            return self.layer()(self.layer(name='second')(x))

    return Net(functools.partial(nn.Dense, 4, use_bias=False))


@model(X)
def bound_method_as_argument(nn: Any) -> Any:
    """The bound method of one child is called by another child."""

    class Caller(nn.Module):
        fn: Any

        @nn.compact
        def __call__(self, x):
            return self.fn(nn.Dense(4)(x))

    class Net(nn.Module):
        def setup(self):
            self.embed = nn.Embed(5, 4)
            self.caller = Caller(self.embed.attend)

        def __call__(self, x):
            return self.caller(x)

    return Net()


@model(X)
def lambdas_that_make_modules(nn: Any) -> Any:
    """What a function makes belongs to the module whose method runs, wherever it was written."""

    class Block(nn.Module):
        make: Callable[..., Any]

        @nn.compact
        def __call__(self, x):
            return self.make(x)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            block = Block(lambda x: nn.Dense(2)(nn.Dense(3)(x)))

            def outer(x):
                return nn.Dense(4)(x)

            return block(outer(outer(x)))

    return Net()


@model(X)
def lambda_closing_over_a_module(nn: Any) -> Any:
    class Block(nn.Module):
        fn: Callable[..., Any]

        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(self.fn(x))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            outside = nn.Dense(3)
            return Block(lambda x: outside(x) * 2)(x)

    return Net()


@model(X)
def module_as_call_argument(nn: Any) -> Any:
    class Apply(nn.Module):
        @nn.compact
        def __call__(self, layer, x):
            return nn.Dense(2)(layer(x))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = nn.Dense(4)
            return Apply()(layer, Apply()(layer, x) @ x[:, :2].T @ x)

    return Net()


@model(X)
def assigned_child_of_a_field(nn: Any) -> Any:
    """Inside setup a second name is given to a field's module: the field's name stays."""

    class Net(nn.Module):
        sub: Any

        def setup(self):
            self.alias = self.sub
            self.own = nn.Dense(3)

        def __call__(self, x):
            return self.own(self.alias(self.sub(x))), self.alias.name

    return Net(nn.Dense(4))


@model(X)
def clone_of_a_child(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            first = nn.Dense(4)
            loose = first.clone(features=3)
            second = loose.clone(parent=self, name='second')
            return second(first(x)), second.features, second.name, loose.scope, loose.name

    return Net()


@model(X)
def copy_of_a_child(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            first = nn.Dense(4)
            y = first(x)
            return first.copy(features=3)(y), first.copy(name='third')(y)

    return Net()


@model(X)
def shared_scope_in_setup(nn: Any) -> Any:
    """After share_scope the child's parameters lie beside the parent's."""

    class Lora(nn.Module):
        sub: Any

        def setup(self):
            nn.share_scope(self, self.sub)

        @nn.compact
        def __call__(self, x):
            a = self.param('a', nn.initializers.normal(), (4, 2))
            b = self.param('b', nn.initializers.ones, (2, 3))
            return self.sub(x) + x @ a @ b

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Lora(nn.Dense(3))(x), Lora(nn.Dense(3, name='named'))(x)

    return Net()


@model(X)
def shared_scope_at_the_root(nn: Any) -> Any:
    class Wrapper(nn.Module):
        sub: Any

        def setup(self):
            nn.share_scope(self, self.sub)

        def __call__(self, x):
            return self.sub(x)

    return Wrapper(nn.Dense(3))


@model(X)
def partial_holding_a_module(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = nn.Dense(4)
            twice = functools.partial(lambda layer, x: layer(layer(x)), layer)
            return twice(x)

    return Net()


@model(X)
def frozen_dict_field(nn: Any) -> Any:
    """A dict given to a field reads as a FrozenDict, a list as a tuple, deep down too."""

    class Net(nn.Module):
        config: Any
        frozen: Any
        sizes: Any

        @nn.compact
        def __call__(self, x):
            x = nn.Dense(self.config['n'])(x)
            nested = self.config['more']
            kinds = [isinstance(field, frozen) for field in (self.config, nested, self.frozen)]
            lists = [type(field).__name__ for field in (nested['list'], self.sizes)]
            return x, kinds, lists, dict(self.config), self.sizes

    freeze, frozen = Library.of(nn).core.freeze, Library.of(nn).core.FrozenDict
    return Net({'n': 3, 'more': {'list': [1, 2]}}, freeze({'a': 1}), [1, [2, (3,)]])

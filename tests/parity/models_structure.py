"""Models by how they hold their submodules: compact, setup, containers, names, order."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from tests.parity.harness import Library
from tests.parity.models import X, model


@model(X)
def compact_mlp(nn: Any) -> Any:
    """Automatic names, one counter for each class."""

    class Net(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Dense(self.width)(x))
            x = nn.LayerNorm()(x)
            return nn.Dense(2, use_bias=False)(x)

    return Net(5)


@model(X)
def setup_mlp(nn: Any) -> Any:
    """Names come from the attributes; parameters are ordered by first use."""

    class Net(nn.Module):
        def setup(self):
            self.last = nn.Dense(2)
            self.first = nn.Dense(5)

        def __call__(self, x):
            return self.last(nn.tanh(self.first(x)))

    return Net()


@model(X)
def setup_and_compact(nn: Any) -> Any:
    class Net(nn.Module):
        def setup(self):
            self.body = nn.Dense(3)
            self.scale = self.param('scale', nn.initializers.normal(), (3,))

        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(self.body(x) * self.scale)

    return Net()


@model(X)
def setup_params_only(nn: Any) -> Any:
    class Net(nn.Module):
        def setup(self):
            self.w = self.param('w', nn.initializers.lecun_normal(), (4, 3), jnp.bfloat16)
            self.b = self.param('bias', nn.initializers.zeros, (3,))

        def __call__(self, x):
            return x @ self.w + self.b

    return Net()


@model(X)
def shared_by_reuse(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = nn.Dense(4)
            return layer(layer(x)) + layer(x)

    return Net()


@model(X)
def nested_three_deep(nn: Any) -> Any:
    class Leaf(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x), '/'.join(self.path)

    class Branch(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Leaf()(x), Leaf(name='named')(x)

    class Tree(nn.Module):
        def setup(self):
            self.left, self.right = Branch(), Branch()

        def __call__(self, x):
            return self.right(x), self.left(x)

    return Tree()


@model(X)
def list_in_setup(nn: Any) -> Any:
    class Net(nn.Module):
        def setup(self):
            self.layers = [nn.Dense(n) for n in (3, 4, 5)]

        def __call__(self, x):
            for layer in self.layers:
                x = layer(x)
            return x, type(self.layers).__name__, [layer.name for layer in self.layers]

    return Net()


@model(X)
def containers_in_setup(nn: Any) -> Any:
    """Tuples, dicts with string and integer keys, and both inside each other."""

    class Net(nn.Module):
        def setup(self):
            self.pair = (nn.Dense(3), nn.Dense(4, name='second'))
            self.table = {'b': nn.Dense(2), 'a': [nn.Dense(2), {'c': nn.Dense(1)}]}
            self.numbered = {1: nn.Dense(2), 0: nn.Dense(2)}

        def __call__(self, x):
            nested = self.table['a'][1]['c'](self.table['a'][0](x))
            flat = [self.pair[1](self.pair[0](x)), self.table['b'](x), nested]
            return [*flat, self.numbered[0](x), self.numbered[1](x)], self.pair[1].name

    return Net()


@model(X)
def mixed_values_in_containers(nn: Any) -> Any:
    class Net(nn.Module):
        def setup(self):
            self.steps = [nn.Dense(3), nn.relu, 2.0, None, 'text']

        def __call__(self, x):
            return self.steps[1](self.steps[0](x)) * self.steps[2], self.steps[3:]

    return Net()


@model(X)
def module_in_struct_dataclass(nn: Any) -> Any:
    """Modules inside a pytree dataclass are found, as a field and as an attribute."""

    @Library.of(nn).struct.dataclass
    class Pair:
        a: Any
        b: Any
        n: int = Library.of(nn).struct.field(pytree_node=False, default=2)

    class Net(nn.Module):
        given: Any

        def setup(self):
            self.own = Pair(nn.Dense(3), [nn.Dense(3)])

        def __call__(self, x):
            y = self.given.a(x) + self.given.b(x)
            return y + self.own.a(x) + self.own.b[0](x) * self.own.n

    return Net(Pair(nn.Dense(3), nn.Dense(3, name='other')))


@model(X)
def modules_in_plain_dataclass(nn: Any) -> Any:
    @dataclasses.dataclass(frozen=True)
    class Pair:
        a: Any
        b: Any

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            pair = Pair(nn.Dense(3), nn.Dense(3, name='b'))
            return pair.b(x) + pair.a(x)

    return Net()


@model(X)
def named_in_compact(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(3, name='stem')(x)
            x = nn.Dense(3)(x)
            x = nn.Dense(3, name='Dense_7')(x)
            return nn.Dense(3)(x)

    return Net()


@model(X)
def odd_names(nn: Any) -> Any:
    """A name is any string: digits, dots, spaces, letters of any alphabet."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for name in ('0', 'a.b', 'two words', 'größe'):
                x = nn.Dense(2, name=name)(x)
            return x

    return Net()


@model(X)
def named_in_setup(nn: Any) -> Any:
    class Net(nn.Module):
        def setup(self):
            self.head = nn.Dense(3, name='classifier')
            self.tail = nn.Dense(2)

        def __call__(self, x):
            return self.tail(self.head(x)), self.head.name, self.tail.name

    return Net()


@model(X)
def unused_in_setup(nn: Any) -> Any:
    """What setup makes and no method uses leaves no trace in the parameters."""

    class Net(nn.Module):
        def setup(self):
            self.used = nn.Dense(3)
            self.unused = nn.Dense(5)

        def __call__(self, x):
            return self.used(x)

    return Net()


@model(X)
def alias_in_setup(nn: Any) -> Any:
    """A module under two attributes is one module, named by the first."""

    class Net(nn.Module):
        def setup(self):
            self.one = nn.Dense(4)
            self.two = self.one
            self.three = [self.one, nn.Dense(4)]

        def __call__(self, x):
            return self.three[1](self.three[0](self.two(self.one(x)))), self.two.name

    return Net()


@model(X)
def subclass_counters(nn: Any) -> Any:
    """A subclass counts under its own name, and a class of the same name under the shared one."""

    class Wide(nn.Dense):
        pass

    class Dense(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x * self.param('scale', nn.initializers.ones, ())

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4)(Wide(4)(Dense()(nn.Dense(4)(Wide(4)(x)))))

    return Net()


@model(X)
def created_in_one_order_called_in_another(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            first, second, third = nn.Dense(3), nn.Dense(3), nn.Dense(4)
            return second(third(x)) + first(x), [m.name for m in (first, second, third)]

    return Net()


@model(X)
def setup_in_comprehension_of_setups(nn: Any) -> Any:
    class Block(nn.Module):
        n: int

        def setup(self):
            self.parts = [nn.Dense(self.n) for _ in range(2)]

        def __call__(self, x):
            return sum(part(x) for part in self.parts)

    class Net(nn.Module):
        def setup(self):
            self.grid = [[Block(n) for n in (2, 3)] for _ in range(2)]

        def __call__(self, x):
            return [[block(x) for block in row] for row in self.grid]

    return Net()


@model(X)
def reaching_into_a_child(nn: Any) -> Any:
    """A parent may use what its child made in setup."""

    class Child(nn.Module):
        def setup(self):
            self.inner = nn.Dense(3)

        def __call__(self, x):
            return self.inner(x)

    class Net(nn.Module):
        def setup(self):
            self.child = Child()

        def __call__(self, x):
            return self.child.inner(x) + self.child(x), self.child.inner.path

    return Net()


@model(X)
def method_calls_method(nn: Any) -> Any:
    """A compact method calls methods of its own, some of which make submodules."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.head(self.body(x, 3))

        def body(self, x, n):
            return nn.Dense(n)(x)

        def head(self, x):
            return nn.Dense(2, name='head')(x)

    return Net()


@model(X)
def nowrap_makes_submodules(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.nowrap
        def make(self, n):
            return nn.Dense(n)

        @nn.compact
        def __call__(self, x):
            return self.make(2)(self.make(3)(x))

    return Net()


@model(X)
def detached_submodule(nn: Any) -> Any:
    """``parent=None`` keeps a module out of the tree until it is handed to one."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            loose = nn.Dense(3, parent=None)
            names = [loose.name, loose.parent]
            return nn.Sequential([loose, nn.Dense(2)])(x), names

    return Net()


@model(X)
def compact_name_scope(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact_name_scope
        def up(self, x):
            return nn.Dense(3)(x)

        @nn.compact_name_scope
        def down(self, x):
            return nn.Dense(4)(x)

        def __call__(self, x):
            return self.down(self.up(x)) + self.down(self.up(x))

    return Net()


@model(X)
def compact_beside_compact_name_scope(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact_name_scope
        def up(self, x):
            return nn.Dense(3)(x)

        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(self.up(nn.Dense(3)(x)))

    return Net()

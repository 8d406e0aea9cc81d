"""Models by what their classes do: inheritance, dataclass features, properties, descriptors."""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any, ClassVar, Generic, TypeVar

import jax
import jax.numpy as jnp

from tests.parity.harness import Library
from tests.parity.models import X, model, program

T = TypeVar('T')


@model(X)
def inherited_call(nn: Any) -> Any:
    class Base(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.width)(x)

    class Child(Base):
        depth: int = 2

        @nn.compact
        def __call__(self, x):
            x = super().__call__(x)
            for _ in range(self.depth):
                x = nn.Dense(3)(x)
            return x

    return Child(5)


@model(X)
def inherited_setup(nn: Any) -> Any:
    class Base(nn.Module):
        def setup(self):
            self.first = nn.Dense(3)

        def __call__(self, x):
            return self.first(x)

    class Child(Base):
        def setup(self):
            super().setup()
            self.second = nn.Dense(2)

        def __call__(self, x):
            return self.second(super().__call__(x))

    return Child()


@model(X)
def keyword_only_fields(nn: Any) -> Any:
    class Base(nn.Module, kw_only=True):
        width: int
        scale: float = 2.0

    class Child(Base):
        depth: int

        @nn.compact
        def __call__(self, x):
            for _ in range(self.depth):
                x = nn.Dense(self.width)(x)
            return x * self.scale

    return Child(2, width=3)


@model(X)
def mixin_without_module(nn: Any) -> Any:
    class Doubles:
        factor = 2

        def double(self, x):
            return x * self.factor

    class Net(Doubles, nn.Module):
        @nn.compact
        def __call__(self, x):
            return self.double(nn.Dense(3)(x))

    return Net()


@model(X)
def generic_module(nn: Any) -> Any:
    class Net(nn.Module, Generic[T]):
        value: T
        shared: ClassVar[int] = 3

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.shared)(x) * self.value

    return Net[float](2.0)


@model(X)
def abstract_and_generic_before_module(nn: Any) -> Any:
    class Scaled(abc.ABC, nn.Module):
        @abc.abstractmethod
        def scale(self): ...

    class Net(Generic[T], Scaled):
        value: T

        def scale(self):
            return self.value

        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x) * self.scale()

    return Net[float](2.0)


@model(X)
def decorated_constructor(nn: Any) -> Any:
    """A decorator replaces ``__init__`` after the class was made, and keeps the options."""

    def register(cls):
        construct = cls.__init__

        def __init__(self, *args, **options):
            object.__setattr__(self, 'config', options)
            construct(self, *args, **options)

        cls.__init__ = __init__
        return cls

    @register
    class Part(nn.Module):
        width: int = 1

        def setup(self):
            self.dense = nn.Dense(self.config['width'])

        def __call__(self, x):
            return self.dense(x)

    class Net(nn.Module):
        part: Any

        @nn.compact
        def __call__(self, x):
            return self.part(x) + Part(width=3)(x)

    return Net(Part(width=3))


@model(X)
def made_again_with_slots(nn: Any) -> Any:
    @dataclasses.dataclass(slots=True)
    class Part(nn.Module):
        width: int = 4
        layer: Any = None

        @nn.compact
        def __call__(self, x):
            return (self.layer or nn.Dense(self.width))(x)

    class Net(nn.Module):
        part: Any

        @nn.compact
        def __call__(self, x):
            return self.part(x) + Part(layer=nn.Dense(4))(x)

    return Net(Part())


@model(X)
def knows_whether_it_may_make_variables(nn: Any) -> Any:
    seen = []

    class Part(nn.Module):
        def setup(self):
            self.dense = nn.Dense(3)
            seen.append(('setup', self._initialization_allowed))

        def __call__(self, x):
            seen.append(('call', self._initialization_allowed))
            return self.dense(x)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            part = Part()
            seen.extend([('made', part._initialization_allowed), self._initialization_allowed])
            y = part(x)
            self.variable('notes', 'seen', lambda: jnp.array([str(s) == 'True' for s in seen]))
            return self.helper(y), [str(s) for s in seen], Part()._initialization_allowed

        def helper(self, x):
            seen.append(self._initialization_allowed)
            return x

    return Net()


@model(X)
def post_init_sets_fields(nn: Any) -> Any:
    class Net(nn.Module):
        width: int
        sizes: Any = None

        def __post_init__(self):
            self.sizes = (self.width, self.width + 1)
            super().__post_init__()

        @nn.compact
        def __call__(self, x):
            for n in self.sizes:
                x = nn.Dense(n)(x)
            return x

    return Net(3)


@model(X)
def post_init_makes_a_module(nn: Any) -> Any:
    class Net(nn.Module):
        sub: Any = None

        def __post_init__(self):
            if self.sub is None:
                self.sub = nn.Dense(3)
            super().__post_init__()

        def __call__(self, x):
            return self.sub(x)

    class Parent(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Net()(Net(nn.Dense(4))(x))

    return Parent()


@model(X)
def default_factories(nn: Any) -> Any:
    class Net(nn.Module):
        sizes: list[int] = dataclasses.field(default_factory=lambda: [3, 2])
        sub: Any = dataclasses.field(default_factory=lambda: nn.Dense(4))

        @nn.compact
        def __call__(self, x):
            x = self.sub(x)
            for n in self.sizes:
                x = nn.Dense(n)(x)
            return x, type(self.sizes).__name__

    return Net()


@model(X)
def field_outside_the_constructor(nn: Any) -> Any:
    class Net(nn.Module):
        width: int
        note: Any = dataclasses.field(default='n', init=False, repr=False, compare=False)

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.width)(x), self.note

    return Net(3)


@model(X)
def init_var_of_a_dataclass(nn: Any) -> Any:
    class Net(nn.Module):
        width: int = 3
        name_hint: ClassVar[str] = 'hint'

        @property
        def double(self):
            return self.width * 2

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.double)(x), self.name_hint

    return Net()


@model(X)
def property_that_uses_setup(nn: Any) -> Any:
    class Net(nn.Module):
        def setup(self):
            self.layer = nn.Dense(3)
            self.w = self.param('w', nn.initializers.ones, (3,))

        @property
        def weight(self):
            return self.w * 2

        def __call__(self, x):
            return self.layer(x) * self.weight

    class Parent(nn.Module):
        def setup(self):
            self.net = Net()

        def __call__(self, x):
            return self.net.weight, self.net(x)

    return Parent()


@model(X)
def cached_property(nn: Any) -> Any:
    class Net(nn.Module):
        width: int = 3

        @functools.cached_property
        def sizes(self):
            return [self.width, self.width + 1]

        @nn.compact
        def __call__(self, x):
            for n in self.sizes:
                x = nn.Dense(n)(x)
            return x, self.sizes

    return Net()


@model(X)
def descriptors(nn: Any) -> Any:
    """A descriptor of the user's own, with ``__get__`` alone and with ``__set__``."""

    class Constant:
        def __init__(self, value):
            self.value = value

        def __get__(self, obj, objtype=None):
            return self.value if obj is None else (self.value, type(obj).__name__)

    class Net(nn.Module):
        extra = Constant(3)

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.extra[0])(x), self.extra

    return Net()


@model(X)
def static_and_class_methods(nn: Any) -> Any:
    class Net(nn.Module):
        width: int

        @classmethod
        def small(cls):
            return cls(2)

        @staticmethod
        def halve(x):
            return x / 2

        @nn.compact
        def __call__(self, x):
            return self.halve(nn.Dense(self.width)(x))

    return Net.small()


@model(X)
def setup_with_branches(nn: Any) -> Any:
    class Net(nn.Module):
        kind: str
        norm: bool = True

        def setup(self):
            self.layer = nn.Dense(3) if self.kind == 'dense' else None
            if self.norm:
                self.after = nn.LayerNorm()
            self.activation = nn.relu

        def __call__(self, x):
            x = self.activation(self.layer(x))
            return self.after(x) if hasattr(self, 'after') else x

    class Parent(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Net('dense', norm=False)(x), Net('dense')(x)

    return Parent()


@model(X)
def optional_arguments(nn: Any) -> Any:
    class Net(nn.Module):
        flag: bool | None = None

        @nn.compact
        def __call__(self, x, *more, flag=None, **rest):
            flag = nn.merge_param('flag', self.flag, flag)
            y = nn.Dense(3)(x)
            return (y * 2 if flag else y), len(more), sorted(rest)

    class Parent(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Net()(x, 1, 2, flag=True, other=3), Net(False)(x)

    return Parent()


@model(X)
def call_operators(nn: Any) -> Any:
    """Methods with two underscores beside ``__call__`` are methods like any other."""

    class Net(nn.Module):
        def setup(self):
            self.table = self.param('table', nn.initializers.normal(), (3, 4))

        def __getitem__(self, i):
            return self.table[i]

        def __len__(self):
            return 3

        def __matmul__(self, x):
            return self.table @ x

        def __call__(self, x):
            return self[1] + x, len(self), self @ x.T

    return Net()


@program
def init_overridden(lib: Library) -> Any:
    """A class may put its own ``init`` before the library's."""
    nn = lib.nn

    class Net(nn.Module):
        width: int

        def init(self, key, size):
            return super().init(key, jnp.ones((1, size)))

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.width)(x)

    return Net(3).init(jax.random.key(0), 4)


@program
def fields_of_inheriting_classes(lib: Library) -> Any:
    """The order of the fields: ``parent`` and ``name`` come last, whatever is inherited."""
    nn = lib.nn

    class Base(nn.Module):
        a: int
        b: int = 2

    class Child(Base):
        c: int = 3

    class Override(Child):
        a: int = 9

    class Keyword(nn.Module, kw_only=True):
        d: int = 1
        e: str

    class Both(Keyword):
        f: int

    described = {}
    for cls in (Base, Child, Override, Keyword, Both):
        described[cls.__name__] = [
            (f.name, f.kw_only, f.init, f.repr, f.compare, f.hash, f.default is dataclasses.MISSING)
            for f in dataclasses.fields(cls)
        ]
    return described


@program
def two_compact_methods(lib: Library) -> Any:
    """Two methods may be compact: each counts its submodules anew, one inside the other goes on."""
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def inner(self, x):
            return nn.Dense(4)(x)

        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(self.inner(nn.Dense(3)(x)))

        def both(self, x):
            return self.inner(x) + self.inner(self.inner(x))

    key = jax.random.key(0)
    return Net().init_with_output(key, X), Net().init_with_output(key, X, method='both')


@program
def equality_and_hash(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        a: Any
        b: Any = dataclasses.field(default=None, compare=False)

    one, two, three = Net(1, b=2), Net(1, b=3), Net(2)
    return [
        one == two,
        one == three,
        hash(one) == hash(two),
        one == Net(1, name='n'),
        one != object(),
        Net([1, 2]) == Net((1, 2)),
        Net({'a': 1}) == Net({'a': 1}),
        nn.Dense(3) == nn.Dense(3),
        nn.Dense(3) == nn.Dense(4),
        len({nn.Dense(3), nn.Dense(3), nn.Dense(3, name='x')}),
        Net(nn.Dense(3)) == Net(nn.Dense(3)),
        hash(Net(nn.Dense(3))) == hash(Net(nn.Dense(3))),
    ]


@program
def attributes_seen_from_outside(lib: Library) -> Any:
    """An unbound module shows its fields, and neither name nor scope."""
    nn = lib.nn

    class Net(nn.Module):
        a: Any
        sub: Any = None

        def setup(self):
            self.made = nn.Dense(3)

    net = Net([1, {'b': 2}], sub=nn.Dense(3, name='x'))
    return [
        net.a,
        type(net.a).__name__,
        net.name,
        net.parent,
        net.scope,
        net.sub.name,
        net.sub.parent,
        hasattr(net, 'made'),
        hasattr(net, 'b'),
        {name for name in ('a', 'sub', 'setup', 'apply') if name in dir(net)},
    ]


@program
def odd_but_allowed(lib: Library) -> Any:
    """What looks like a mistake and is not one: programs rely on it."""
    nn = lib.nn
    leaked: list[Any] = []

    class Net(nn.Module):
        width: int = 3

        @nn.compact
        def __call__(self, x):
            leaked.append(nn.Dense(3, name='late'))
            named = nn.Dense(4, name='width')(nn.Dense(4, name='apply')(x))
            return named * self.param('setup', jax.random.normal, (4,))

    class Named(nn.Module):
        name: str

        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(x), self.name

    changed = nn.Dense(3)
    changed.features = 2
    key = jax.random.key(0)
    outputs = [Net().init_with_output(key, X), Named(name='n').init_with_output(key, X)]
    return outputs, leaked[0](X), changed.init(key, X), [f.name for f in dataclasses.fields(Named)]

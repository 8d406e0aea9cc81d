"""Programs that misuse a module, by name; both libraries must refuse each with the same class."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tests.parity.harness import Library
from tests.parity.models import X

KEY = jax.random.key(0)
Mistake = Callable[[Library], Any]

MISTAKES: dict[str, Mistake] = {}


def load_all() -> None:
    """Imports every file of mistakes, which fills the registry."""
    for subject in ('runs', 'corners', 'names'):
        importlib.import_module(f'tests.parity.mistakes_{subject}')


def mistake(run: Mistake) -> Mistake:
    """Registers a program that must fail."""
    MISTAKES[run.__name__] = run
    return run


def run_compact(nn: Any, body: Callable[..., Any], setup: Callable[..., Any] | None = None) -> Any:
    """Initialises a model whose compact ``__call__`` is ``body(self, x)``."""

    class Net(nn.Module):
        width: int = 3

        def setup(self):
            if setup is not None:
                setup(self)

        @nn.compact
        def __call__(self, x):
            return body(self, x)

    return Net().init_with_output(KEY, X)


# Where a module is used.


@mistake
def called_unbound(lib: Library) -> Any:
    return lib.nn.Dense(3)(X)


@mistake
def method_called_unbound(lib: Library) -> Any:
    class Net(lib.nn.Module):
        def setup(self):
            self.layer = lib.nn.Dense(3)

        def encode(self, x):
            return self.layer(x)

    return Net().encode(X)


@mistake
def setup_attribute_read_unbound(lib: Library) -> Any:
    class Net(lib.nn.Module):
        def setup(self):
            self.layer = lib.nn.Dense(3)

    return Net().layer


@mistake
def variables_of_unbound(lib: Library) -> Any:
    return lib.nn.Dense(3).variables


@mistake
def unbind_of_unbound(lib: Library) -> Any:
    return lib.nn.Dense(3).unbind()


@mistake
def share_scope_of_unbound(lib: Library) -> Any:
    return lib.nn.share_scope(lib.nn.Dense(3), lib.nn.Dense(3))


for _name, _args in {
    'param': ('w', jax.random.normal, (2,)),
    'variable': ('state', 's', jnp.zeros, (2,)),
    'make_rng': ('noise',),
    'sow': ('intermediates', 'x', 1),
    'perturb': ('x', 1),
    'put_variable': ('state', 's', 1),
    'get_variable': ('state', 's'),
    'has_variable': ('state', 's'),
    'is_mutable_collection': ('state',),
    'is_initializing': (),
    'has_rng': ('noise',),
}.items():
    MISTAKES[f'{_name}_of_unbound'] = lambda lib, name=_name, args=_args: getattr(
        lib.nn.Dense(3), name
    )(*args)


@mistake
def path_of_unbound(lib: Library) -> Any:
    return lib.nn.Dense(3).path


@mistake
def hash_of_bound(lib: Library) -> Any:
    return run_compact(lib.nn, lambda self, x: hash(self))


@mistake
def called_on_the_class(lib: Library) -> Any:
    return lib.nn.Dense.init(KEY, X)


@mistake
def applied_on_the_class(lib: Library) -> Any:
    return lib.nn.Dense.apply({}, X)


# Where submodules and parameters are made.


@mistake
def submodule_without_compact(lib: Library) -> Any:
    class Net(lib.nn.Module):
        def __call__(self, x):
            return lib.nn.Dense(3)(x)

    return Net().init(KEY, X)


@mistake
def param_without_compact(lib: Library) -> Any:
    class Net(lib.nn.Module):
        def __call__(self, x):
            return x * self.param('w', jax.random.normal, (4,))

    return Net().init(KEY, X)


@mistake
def variable_without_compact(lib: Library) -> Any:
    class Net(lib.nn.Module):
        def __call__(self, x):
            return x * self.variable('state', 'w', jnp.zeros, (4,)).value

    return Net().init(KEY, X)


@mistake
def compact_outside_a_class(lib: Library) -> Any:
    @lib.nn.compact
    def free(self, x):
        return lib.nn.Dense(3)(x)

    class Net(lib.nn.Module):
        def __call__(self, x):
            return lib.nn.Dense(3)(x)

    return free(Net(), X)


@mistake
def same_name_twice(lib: Library) -> Any:
    nn = lib.nn
    return run_compact(nn, lambda self, x: nn.Dense(3, name='a')(nn.Dense(3, name='a')(x)))


@mistake
def given_name_of_a_later_automatic_one(lib: Library) -> Any:
    nn = lib.nn
    return run_compact(nn, lambda self, x: nn.Dense(3)(nn.Dense(3, name='Dense_0')(x)))


@mistake
def given_name_of_an_earlier_automatic_one(lib: Library) -> Any:
    nn = lib.nn
    return run_compact(nn, lambda self, x: nn.Dense(3, name='Dense_0')(nn.Dense(3)(x)))


@mistake
def name_of_a_setup_attribute(lib: Library) -> Any:
    def setup(self):
        self.layer = lib.nn.Dense(3)

    return run_compact(lib.nn, lambda self, x: lib.nn.Dense(3, name='layer')(x), setup)


@mistake
def param_twice(lib: Library) -> Any:
    def body(self, x):
        self.param('w', jax.random.normal, (2,))
        return self.param('w', jax.random.normal, (2,))

    return run_compact(lib.nn, body)


@mistake
def variable_twice(lib: Library) -> Any:
    def body(self, x):
        self.variable('state', 'w', jnp.zeros, (2,))
        return self.variable('state', 'w', jnp.zeros, (2,)).value

    return run_compact(lib.nn, body)


@mistake
def param_named_like_a_submodule(lib: Library) -> Any:
    def body(self, x):
        lib.nn.Dense(3, name='a')(x)
        return self.param('a', jax.random.normal, ())

    return run_compact(lib.nn, body)


@mistake
def submodule_named_like_a_param(lib: Library) -> Any:
    def body(self, x):
        self.param('a', jax.random.normal, ())
        return lib.nn.Dense(3, name='a')(x)

    return run_compact(lib.nn, body)


@mistake
def setup_names_twice(lib: Library) -> Any:
    def setup(self):
        self.a = lib.nn.Dense(3)
        self.b = lib.nn.Dense(3, name='a')

    return run_compact(lib.nn, lambda self, x: self.b(self.a(x)), setup)


@mistake
def parent_of_no_kind(lib: Library) -> Any:
    return lib.nn.Dense(3, parent=3)


@mistake
def name_without_parent_of_its_own(lib: Library) -> Any:
    nn = lib.nn
    return run_compact(nn, lambda self, x: nn.Dense(3, parent=x)(x))


# Classes and attributes.


@mistake
def attribute_set_in_compact(lib: Library) -> Any:
    def body(self, x):
        self.extra = x
        return x

    return run_compact(lib.nn, body)


@mistake
def submodule_set_in_compact(lib: Library) -> Any:
    def body(self, x):
        self.layer = lib.nn.Dense(3)
        return self.layer(x)

    return run_compact(lib.nn, body)


@mistake
def field_set_in_setup(lib: Library) -> Any:
    def setup(self):
        self.width = 5

    return run_compact(lib.nn, lambda self, x: x, setup)


@mistake
def attribute_of_a_child_set(lib: Library) -> Any:
    def setup(self):
        self.child = lib.nn.Dense(3)

    def body(self, x):
        self.child.features = 4
        return self.child(x)

    return run_compact(lib.nn, body, setup)


@mistake
def item_of_a_setup_list_set(lib: Library) -> Any:
    def setup(self):
        self.layers = [lib.nn.Dense(3)]

    def body(self, x):
        self.layers[0] = lib.nn.Dense(4)
        return x

    return run_compact(lib.nn, body, setup)


@mistake
def post_init_without_super(lib: Library) -> Any:
    class Net(lib.nn.Module):
        width: int

        def __post_init__(self):
            self.width = 3

        @lib.nn.compact
        def __call__(self, x):
            return lib.nn.Dense(self.width)(x)

    return Net(3).init(KEY, X)


@mistake
def mutable_default(lib: Library) -> Any:
    class Net(lib.nn.Module):
        sizes: list[int] = [1, 2]  # noqa: RUF012 - the mistake

    return Net


@mistake
def field_called_parent(lib: Library) -> Any:
    class Net(lib.nn.Module):
        parent: Any

    return Net


@mistake
def field_without_default_after_one(lib: Library) -> Any:
    class Net(lib.nn.Module):
        a: int = 1
        b: int

    return Net


@mistake
def unknown_constructor_argument(lib: Library) -> Any:
    return lib.nn.Dense(3, use_bais=False)


@mistake
def missing_constructor_argument(lib: Library) -> Any:
    return lib.nn.Dense()


@mistake
def positional_keyword_only_field(lib: Library) -> Any:
    class Net(lib.nn.Module, kw_only=True):
        a: int

    return Net(1)


@mistake
def unknown_attribute(lib: Library) -> Any:
    return run_compact(lib.nn, lambda self, x: self.hiden)


@mistake
def unknown_attribute_unbound(lib: Library) -> Any:
    return lib.nn.Dense(3).fetures


@mistake
def property_reads_unknown_attribute(lib: Library) -> Any:
    class Net(lib.nn.Module):
        @property
        def size(self):
            return self.hiden * 2

        @lib.nn.compact
        def __call__(self, x):
            return lib.nn.Dense(self.size)(x)

    return Net().init(KEY, X)


@mistake
def unknown_option_of_clone(lib: Library) -> Any:
    return lib.nn.Dense(3).clone(fetures=4)

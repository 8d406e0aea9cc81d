"""Programs that misuse a module, by name; both libraries must refuse each with the same class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.parity.harness import Library
from tests.parity.models import X

KEY = jax.random.key(0)
Mistake = Callable[[Library], Any]

MISTAKES: dict[str, Mistake] = {}


def mistake(run: Mistake) -> Mistake:
    """Registers a program that must fail."""
    MISTAKES[run.__name__] = run
    return run


def _run(nn: Any, body: Callable[..., Any], setup: Callable[..., Any] | None = None) -> Any:
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
    return _run(lib.nn, lambda self, x: hash(self))


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
    return _run(nn, lambda self, x: nn.Dense(3, name='a')(nn.Dense(3, name='a')(x)))


@mistake
def given_name_of_a_later_automatic_one(lib: Library) -> Any:
    nn = lib.nn
    return _run(nn, lambda self, x: nn.Dense(3)(nn.Dense(3, name='Dense_0')(x)))


@mistake
def given_name_of_an_earlier_automatic_one(lib: Library) -> Any:
    nn = lib.nn
    return _run(nn, lambda self, x: nn.Dense(3, name='Dense_0')(nn.Dense(3)(x)))


@mistake
def name_of_a_setup_attribute(lib: Library) -> Any:
    def setup(self):
        self.layer = lib.nn.Dense(3)

    return _run(lib.nn, lambda self, x: lib.nn.Dense(3, name='layer')(x), setup)


@mistake
def param_twice(lib: Library) -> Any:
    def body(self, x):
        self.param('w', jax.random.normal, (2,))
        return self.param('w', jax.random.normal, (2,))

    return _run(lib.nn, body)


@mistake
def variable_twice(lib: Library) -> Any:
    def body(self, x):
        self.variable('state', 'w', jnp.zeros, (2,))
        return self.variable('state', 'w', jnp.zeros, (2,)).value

    return _run(lib.nn, body)


@mistake
def param_named_like_a_submodule(lib: Library) -> Any:
    def body(self, x):
        lib.nn.Dense(3, name='a')(x)
        return self.param('a', jax.random.normal, ())

    return _run(lib.nn, body)


@mistake
def submodule_named_like_a_param(lib: Library) -> Any:
    def body(self, x):
        self.param('a', jax.random.normal, ())
        return lib.nn.Dense(3, name='a')(x)

    return _run(lib.nn, body)


@mistake
def setup_names_twice(lib: Library) -> Any:
    def setup(self):
        self.a = lib.nn.Dense(3)
        self.b = lib.nn.Dense(3, name='a')

    return _run(lib.nn, lambda self, x: self.b(self.a(x)), setup)


@mistake
def parent_of_no_kind(lib: Library) -> Any:
    return lib.nn.Dense(3, parent=3)


@mistake
def name_without_parent_of_its_own(lib: Library) -> Any:
    nn = lib.nn
    return _run(nn, lambda self, x: nn.Dense(3, parent=x)(x))


# Classes and attributes.


@mistake
def attribute_set_in_compact(lib: Library) -> Any:
    def body(self, x):
        self.extra = x
        return x

    return _run(lib.nn, body)


@mistake
def submodule_set_in_compact(lib: Library) -> Any:
    def body(self, x):
        self.layer = lib.nn.Dense(3)
        return self.layer(x)

    return _run(lib.nn, body)


@mistake
def field_set_in_setup(lib: Library) -> Any:
    def setup(self):
        self.width = 5

    return _run(lib.nn, lambda self, x: x, setup)


@mistake
def attribute_of_a_child_set(lib: Library) -> Any:
    def setup(self):
        self.child = lib.nn.Dense(3)

    def body(self, x):
        self.child.features = 4
        return self.child(x)

    return _run(lib.nn, body, setup)


@mistake
def item_of_a_setup_list_set(lib: Library) -> Any:
    def setup(self):
        self.layers = [lib.nn.Dense(3)]

    def body(self, x):
        self.layers[0] = lib.nn.Dense(4)
        return x

    return _run(lib.nn, body, setup)


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
    return _run(lib.nn, lambda self, x: self.hiden)


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


# How a module is run.


@mistake
def unknown_method_name(lib: Library) -> Any:
    return lib.nn.Dense(3).init(KEY, X, method='encode')


@mistake
def method_name_of_a_field(lib: Library) -> Any:
    return lib.nn.Dense(3).init(KEY, X, method='features')


@mistake
def method_that_is_no_function(lib: Library) -> Any:
    return lib.nn.Dense(3).init(KEY, X, method=3)


@mistake
def method_that_is_a_module(lib: Library) -> Any:
    return lib.nn.Dense(3).init(KEY, X, method=lib.nn.Dense(4))


@mistake
def no_call_method(lib: Library) -> Any:
    class Net(lib.nn.Module):
        def encode(self, x):
            return x

    return Net().init(KEY, X)


@mistake
def too_few_arguments(lib: Library) -> Any:
    return lib.nn.Dense(3).init(KEY)


@mistake
def too_many_arguments(lib: Library) -> Any:
    return lib.nn.Dense(3).init(KEY, X, X)


_KEYS = {
    'int': 0,
    'none': None,
    'text': 'params',
    'list': [KEY],
    'floats': np.ones(2, np.float32),
    'split': jax.random.split(KEY),
    'dict_of_ints': {'params': 0},
    'dict_of_split': {'params': jax.random.split(KEY)},
    'dict_of_raw_split': {'params': jax.random.split(jax.random.PRNGKey(0))},
    'numbered': {0: KEY},
}
for _name, _key in _KEYS.items():
    MISTAKES[f'init_with_key_{_name}'] = lambda lib, key=_key: lib.nn.Dense(3).init(key, X)
    if _key is not None:
        MISTAKES[f'apply_with_key_{_name}'] = lambda lib, key=_key: lib.nn.Dense(3).apply(
            lib.nn.Dense(3).init(KEY, X), X, rngs=key
        )


@mistake
def init_without_params_stream(lib: Library) -> Any:
    return lib.nn.Dense(3).init({'dropout': KEY}, X)


@mistake
def dropout_without_key(lib: Library) -> Any:
    return lib.nn.Dropout(0.5, deterministic=False).apply({}, X)


@mistake
def dropout_with_another_stream(lib: Library) -> Any:
    return lib.nn.Dropout(0.5, deterministic=False).apply({}, X, rngs={'dropuot': KEY})


@mistake
def batch_stats_immutable(lib: Library) -> Any:
    norm = lib.nn.BatchNorm(use_running_average=False)
    return norm.apply(norm.init(KEY, X), X)


@mistake
def write_to_immutable_params(lib: Library) -> Any:
    class Net(lib.nn.Module):
        @lib.nn.compact
        def __call__(self, x):
            w = self.variable('params', 'w', jnp.ones, (4,))
            w.value = w.value + 1
            return x

    return Net().apply(Net().init(KEY, X), X)


@mistake
def put_to_immutable(lib: Library) -> Any:
    class Net(lib.nn.Module):
        def __call__(self, x):
            self.put_variable('cache', 'x', x)

    return Net().apply({}, X)


@mistake
def params_missing(lib: Library) -> Any:
    return lib.nn.Dense(3).apply({}, X)


@mistake
def params_empty(lib: Library) -> Any:
    return lib.nn.Dense(3).apply({'params': {}}, X)


@mistake
def one_param_missing(lib: Library) -> Any:
    return lib.nn.Dense(3).apply({'params': {'bias': np.ones(3, np.float32)}}, X)


@mistake
def collection_missing(lib: Library) -> Any:
    norm = lib.nn.BatchNorm(use_running_average=True)
    return norm.apply({'params': norm.init(KEY, X)['params']}, X)


@mistake
def variable_missing(lib: Library) -> Any:
    norm = lib.nn.BatchNorm(use_running_average=True)
    params = norm.init(KEY, X)['params']
    return norm.apply({'params': params, 'batch_stats': {'mean': np.ones(4)}}, X)


@mistake
def param_of_wrong_shape(lib: Library) -> Any:
    return lib.nn.Dense(3).apply({'params': {'kernel': np.ones((5, 3)), 'bias': np.ones(3)}}, X)


@mistake
def params_doubled(lib: Library) -> Any:
    return lib.nn.Dense(3).apply({'params': lib.nn.Dense(3).init(KEY, X)}, X)


@mistake
def variables_with_an_array(lib: Library) -> Any:
    return lib.nn.Dense(3).apply({'params': X}, X)


@mistake
def no_such_mutable_filter(lib: Library) -> Any:
    return lib.nn.Dense(3).apply(lib.nn.Dense(3).init(KEY, X), X, mutable=1.5)


@mistake
def merge_of_no_values(lib: Library) -> Any:
    return lib.nn.merge_param('train', None, None)


@mistake
def merge_of_two_values(lib: Library) -> Any:
    return lib.nn.merge_param('train', True, False)


@mistake
def train_flag_given_nowhere(lib: Library) -> Any:
    return lib.nn.BatchNorm().init(KEY, X)


@mistake
def jit_of_a_bound_method(lib: Library) -> Any:
    return _run(lib.nn, lambda self, x: jax.jit(lib.nn.Dense(3))(x))


@mistake
def nothing_to_share(lib: Library) -> Any:
    nn = lib.nn
    return _run(nn, lambda self, x: nn.share_scope(self, nn.Dense(3, parent=None)))

"""Programs that run a module wrongly: keys, variables, methods, flags."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.parity.harness import Library
from tests.parity.mistakes import MISTAKES, mistake, run_compact
from tests.parity.models import X

KEY = jax.random.key(0)


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
    return run_compact(lib.nn, lambda self, x: jax.jit(lib.nn.Dense(3))(x))


@mistake
def nothing_to_share(lib: Library) -> Any:
    nn = lib.nn
    return run_compact(nn, lambda self, x: nn.share_scope(self, nn.Dense(3, parent=None)))

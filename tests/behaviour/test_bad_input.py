"""Wrong keys and variables are refused by an error that says where, and how to mend it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet import errors
from tests.behaviour.refusals import KEY, X, body, deep, refuses

DENSE = deep(lambda: nn.Dense(3))
VARIABLES = DENSE.init(KEY, X)
NOISY = deep(lambda: nn.Dropout(0.5, deterministic=False))
NORM = deep(lambda: nn.BatchNorm(use_running_average=False))


# Keys.


def test_a_stream_without_a_key() -> None:
    refuses(
        lambda: NOISY.apply({}, X),
        errors.InvalidRngError,
        '/block/Dropout_0',
        "'dropout'",
        "rngs={'dropout': ",
    )


def test_a_stream_misspelt() -> None:
    refuses(
        lambda: NOISY.apply({}, X, rngs={'dropuot': KEY}),
        errors.InvalidRngError,
        '/block/Dropout_0',
        "'dropout'",
        "'dropuot'",
    )


def test_init_without_a_key_for_params() -> None:
    refuses(
        lambda: DENSE.init({'dropout': KEY}, X),
        errors.InvalidRngError,
        "'params'",
        '/block/Dense_0',
    )


@pytest.mark.parametrize(
    ('rngs', 'words'),
    [
        pytest.param(0, ['int 0', 'rngs={'], id='int'),
        pytest.param(1.5, ['float 1.5', 'rngs={'], id='float'),
        pytest.param('dropout', ["str 'dropout'", 'rngs={'], id='str'),
        pytest.param([KEY], ['list', 'rngs={'], id='list'),
        pytest.param(np.ones(2, np.float32), ['(2,)', 'float32', 'rngs={'], id='floats'),
        pytest.param(jax.random.split(KEY), ['(2,)', 'keys'], id='keys'),
        pytest.param({'dropout': 0}, ["rngs['dropout']", 'jax.random.key('], id='dict_int'),
        pytest.param({'dropout': None}, ["rngs['dropout']", 'jax.random.key('], id='dict_none'),
        pytest.param(
            {'dropout': jax.random.split(KEY)}, ["rngs['dropout']", '(2,)'], id='dict_keys'
        ),
        pytest.param(
            {'dropout': jax.random.split(jax.random.PRNGKey(0), 3)},
            ["rngs['dropout']", '(3, 2)'],
            id='dict_raw_keys',
        ),
        pytest.param({0: KEY}, ['0', 'str'], id='number_as_name'),
    ],
)
def test_rngs_that_are_no_keys(rngs: Any, words: list[str]) -> None:
    for run in (lambda: NOISY.apply({}, X, rngs=rngs), lambda: NOISY.init(rngs, X)):
        refuses(run, errors.InvalidRngError, *words)


def test_init_with_the_input_first() -> None:
    """Key and input exchanged: the array is no key."""
    refuses(lambda: DENSE.init(X, KEY), errors.InvalidRngError, '(2, 4)', 'float32')


# Variables.


def test_no_params_at_all() -> None:
    refuses(
        lambda: DENSE.apply({}, X),
        errors.ScopeCollectionNotFound,
        '/block/Dense_0',
        "'params'",
        'init',
    )


def test_a_missing_collection() -> None:
    evaluating = deep(lambda: nn.BatchNorm(use_running_average=True))
    refuses(
        lambda: evaluating.apply({'params': NORM.init(KEY, X)['params']}, X),
        errors.ScopeCollectionNotFound,
        '/block/BatchNorm_0',
        "'batch_stats'",
    )


def test_a_missing_parameter() -> None:
    params = {'block': {'Dense_0': {'bias': np.ones(3, np.float32)}}}
    refuses(
        lambda: DENSE.apply({'params': params}, X),
        errors.ScopeParamNotFoundError,
        '/block/Dense_0',
        "'kernel'",
        'bias',
    )


def test_a_missing_variable() -> None:
    evaluating = deep(lambda: nn.BatchNorm(use_running_average=True))
    variables = NORM.init(KEY, X)
    del variables['batch_stats']['block']['BatchNorm_0']['var']
    refuses(
        lambda: evaluating.apply(variables, X),
        errors.ScopeVariableNotFoundError,
        '/block/BatchNorm_0',
        "'var'",
        "'batch_stats'",
    )


def test_a_parameter_of_another_shape() -> None:
    refuses(
        lambda: deep(lambda: nn.Dense(5)).apply(VARIABLES, X),
        errors.ScopeParamShapeError,
        '/block/Dense_0',
        "'kernel'",
        '(4, 5)',
        '(4, 3)',
    )


def test_an_input_of_another_width() -> None:
    refuses(
        lambda: DENSE.apply(VARIABLES, X[:, :2]),
        errors.ScopeParamShapeError,
        '/block/Dense_0',
        '(4, 3)',
        '2',
    )


def test_params_wrapped_twice() -> None:
    refuses(
        lambda: DENSE.apply({'params': VARIABLES}, X),
        errors.ApplyScopeInvalidVariablesStructureError,
        'params',
        'extra',
    )


@pytest.mark.parametrize(
    ('variables', 'word'),
    [(None, 'None'), (X, '(2, 4)'), ([], 'list'), ('params', 'str'), (3, 'int')],
)
def test_variables_that_are_no_dict(variables: Any, word: str) -> None:
    refuses(
        lambda: DENSE.apply(variables, X),
        errors.ApplyScopeInvalidVariablesTypeError,
        word,
        "{'params': ",
    )


def test_the_pair_of_init_with_output_as_variables() -> None:
    pair = DENSE.init_with_output(KEY, X)
    refuses(lambda: DENSE.apply(pair, X), errors.ApplyScopeInvalidVariablesTypeError, 'tuple')


def test_a_collection_that_is_no_dict() -> None:
    refuses(
        lambda: DENSE.apply({'params': X}, X), errors.ApplyScopeInvalidVariablesTypeError, 'params'
    )


def test_params_without_their_level() -> None:
    """apply(params, x) in place of apply({'params': params}, x)."""
    refuses(
        lambda: DENSE.apply(VARIABLES['params'], X),
        errors.ScopeCollectionNotFound,
        "{'params': ",
    )


def test_statistics_that_are_not_mutable() -> None:
    refuses(
        lambda: NORM.apply(NORM.init(KEY, X), X),
        errors.ModifyScopeVariableError,
        '/block/BatchNorm_0',
        "'batch_stats'",
        "mutable=['batch_stats']",
    )


def test_a_write_to_an_immutable_collection() -> None:
    def call(self, x):
        self.put_variable('cache', 'x', x)

    refuses(
        lambda: body(call).apply({}, X),
        errors.ModifyScopeVariableError,
        '/block/Body_0',
        "'cache'",
        "mutable=['cache']",
    )


def test_a_filter_that_is_none() -> None:
    refuses(
        lambda: DENSE.apply(VARIABLES, X, mutable=1.5), errors.InvalidFilterError, '1.5', 'DenyList'
    )


def test_lazy_init_that_needs_the_numbers() -> None:
    model = body(lambda self, x: self.param('w', lambda key: x * 2))
    refuses(
        lambda: model.lazy_init(KEY, jax.ShapeDtypeStruct((2, 4), jnp.float32)),
        errors.LazyInitError,
    )

"""The program that users start from runs unchanged, gives the right numbers, and fails in words."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from linnet import errors

SEED_PROGRAM = """
import jax, jax.numpy as jnp
import linnet.linen as nn
root_key = jax.random.key(seed=0)
main_key, params_key, dropout_key = jax.random.split(key=root_key, num=3)
class MyModel(nn.Module):
  num_neurons: int
  training: bool
  @nn.compact
  def __call__(self, x):
    x = nn.Dense(self.num_neurons)(x)
    x = nn.Dropout(rate=0.5, deterministic=not self.training)(x)
    return x
my_model = MyModel(num_neurons=3, training=False)
x = jax.random.uniform(key=main_key, shape=(3, 4, 4))
variables = my_model.init(params_key, x)
y = my_model.apply(variables, x, rngs={'dropout': dropout_key})
"""


def run(program: str) -> dict[str, Any]:
    """Runs a program and returns its variables."""
    namespace: dict[str, Any] = {'__name__': '__main__'}
    exec(compile(program, 'seed_program', 'exec', dont_inherit=True), namespace)
    return namespace


def test_it_runs_unchanged() -> None:
    ran = run(SEED_PROGRAM)
    params = ran['variables']['params']
    assert list(ran['variables']) == ['params']
    assert list(params) == ['Dense_0']
    assert {name: p.shape for name, p in params['Dense_0'].items()} == {
        'kernel': (4, 3),
        'bias': (3,),
    }
    assert ran['y'].shape == (3, 4, 3)
    np.testing.assert_array_equal(
        ran['y'], ran['x'] @ params['Dense_0']['kernel'] + params['Dense_0']['bias']
    )


def test_training_drops_and_doubles() -> None:
    ran = run(SEED_PROGRAM.replace('training=False', 'training=True'))
    evaluated = run(SEED_PROGRAM)
    y = np.asarray(ran['y'])
    kept = y != 0
    assert 0 < kept.sum() < kept.size
    np.testing.assert_array_equal(y[kept], 2 * np.asarray(evaluated['y'])[kept])


@pytest.mark.parametrize('training', [False, True])
def test_it_equals_the_oracle(training: bool) -> None:
    """Parameters, output and so the dropout mask, bit for bit."""
    pytest.importorskip('flax', reason='compares with flax, which is not installed')
    program = SEED_PROGRAM.replace('training=False', f'training={training}')
    ours, theirs = run(program), run(program.replace('linnet.linen', 'flax.linen'))
    for name in ('variables', 'y'):
        assert jax.tree.structure(ours[name]) == jax.tree.structure(theirs[name])
        jax.tree.map(np.testing.assert_array_equal, ours[name], theirs[name])


def test_a_forgotten_dropout_key_is_named() -> None:
    program = SEED_PROGRAM.replace('training=False', 'training=True')
    with pytest.raises(errors.InvalidRngError) as info:
        run(program.replace(", rngs={'dropout': dropout_key}", ''))
    for words in ('/Dropout_0', "'dropout'", "rngs={'dropout': "):
        assert words in str(info.value)

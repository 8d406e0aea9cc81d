"""The training state: updates, variables that gradients overwrite, dicts of two kinds."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from linnet import serialization, struct
from linnet.core.frozen_dict import FrozenDict, freeze
from linnet.errors import TrainStateError
from linnet.training.train_state import OVERWRITE_WITH_GRADIENT, TrainState

PARAMS = {'w': jnp.array([1.0, 2.0]), 'b': jnp.zeros(1)}
GRADS = {'w': jnp.array([1.0, -1.0]), 'b': jnp.array([4.0])}


class WithStats(TrainState):
    batch_stats: Any
    key: Any = struct.field(default=None, kw_only=True)


def new_state(params=PARAMS, tx=None):
    return TrainState.create(apply_fn=len, params=params, tx=tx or optax.sgd(0.5))


def assert_equal(tree, other):
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def test_a_step_updates_parameters_optimiser_and_count():
    state = new_state(tx=optax.sgd(0.5, momentum=0.5))
    assert (state.step, state.apply_fn) == (0, len)
    once = state.apply_gradients(grads=GRADS)
    twice = once.apply_gradients(grads=GRADS)
    assert (once.step, twice.step) == (1, 2)
    assert_equal(once.params, {'w': jnp.array([0.5, 2.5]), 'b': jnp.array([-2.0])})
    assert_equal(twice.params, {'w': jnp.array([-0.25, 3.25]), 'b': jnp.array([-5.0])})
    assert_equal(twice.opt_state[0].trace, jax.tree.map(lambda g: 1.5 * g, GRADS))
    assert_equal(state.params, PARAMS)


def test_subclasses_add_fields_and_keep_their_type():
    state = WithStats.create(
        apply_fn=None, params=PARAMS, tx=optax.sgd(0.5), batch_stats={'m': 1}, key=2
    )
    after = state.apply_gradients(grads=GRADS, batch_stats={'m': 3})
    assert type(after) is WithStats
    assert (after.batch_stats, after.key, after.step) == ({'m': 3}, 2, 1)


def test_a_jitted_step_is_traced_once():
    traced = []

    @jax.jit
    def step(state, grads):
        traced.append(None)
        return state.apply_gradients(grads=grads)

    state = new_state(tx=optax.adam(0.1))
    for _ in range(3):
        state = step(state, GRADS)
    assert state.step == 3
    assert len(traced) == 1


@pytest.mark.parametrize('kind', [dict, FrozenDict])
def test_the_optimiser_does_not_see_what_gradients_overwrite(kind):
    params = kind({'params': PARAMS, OVERWRITE_WITH_GRADIENT: {'scale': jnp.ones(1)}, 'rest': 3})
    grads = {'params': GRADS, OVERWRITE_WITH_GRADIENT: {'scale': jnp.full(1, 9.0)}}
    state = new_state(params, optax.sgd(0.5, momentum=0.9))
    assert jax.tree.structure(state.opt_state[0].trace) == jax.tree.structure(kind(PARAMS))
    after = state.apply_gradients(grads=grads)
    assert type(after.params) is kind
    assert_equal(after.params['params'], kind({'w': jnp.array([0.5, 2.5]), 'b': jnp.array([-2.0])}))
    assert after.params[OVERWRITE_WITH_GRADIENT]['scale'] == 9.0
    assert after.params['rest'] == 3
    assert jax.tree.structure(after.params) == jax.tree.structure(params)


def test_overwritten_variables_may_change_their_structure():
    state = new_state({'params': PARAMS, OVERWRITE_WITH_GRADIENT: {'history': FrozenDict(a=1)}})
    new = {'history': FrozenDict(a=1, b=2)}
    after = state.apply_gradients(grads={'params': GRADS, OVERWRITE_WITH_GRADIENT: new})
    assert after.params[OVERWRITE_WITH_GRADIENT] == new


def test_overwritten_variables_want_their_place():
    with pytest.raises(TrainStateError, match='has no entry "params"'):
        new_state({OVERWRITE_WITH_GRADIENT: 1, 'w': jnp.ones(2)})
    state = new_state({'params': PARAMS, OVERWRITE_WITH_GRADIENT: {'scale': jnp.ones(1)}})
    with pytest.raises(TrainStateError, match=f'grads lacks /{OVERWRITE_WITH_GRADIENT}/scale'):
        state.apply_gradients(grads={'params': GRADS})
    grads = {'params': GRADS, OVERWRITE_WITH_GRADIENT: {}}
    with pytest.raises(TrainStateError, match='grads lacks /b, which params has'):
        new_state().apply_gradients(grads=grads)


@pytest.mark.parametrize('tx', [optax.sgd(0.5), optax.adam(0.1)], ids=['sgd', 'adam'])
@pytest.mark.parametrize('params', [freeze, dict])
@pytest.mark.parametrize('grads', [freeze, dict])
@pytest.mark.parametrize('opt_state', [freeze, dict])
def test_dicts_and_frozen_dicts_stand_for_each_other(tx, params, grads, opt_state):
    nested = {'dense': PARAMS}
    state = new_state(opt_state(nested), tx).replace(params=params(nested))
    after = state.apply_gradients(grads=grads({'dense': GRADS}))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    wanted = new_state(nested, tx).apply_gradients(grads={'dense': GRADS})
    for ours, theirs in zip(jax.tree.leaves(after), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_frozen_dicts_are_found_inside_other_containers():
    state = new_state([{'a': (FrozenDict(PARAMS), FrozenDict(n={'m': jnp.ones(1)}))}])
    after = state.apply_gradients(grads=[{'a': (GRADS, {'n': FrozenDict(m=jnp.ones(1))})}])
    assert jax.tree.structure(after.params) == jax.tree.structure(state.params)
    assert after.params[0]['a'][1]['n']['m'] == 0.5


@pytest.mark.parametrize('params', [jnp.ones(2), [jnp.ones(2)], 3.0, None])
def test_parameters_may_be_any_pytree(params):
    after = new_state(params).apply_gradients(grads=jax.tree.map(jnp.ones_like, params))
    assert_equal(after.params, jax.tree.map(lambda x: x - 0.5, params))


@pytest.mark.parametrize(
    ('grads', 'message'),
    [
        ({'w': GRADS['w']}, 'grads lacks /b, which params has'),
        ({**GRADS, 'x': jnp.ones(1)}, 'params lacks /x, which grads has'),
        ({**GRADS, 'w': jnp.ones(3)}, r'/w has the shape \(2,\) in params and \(3,\) in grads'),
        (FrozenDict({**GRADS, 'w': jnp.ones(3)}), r'/w has the shape \(2,\) in params'),
    ],
)
def test_gradients_of_other_parameters_are_an_error_that_names_the_leaf(grads, message):
    with pytest.raises(TrainStateError, match=message):
        new_state().apply_gradients(grads=grads)


def test_the_optimiser_state_of_other_parameters_is_an_error_with_its_mend():
    state = new_state(tx=optax.adam(0.1)).replace(params={**PARAMS, 'w': jnp.ones(5)})
    grads = jax.tree.map(jnp.ones_like, state.params)
    with pytest.raises(TrainStateError, match=r'/0/mu/w has the shape \(5,\) in tx.init\(params\) '
                       r'and \(2,\) in opt_state(.|\n)*opt_state=tx.init\(params\)'):  # fmt: skip
        state.apply_gradients(grads=grads)
    repaired = state.replace(opt_state=state.tx.init(state.params))
    assert repaired.apply_gradients(grads=grads).step == 1


@pytest.mark.parametrize('params', [PARAMS, FrozenDict(PARAMS)])
def test_an_error_of_the_optimiser_itself_is_passed_on(params):
    def refuse(updates, state, params=None):
        raise ValueError('this optimiser refuses')

    tx = optax.GradientTransformation(lambda params: (), refuse)
    with pytest.raises(ValueError, match='this optimiser refuses'):
        new_state(params, tx).apply_gradients(grads=GRADS)


def test_the_state_goes_through_bytes():
    state = new_state(tx=optax.adam(0.1)).apply_gradients(grads=GRADS)
    restored = serialization.from_bytes(
        new_state(tx=optax.adam(0.1)), serialization.to_bytes(state)
    )
    assert restored.step == 1
    assert_equal(restored.params, state.params)
    assert_equal(restored.opt_state, state.opt_state)


def test_optax_is_not_imported_until_it_is_needed():
    program = 'import linnet.training.train_state, sys; sys.exit("optax" in sys.modules)'
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, '-c', program], check=True, env=environment)

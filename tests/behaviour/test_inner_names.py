"""Names that no page documents and that programs in the wild use all the same."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import linnet.linen as nn
from linnet.core import lift
from linnet.core.scope import LazyRng, Scope
from linnet.linen import module as module_lib


class Net(nn.Module):
    def setup(self):
        self.layer = nn.Dense(2)

    def __call__(self, x):
        assert module_lib._context.module_stack[-1] is self
        assert self._state.in_setup is False
        return self.layer(x)


def test_the_state_of_a_module_and_of_its_thread():
    assert module_lib._context.module_stack == [None]
    x = jnp.ones((1, 3))
    variables = Net().init(jax.random.key(0), x)
    bound = Net().bind(variables)
    bound._try_setup()
    assert bound._state.setup_called == module_lib.SetupState.DONE
    assert bound.layer.features == 2
    np.testing.assert_array_equal(bound(x), Net().apply(variables, x))


def test_a_scope_shows_what_it_holds_and_takes_another_path():
    scope = Scope({'params': {'a': {'b': 1}}}, {'params': jax.random.key(0)}, mutable=['params'])
    child = scope.push('a')
    assert child.root is scope
    assert (child.path, child.name, child.parent) == (('a',), 'a', scope)
    assert isinstance(child.rngs['params'], LazyRng)
    assert scope.mutable == ['params']
    child.path = ('elsewhere',)
    assert child.push('b').path == ('elsewhere', 'b')
    assert child.variables()['params'] == {'b': 1}


def test_keys_in_groups_are_mapped():
    groups = ({'params': LazyRng.create(jax.random.key(0), 'a')}, {})
    mapped = lift.tree_map_rngs(lambda key: key.as_jax_rng(), groups)
    assert mapped[0]['params'] == groups[0]['params'].as_jax_rng()
    assert mapped[1] == {}

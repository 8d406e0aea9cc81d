"""Rules from logical axes to axes of a mesh."""

from __future__ import annotations

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from linnet.core import spmd
from linnet.errors import InvalidOptionError

RULES = (('embed', 'x'), ('batch', None), ('heads', ('x', 'y')))


def new_mesh():
    return Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ('x', 'y'))


def test_rules_are_in_effect_inside_a_block_and_in_one_thread():
    seen = []
    with spmd.logical_axis_rules(RULES):
        with spmd.logical_axis_rules((('embed', 'y'),)):
            assert spmd.get_pspec(('embed', 'batch')) == P('y', 'batch')
        assert spmd.get_logical_axis_rules() == RULES
        assert spmd.get_pspec(('embed', 'batch', 'heads', None)) == P('x', None, ('x', 'y'), None)
        thread = threading.Thread(target=lambda: seen.append(spmd.get_logical_axis_rules()))
        thread.start()
        thread.join()
    assert seen == [()]
    assert spmd.get_logical_axis_rules() == ()


def test_rules_are_restored_after_an_error():
    with pytest.raises(KeyError), spmd.logical_axis_rules(RULES):
        raise KeyError
    assert spmd.get_logical_axis_rules() == ()


def test_rules_may_be_set():
    spmd.set_logical_axis_rules(RULES)
    try:
        assert spmd.get_pspec(('embed',)) == P('x')
    finally:
        spmd.set_logical_axis_rules(())


def test_sets_of_rules_are_joined_unless_they_contradict_each_other():
    assert spmd.composite_rules(RULES, (('kv', 'y'),)) == (*RULES, ('kv', 'y'))
    assert spmd.composite_rules(RULES, (('embed', 'x'),)) == RULES
    assert spmd.composite_rules(None, RULES) == spmd.composite_rules(RULES, ()) == RULES
    assert spmd.composite_rules(None, None) == ()
    with pytest.raises(InvalidOptionError, match=r"'embed' is mapped to 'x' .* and to 'y'"):
        spmd.composite_rules(RULES, (('embed', 'y'),))
    with spmd.logical_axis_rules(RULES), pytest.raises(InvalidOptionError, match="'embed'"):
        spmd.get_pspec(('embed',), (('embed', 'y'),))


def test_names_without_a_rule_stay():
    assert spmd.from_sharding_rules(('embed', 'x', None), RULES) == ('x', 'x', None)
    assert spmd.apply_rules(P('embed', 'z'), RULES) == P('x', 'z')
    named = NamedSharding(new_mesh(), P('x'))
    assert spmd.apply_rules(named, (('x', 'y'),)) == NamedSharding(new_mesh(), P('y'))
    assert spmd.map_sharding(lambda name: name.upper(), ('a', 'b')) == P('A', 'B')
    assert spmd.map_sharding(str, None) is None
    assert spmd.get_mesh(named) == new_mesh()
    assert spmd.get_mesh(('x',)) is None


def test_a_value_is_sharded_over_the_mesh_that_there_is():
    x = jnp.ones((2, 3))
    wanted = NamedSharding(new_mesh(), P('x', None))
    assert spmd.shard_value(x, None, RULES, None) is x
    assert spmd.shard_value({'a': x}, ('embed', None), RULES, new_mesh())['a'].sharding == wanted
    assert spmd.shard_value(x, wanted, None, None).sharding == wanted
    with jax.set_mesh(new_mesh()):
        moved = spmd.shard_value(x, ('embed', None), RULES, None)
        assert moved.sharding.is_equivalent_to(wanted, 2)
    with pytest.raises(InvalidOptionError, match=r'there is no mesh(.|\n)*jax\.set_mesh\(mesh\)'):
        spmd.shard_value(x, ('embed', None), RULES, None)

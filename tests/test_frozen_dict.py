"""FrozenDict: a dict that nobody changes, as a mapping, as a key, and as a pytree."""

from __future__ import annotations

import collections
import copy
import pickle
import types

import cloudpickle
import jax
import numpy as np
import pytest

from linnet.core import frozen_dict as door
from linnet.core.frozen_dict import FrozenDict, freeze, pop, pretty_repr, unfreeze
from linnet.errors import DictTypeError, FrozenDictError

NESTED = {'b': {'y': 1, 'x': {'z': 2}}, 'a': 3, 'e': {}}


def test_a_nested_dict_is_frozen_when_it_is_read():
    frozen = FrozenDict(NESTED)
    assert type(frozen['b']) is type(frozen['b']['x']) is FrozenDict
    assert frozen['b'] == {'y': 1, 'x': {'z': 2}}
    assert frozen['a'] == 3
    assert frozen.get('b')['y'] == 1
    assert frozen.get('missing', 4) == 4
    assert list(frozen) == list(frozen.keys()) == ['b', 'a', 'e']
    assert [type(value) for value in frozen.values()] == [FrozenDict, int, FrozenDict]
    assert dict(frozen.items()) == NESTED
    assert len(frozen) == 3
    assert 'a' in frozen
    assert 'z' not in frozen
    with pytest.raises(KeyError, match='missing'):
        frozen['missing']


@pytest.mark.parametrize(
    ('args', 'kwargs'),
    [
        ((), {'a': 1, 'b': {'c': 2}}),
        (([('a', 1), ('b', {'c': 2})],), {}),
        (({'a': 1},), {'b': FrozenDict(c=2)}),
        ((types.MappingProxyType({'a': 1, 'b': collections.OrderedDict(c=2)}),), {}),
        ((FrozenDict(a=1, b={'c': 2}),), {}),
    ],
)
def test_it_takes_what_dict_takes(args, kwargs):
    frozen = FrozenDict(*args, **kwargs)
    assert frozen == {'a': 1, 'b': {'c': 2}}
    assert type(frozen._dict['b']) is dict


def test_it_is_a_copy_unless_the_caller_promises_not_to_change_the_dicts():
    source = {'a': {'b': 1}}
    copied, shared = FrozenDict(source), FrozenDict(source, __unsafe_skip_copy__=True)
    source['a']['b'] = 2
    assert copied['a']['b'] == 1
    assert shared['a']['b'] == 2


def test_it_equals_any_mapping_of_the_same_items():
    frozen = freeze(NESTED)
    assert frozen == NESTED
    assert frozen == freeze(NESTED)
    assert dict.__eq__(NESTED, frozen) is NotImplemented
    assert [frozen] == [NESTED] == [frozen]
    assert frozen == types.MappingProxyType(NESTED)
    assert frozen != {**NESTED, 'a': 4}
    assert frozen != 3
    assert FrozenDict(a={'b': 1}) == {'a': FrozenDict(b=1)}


def test_it_is_a_key_where_its_leaves_are_hashable():
    one, other = FrozenDict(a=1, b={'c': 2}), FrozenDict(b=FrozenDict(c=2), a=1)
    assert hash(one) == hash(other) == hash(one)
    assert {one: 'found'}[other] == 'found'
    with pytest.raises(TypeError, match='unhashable'):
        hash(FrozenDict(a=np.ones(2)))


def test_changing_it_in_place_is_an_error_that_names_the_mend():
    frozen = FrozenDict(a=1)
    with pytest.raises(FrozenDictError, match=r"LN610.*'b'(.|\n)*frozen.copy\(\{'b': value\}\)"):
        frozen['b'] = 2
    with pytest.raises(ValueError, match=r"'a'(.|\n)*frozen.pop\('a'\)"):
        del frozen['a']
    with pytest.raises(AttributeError):
        frozen.a = 2
    assert frozen == {'a': 1}


def test_copy_adds_and_replaces():
    frozen = freeze(NESTED)
    changed = frozen.copy({'b': {'n': FrozenDict(m=1)}, 'c': 5})
    assert changed == {'b': {'n': {'m': 1}}, 'a': 3, 'e': {}, 'c': 5}
    assert list(changed) == ['b', 'a', 'e', 'c']
    assert type(changed._dict['b']['n']) is dict
    assert frozen == NESTED
    assert frozen.copy() == frozen


def test_pop_returns_the_rest_and_the_value():
    rest, value = freeze(NESTED).pop('b')
    assert (rest, value) == ({'a': 3, 'e': {}}, {'y': 1, 'x': {'z': 2}})
    assert type(rest) is type(value) is FrozenDict
    with pytest.raises(KeyError):
        freeze(NESTED).pop('missing')


def test_unfreeze_gives_dicts_that_may_be_changed():
    frozen = FrozenDict(NESTED, items=[1])
    plain = frozen.unfreeze()
    assert type(plain['b']) is type(plain['b']['x']) is dict
    assert list(plain) == ['a', 'b', 'e', 'items']
    plain['b']['x']['z'] = 9
    plain['items'].append(2)
    assert frozen == {**NESTED, 'items': [1]}


def test_unfreeze_reaches_into_dicts_and_keeps_their_order():
    tree = {'b': FrozenDict(d=1, c=FrozenDict()), 'a': 2}
    plain = unfreeze(tree)
    assert plain == {'b': {'d': 1, 'c': {}}, 'a': 2}
    assert list(plain) == ['b', 'a']
    assert type(plain['b']) is type(plain['b']['c']) is dict
    assert unfreeze(3) == 3
    shared = FrozenDict({'a': FrozenDict(b=1)}, __unsafe_skip_copy__=True)
    assert type(shared.unfreeze()['a']) is dict


def test_keys_that_do_not_compare_are_kept_in_their_order():
    frozen = FrozenDict({2: {'b': 1}, 'a': 2})
    assert list(frozen.unfreeze()) == [2, 'a']
    assert type(frozen.unfreeze()[2]) is dict
    assert pickle.loads(pickle.dumps(frozen)) == frozen
    assert door.copy({2: 1, 'a': 2}, {'a': 3}) == {2: 1, 'a': 3}


def test_functions_work_alike_on_dicts():
    source = {'b': [1], 'a': 2}
    changed = door.copy(source, {'a': 3})
    assert changed == {'b': [1], 'a': 3}
    assert changed['b'] is not source['b']
    assert type(door.copy(FrozenDict(a=1), {'a': 3})) is FrozenDict
    assert pop(source, 'a') == ({'b': [1]}, 2)
    assert pop(FrozenDict(source), 'a') == ({'b': [1]}, 2)
    assert source == {'b': [1], 'a': 2}
    with pytest.raises(DictTypeError, match=r'copy\(\) takes a dict .* got the int 3'):
        door.copy(3)
    with pytest.raises(TypeError, match=r'pop\(\) takes a dict .* got an array of shape \(2,\)'):
        pop(np.ones(2), 'a')


@pytest.mark.parametrize(
    'twin',
    [
        lambda x: pickle.loads(pickle.dumps(x)),
        lambda x: cloudpickle.loads(cloudpickle.dumps(x)),
        copy.copy,
        copy.deepcopy,
    ],
)
def test_it_survives_copying_and_pickling(twin):
    class Named(FrozenDict):
        pass

    frozen = freeze(NESTED)
    hash(frozen)
    assert twin(frozen) == frozen
    assert type(twin(frozen)) is FrozenDict
    assert type(copy.copy(Named(a=1))) is type(Named(a=1).copy()) is Named


def test_the_text_shows_one_item_a_line():
    frozen = FrozenDict({'b': {'y': np.ones((2, 1))}, 1: 's', 'e': {}})
    assert repr(frozen) == (
        'FrozenDict({\n'
        '    b: {\n'
        '        y: array([[1.],\n'
        '               [1.]]),\n'
        '    },\n'
        "    1: 's',\n"
        '    e: {},\n'
        '})'
    )
    assert FrozenDict(a=FrozenDict()).pretty_repr(2) == 'FrozenDict({\n  a: {},\n})'
    assert pretty_repr({'a': FrozenDict(b=1)}, 1) == '{\n a: FrozenDict({\n  b: 1,\n }),\n}'
    assert pretty_repr({}) == '{}'
    assert pretty_repr([1]) == '[1]'
    assert repr(FrozenDict(a={}).keys()) == "frozen_dict_keys(['a'])"
    assert repr(FrozenDict(a={}).values()) == 'frozen_dict_values([FrozenDict({})])'


def test_as_a_pytree_it_is_like_a_dict():
    frozen = freeze(NESTED)
    leaves, structure = jax.tree.flatten(frozen)
    assert leaves == jax.tree.leaves(NESTED) == [3, 2, 1]
    assert jax.tree.unflatten(structure, leaves) == frozen
    assert jax.tree_util.tree_leaves_with_path(frozen) == jax.tree_util.tree_leaves_with_path(
        NESTED
    )
    doubled = jax.tree.map(lambda x: 2 * x, frozen)
    assert type(doubled) is FrozenDict
    assert doubled == {'a': 6, 'b': {'x': {'z': 4}, 'y': 2}, 'e': {}}
    assert jax.tree.structure(FrozenDict(b=1, a=2)) == jax.tree.structure(FrozenDict(a=1, b=2))
    assert FrozenDict(b=1, a={'c': 2}).tree_flatten_with_keys() == (
        ((jax.tree_util.DictKey('a'), {'c': 2}), (jax.tree_util.DictKey('b'), 1)),
        ('a', 'b'),
    )
    assert FrozenDict.tree_unflatten(('a', 'b'), (1, {'c': 2})) == {'a': 1, 'b': {'c': 2}}


def test_a_jitted_function_is_traced_once():
    traced = []

    @jax.jit
    def total(params):
        traced.append(None)
        return params['b']['y'] + params['a']

    assert total(freeze(NESTED)) == 4
    assert total(freeze({**NESTED, 'a': 5})) == 6
    assert len(traced) == 1


def test_key_views_are_sets():
    assert FrozenDict(a=1, b=2).keys() & {'a', 'c'} == {'a'}
    assert FrozenDict(a=1).keys() == {'a': 1}.keys()

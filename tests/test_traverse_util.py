"""Flat forms of nested dicts, and traversals."""

from __future__ import annotations

import collections
import copy
import dataclasses
import pickle

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet import struct, traverse_util
from linnet.core.frozen_dict import FrozenDict
from linnet.errors import DictTypeError, InvalidOptionError, SharpBitWarning
from linnet.serialization import from_state_dict, to_bytes, to_state_dict
from linnet.traverse_util import (
    ModelParamTraversal,
    Traversal,
    TraverseItem,
    empty_node,
    flatten_dict,
    path_aware_map,
    t_identity,
    unflatten_dict,
)

NESTED = {'b': {'c': 1, 'e': {}}, 'a': 2, 'z': {}}
Pair = collections.namedtuple('Pair', 'first second')


# Flat dicts.


def test_flatten_names_each_leaf_by_its_path():
    assert flatten_dict(NESTED) == {('b', 'c'): 1, ('a',): 2}
    assert flatten_dict(NESTED, sep='/') == {'b/c': 1, 'a': 2}
    assert list(flatten_dict(NESTED)) == [('b', 'c'), ('a',)]
    assert flatten_dict(FrozenDict(NESTED)) == flatten_dict(NESTED)
    assert flatten_dict({'a': FrozenDict(b={1: 2})}) == {('a', 'b', 1): 2}
    assert flatten_dict({'a': [{'c': 1}], 'n': None}) == {('a',): [{'c': 1}], ('n',): None}
    assert flatten_dict({}) == flatten_dict({}, keep_empty_nodes=True) == {}


def test_empty_dicts_are_kept_on_demand():
    flat = flatten_dict(NESTED, keep_empty_nodes=True)
    assert flat == {('b', 'c'): 1, ('b', 'e'): empty_node, ('a',): 2, ('z',): empty_node}
    assert unflatten_dict(flat) == NESTED
    assert unflatten_dict(flatten_dict(NESTED, keep_empty_nodes=True, sep='.'), sep='.') == NESTED
    assert unflatten_dict(jax.tree.map(lambda x: -x, flat)) == {
        'b': {'c': -1, 'e': {}}, 'a': -2, 'z': {},
    }  # fmt: skip
    assert to_state_dict({'a': empty_node}) == {'a': {}}
    assert from_state_dict({'a': empty_node}, {'a': {}}) == {'a': empty_node}
    assert to_bytes({'a': empty_node}) == b'\x81\xa1a\x80'


def test_a_dict_may_be_a_leaf():
    seen = []

    def is_leaf(path, node):
        seen.append(path)
        return path == ('b',)

    assert flatten_dict(NESTED, is_leaf=is_leaf) == {('b',): {'c': 1, 'e': {}}, ('a',): 2}
    assert seen == [(), ('b',), ('z',)]
    assert flatten_dict({'a': 1}, is_leaf=lambda *_: True) == {(): {'a': 1}}
    assert flatten_dict({'a': 1}, is_leaf=lambda *_: True, sep='/') == {'': {'a': 1}}


def test_unflatten_is_the_inverse():
    assert unflatten_dict({('b', 'c'): 1, ('a',): 2}) == {'b': {'c': 1}, 'a': 2}
    assert unflatten_dict({'b/c': 1, 'a': 2}, sep='/') == {'b': {'c': 1}, 'a': 2}
    assert unflatten_dict(FrozenDict({'b/c': 1}), sep='/') == {'b': {'c': 1}}
    assert unflatten_dict({'a': 1}) == {'a': 1}
    assert unflatten_dict({}) == {}


keys = st.text('abc', min_size=1, max_size=3)
nested_dicts = st.recursive(
    st.integers(0, 9), lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=9
).filter(lambda x: isinstance(x, dict))


@given(nested_dicts, st.sampled_from([None, '/']))
def test_drawn_dicts_come_back(nested, sep):
    assert unflatten_dict(flatten_dict(nested, keep_empty_nodes=True, sep=sep), sep=sep) == nested


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: flatten_dict(3), r'flatten_dict\(\) takes a dict or a FrozenDict, got the int 3'),
        (lambda: unflatten_dict([1]), r'unflatten_dict\(\) takes a dict'),
        (lambda: path_aware_map(len, np.ones(2)), r'path_aware_map\(\) .* shape \(2,\)'),
        (lambda: flatten_dict({1: {2: 3}}, sep='/'), r"\(1, 2\) cannot be joined by '/'"),
        (lambda: unflatten_dict({('a', 'b'): 1}, sep='/'), "not a string of keys joined by '/'"),
        (lambda: unflatten_dict({1: 1}), 'key 1 of a flat dict is not a tuple of keys'),
        (lambda: unflatten_dict({(): 1}), 'not a tuple of keys'),
        (lambda: unflatten_dict({('a',): 2, ('a', 'b'): 1}), 'through the int 2, which is a leaf'),
        (lambda: t_identity.each().update(abs, 3), 'only lists, tuples and dicts have items'),
        (
            lambda: ModelParamTraversal(all).update(abs, [1]),
            r'ModelParamTraversal\(\) takes a dict',
        ),
    ],
)
def test_what_is_no_nested_or_flat_dict_is_refused(call, message):
    with pytest.raises(DictTypeError, match=message):
        call()


@pytest.mark.parametrize(
    ('call', 'message', 'result'),
    [
        (lambda: unflatten_dict({('a', 'b'): 1, ('a',): 2}), 'whose leaf is lost', {'a': 2}),
        (lambda: unflatten_dict({'a/': 1}), "each letter of 'a/'", {'a': {'/': 1}}),
        (lambda: flatten_dict({'a/b': 1, 'a': {'b': 2}}, sep='/'), 'two leaves', {'a/b': 2}),
    ],
)
def test_a_loss_is_a_warning(call, message, result):
    with pytest.warns(SharpBitWarning, match=message) as caught:
        assert call() == result
    assert caught[0].filename == __file__


def test_path_aware_map_gives_plain_dicts():
    mapped = path_aware_map(lambda path, x: ('/'.join(path), x), FrozenDict(NESTED))
    assert mapped == {'b': {'c': ('b/c', 1), 'e': {}}, 'a': ('a', 2), 'z': {}}
    assert type(mapped) is type(mapped['b']) is dict
    assert path_aware_map(lambda path, x: {'k': x}, {'a': 1}) == {'a': {'k': 1}}


# Traversals.


def negative(x):
    return -x


@struct.dataclass
class Point:
    x: int
    y: int = 2


@dataclasses.dataclass
class Line:
    start: Point


class Plain:
    def __init__(self):
        self.x = 1


@pytest.mark.parametrize(
    ('traversal', 'inputs', 'parts', 'updated'),
    [
        (t_identity, 3, [3], -3),
        (t_identity['a'], {'a': 1, 'b': 2}, [1], {'a': -1, 'b': 2}),
        (t_identity['a'], FrozenDict(a=1, b=2), [1], FrozenDict(a=-1, b=2)),
        (t_identity[1], [1, 2, 3], [2], [1, -2, 3]),
        (t_identity[-1], (1, 2, 3), [3], (1, 2, -3)),
        (t_identity[0:2], (1, 2, 3), [1, 2], (-1, -2, 3)),
        (t_identity[0], Pair(1, 2), [1], Pair(-1, 2)),
        (t_identity.second, Pair(1, 2), [2], Pair(1, -2)),
        (t_identity.x, Point(1), [1], Point(-1)),
        (t_identity.start.y, Line(Point(1)), [2], Line(Point(1, -2))),
        (t_identity.each(), [1, 2], [1, 2], [-1, -2]),
        (t_identity.each(), (1, 2), [1, 2], (-1, -2)),
        (t_identity.each(), Pair(1, 2), [1, 2], Pair(-1, -2)),
        (t_identity.each(), {'b': 1, 'a': 2}, [1, 2], {'b': -1, 'a': -2}),
        (t_identity.each(), FrozenDict(b=1), [1], FrozenDict(b=-1)),
        (t_identity.each().filter(lambda x: x > 1), [1, 2, 3], [2, 3], [1, -2, -3]),
        (t_identity.tree(), {'a': [1, {'c': 2}]}, [1, 2], {'a': [-1, {'c': -2}]}),
        (t_identity['a'].tree(), {'a': [1], 'b': 2}, [1], {'a': [-1], 'b': 2}),
        (t_identity.merge(TraverseItem(0), TraverseItem(2)), [1, 2, 3], [1, 3], [-1, 2, -3]),
        (t_identity['a'].compose(TraverseItem('b')), {'a': {'b': 1}}, [1], {'a': {'b': -1}}),
    ],
)
def test_a_traversal_lists_its_parts_and_replaces_them_in_a_copy(traversal, inputs, parts, updated):
    before = copy.deepcopy(inputs)
    assert list(traversal.iterate(inputs)) == parts
    result = traversal.update(negative, inputs)
    assert result == updated
    assert type(result) is type(updated)
    assert traversal.set([negative(part) for part in parts], inputs) == updated
    assert inputs == before


def test_an_attribute_of_any_object_is_set_in_a_copy():
    plain = Plain()
    assert t_identity.x.update(negative, plain).x == -1
    assert plain.x == 1
    assert t_identity['a'].update(negative, collections.defaultdict(int)) == {'a': 0}
    assert t_identity.each().update(negative, collections.defaultdict(int, a=1)) == {'a': -1}


def test_set_wants_as_many_values_as_parts():
    assert t_identity.each()['k'].set(iter([5, 6]), [{'k': 1}, {'k': 2}]) == [{'k': 5}, {'k': 6}]
    with pytest.raises(InvalidOptionError, match='fewer values than parts'):
        t_identity.each().set([1], [1, 2])
    with pytest.raises(InvalidOptionError, match='more values than parts: 3 is left'):
        t_identity.each().set([1, 2, 3], [1, 2])


def test_special_names_are_no_attributes_of_the_structure():
    assert not hasattr(t_identity, '__len__')
    assert list(pickle.loads(pickle.dumps(t_identity['a'])).iterate({'a': 1})) == [1]
    with pytest.raises(TypeError, match='abstract'):
        Traversal()


def test_parameters_are_named_by_path_and_value_in_sorted_order():
    params = {'y': {'kernel': 3, 'sub': {'kernel': 4}}, 'x': {'kernel': 1, 'bias': 2}, 'e': {}}
    kernels = ModelParamTraversal(lambda path, _: path.endswith('/kernel'))
    assert list(kernels.iterate(params)) == [1, 3, 4]
    updated = kernels.update(negative, params)
    assert updated == {
        'e': {}, 'x': {'bias': 2, 'kernel': -1}, 'y': {'kernel': -3, 'sub': {'kernel': -4}},
    }  # fmt: skip
    assert list(updated) == ['e', 'x', 'y']
    assert type(kernels.update(negative, FrozenDict(params))) is FrozenDict
    assert kernels.set([7, 8, 9], params)['y'] == {'kernel': 8, 'sub': {'kernel': 9}}
    seen = []
    ModelParamTraversal(lambda path, x: seen.append((path, x))).update(negative, {'a': {1: 2}})
    assert seen == [('/a/1', 2)]
    assert list(ModelParamTraversal(lambda path, x: x > 1).iterate({'a': 1, 'b': 2})) == [2]


def test_all_names_are_there():
    for name in 'Attr Compose Each Filter Id Item Merge Tree'.split():
        assert issubclass(getattr(traverse_util, f'Traverse{name}'), Traversal)

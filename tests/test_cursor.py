"""Cursors: edits of trees that never change, and what is said of places that are not there."""

from __future__ import annotations

import collections
import copy
import operator
import pickle
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet import struct
from linnet.core import freeze
from linnet.cursor import AccessType, Cursor, Indexable, _traverse_tree, cursor
from linnet.errors import CursorFindError, CursorPathError, TraverseTreeError

Pair = collections.namedtuple('Pair', 'a b')


@struct.dataclass
class Point:
    x: object
    y: object = 3


def tree():
    return {
        'list': [1, 2, {'b': 3}],
        'tuple': (4, 5),
        'pair': Pair(1, {'z': 2}),
        'point': Point({'w': 1}),
        'frozen': freeze({'k': [1, 2]}),
        1: 'text',
    }


def test_edits_reach_every_kind_of_node_and_leave_the_original_alone():
    original = tree()
    c = cursor(original)
    c['list'][-1]['b'] = 30
    c['list'][2]['new'] = 31
    c['tuple'][1] += 60
    c['pair'][0] = 10
    c['pair'].b['z'] *= 4
    c['point'].x['w'] = c['pair']
    c['frozen']['k'][0:2] = [8, 9]
    c[1] = None
    built = c.build()
    assert original == tree()
    assert built == {
        'list': [1, 2, {'b': 30, 'new': 31}],
        'tuple': (4, 65),
        'pair': Pair(10, {'z': 8}),
        'point': Point({'w': Pair(10, {'z': 8})}),
        'frozen': {'k': [8, 9]},
        1: None,
    }
    assert [type(value) for value in built.values()] == [
        list, tuple, Pair, Point, type(original['frozen']), type(None),
    ]  # fmt: skip


def test_what_has_no_edit_is_shared_with_the_original():
    original = tree()
    c = cursor(original)
    c['list'][2]['b']
    assert c.build() is original
    c['point'].y = 4
    built = c.build()
    assert built is not original
    assert built['list'] is original['list']
    assert built['point'].x is original['point'].x


def test_subclasses_of_dicts_and_lists_stay_what_they_are():
    class Layers(list):
        pass

    c = cursor({'d': collections.OrderedDict(b=1, a=[2]), 'l': Layers([1, 2])})
    c['d']['a'][0] = 5
    c['l'][0] = 6
    built = c.build()
    assert list(built['d'].items()) == [('b', 1), ('a', [5])]
    assert (type(built['l']), built['l']) == (Layers, [6, 2])


def test_set_returns_the_whole_tree_with_earlier_edits():
    c = cursor({'a': [1, 2]})
    c['a'][0] = 5
    assert c['a'][1].set(6) == {'a': [5, 6]}
    assert c.build() == {'a': [5, 6]}
    assert c.set(3) == 3


def test_an_edit_below_a_value_that_was_replaced():
    c = cursor({'a': [1]})
    old = c['a']
    c['a'] = {'new': 1}
    c['a']['new'] = 2
    old[0] = 9
    assert c.build() == {'a': {'new': 2}}


def test_apply_update_goes_from_the_top_and_sees_earlier_edits():
    c = cursor({'a': [1, {'b': 2}], 'c': Pair(3, 4)})
    c['a'][0] = 100
    seen = []

    def update(path, value):
        seen.append((path, value))
        if path == 'c':
            return 'replaced'
        return value + 1 if isinstance(value, int) else value

    assert c.apply_update(update) is c
    assert c.build() == {'a': [101, {'b': 3}], 'c': 'replaced'}
    assert [path for path, _ in seen] == ['a', 'a/0', 'a/1', 'a/1/b', 'c']
    assert seen[1] == ('a/0', 100)


def test_find_finds_the_one_place():
    c = cursor({'a': {'kernel': 1}, 'b': [{'kernel': 2}]})
    found = c.find(lambda path, value: path == 'b/0/kernel')
    assert found._path == "['b'][0]['kernel']"
    assert found.set(5) == {'a': {'kernel': 1}, 'b': [{'kernel': 5}]}
    with pytest.raises(CursorFindError, match='found nothing'):
        c.find(lambda path, value: False)
    with pytest.raises(CursorFindError, match=r"'a'.*and.*'b'"):
        c.find(lambda path, value: 'kernel' in path)


def test_find_all_yields_cursors_to_edit_and_does_not_go_into_them():
    c = cursor([{'a': 1, 'b': {'a': 2}}, {'a': 3}])
    for place in c.find_all(lambda path, value: isinstance(value, dict)):
        place['a'] = 9
    assert c.build() == [{'a': 9, 'b': {'a': 2}}, {'a': 9}]


def test_a_traversal_yields_paths_and_new_values():
    obj = {'a': [1, Point(2)]}
    assert list(_traverse_tree((), obj, cond_fn=lambda path, value: value == 2)) == [
        (('a', AccessType.ITEM), (1, AccessType.ITEM), ('x', AccessType.ATTR))
    ]
    updates = _traverse_tree((), obj, update_fn=lambda path, value: 5 if value == 1 else value)
    assert list(updates) == [((('a', AccessType.ITEM), (0, AccessType.ITEM)), 5)]
    for functions in ({}, {'update_fn': max, 'cond_fn': max}):
        with pytest.raises(TraverseTreeError, match='exactly one'):
            list(_traverse_tree((), obj, **functions))


def test_lists_and_tuples_are_gone_over_by_cursors():
    c = cursor([[1], [2], (3, 4)])
    for part in c[:2]:
        part[0] *= 10
    for part in reversed(c[2]):
        part.set(part + 1)
    assert [place.build() for place in c] == [[10], [20], (4, 5)]
    assert (len(c), 3 in c[2], 4 in c[2], bool(c), bool(cursor({}))) == (
        3,
        False,
        True,
        True,
        False,
    )
    with pytest.raises(NotImplementedError, match=r'goes over lists and tuples.*the dict'):
        iter(cursor({}))


def test_operators_work_on_the_values():
    c = cursor({'n': 7, 'x': jnp.arange(3.0), 'l': [1]})
    n = c['n']
    assert (n + 1, 1 - n, n // 2, 2**n, -n, abs(n), divmod(n, 4), divmod(15, n)) == (
        8, -6, 3, 128, -7, 7, (1, 3), (2, 1),
    )  # fmt: skip
    assert (n == 7, n != 7, n < 8, n >= 8, round(n), int(n), float(n), str(n)) == (
        True, False, True, False, 7, 7, 7.0, '7',
    )  # fmt: skip
    assert n * n == 49
    assert c['l'] + [2] == [1, 2]
    np.testing.assert_array_equal(c['x'] * 2, [0, 2, 4])
    c['x'] -= 1
    np.testing.assert_array_equal(c['x'][1].build(), 0)
    with pytest.raises(TypeError, match='unhashable'):
        hash(n)


def test_a_module_is_edited_like_any_dataclass():
    c = cursor(nn.Sequential([nn.Dense(3), nn.relu]))
    c.layers[0].features = 7
    assert c.build() == nn.Sequential([nn.Dense(7), nn.relu])


@pytest.mark.parametrize(
    ('way', 'error', 'message'),
    [
        (lambda c: c['lst'], KeyError, r"no part \['lst'\](.|\n)*it has 'list'(.|\n)*mean 'list'"),
        (lambda c: c['list'][3], IndexError, r"at \['list'\] stands at .* has no part \[3\]"),
        (lambda c: c['list']['b'], TypeError, r"no part \['b'\]"),
        (lambda c: c.list, AttributeError, r"no part \.list(.|\n)*\['list'\], since it is an item"),
        (lambda c: c['point']['x'], TypeError, r'Mend: \.x, since it is an attribute'),
        (lambda c: c['point'].q, AttributeError, r"no part \.q(.|\n)*it has 'x', 'y'"),
        (lambda c: setattr(c['point'], 'q', 1), AttributeError, r'no part \.q'),
        (lambda c: setattr(c['list'], 'q', 1), TypeError, r'no part \.q'),
        (lambda c: operator.setitem(c['tuple'], 2, 1), IndexError, r'no part \[2\]'),
        (lambda c: operator.setitem(c['list'][0], 0, 1), TypeError, 'replaced as a whole'),
        (lambda c: c['list'][0]['q'], TypeError, r"\['list'\]\[0\] stands at the int 1"),
    ],
)
def test_a_place_that_is_not_there_is_named(way, error, message):
    with pytest.raises(CursorPathError, match=message) as caught:
        way(cursor(tree()))
    assert isinstance(caught.value, error)


def test_parts_of_other_objects_are_looked_at_and_not_edited():
    class Thing:
        def __init__(self):
            self.parts = [1]

    c = cursor({'thing': Thing(), 'w': np.arange(3)})
    assert (c['w'].shape[0], c['thing'].parts[0]) == (3, 1)
    c['thing'].parts[0] = 2
    with pytest.raises(
        CursorPathError, match=r"\['thing'\] stands at .*Thing(.|\n)*no part \.parts"
    ):
        c.build()
    with pytest.raises(CursorPathError, match=r'array of shape \(3,\)(.|\n)*as a whole'):
        c['w'][0] = 1


def test_a_cursor_says_where_it_stands_and_can_be_copied():
    c = cursor({'a': [1, Point(2)]})
    c['a'][0] = 5
    assert repr(c) == "Cursor({'a': [5, Point(x=2, y=3)]})"
    assert repr(c['a'][1].x) == "Cursor(2, at ['a'][1].x)"
    for other in (copy.copy(c), copy.deepcopy(c), pickle.loads(pickle.dumps(c))):
        assert type(other) is Cursor
        assert other.build() == c.build()
    assert isinstance([], Indexable)
    assert not isinstance(3, Indexable)


def test_the_programs_of_the_page_run():
    page = (Path(__file__).parents[1] / 'docs/cursor.md').read_text()
    namespace = {}
    for program in re.findall(r'```python\n(.*?)```', page, re.DOTALL):
        exec(program, namespace)
    assert namespace['one'].set(0)['encoder']['kernel'] == 0

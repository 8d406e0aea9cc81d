"""Cursors do what the oracle's do: the same edits give the same trees, and the same paths."""

from __future__ import annotations

import collections

import jax.numpy as jnp
import pytest

from tests.parity.harness import PAIR, same, same_error

Pair = collections.namedtuple('Pair', 'a b')


def tree(lib):
    @lib.struct.dataclass
    class Point:
        x: object
        y: object = 3

    return {
        'list': [1, 2, {'b': 3}],
        'tuple': (4, 5),
        'pair': Pair(1, {'z': 2}),
        'point': Point({'w': 1}),
        'frozen': lib.load('core').freeze({'k': [1, 2]}),
        1: 'text',
        ('t', 1): 7,
        'array': jnp.arange(3.0),
    }


def edited(lib, edit):
    c = lib.load('cursor').cursor(tree(lib))
    result = edit(c)
    return c.build() if result is None else result


def assign(c):
    c['list'][-1]['b'] = 30
    c['list'][0] = 10
    c['tuple'][1] += 60
    c['pair'].b['z'] *= 4
    c['pair'][0] = 10
    c['point'].x['w'] = 'w'
    c['point'].y = None
    c['frozen']['k'][0] = 8
    c['array'] /= 2
    c['new'] = {'x': 1}
    c['new']['x'] = 2


def loop(c):
    for part in c['list']:
        part.set(0)
    for part in reversed(c['tuple']):
        part.set(part + 1)


def over_earlier_edits(c):
    c['list'][0] = 100
    return c['tuple'][0].set(9)


EDITS = {
    'assign': assign,
    'loop': loop,
    'set': over_earlier_edits,
    'root': lambda c: c.set('all'),
    'update': lambda c: c.apply_update(
        lambda path, x: x * 2 if isinstance(x, int) else x
    ).build(),
    'update a part': lambda c: (
        c['list'].apply_update(lambda path, x: {'n': 1} if path == '2' else x).build()
    ),
    'find': lambda c: c.find(lambda path, x: path.endswith('/z')).set(9),
    'find all': lambda c: [
        place.build() for place in c.find_all(lambda path, x: not isinstance(x, (dict, list)))
    ],
    'operators': lambda c: [
        c['list'][0] + 1, 2 - c['list'][0], c['tuple'] + (6,), -c['array'], c['list'][0] == 1,
        len(c['list']), 5 in c['tuple'], str(c['point'].y), c['list'] != [1],
        divmod(7, c[('t', 1)]),
    ],
}  # fmt: skip


@pytest.mark.parametrize('edit', EDITS.values(), ids=EDITS)
def test_edits_give_the_same_trees(edit):
    same(lambda lib: edited(lib, edit))


def test_the_same_places_are_visited_in_the_same_order():
    def visited(lib):
        seen = []
        c = lib.load('cursor').cursor(tree(lib))
        list(c.find_all(lambda path, value: seen.append((path, type(value).__name__))))
        return seen, [place._path for place in c.find_all(lambda path, value: path.count('/') == 1)]

    same(visited)


def test_a_traversal_yields_the_same():
    def yielded(lib):
        traverse = lib.load('cursor')._traverse_tree
        paths = traverse((), tree(lib), cond_fn=lambda path, value: isinstance(value, int))
        updates = traverse((), tree(lib), update_fn=lambda path, value: 5 if value == 4 else value)
        obj = {'a': [4, 3]}
        updates = traverse((), obj, update_fn=lambda path, value: 5 if value == 4 else value)
        return [
            [[(key, access.name) for key, access in path] for path in found]
            for found in (paths, [path for path, _ in updates])
        ]

    same(yielded)


@pytest.mark.parametrize(
    'way',
    [
        lambda c: c['missing'],
        lambda c: c['list'][9],
        lambda c: c['point'].missing,
        lambda c: c.missing,
        lambda c: c['list'][0][1],
        lambda c: iter(c),
        lambda c: hash(c),
        lambda c: c.find(lambda path, value: False),
    ],
)
def test_mistakes_are_refused_with_an_error_of_the_same_kind(way):
    same_error(lambda lib: way(lib.load('cursor').cursor(tree(lib))))


def test_named_tuples_are_known():
    values = [Pair(1, 2), (1, 2), [], Pair]
    same(lambda lib: [lib.load('cursor').is_named_tuple(value) for value in values])
    assert len(PAIR) == 2

"""Dataclasses that are pytrees: which fields are children, how they are rebuilt and restored."""

from __future__ import annotations

import abc
import copy
import dataclasses
import pickle
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import pytest

from linnet import serialization, struct
from linnet.errors import StateDictError

T = TypeVar('T')
BUILT = []


@struct.dataclass
class Point:
    x: Any
    name: str = struct.field(pytree_node=False, default='p')
    y: Any = 7

    def __post_init__(self):
        BUILT.append(self.name)


class Node(struct.PyTreeNode):
    a: Any
    kind: str = struct.field(pytree_node=False, default='k')


class Child(Node):
    b: Any = 5


class KeywordsOnly(struct.PyTreeNode, kw_only=True):
    a: Any = 1
    b: Any


class Tagged(struct.PyTreeNode, Generic[T]):
    value: T


class Shape(struct.PyTreeNode, abc.ABC):
    size: Any


@struct.dataclass
class Square:
    side: Any
    area: Any = dataclasses.field(init=False)

    def __post_init__(self):
        object.__setattr__(self, 'area', self.side * self.side)


@struct.dataclass
class Empty:
    """No fields at all."""


def test_fields_are_children_with_their_names_as_path_unless_static():
    paths = jax.tree_util.tree_leaves_with_path(Point(1, 'q'))
    assert paths == [
        ((jax.tree_util.GetAttrKey('x'),), 1),
        ((jax.tree_util.GetAttrKey('y'),), 7),
    ]
    assert jax.tree.map(lambda x: x + 1, Point(1, 'q')) == Point(2, 'q', 8)
    assert jax.tree.structure(Point(1, 'q')) == jax.tree.structure(Point(2, 'q'))
    assert jax.tree.structure(Point(1, 'q')) != jax.tree.structure(Point(1, 'r'))
    assert jax.tree.leaves(Empty()) == []


def test_objects_are_frozen_and_replace_makes_a_changed_copy():
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 2
    assert point.replace(x=2, name='q') == Point(2, 'q')
    assert point == Point(1)
    assert hash(point) == hash(Point(1))
    with pytest.raises(TypeError, match='missing'):
        point.replace(missing=1)


def test_rebuilding_runs_post_init_as_the_constructor_does():
    point = Point(1, 'r')
    BUILT.clear()
    jax.tree.map(lambda x: x, point)
    assert BUILT == ['r']


def test_a_field_without_init_is_no_child_and_is_computed_anew():
    square = Square(3)
    assert jax.tree.leaves(square) == [3]
    assert jax.tree.map(lambda x: x + 1, square).area == 16
    assert square.replace(side=5).area == 25
    assert serialization.to_state_dict(square) == {'side': 3}
    assert serialization.from_state_dict(square, {'side': 2}).area == 4


def test_a_static_field_decides_whether_a_function_is_traced_anew():
    traced = []

    @jax.jit
    def double(point):
        traced.append(point.name)
        return point.replace(x=2 * point.x)

    for value in (1.0, 2.0):
        assert double(Point(value, 'a')).x == 2 * value
    assert double(Point(1.0, 'b')).name == 'b'
    assert traced == ['a', 'b']


def test_transforms_go_through():
    grad = jax.grad(lambda point: jnp.sum(point.x**2 * point.y))(Point(jnp.array(3.0), 'g', 2.0))
    assert (grad.x, grad.y, grad.name) == (12.0, 9.0, 'g')
    batched = jax.vmap(lambda point: point.replace(x=point.x + 1))(
        Point(jnp.zeros(3), y=jnp.ones(3))
    )
    assert batched.x.tolist() == [1, 1, 1]


def test_pytree_nodes_are_inherited():
    assert Child(1, b=2) == Child(1, 'k', 2)
    assert jax.tree.leaves(Child(1)) == [1, 5]
    assert jax.tree.leaves(Tagged[int](3)) == [3]
    assert jax.tree.leaves(Shape(4)) == [4]
    assert KeywordsOnly(b=2) == KeywordsOnly(a=1, b=2)
    with pytest.raises(TypeError, match='positional'):
        KeywordsOnly(1, 2)
    assert Node(1).replace(a=2) == Node(2)


def test_the_base_class_has_no_objects():
    with pytest.raises(NotImplementedError, match='make a subclass'):
        struct.PyTreeNode()
    with pytest.raises(NotImplementedError, match='make a subclass'):
        struct.PyTreeNode.replace(None)


def test_the_decorator_takes_arguments_and_is_harmless_twice():
    assert struct.dataclass(Point) is Point
    assert struct.dataclass(Node) is Node
    assert Point._flax_dataclass

    @struct.dataclass(kw_only=True, eq=False)
    class Loose:
        a: int

    assert Loose(a=1) != Loose(a=1)

    @struct.dataclass(frozen=False)
    class Open:
        a: int

    open_one = Open(1)
    open_one.a = 2
    assert jax.tree.leaves(open_one) == [2]

    @struct.dataclass
    class Longer(Point):
        w: Any = 0

    assert jax.tree.leaves(Longer(1, w=2)) == [1, 7, 2]


def test_field_passes_its_arguments_on():
    field = struct.field(pytree_node=False, metadata={'unit': 'm'}, default=3, repr=False)
    assert dict(field.metadata) == {'unit': 'm', 'pytree_node': False}
    assert (field.default, field.repr) == (3, False)
    assert dict(struct.field().metadata) == {'pytree_node': True}


def test_objects_survive_copying_and_pickling():
    for twin in (copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        assert twin(Child(1, 'q', 3)) == Child(1, 'q', 3)


def test_the_state_dict_holds_the_children_and_the_target_keeps_the_static_fields():
    assert serialization.to_state_dict(Point([1], 'q')) == {'x': {'0': 1}, 'y': 7}
    assert serialization.from_state_dict(Point(0, 'q'), {'x': 5, 'y': 6}) == Point(5, 'q', 6)
    target = {'at': [Point(0)]}
    with pytest.raises(StateDictError, match=r"\./at/0: the state dict of the Point lacks 'y'"):
        serialization.from_state_dict(target, {'at': {'0': {'x': 1}}})
    with pytest.raises(StateDictError, match=r"lacks 'y' and has 'yy' besides"):
        serialization.from_state_dict(Point(0), {'x': 1, 'yy': 2})
    with pytest.raises(StateDictError, match=r"has 'name' besides"):
        serialization.from_state_dict(Point(0), {'x': 1, 'y': 2, 'name': 'p'})
    with pytest.raises(StateDictError, match=r'\./at/0: the state of the Point is the int 3'):
        serialization.from_state_dict(target, {'at': {'0': 3}})

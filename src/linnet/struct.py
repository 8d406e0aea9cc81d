"""Frozen dataclasses that are pytrees.

Their fields are children of the pytree, with the names of the fields as key path, unless a field
says ``pytree_node=False``: such *static* fields are a part of the structure, so they must be
hashable, and a function under ``jax.jit`` is traced anew when one changes. A field with
``init=False`` is no part of the pytree: ``__post_init__``, which runs whenever JAX rebuilds an
object, computes it anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform, overload

import jax

from linnet.serialization import (
    from_state_dict,
    match_names,
    register_serialization_state,
    to_state_dict,
)

T = TypeVar('T')
TNode = TypeVar('TNode', bound='PyTreeNode')


def field(
    pytree_node: bool = True, *, metadata: dict[str, Any] | None = None, **kwargs: Any
) -> Any:
    """Describes a field of a :func:`dataclass` or :class:`PyTreeNode`.

    Args:
        pytree_node: whether the field is a child of the pytree; if not, it is static.
        metadata: as for :func:`dataclasses.field`.
        **kwargs: the other arguments of :func:`dataclasses.field`.
    """
    return dataclasses.field(metadata={**(metadata or {}), 'pytree_node': pytree_node}, **kwargs)


@overload
def dataclass(clz: type[T], **kwargs: Any) -> type[T]: ...
@overload
def dataclass(clz: None = None, **kwargs: Any) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(field_specifiers=(field,), frozen_default=True)
def dataclass(clz: Any = None, **kwargs: Any) -> Any:
    """Makes a class a frozen dataclass, a pytree, and a type that has a state dict.

    The class gets a method ``replace(**updates)``, which returns a changed copy. Static fields
    are not in the state dict: they come from the target.

    Args:
        clz: the class.
        **kwargs: arguments of :func:`dataclasses.dataclass`, such as ``kw_only=True``.

    Example::

        >>> @dataclass
        ... class Ema:
        ...     mean: float
        ...     decay: float = field(pytree_node=False, default=0.9)
        >>> ema = Ema(1.0)
        >>> jax.tree.leaves(ema)
        [1.0]
        >>> ema.replace(mean=2.0)
        Ema(mean=2.0, decay=0.9)
    """
    if clz is None:
        return lambda cls: dataclass(cls, **kwargs)
    if '_flax_dataclass' in vars(clz):
        return clz
    cls: Any = dataclasses.dataclass(**{'frozen': True, **kwargs})(clz)
    fields = [item for item in dataclasses.fields(cls) if item.init]
    children = [item.name for item in fields if item.metadata.get('pytree_node', True)]
    cls.replace = _replace
    cls._flax_dataclass = True
    jax.tree_util.register_dataclass(
        cls,
        data_fields=children,
        meta_fields=[item.name for item in fields if item.name not in children],
        drop_fields=[item.name for item in dataclasses.fields(cls) if not item.init],
    )
    _register_state(cls, children)
    return cls


def _replace(self: T, **updates: Any) -> T:
    """Returns a copy in which some fields have other values."""
    return dataclasses.replace(self, **updates)  # type: ignore[type-var]


def _register_state(cls: type, children: list[str]) -> None:
    def to_state(x: Any) -> dict[str, Any]:
        return {name: to_state_dict(getattr(x, name)) for name in children}

    def from_state(x: Any, state: Any) -> Any:
        match_names(children, state, cls.__name__)
        return x.replace(
            **{name: from_state_dict(getattr(x, name), state[name], name) for name in children}
        )

    register_serialization_state(cls, to_state, from_state)


@dataclass_transform(field_specifiers=(field,), frozen_default=True)
class PyTreeNode:
    """A base class whose subclasses are dataclasses as :func:`dataclass` makes them.

    Type checkers know the method ``replace`` of a subclass.

    Example::

        >>> class Point(PyTreeNode):
        ...     x: float
        ...     y: float = 0.0
        >>> jax.tree.map(lambda leaf: 2 * leaf, Point(1.5))
        Point(x=3.0, y=0.0)
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__()
        dataclass(cls, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Type checkers take the signature from the fields; a subclass gets its own method.
        raise NotImplementedError('PyTreeNode has no fields: make a subclass that has')

    def replace(self: TNode, **overrides: Any) -> TNode:
        """Returns a copy in which some fields have other values."""
        raise NotImplementedError('PyTreeNode has no fields: make a subclass that has')

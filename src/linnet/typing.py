"""Names for the types that signatures speak of, and the few small classes among them.

Shapes, dtypes and axes; variables as nested dicts, ``{collection: {name: ...}}``; logical names of
axes for sharding; ``In`` and ``Out``, which give a lifted transform an axis for one direction only.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeGuard, TypeVar

import jax
import jax.tree_util as jtu

from linnet._frozen_dict import FrozenDict

A = TypeVar('A')
F = TypeVar('F', bound=Callable[..., Any])
HA = TypeVar('HA', bound=Hashable)
HB = TypeVar('HB')
K = TypeVar('K')
T = TypeVar('T')
TupleArg = TypeVar('TupleArg', bound=tuple)

Array = jax.Array | Any
Dtype = jax.typing.DTypeLike | Any
Shape = Sequence[int]
PRNGKey = jax.Array
RNGSequences = dict[str, PRNGKey]
PRNGFoldable = int | str
Axes = int | Sequence[int]
Leaf = Any
ArrayPytree = Any

PrecisionLike = (
    None | str | jax.lax.Precision | tuple[str, str] | tuple[jax.lax.Precision, jax.lax.Precision]
)
DotGeneralT = Callable[..., Array]
ConvGeneralDilatedT = Callable[..., Array]
EinsumT = Callable[..., Array]
Initializer = jax.nn.initializers.Initializer | Callable[..., Any]
PaddingLike = str | int | Sequence[int | tuple[int, int]]
LaxPadding = str | Sequence[tuple[int, int]]

Collection = Mapping[str, Any]
MutableCollection = dict[str, Any]
VariableDict = Mapping[str, Collection]
FrozenVariableDict = FrozenDict[str, Collection]
MutableVariableDict = dict[str, MutableCollection]

Axis = int | None
ScanAxis = int
AxisName = str | tuple[str, ...] | None
LogicalNames = tuple[str | None, ...]
LogicalRules = Sequence[tuple[str, AxisName]]
LogicalPartitionSpec = Any
LogicalPartitionSpecPytree = Any
PartitionSpecPytree = Any
Sharding = tuple[AxisName, ...]


@dataclasses.dataclass(frozen=True)
class In(Generic[T]):
    """An axis on the way into a lifted transform only: ``In(0)``; the result has no such axis."""

    axis: T


@dataclasses.dataclass(frozen=True)
class Out(Generic[T]):
    """An axis on the way out of a lifted transform only: ``Out(0)``."""

    axis: T


InOutAxis = Axis | In[Axis] | Out[Axis]
InOutScanAxis = ScanAxis | In[ScanAxis] | Out[ScanAxis]


class Key(Hashable, Protocol):
    """A key of a nested structure: hashable and ordered, so that a tree can be sorted."""

    def __lt__(self: K, value: K, /) -> bool:
        """Whether this key sorts before the other."""
        ...


Path = str
PathParts = tuple[Key, ...]


def is_key_like(x: Any) -> TypeGuard[Key]:
    """Returns whether ``x`` is hashable and has an order.

    >>> is_key_like('kernel'), is_key_like([0])
    (True, False)
    """
    return hasattr(x, '__hash__') and x.__hash__ is not None and hasattr(x, '__lt__')


class ShapeDtype(Protocol):
    """Anything that has a shape and a dtype: an array, or its abstract description."""

    shape: Shape
    dtype: Dtype


def has_shape_dtype(x: Any) -> TypeGuard[ShapeDtype]:
    """Returns whether ``x`` has a shape and a dtype."""
    return hasattr(x, 'shape') and hasattr(x, 'dtype')


class PromoteDtypeFn(Protocol):
    """A function that brings arrays to one dtype, as ``linen.dtypes.promote_dtype`` does."""

    def __call__(self, *args: Any, dtype: Any = None, inexact: bool = True) -> Any:
        """Returns the arrays in the dtype given, or else in one that fits them all."""
        ...


class Missing:
    """The type of ``MISSING``, which stands for a value that was not given."""

    def __repr__(self) -> str:
        return 'MISSING'


MISSING = Missing()


class HashableMapping(Mapping[HA, HB], Hashable):
    """A read-only mapping with a hash, equal to another of the same items.

    Args:
        mapping: the items; their values must be hashable for the whole to be.
        copy: whether to copy the items, so that later changes to ``mapping`` do not show.

    >>> HashableMapping({'a': 1}).update({'b': 2})
    {'a': 1, 'b': 2}
    """

    def __init__(self, mapping: Mapping[HA, HB], copy: bool = True) -> None:
        self._mapping = dict(mapping) if copy else mapping

    def __getitem__(self, key: HA) -> HB:
        return self._mapping[key]

    def __iter__(self) -> Iterator[HA]:
        return iter(self._mapping)

    def __len__(self) -> int:
        return len(self._mapping)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashableMapping) and self._mapping == other._mapping

    def __hash__(self) -> int:
        return hash(frozenset(self._mapping.items()))

    def __repr__(self) -> str:
        return repr(self._mapping)

    def update(self, other: Mapping[HA, HB]) -> HashableMapping[HA, HB]:
        """Returns a new mapping with the items of both; those of ``other`` win."""
        return HashableMapping({**self._mapping, **other}, copy=False)


@dataclasses.dataclass(frozen=True, slots=True)
class SizeBytes:
    """The number of elements of arrays and of the bytes they take.

    >>> SizeBytes.from_any({'a': jax.numpy.ones((2, 3))})
    6 (24 B)
    """

    size: int
    bytes: int

    @classmethod
    def from_array(cls, x: Any) -> SizeBytes:
        """Measures one array, or its abstract description."""
        size = math.prod(x.shape)
        return cls(size, size * x.dtype.itemsize)

    @classmethod
    def from_any(cls, x: Any) -> SizeBytes:
        """Sums over the arrays in a pytree."""
        arrays = filter(has_shape_dtype, jtu.tree_leaves(x))
        return sum(map(cls.from_array, arrays), start=cls(0, 0))

    def __add__(self, other: SizeBytes) -> SizeBytes:
        return type(self)(self.size + other.size, self.bytes + other.bytes)

    def __bool__(self) -> bool:
        return bool(self.size)

    def __repr__(self) -> str:
        return f'{self.size:,} ({_bytes_text(self.bytes)})'


def _bytes_text(count: int) -> str:
    """A count of bytes in the unit below which it exceeds 1000: ``12.3 KB``."""
    if count <= 1000:
        return f'{count:,} B'
    power = next((p for p in (1, 2) if count <= 1000 ** (p + 1)), 3)
    return f'{count / 1000**power:,.1f} {"KMG"[power - 1]}B'


class PytreeDeque(deque[A]):
    """A deque that is a pytree of its items."""


jtu.register_pytree_with_keys(
    PytreeDeque,
    lambda items: ([(jtu.SequenceKey(i), item) for i, item in enumerate(items)], ()),
    lambda _, items: PytreeDeque(items),
)


class BaseConfigContext(abc.ABC):
    """A setting that can be set for good, for a ``with`` block, or for the calls of a function.

    A subclass says where the stack of values lies and what holds while it is empty. ``C(value)``
    sets; ``with C(value):`` sets within the block; ``@C(value)`` sets while the function runs.
    """

    @classmethod
    @abc.abstractmethod
    def get_default(cls) -> Any:
        """Returns the value that holds while nothing is set."""

    @classmethod
    @abc.abstractmethod
    def get_stack(cls) -> list[Any]:
        """Returns the values set, the present one last."""

    def __init__(self, value: Any, /) -> None:
        stack = self.get_stack()
        self._value = value
        self._before = stack[-1:]
        stack[-1:] = [value]

    @classmethod
    def current_value(cls) -> Any:
        """Returns the value that holds now."""
        stack = cls.get_stack()
        return stack[-1] if stack else cls.get_default()

    def __enter__(self) -> None:
        self.get_stack()[-1:] = [*self._before, self._value]

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        self.get_stack().pop()

    def __call__(self, f: F) -> F:
        """Returns ``f`` with the value set while it runs."""
        self.get_stack()[-1:] = self._before

        @functools.wraps(f)
        def within(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self._value):
                return f(*args, **kwargs)

        return within  # type: ignore[return-value]

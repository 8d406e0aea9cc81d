"""What is known about a module class when it is created.

Creating a class makes it a dataclass whose last fields are ``parent`` and ``name``, wraps its
methods so that each call goes through :mod:`linnet.linen.module.calls`, and records a
:class:`Plan`, from which instances are cloned and named without looking at the class again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, get_origin

import jax

from linnet.core.repeated import hashes
from linnet.errors.calls import FieldError
from linnet.errors.modules import ReservedModuleAttributeError
from linnet.errors.transforms import JaxTransformError
from linnet.linen.module.calls import wrap_descriptor_once, wrap_method_once
from linnet.linen.module.state import UNSPECIFIED, ModuleBase, ParentDescriptor
from linnet.traceback_util import api_boundary

# Methods that run while an instance is made, shown, compared, copied or looked into, when it
# may have no state yet.
_UNWRAPPED = frozenset(
    """
    __class_getitem__ __copy__ __deepcopy__ __del__ __delattr__ __dir__ __eq__ __format__
    __getattr__ __getattribute__ __getstate__ __hash__ __init__ __init_subclass__ __new__
    __post_init__ __reduce__ __reduce_ex__ __replace__ __repr__ __setattr__ __setstate__
    __sizeof__ __str__
    """.split()
)
_UNBOUND = (
    type,
    staticmethod,
    classmethod,
    ModuleBase,
    types.GetSetDescriptorType,  # __dict__, where the first base has no slots
    types.MemberDescriptorType,
)
_hiding = threading.RLock()


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is known about a class.

    Attributes:
        fields: the constructor's fields without ``parent`` and ``name``, in order.
        defaults: their defaults, where they have one.
        constructors: the class's ``__init__`` and ``__post_init__``; ``None`` where one of them
            is the user's.
        has_setup: the class has a ``setup`` of its own.
    """

    fields: tuple[str, ...]
    defaults: dict[str, Any]
    constructors: tuple[Any, Any] | None
    has_setup: bool

    def is_plain(self, cls: Any) -> bool:
        """Tells whether an instance may be copied field by field, without its constructors.

        Decorators of classes replace them after the class was made.
        """
        return self.constructors == (cls.__init__, cls.__post_init__)


def plan_class(cls: Any, base: Any, kw_only: bool) -> None:
    """Turns a new subclass of ``base`` into a module class."""
    if '_plan' in cls.__dict__:
        _restore_fields(cls)
    _check_attributes(cls)
    own_init = '__init__' in cls.__dict__
    _make_dataclass(cls, kw_only)
    _wrap_methods(cls)
    if not own_init:
        cls.__init__ = _explained(cls.__init__)
    if cls.__hash__ is not None:
        cls.__hash__ = _unbound_only(cls.__hash__)
    fields = [f for f in dataclasses.fields(cls) if f.init and f.name not in ('parent', 'name')]
    is_plain = (
        not own_init
        and cls.__post_init__ is base.__post_init__
        and all(f.init for f in dataclasses.fields(cls))
    )
    cls._plan = Plan(
        fields=tuple(f.name for f in fields),
        defaults={f.name: f.default for f in fields if f.default is not dataclasses.MISSING},
        constructors=(cls.__init__, cls.__post_init__) if is_plain else None,
        has_setup=cls.setup is not base.setup,
    )


def _restore_fields(cls: Any) -> None:
    """Gives a class back what it declared, which ``dataclass(slots=True)`` has made again.

    It makes the class of what a module class holds, with slots in place of its own fields.
    """
    annotations = inspect.get_annotations(cls)
    cls.__annotations__ = {k: v for k, v in annotations.items() if k not in ('parent', 'name')}
    for name in cls.__annotations__:
        setattr(cls, name, cls.__dataclass_fields__[name])


def _check_attributes(cls: Any) -> None:
    """Refuses what a dataclass would take in silence, or refuse in words of its own."""
    annotations = inspect.get_annotations(cls)
    if 'parent' in annotations:
        raise ReservedModuleAttributeError(annotations, module_cls=cls)
    for name, annotation in annotations.items():
        default = cls.__dict__.get(name)
        if isinstance(default, (list, dict, set, jax.Array)) and not _is_of_class(annotation):
            raise FieldError.mutable_default(cls, name, default)


def _is_of_class(annotation: Any) -> bool:
    """Tells whether an annotation, perhaps a text, is a ``ClassVar``, which is no field."""
    if isinstance(annotation, str):
        return annotation.split('[')[0].split('.')[-1].strip() == 'ClassVar'
    return (get_origin(annotation) or annotation) is ClassVar


def _make_dataclass(cls: Any, kw_only: bool) -> None:
    annotations = dict(inspect.get_annotations(cls))
    last: dict[str, Any] = {'parent': Any, 'name': str | None}
    if annotations.pop('name', None) is not None:  # then it comes first, and a default is void
        last = {name: last[name] for name in ('name', 'parent')}
    cls.parent, cls.name = dataclasses.field(repr=False, default=UNSPECIFIED), None
    cls.__annotations__ = {**annotations, **last}
    with _hidden_in_bases(cls, ('parent', 'name')):
        dataclasses.dataclass(
            unsafe_hash='__hash__' not in cls.__dict__, repr=False, kw_only=kw_only
        )(cls)
    cls.parent = ParentDescriptor()


@contextlib.contextmanager
def _hidden_in_bases(cls: type, names: tuple[str, ...]) -> Iterator[None]:
    """Takes fields out of the base classes for a while.

    A dataclass keeps an inherited field in the place where the base had it; ``parent`` and
    ``name`` shall come last in every class.
    """
    with _hiding:
        tables = [b.__dict__['__dataclass_fields__'] for b in cls.__mro__[1:] if _is_dataclass(b)]
        hidden = [{name: table.pop(name) for name in names if name in table} for table in tables]
        try:
            yield
        finally:
            for table, fields in zip(tables, hidden, strict=True):
                table.update(fields)


def _is_dataclass(cls: type) -> bool:
    return '__dataclass_fields__' in cls.__dict__


def _wrap_methods(cls: Any) -> None:
    """Leads every call of a method, and every read of a property, through the one path."""
    fields = cls.__dataclass_fields__
    for name in local_method_names(cls, exclude=fields):
        setattr(cls, name, wrap_method_once(vars(cls)[name]))
    for name, value in list(vars(cls).items()):
        if _is_bindable(value) and not callable(value) and name != 'parent' and name not in fields:
            setattr(cls, name, wrap_descriptor_once(value))


def local_method_names(cls: type, exclude: Iterable[str] = ()) -> tuple[str, ...]:
    """The methods that a class itself defines and whose calls are led through the one path.

    Args:
        cls: the class.
        exclude: names to leave out.
    """
    return tuple(
        name
        for name, value in vars(cls).items()
        if callable(value)
        and _is_bindable(value)
        and name not in _UNWRAPPED
        and name not in exclude
    )


def _is_bindable(value: Any) -> bool:
    """Tells what reaches an instance through its class: functions, properties and the like."""
    return (
        hasattr(type(value), '__get__')
        and not isinstance(value, _UNBOUND)
        and not hasattr(value, 'nowrap')
    )


def _explained(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor whose complaints about arguments speak of fields."""

    @api_boundary
    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            init(self, *args, **kwargs)
        except TypeError as error:
            wrong = _argument_error(type(self), init, args, kwargs)
            raise (wrong or error) from None

    return __init__


def _argument_error(
    cls: type, init: Callable[..., None], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> FieldError | None:
    """What is wrong with the arguments of a constructor, ``None`` where they fit."""
    parameters = list(inspect.signature(init).parameters.values())[1:]
    names = [p.name for p in parameters]
    for name in kwargs:
        if name not in names:
            value = inspect.getattr_static(cls, name, None)
            if name in dir(cls) and not callable(value):
                return FieldError.without_annotation(cls, name, value)
            return FieldError.unknown_argument(cls, name, known=names)
    given = {*names[: len(args)], *kwargs}
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in given]
    if missing and len(args) <= len(names):
        return FieldError.missing_arguments(cls, missing)
    return None


def _unbound_only(hash_fields: Callable[[Any], int]) -> Callable[[Any], int]:
    """A hash by fields, refused where the module holds variables, which no hash can see."""

    @functools.wraps(hash_fields)
    def __hash__(self: Any) -> int:
        if self.scope is not None:
            where = f'{self.scope.path_text} ({type(self).__name__})'
            raise JaxTransformError.no_hash(type(self), where=where)
        try:
            return hash_fields(self)
        except TypeError as error:
            values = {name: getattr(self, name, None) for name in self._plan.fields}
            guilty = [name for name, value in values.items() if not hashes((value,))]
            raise FieldError.no_hash(type(self), guilty, error) from None

    return __hash__

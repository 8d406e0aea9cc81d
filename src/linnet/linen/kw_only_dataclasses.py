"""Dataclasses some of whose fields are given by keyword, behind the others.

The fields of a base class come before those of its subclasses, so that a base class could not have
defaults while its subclasses have fields without. A field marked ``kw_only=True``, or below the
annotation :data:`KW_ONLY`, stands behind all others in the constructor. Python's own dataclasses
do this; here are also fields that a decorator adds.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable
from typing import Any

FieldName = str
Annotation = Any
Default = Any
KW_ONLY = dataclasses.KW_ONLY


def field(
    *, metadata: dict[Any, Any] | None = None, kw_only: Any = dataclasses.MISSING, **kwargs: Any
) -> Any:
    """Describes a field.

    Args:
        metadata: as for :func:`dataclasses.field`.
        kw_only: whether the field is given by keyword, behind the others.
        **kwargs: the other arguments of :func:`dataclasses.field`.
    """
    return dataclasses.field(metadata=metadata, kw_only=kw_only, **kwargs)


def dataclass(
    cls: Any = None,
    extra_fields: Iterable[tuple[FieldName, Annotation, Default]] | None = None,
    **kwargs: Any,
) -> Any:
    """Makes a class a dataclass.

    A field that a base class has by keyword stays so where the class gives it another default.

    Args:
        cls: the class; without it, a decorator is returned.
        extra_fields: fields besides those that the class annotates, as triples of name,
            annotation and default, or :func:`field`.
        **kwargs: arguments of :func:`dataclasses.dataclass`.

    >>> @dataclass
    ... class Named:
    ...     name: str = field(kw_only=True, default='none')
    >>> @dataclass(extra_fields=[('depth', int, field(default=2))])
    ... class Net(Named):
    ...     width: int
    >>> Net(8, name='net')
    Net(name='net', width=8, depth=2)
    """
    if cls is None:
        return lambda other: dataclass(other, extra_fields, **kwargs)
    annotations = inspect.get_annotations(cls)
    for name, annotation, default in extra_fields or ():
        annotations[name] = annotation
        setattr(cls, name, default)
    cls.__annotations__ = annotations
    bases = [base for base in cls.__mro__[1:] if dataclasses.is_dataclass(base)]
    by_keyword = {item.name for base in bases for item in dataclasses.fields(base) if item.kw_only}
    for name in by_keyword & annotations.keys():
        default = cls.__dict__.get(name, dataclasses.MISSING)
        if not isinstance(default, dataclasses.Field):
            setattr(cls, name, dataclasses.field(default=default, kw_only=True))
    return dataclasses.dataclass(**kwargs)(cls)

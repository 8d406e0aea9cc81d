"""Filters: which names of collections, or of streams of keys, are meant.

A *filter* is ``True`` (all), ``False`` (none), a name, a collection of names, or a
:class:`DenyList` (all but what the inner filter takes). Filters form an algebra: union,
intersection and difference of two filters are filters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from linnet.errors.variables import InvalidFilterError

T = TypeVar('T')


@dataclasses.dataclass(frozen=True, eq=True)
class DenyList:
    """Takes every name but those that ``deny`` takes.

    >>> in_filter(DenyList('intermediates'), 'params')
    True
    """

    deny: Filter


Filter = bool | str | Collection[str] | DenyList
CollectionFilter = Filter
PRNGSequenceFilter = Filter


def in_filter(filter_like: Filter, col: str) -> bool:
    """Tells whether a filter takes the name ``col``.

    Raises:
        InvalidFilterError: the filter is none of the forms of this module.
    """
    if isinstance(filter_like, str):
        return col == filter_like
    if isinstance(filter_like, bool):
        return filter_like
    if isinstance(filter_like, DenyList):
        return not in_filter(filter_like.deny, col)
    if isinstance(filter_like, Collection):
        return col in filter_like
    raise InvalidFilterError(filter_like)


def is_filter_empty(filter_like: Filter) -> bool:
    """Tells whether a filter takes no name at all."""
    if isinstance(filter_like, (str, bool)):
        return filter_like is False
    if isinstance(filter_like, DenyList):
        return filter_like.deny is True
    if isinstance(filter_like, Collection):
        return len(filter_like) == 0
    raise InvalidFilterError(filter_like)


def filter_to_set(x: Filter) -> set[str]:
    """The names of a finite filter: ``False``, a name, or a collection of names.

    Raises:
        InvalidFilterError: the filter takes infinitely many names.
    """
    if x is False:
        return set()
    if isinstance(x, str):
        return {x}
    if isinstance(x, Collection):
        return set(x)
    raise InvalidFilterError(x)


def union_filters(a: Filter, b: Filter) -> Filter:
    """The filter that takes what ``a`` or ``b`` takes."""
    if a is True or b is True:
        return True
    if isinstance(a, DenyList) and isinstance(b, DenyList):
        return DenyList(intersect_filters(a.deny, b.deny))
    if isinstance(b, DenyList):
        a, b = b, a
    if isinstance(a, DenyList):
        return DenyList(subtract_filters(a.deny, b))
    return filter_to_set(a) | filter_to_set(b)


def intersect_filters(a: Filter, b: Filter) -> Filter:
    """The filter that takes what both ``a`` and ``b`` take."""
    if a is True:
        return b
    if b is True:
        return a
    if isinstance(a, DenyList) and isinstance(b, DenyList):
        return DenyList(union_filters(b.deny, a.deny))
    if isinstance(b, DenyList):
        a, b = b, a
    if isinstance(a, DenyList):
        return subtract_filters(b, a.deny)
    return filter_to_set(a) & filter_to_set(b)


def subtract_filters(a: Filter, b: Filter) -> Filter:
    """The filter that takes what ``a`` takes and ``b`` does not."""
    if b is True:
        return False
    if b is False:
        return a
    if isinstance(b, DenyList):
        return intersect_filters(a, b.deny)
    if a is True:
        return DenyList(b)
    if isinstance(a, DenyList):
        return DenyList(union_filters(a.deny, b))
    return filter_to_set(a) - filter_to_set(b)


def group_collections(
    xs: Mapping[str, T], col_filters: Sequence[CollectionFilter]
) -> Sequence[Mapping[str, T]]:
    """Deals the entries of ``xs`` to the first filter that takes each.

    Args:
        xs: entries by name.
        col_filters: filters in order of precedence.

    Returns:
        One dict for each filter; entries that no filter takes are left out.
    """
    groups: list[dict[str, Any]] = [{} for _ in col_filters]
    for name, value in xs.items():
        for group, col_filter in zip(groups, col_filters, strict=True):
            if in_filter(col_filter, name):
                group[name] = value
                break
    return tuple(groups)

"""What is probably a mistake, and can be told while a program is traced.

Some of it is seen where it happens: a name that two lines give, a default that instances share.
The rest is judged when ``init`` or ``apply`` ends, from the ledger of the call. A name that is
merely not used is no mistake: programs pass streams, collections and parameters in common to
several models. It is one where a similar name is wanted, or where ``init`` has shown what there is.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax

from linnet import _compat
from linnet.configurations import config
from linnet.core.filters import CollectionFilter
from linnet.core.scope import Scope
from linnet.core.tracers import current_trace
from linnet.errors._suggest import did_you_mean, listing, near
from linnet.errors.sharp_bits import (
    ManyShapesWarning,
    PathCollisionWarning,
    SharedDefaultWarning,
    SharedNameWarning,
    SownAgainWarning,
    StateRestartedWarning,
    StreamFallbackWarning,
    UncalledModuleWarning,
    UnknownCollectionWarning,
    UnreadParametersWarning,
)
from linnet.linen.module.state import ModuleBase
from linnet.sharp_bits import user_line, warn

_MANY_SHAPES = 12
_Leaves = frozenset[tuple[str, ...]]

_made_by_init: weakref.WeakKeyDictionary[type, list[_Leaves]] = weakref.WeakKeyDictionary()
_shapes_seen: dict[Any, set[Any]] = {}


# Where it happens.


def note_name(parent: Any, name: str) -> None:
    """Warns where a second line of a program makes a submodule of the same automatic name."""
    place = user_line()
    first = parent.scope.counts.ledger.first_place(parent.scope.path, name, place)
    if first != place:
        lines = ' and '.join(f'{os.path.basename(file)}:{line}' for file, line in (first, place))
        warn(
            SharedNameWarning(
                f'{name} is made in two lines, {lines}: they are one layer and share parameters',
                why='automatic names are counted anew in each call of a method',
                mend="name='...' in both lines, or make the layer once and call it twice",
                where=f'{parent.scope.path_text} ({type(parent).__name__})',
            )
        )


def note_adopted(module: Any, field: str, sub: Any) -> None:
    """Warns where instances of a class share the module that is the default of a field."""
    default = module._plan.defaults.get(field)
    if not isinstance(default, ModuleBase) or (default is not sub and default != sub):
        return
    place = module.scope.path_text
    other = module.scope.counts.ledger.shared.setdefault(sub._id, place)
    if other != place:
        cls, made = type(module).__name__, type(sub).__name__
        warn(
            SharedDefaultWarning(
                f'the default of {cls}.{field} is one {made}, shared by {other} and {place}',
                why='a default is evaluated once, when the class is made',
                mend=f'{field}: nn.Module | None = None, and make nn.{made}(...) in the method',
                where=f'{place} ({cls})',
            )
        )


# Around a call.


def begin(module: Any, scope: Scope, args: tuple[Any, ...]) -> None:
    """Notes what a call of ``init`` or ``apply`` was given."""
    scope.counts.ledger.given = frozenset(col for col, part in scope.all_parts().items() if part)
    if _compat.transform_name(current_trace()) == 'jax.jit':
        _note_shapes(module, args)


def end(module: Any, scope: Scope, fn: Any, result: Any) -> None:
    """Judges a call of ``init`` or ``apply`` that has ended well, and what ``fn`` returned."""
    ledger, where = scope.counts.ledger, f'/ ({type(module).__name__})'
    if isinstance(result, ModuleBase) and getattr(fn, '__name__', '') == '__call__':
        _warn_of_uncalled(result, where)
    if ledger.fallbacks:
        _check_streams(scope)
    if ledger.collisions and not config.flax_fix_rng_separator:
        _check_collisions(scope, where)
    if scope.get_flag('initializing', False):
        _remember_made(module, scope)
        return
    if ledger.restarted and 'params' in ledger.given:
        _check_restarted(ledger, where)
    if ledger.sown_again:
        _warn_of_sown(ledger.sown_again)
    _check_mutable(scope, where)
    if 'params' in ledger.given:
        _check_unread(module, scope, where)


def _warn_of_uncalled(result: Any, where: str) -> None:
    cls = type(result).__name__
    warn(
        UncalledModuleWarning(
            f'__call__ returned the module {cls}, which is not what calling it gives',
            mend=f'nn.{cls}(...)(x)',
            where=where,
        )
    )


def _check_streams(scope: Scope) -> None:
    unused = [s for s in scope.rngs if s not in scope.counts.drawn()]
    for stream, where in scope.counts.ledger.fallbacks.items():
        other = near(stream, unused)
        if other:
            warn(
                StreamFallbackWarning(
                    f"draws from the stream {stream!r}, which was not given, so from 'params'; "
                    f'{other!r} was given and nothing draws from it',
                    mend=f"rngs={{'{stream}': key}}",
                    where=where,
                )
            )


def _check_collisions(scope: Scope, where: str) -> None:
    for first, second in scope.counts.ledger.collisions:
        if scope.counts.at(first).keys() & scope.counts.at(second).keys():
            warn(
                PathCollisionWarning(
                    f'/{"/".join(first)} and /{"/".join(second)} draw the same numbers',
                    why='a key is folded with the names of its path, joined without a separator',
                    mend='rename one of them, or set flax_fix_rng_separator',
                    where=where,
                )
            )


def _check_restarted(ledger: Any, where: str) -> None:
    for col, place in ledger.restarted.items():
        if col not in ledger.given:
            warn(
                StateRestartedWarning(
                    f'{col!r} was not passed to apply, so {place} made it anew and changed it; '
                    'in the next call it begins anew again',
                    why=did_you_mean(col, ledger.given) or 'apply keeps nothing from call to call',
                    mend=f"model.apply({{'params': params, '{col}': {col}}}, ...), of the last "
                    'step or of init',
                    where=where,
                )
            )


def _warn_of_sown(sown: Mapping[str, str]) -> None:
    for col, where in sown.items():
        warn(
            SownAgainWarning(
                f'{col!r} was passed to apply, and sow appends to what is there: it grows with '
                'every call that it is passed to',
                mend=f'leave {col!r} out of the variables',
                where=where,
            )
        )


def _check_mutable(scope: Scope, where: str) -> None:
    known = scope.counts.ledger.declined | set(scope.all_parts())
    for name in _names(scope.mutable):
        other = None if name in known else near(name, known)
        if other:
            warn(
                UnknownCollectionWarning(
                    f'mutable names {name!r}, which is no collection of this model; '
                    f'{other!r} is one',
                    mend=f"mutable=['{other}']",
                    where=where,
                )
            )


def _names(filter_like: CollectionFilter) -> Iterable[str]:
    """The names that a filter lists, none where it is a rule."""
    if isinstance(filter_like, str):
        return (filter_like,)
    return filter_like if isinstance(filter_like, (list, tuple, set, frozenset)) else ()


# Parameters that nothing reads.


def _remember_made(module: Any, scope: Scope) -> None:
    """Keeps what parameters ``init`` has made for a class, for some of its models."""
    made = frozenset(_leaves(scope.all_parts('params').get('params', {})))
    known = _made_by_init.setdefault(type(module), [])
    if made and made not in known:
        known.append(made)
        del known[:-8]


def _leaves(params: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name)


def _check_unread(module: Any, scope: Scope, where: str) -> None:
    params = scope.all_parts('params')['params']
    unread = list(scope.counts.ledger.unread(params))
    if not unread:
        return
    unread = [path for path in unread if _is_stray(path, unread, params, type(module))]
    if unread:
        warn(
            UnreadParametersWarning(
                f'parameters were passed that are never read: '
                f'{listing("/".join(path) for path in unread)}',
                why='no module has them under its name, and no init of this model has made them',
                mend='pass the parameters that init makes, or give the module their name',
                where=where,
            )
        )


def _is_stray(path: Any, unread: Any, params: Any, cls: type) -> bool:
    """Tells parameters that do not belong to a model from those that this call did not need."""
    inits = _made_by_init.get(cls)
    if inits:
        passed = set(_leaves(params))
        fits = [made for made in inits if made <= passed]
        return bool(fits) and not any(leaf[: len(path)] == path for made in fits for leaf in made)
    siblings = params
    for name in path[:-1]:
        siblings = siblings[name]
    return any(
        re.fullmatch(r'[A-Za-z]+_\d+', other)
        and path[-1].startswith(f'{other}_')
        and (*path[:-1], other) not in unread
        for other in siblings
    )


# One program for each shape.


def _note_shapes(module: Any, args: tuple[Any, ...]) -> None:
    """Warns where a line compiles a model for the twelfth time, for shapes that all differ."""
    shapes = [getattr(leaf, 'shape', ()) for leaf in jax.tree_util.tree_leaves(args)]
    try:
        key = user_line(), type(module), hash(module), tuple(map(len, shapes))
    except TypeError:  # a field does not hash
        return
    seen = _shapes_seen.setdefault(key, set())
    seen.add(tuple(shapes))
    if len(seen) == _MANY_SHAPES:
        seen.add(None)  # said once
        which = next(i for i, column in enumerate(zip(*seen - {None})) if len({*column}) > 1)  # noqa: B905
        examples = listing(sorted({shape[which] for shape in seen if shape})[:4])
        warn(
            ManyShapesWarning(
                f'{type(module).__name__} was compiled {_MANY_SHAPES} times here, for ever new '
                f'shapes of array {which} of its arguments: {examples}, ...',
                why='each set of shapes is a program of its own',
                mend='pad to a few sizes, and cut the result',
            )
        )

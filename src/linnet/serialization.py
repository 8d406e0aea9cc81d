"""Trees of any registered types as nested dicts, and these as bytes.

A *state dict* is a nested dict with string keys, whose leaves are arrays, numbers and strings.
Each type has a pair of functions in the registry: one takes an object to its state dict, the
other puts the values of a state dict into an object of the same structure, the *target*. A type
that is not registered is a leaf. Lists and tuples become dicts with the keys ``'0'``, ``'1'``, …

The bytes of a state dict are the msgpack of :mod:`linnet._msgpack_write`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import jax

from linnet._frozen_dict import FrozenDict
from linnet._frozen_field import FrozenField
from linnet._msgpack_read import decode
from linnet._msgpack_read import unpack_extension as _msgpack_ext_unpack  # noqa: F401
from linnet._msgpack_write import encode
from linnet._msgpack_write import pack_extension as _msgpack_ext_pack  # noqa: F401
from linnet.errors._suggest import described, did_you_mean, listing
from linnet.errors.data import SerializationError, StateDictError
from linnet.errors.sharp_bits import LeftOutWarning
from linnet.sharp_bits import warn

T = TypeVar('T')
ToStateDict = Callable[[Any], Any]
FromStateDict = Callable[[Any, Any], Any]

MAX_CHUNK_SIZE = 2**30
"""The largest number of bytes of an array that is written in one piece."""

_STATE_DICT_REGISTRY: dict[Any, tuple[ToStateDict, FromStateDict]] = {}


class _Place(threading.local):
    """The path in the target that is being restored."""

    def __init__(self) -> None:
        self.path: list[str] = []


_place = _Place()


class _NamedTuple:
    """Stands in the registry for every type of named tuple."""


@contextlib.contextmanager
def _entering(name: str) -> Iterator[None]:
    _place.path.append(name)
    try:
        yield
    finally:
        _place.path.pop()


def current_path() -> str:
    """Returns the path of the part that is being restored, as ``./params/kernel``.

    It is empty outside :func:`from_state_dict`; functions in the registry use it in messages.
    """
    return '/'.join(_place.path)


def register_serialization_state(
    ty: Any,
    ty_to_state_dict: ToStateDict,
    ty_from_state_dict: FromStateDict,
    override: bool = False,
) -> None:
    """Says how objects of a type become state dicts, and back.

    Args:
        ty: the type; its subclasses are not meant.
        ty_to_state_dict: takes an object and returns its state dict.
        ty_from_state_dict: takes a target and a state dict and returns a new object.
        override: replace what is registered for the type.

    Raises:
        SerializationError: the type is registered already.

    Example::

        >>> class Box:
        ...     def __init__(self, value):
        ...         self.value = value
        >>> register_serialization_state(
        ...     Box,
        ...     lambda box: {'value': to_state_dict(box.value)},
        ...     lambda box, state: Box(from_state_dict(box.value, state['value'], name='value')),
        ... )
        >>> to_state_dict([Box(1)])
        {'0': {'value': 1}}
    """
    if ty in _STATE_DICT_REGISTRY and not override:
        raise SerializationError(
            f'the type {ty.__name__} is registered already',
            mend='pass override=True to replace what is registered',
        )
    _STATE_DICT_REGISTRY[ty] = (ty_to_state_dict, ty_from_state_dict)


def is_serializable(target: Any) -> bool:
    """Says whether a type, or the type of an object, is registered.

    >>> is_serializable([1]), is_serializable(1)
    (True, False)
    """
    kind = target if isinstance(target, type) else type(target)
    return kind in _STATE_DICT_REGISTRY


def _handlers(target: Any) -> tuple[ToStateDict, FromStateDict] | None:
    kind = type(target)
    if kind not in _STATE_DICT_REGISTRY and isinstance(target, tuple) and hasattr(kind, '_fields'):
        kind = _NamedTuple
    return _STATE_DICT_REGISTRY.get(kind)


def to_state_dict(target: Any) -> Any:
    """Returns the state dict of a tree; a leaf is its own.

    Raises:
        StateDictError: two keys of a dict are the same as strings, or a registered function
            returned other keys than strings.

    Example::

        >>> to_state_dict({'layers': [1, 2], 'step': 0})
        {'layers': {'0': 1, '1': 2}, 'step': 0}
    """
    handlers = _handlers(target)
    if handlers is None:
        return target
    state = handlers[0](target)
    if isinstance(state, dict) and not all(isinstance(key, str) for key in state):
        raise StateDictError(
            f'the state dict of a {type(target).__name__} has the keys {list(state)!r}',
            why='keys of a state dict are strings',
        )
    return state


def from_state_dict(target: T, state: Any, name: str = '.') -> T:
    """Puts the values of a state dict into a copy of a target, which gives the structure.

    Leaves are taken as they are: shapes and dtypes are not compared.

    Args:
        target: a tree as the one whose state dict it was; None takes any state.
        state: a state dict.
        name: the name of this part in the whole, for messages.

    Raises:
        StateDictError: names or lengths differ from the target's; entries of a dict that the
            target does not have are left out with a warning.

    Example::

        >>> from_state_dict({'layers': [0, 0]}, {'layers': {'0': 1, '1': 2}})
        {'layers': [1, 2]}
    """
    handlers = _handlers(target)
    if handlers is None:
        return state
    with _entering(name):
        return handlers[1](target, state)


def match_names(names: Iterable[str], state: Any, owner: str, *, drop_extra: bool = False) -> None:
    """Compares the entries of a state dict with those that the target has.

    Args:
        names: what the target has.
        state: the state dict.
        owner: what the target is, for messages, as ``'list of 2'``.
        drop_extra: only warn of entries that the target does not have.

    Raises:
        StateDictError: an entry is missing or unknown, or the state is no dict.
    """
    known = dict.fromkeys(names)
    if not isinstance(state, dict):
        raise StateDictError(
            f'the state of the {owner} is {described(state)}, and not a state dict',
            why=f'the target has the entries {listing(known)} here',
            where=current_path(),
        )
    missing = [name for name in known if name not in state]
    extra = [name for name in state if name not in known]
    lacks = f'lacks {listing(missing)}' if missing else ''
    besides = f'has {listing(extra)} besides' if extra else ''
    what = f'the state dict of the {owner} {" and ".join(filter(None, (lacks, besides)))}'
    if missing or (extra and not drop_extra):
        hint = did_you_mean(extra[0], missing) if missing and extra else ''
        mend = 'restore into a target of the structure that was saved, or rename the entries'
        raise StateDictError(what, why=hint, mend=mend, where=current_path())
    if extra:
        warn(LeftOutWarning(f'{what}, left out', where=current_path()))


def to_bytes(target: Any) -> bytes:
    """Returns the bytes of a tree: its state dict as msgpack.

    Raises:
        SerializationError: a leaf has no form in bytes.

    Example::

        >>> import numpy as np
        >>> from_bytes({'w': np.zeros(2), 'step': 0}, to_bytes({'w': np.arange(2.0), 'step': 3}))
        {'w': array([0., 1.]), 'step': 3}
    """
    return msgpack_serialize(to_state_dict(target), in_place=True)


def from_bytes(target: T, encoded_bytes: bytes) -> T:
    """Restores a tree from its bytes; with the target None, its state dict.

    Raises:
        SerializationError: the bytes are not those of a tree.
        StateDictError: they are those of a tree of another structure.
    """
    return from_state_dict(target, msgpack_restore(encoded_bytes))


def msgpack_serialize(pytree: Any, in_place: bool = False) -> bytes:
    """Returns the bytes of nested dicts and lists of arrays, numbers and strings.

    Args:
        pytree: what to write; it is not changed. Arrays may be of NumPy or JAX.
        in_place: write the items of dicts as they come, otherwise sorted by key.

    Raises:
        SerializationError: a value has no form in bytes, for instance a tuple or a random key.
    """
    return encode(pytree, sort_keys=not in_place, chunk_size=MAX_CHUNK_SIZE)


def msgpack_restore(encoded_pytree: bytes) -> Any:
    """Returns the nested dicts and lists whose bytes these are; arrays are NumPy's, read-only.

    The bytes need not be trusted.

    Raises:
        SerializationError: they are truncated or of another format.

    Example::

        >>> import numpy as np
        >>> msgpack_restore(msgpack_serialize({'b': [1, None], 'a': np.float32(0.5)}))
        {'a': np.float32(0.5), 'b': [1, None]}
    """
    return decode(encoded_pytree)


def _dict_state_dict(xs: Any) -> dict[str, Any]:
    state = {str(key): to_state_dict(value) for key, value in xs.items()}
    if len(state) != len(xs):
        raise StateDictError(f'the keys {listing(xs)} of a dict are not different as strings')
    return state


def _restore_dict(xs: Any, state: Any) -> dict[Any, Any]:
    match_names(map(str, xs), state, f'{type(xs).__name__}', drop_extra=True)
    return {
        key: from_state_dict(value, state[str(key)], name=str(key)) for key, value in xs.items()
    }


def _sequence_to_state(xs: Any) -> dict[str, Any]:
    return {str(index): to_state_dict(value) for index, value in enumerate(xs)}


def _list_from_state(xs: Any, state: Any) -> list[Any]:
    names = [str(index) for index in range(len(xs))]
    match_names(names, state, f'{type(xs).__name__} of {len(xs)}')
    return [
        from_state_dict(value, state[name], name=name)
        for name, value in zip(names, xs, strict=True)
    ]


def _named_tuple_to_state(xs: Any) -> dict[str, Any]:
    return {name: to_state_dict(getattr(xs, name)) for name in xs._fields}


def _named_tuple_from_state(xs: Any, state: Any) -> Any:
    if isinstance(state, dict) and set(state) == {'name', 'fields', 'values'} != set(xs._fields):
        # Files of old: the names and the values of the fields, each as a list.
        fields, values = state['fields'], state['values']
        state = {fields[index]: values[index] for index in fields}
    match_names(xs._fields, state, f'{type(xs).__name__}')
    return type(xs)(
        **{name: from_state_dict(getattr(xs, name), state[name], name=name) for name in xs._fields}
    )


def _partial_to_state(x: Any) -> dict[str, Any]:
    return {'args': to_state_dict(x.args), 'keywords': to_state_dict(x.keywords)}


def _partial_from_state(x: Any, state: Any) -> Any:
    match_names(('args', 'keywords'), state, 'Partial', drop_extra=True)
    args = from_state_dict(x.args, state['args'], name='args')
    keywords = from_state_dict(x.keywords, state['keywords'], name='keywords')
    return jax.tree_util.Partial(x.func, *args, **keywords)


for _kind, _to_state, _from_state in (
    (dict, _dict_state_dict, _restore_dict),
    (FrozenDict, _dict_state_dict, lambda xs, state: FrozenDict(_restore_dict(xs, state))),
    (FrozenField, _dict_state_dict, lambda xs, state: FrozenField(_restore_dict(xs, state))),
    (list, _sequence_to_state, _list_from_state),
    (tuple, _sequence_to_state, lambda xs, state: tuple(_list_from_state(xs, state))),
    (_NamedTuple, _named_tuple_to_state, _named_tuple_from_state),
    (jax.tree_util.Partial, _partial_to_state, _partial_from_state),
):
    register_serialization_state(_kind, _to_state, _from_state)

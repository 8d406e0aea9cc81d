"""What can be proved of a class, or a function, by its code: that it does the same each time.

A *proof* goes through all code that a class can reach by name: its methods, the functions, classes
and constants that they mention, and so on. Code of JAX, of this library and of a few others is
trusted. Everything else must not write what outlives a call, look at where its module stands, or
mention a thing that can change. A proof holds as long as the names stand for the same objects.
"""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import inspect
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from linnet._frozen_field import FrozenField
from linnet.linen.module.state import ModuleBase

_TRUSTED = frozenset(
    'abc collections dataclasses einops enum functools itertools jax jaxlib linnet math ml_dtypes '
    'numpy operator types typing typing_extensions'.split()
)
_BUILTINS = frozenset(
    'abs all any bool bytes complex dict divmod enumerate filter float frozenset int isinstance '
    'issubclass len list map max min pow range repr reversed round set slice sorted str sum super '
    'tuple type zip ArithmeticError AssertionError AttributeError Ellipsis Exception IndexError '
    'KeyError NotImplemented NotImplementedError RuntimeError StopIteration TypeError ValueError '
    'property staticmethod classmethod object'.split()
)
_ABOUT_PLACES = frozenset(
    '__class__ __dict__ _id _state apply bind callback children clone copy debug init '
    'intercept_methods io_callback lazy_init name parent path print pure_callback root scope '
    'share_scope tabulate unbind update variables'.split()
)
_WRITES = frozenset(
    'STORE_GLOBAL DELETE_GLOBAL DELETE_ATTR DELETE_DEREF IMPORT_NAME LOAD_BUILD_CLASS LOAD_NAME'
    ' STORE_NAME'.split()
)
_ATTRIBUTES = ('LOAD_ATTR', 'LOAD_METHOD')
_PLAIN = (bool, int, str, bytes, type(None), np.dtype, type(Ellipsis), range)
_PLAIN_KINDS = frozenset(_PLAIN)
_OWN_BEHAVIOUR = frozenset(
    '__delattr__ __getattr__ __getattribute__ __init__ __new__ __post_init__ __setattr__'.split()
)
_OF_CLASSES = frozenset(
    '__abstractmethods__ __annotate__ __annotate_func__ __annotations__ __annotations_cache__ '
    '__dataclass_fields__ __dataclass_params__ __dict__ __doc__ __eq__ __firstlineno__ __hash__ '
    '__match_args__ __module__ __orig_bases__ __parameters__ __qualname__ __replace__ __repr__ '
    '__static_attributes__ __weakref__ _abc_impl _plan name parent'.split()
)
_missing: Any = object()


class Unproved(Exception):
    """It cannot be told whether something does the same each time."""


class Proof:
    """That some code does the same each time, as long as :meth:`holds`."""

    def __init__(self) -> None:
        self._names: list[tuple[Callable[..., Any], str, Any]] = []  # how they are looked up
        self._cells: list[tuple[Any, Any]] = []
        self._seen: set[int] = set()

    def holds(self) -> bool:
        """Tells whether all names still stand for what they did."""
        return all([get(name, _missing) is value for get, name, value in self._names]) and all(
            [cell.cell_contents is value for cell, value in self._cells]
        )

    def add(self, value: Any) -> None:
        """Proves what a name stands for.

        Raises:
            Unproved: it cannot be proved.
        """
        if isinstance(value, _PLAIN) or id(value) in self._seen:
            return
        self._seen.add(id(value))
        require(not isinstance(value, ModuleBase))
        if isinstance(value, types.ModuleType):
            require(_is_trusted(value.__name__) and value is not np.random)
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, types.MethodType):
            self.add((value.__func__, value.__self__))
        elif isinstance(value, (staticmethod, classmethod)):
            self.add(value.__func__)
        elif isinstance(value, property):
            self.add((value.fget, value.fset, value.fdel))
        elif isinstance(value, types.FunctionType):
            self._add_function(value)
        elif isinstance(value, functools.partial):
            self.add((value.func, value.args, tuple(value.keywords.values())))
        elif isinstance(value, (tuple, frozenset)):
            for item in value:
                self.add(item)
        elif dataclasses.is_dataclass(value):
            self._add_dataclass(value)
        elif callable(value):
            self._add_callable(value)
        else:
            identity(value)

    def _add_dataclass(self, value: Any) -> None:
        require(_is_frozen(value))
        self.add(type(value))
        for field in dataclasses.fields(value):
            self.add(getattr(value, field.name))

    def _add_callable(self, value: Any) -> None:
        """An object that is called: of a trusted library, around a function perhaps."""
        if isinstance(value, (types.BuiltinFunctionType, np.ufunc)):
            owner = getattr(value, '__self__', None)  # a generator of random numbers, perhaps
            require(owner is None or isinstance(owner, types.ModuleType))
            require(_is_trusted(getattr(value, '__module__', None) or 'numpy'))
            return
        require(_is_trusted(type(value).__module__))
        if not _is_trusted(getattr(value, '__module__', None) or ''):
            self.add(getattr(value, '__wrapped__', _missing))

    def _add_class(self, cls: type) -> None:
        for base in cls.__mro__:
            if base.__module__ != 'builtins' and not _is_trusted(base.__module__):
                for name, value in vars(base).items():
                    self._add_member(base, name, value)
                for field in vars(base).get('__dataclass_fields__', {}).values():
                    if field.default_factory is not dataclasses.MISSING:
                        self.add(field.default_factory)

    def _add_member(self, cls: type, name: str, value: Any) -> None:
        """What a class of the user's has under a name."""
        if name in _OF_CLASSES:
            return
        if name in _OWN_BEHAVIOUR:
            require(_is_generated(value))
            return
        self._names.append((vars(cls).get, name, value))
        self.add(getattr(value, 'wrapped', value))

    def _add_function(self, fn: types.FunctionType) -> None:
        home = fn.__globals__.get('__name__', '')
        if _is_trusted(home):
            if not _is_trusted(fn.__module__ or ''):
                self._add_cells(fn)
            return
        self._add_cells(fn)
        self.add((fn.__defaults__, tuple((fn.__kwdefaults__ or {}).values())))
        for name, attribute in _globals_of(fn.__code__):
            self._add_name(fn, name, attribute)

    def _add_cells(self, fn: types.FunctionType) -> None:
        for cell in fn.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:
                raise Unproved from None
            self._cells.append((cell, value))
            self.add(value)

    def _add_name(self, fn: types.FunctionType, name: str, attribute: str | None) -> None:
        if name not in fn.__globals__:
            require(name in _BUILTINS)
            return
        value = fn.__globals__[name]
        self._names.append((fn.__globals__.get, name, value))
        if isinstance(value, types.ModuleType) and not _is_trusted(value.__name__):
            attributes = vars(value)
            require(attribute in attributes)
            value = attributes[str(attribute)]
            self._names.append((attributes.get, str(attribute), value))
        self.add(value)


def require(condition: bool) -> None:
    """Raises :class:`Unproved` unless a condition holds."""
    if not condition:
        raise Unproved


def _is_generated(method: Any) -> bool:
    """Tells a method that ``dataclasses`` has written."""
    method = inspect.unwrap(method) if callable(method) else method
    code = getattr(method, '__code__', None)
    return code is not None and code.co_filename == '<string>'


def _is_frozen(value: Any) -> bool:
    """Tells an instance of a frozen dataclass."""
    params = getattr(type(value), '__dataclass_params__', None)
    return params is not None and params.frozen and not isinstance(value, ModuleBase)


def _is_trusted(module: str) -> bool:
    return module.partition('.')[0] in _TRUSTED


@functools.lru_cache(maxsize=4096)
def _globals_of(code: types.CodeType) -> tuple[tuple[str, str | None], ...]:
    """The global names that code mentions, each with the attribute that is read of it.

    Raises:
        Unproved: the code does something that outlives a call, or may.
    """
    found = []
    instructions = [i for i in dis.get_instructions(code) if i.opname not in ('CACHE', 'PUSH_NULL')]
    for before, now, after in zip(
        [None, *instructions], instructions, [*instructions[1:], None], strict=False
    ):
        require(now.opname not in _WRITES)
        if now.opname in _ATTRIBUTES or now.opname == 'LOAD_SUPER_ATTR':
            require(now.argval not in _ABOUT_PLACES)
            require(now.argval != 'random' or (before is not None and before.argval == 'jax'))
        elif now.opname == 'STORE_ATTR' and now.argval != 'value':  # which a variable has
            require(code.co_name == 'setup' and before is not None and _is_self(before, code))
        elif now.opname == 'STORE_DEREF':
            require(now.argval not in code.co_freevars)
        elif now.opname == 'LOAD_GLOBAL':
            attribute = after.argval if after is not None and after.opname in _ATTRIBUTES else None
            found.append((now.argval, attribute))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.extend(_globals_of(constant))
    return tuple(dict.fromkeys(found))


def _is_self(instruction: Any, code: types.CodeType) -> bool:
    """Tells whether an instruction leaves the first argument on top of the stack."""
    first, name = code.co_varnames[:1], instruction.argval
    return (name[-1:] if isinstance(name, tuple) else (name,)) == first


_proofs: weakref.WeakKeyDictionary[Any, Proof | None] = weakref.WeakKeyDictionary()


def proof_of(thing: Any) -> Proof:
    """The proof of a class or a function; the same one as long as it holds.

    Raises:
        Unproved: there is none.
    """
    proof = _proofs.get(thing, _missing)
    if proof is _missing or (proof is not None and not proof.holds()):
        proof = Proof()
        try:
            proof.add(thing)
        except Unproved:
            proof = None
        _proofs[thing] = proof
    if proof is None:
        raise Unproved
    return proof


def identity(value: Any) -> Any:
    """What stands for a value that cannot change: hashable, and equal for equal values alone.

    Raises:
        Unproved: the value may change, or cannot be compared.
    """
    kind: Any = type(value)
    if kind in _PLAIN_KINDS:
        return kind, value
    if kind in (float, complex):
        return kind, repr(value)  # 0.0 is equal to -0.0
    if isinstance(value, np.generic):
        return kind, value.tobytes()
    if isinstance(value, (types.FunctionType, type)) or _is_compiled(value):
        return _identity_of_code(value)
    if isinstance(value, enum.Enum):
        return value
    if isinstance(value, functools.partial):
        items = tuple(value.keywords.items())
        return kind, identity(value.func), identity(value.args), identity(items)
    if isinstance(value, tuple):
        return kind, identities(value)
    if kind is FrozenField:
        return kind, tuple((key, identity(item)) for key, item in value.items())
    require(_is_frozen(value))
    parts = [getattr(value, name) for name in _names_of_fields(kind)]
    return kind, proof_of(kind), identities(parts)


def identities(values: Iterable[Any]) -> tuple[Any, ...]:
    """The :func:`identity` of each value."""
    # Most values are plain, and a call takes several times as long as to see that.
    return tuple(
        [
            (type(value), value) if type(value) in _PLAIN_KINDS else identity(value)
            for value in values
        ]
    )


@functools.lru_cache(maxsize=4096)
def _names_of_fields(cls: type) -> tuple[str, ...]:
    return tuple([field.name for field in dataclasses.fields(cls)])


def _is_compiled(value: Any) -> bool:
    """Tells a function that a library has wrapped from an instance of another class."""
    return _is_trusted(type(value).__module__) and hasattr(value, '__wrapped__')


def _identity_of_code(value: Any) -> Any:
    """A function by its code and what it closes over where JAX made it; else as an object."""
    proof = proof_of(value)
    closure = getattr(value, '__closure__', None)
    if closure and _is_trusted(value.__module__ or ''):
        return value.__code__, tuple(identity(cell.cell_contents) for cell in closure)
    return value, proof

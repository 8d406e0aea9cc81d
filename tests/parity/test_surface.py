"""What a program imports from the oracle's Linen side it can import from us, and call alike.

A name that is not offered in a module must be nothing of that module's own: a module or something
of another library that it imports, a variable of types, or what it imports from a sibling, where
we offer it. Everything else that differs is in ``EXCEPTIONS``, with its reason, and in
docs/differences.md.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parity.harness import ORACLE, OURS

NNX = 'NNX and its bridge are outside'
INSIDE = 'a part inside the machinery of lifting, which is another here'
WORDS = 'an error is made of what, why, mend and where'

OUTSIDE = {
    'nnx': NNX,
    'experimental': NNX,
    'testing': 'needs TensorFlow and TensorBoard; what ours does is tested beside it',
    'metrics.tensorboard': 'needs TensorFlow; ours is compared where it is tested',
}
BY_PATH = ['linen.experimental.layers_with_named_axes']  # in a folder that is no package

FLAGS = [name for name in vars(OURS.load('configurations').config) if name[:6] != 'linnet']
LIBRARIES = ('typing', 'types', 'functools', 'jax.typing')

EXCEPTIONS = {
    'nnx': NNX,
    'experimental': NNX,
    'core.lift:CountsHolder': INSIDE,
    'core.lift:TransformContext': INSIDE,
    'core.lift:set_from_dict': INSIDE,
    'core.scope:child_rng_token': INSIDE,
    'linen.module:TestScope': INSIDE,
    'linen.module:ThreadLocalStack': INSIDE,
    'linen.module:Descriptor': INSIDE,
    'linen.transforms:InstancePlaceholder': INSIDE,
    'linen.transforms:VariablePlaceholder': INSIDE,
    'linen.transforms:clean_clone': INSIDE,
    'linen.transforms:get_module_scopes': INSIDE,
    'linen.transforms:set_module_scopes': INSIDE,
    'core.nn.attention:CacheEntry': 'its cache cannot be used there, and is left out here',
    'io:gfile': 'None without TensorFlow; ours is imported when it is used',
    'PromoteDtypeFn.__call__': 'the arrays are given by position, as *args',
    'Partitioned.from_nnx_metadata': NNX,
    'Partitioned.to_nnx_metadata': NNX,
    'LogicallyPartitioned.from_nnx_metadata': NNX,
    'LogicallyPartitioned.to_nnx_metadata': NNX,
    'FlaxError': WORDS,
    **{f'Config.{flag}': 'flags are attributes of `config`, not of its class' for flag in FLAGS},
    'training.checkpoints:get_tensorstore_spec': 'a function of JAX',
}


def modules() -> list[str]:
    """The names of the oracle's modules on the Linen side, without its own."""
    package = ORACLE.load()
    found = [m.name for m in pkgutil.walk_packages(package.__path__, f'{package.__name__}.')]
    names = [name.partition('.')[2] for name in found]
    return ['', *(name for name in names if not _outside(name)), *BY_PATH]


def _outside(name: str) -> bool:
    return any(name == prefix or name.startswith(f'{prefix}.') for prefix in OUTSIDE)


def public(module: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith('_')}


def missing_names(path: str) -> Iterator[str]:
    """The names that a module of the oracle has as its own, and ours lacks."""
    theirs, ours = ORACLE.load(path), OURS.load(path)
    for name, value in public(theirs).items():
        if not hasattr(ours, name) and not _is_imported(path, name, value):
            yield f'{path}:{name}' if path else name


def _is_imported(path: str, name: str, value: Any) -> bool:
    """Tells whether a name is nothing of the module's own, and ours offers it where it is."""
    if isinstance(value, types.ModuleType):
        home, _, rest = value.__name__.partition('.')
        return home != ORACLE.name or (path != '' and _loads(rest))
    if isinstance(value, typing.TypeVar):
        return True
    home = getattr(value, '__module__', None) or type(value).__module__
    if home.partition('.')[2] == path and home.split('.')[0] == ORACLE.name:
        return False
    if home.split('.')[0] != ORACLE.name and any(
        _offers(library, name, value) for library in (home, home.split('.')[0], *LIBRARIES)
    ):
        return True
    return any(
        vars(ORACLE.load(other)).get(name, _is_imported) is value
        and hasattr(OURS.load(other), name)
        for other in modules()
        if other != path and _loads(other)
    )


def _offers(module: str, name: str, value: Any) -> bool:
    try:
        return getattr(importlib.import_module(module), name, _offers) is value
    except ImportError:
        return False


def _loads(path: str) -> bool:
    try:
        return bool(OURS.load(path))
    except ImportError:
        return False


# Parameters, fields and methods.


def differences(name: str, theirs: Any, ours: Any) -> Iterator[str]:
    """What differs between two things of the same name, as ``name.part``."""
    if inspect.isclass(theirs):
        if not inspect.isclass(ours):
            yield f'{name} is no class'
            return
        yield from _class_differences(name, theirs, ours)
    elif inspect.isfunction(theirs):
        if not callable(ours):
            yield f'{name} is not callable'
        elif not _accepts(theirs, ours):
            yield name


def _class_differences(name: str, theirs: Any, ours: Any) -> Iterator[str]:
    if issubclass(theirs, enum.Enum):
        if [(m.name, m.value) for m in theirs] != [(m.name, m.value) for m in ours]:
            yield f'{name} has other members'
        return
    if '__init__' in vars(theirs) and not _accepts(theirs, ours):
        yield name
    if dataclasses.is_dataclass(theirs) and not _has_fields(ours, _fields(theirs)):
        yield f'{name} has other fields'
    for part in [part for part in dir(theirs) if not part.startswith('_') or part == '__call__']:
        value = inspect.getattr_static(theirs, part)
        refused = inspect.isfunction(value) and not _accepts(value, getattr(ours, part, value))
        if refused or not _has(ours, part):
            yield f'{name}.{part}'


def _fields(cls: Any) -> list[str]:
    return (
        [f.name for f in dataclasses.fields(cls) if f.init] if dataclasses.is_dataclass(cls) else []
    )


def _has_fields(cls: Any, names: list[str]) -> bool:
    """Tells whether a class has these fields first, apart from its own that go by keyword only."""
    own = {f.name for f in dataclasses.fields(cls) if f.kw_only and f.name not in names}
    return [name for name in _fields(cls) if name not in own][: len(names)] == names


def _has(cls: type, name: str) -> bool:
    """Tells whether instances have an attribute."""
    return hasattr(cls, name) or any(name in inspect.get_annotations(base) for base in cls.__mro__)


def _accepts(theirs: Callable[..., Any], ours: Callable[..., Any]) -> bool:
    """Tells whether every call that fits one function fits the other, with the same defaults."""
    first, second = (_parameters(f) for f in (theirs, ours))
    if first is None or second is None or first == second:
        return True
    names = [p.name for p in first]
    extra = [p for p in second if p.name not in names]
    same = [p for p in second if p.name in names]
    return (
        len(same) == len(first)
        and all(map(_same_parameter, first, same))
        and all(
            p.default is not p.empty or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in extra
        )
        and second[: len(_positional(first))] == same[: len(_positional(first))]
    )


def _parameters(fn: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        return [p.replace(annotation=p.empty) for p in inspect.signature(fn).parameters.values()]
    except (TypeError, ValueError):
        return None


def _positional(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _same_parameter(one: inspect.Parameter, two: inspect.Parameter) -> bool:
    if (one.name, one.kind) != (two.name, two.kind):
        return one.kind is two.kind is one.VAR_KEYWORD or one.kind is two.kind is one.VAR_POSITIONAL
    a, b = one.default, two.default
    if callable(a) and callable(b) and not inspect.isclass(a):
        return True  # what functions do is compared where they are called
    return a is b or _plain(a) == _plain(b) or (_is_mark(a) and _is_mark(b))


def _plain(value: Any) -> Any:
    """A default without the types in which the libraries differ."""
    if type(value).__name__ in ('FrozenDict', 'mappingproxy', 'HashableMapping'):
        return dict(value)
    if type(value).__name__ == 'DenyList':
        return 'DenyList', value.deny
    if isinstance(value, enum.Enum):
        return type(value).__name__, value.name
    return value.__name__ if inspect.isclass(value) else value


def _is_mark(value: Any) -> bool:
    """Tells whether a default only stands for one that was not given."""
    return type(value) is object or type(value).__name__.startswith('_')


# What is compared.


@functools.cache
def all_differences(path: str) -> tuple[str, ...]:
    found = list(missing_names(path))
    theirs, ours = ORACLE.load(path), OURS.load(path)
    for name, value in public(theirs).items():
        home = getattr(value, '__module__', '') or ''
        if home.split('.')[0] == ORACLE.name and hasattr(ours, name):
            for difference in differences(name, value, getattr(ours, name)):
                found.append(difference if inspect.isclass(value) else f'{path}:{difference}')
    return tuple(found)


@pytest.mark.parametrize('path', modules())
def test_every_name_is_offered_with_the_same_parameters(path):
    assert [found for found in all_differences(path) if found not in EXCEPTIONS] == []


def test_exceptions_are_real_and_documented():
    found = {difference for path in modules() for difference in all_differences(path)}
    unused = sorted(EXCEPTIONS.keys() - found)
    is_newest = tuple(map(int, ORACLE.load().__version__.split('.')[:3])) >= (0, 12, 12)
    assert unused == [] or not is_newest
    text = (Path(__file__).parents[2] / 'docs/differences.md').read_text()
    names = {name.rpartition(':')[2] for name in EXCEPTIONS} | OUTSIDE.keys()
    parts = {name.rpartition('.')[2] for name in names}.difference(FLAGS)
    assert sorted(name for name in parts if f'`{name}`' not in text) == []
    assert all(EXCEPTIONS.values())


def test_a_difference_is_found():
    def theirs(a, b=1, *, c=2):
        pass

    accepted = [
        lambda a, b=1, *, c=2: 0,
        lambda a, b=1, d=3, *, c=2, e=4: 0,
        lambda a, b=1, *, c=2, **kwargs: 0,
    ]

    @dataclasses.dataclass
    class Theirs:
        a: int
        b: int = 0

    @dataclasses.dataclass
    class Ours:
        a: int
        own: int = dataclasses.field(default=0, kw_only=True)
        b: int = 0

    @dataclasses.dataclass
    class Shifted:
        a: int
        own: int = 0
        b: int = 0

    assert list(differences('C', Theirs, Ours)) == []
    assert list(differences('C', Theirs, Shifted)) == ['C', 'C has other fields']
    refused = [
        lambda a, b=2, *, c=2: 0,
        lambda b=1, a=0, *, c=2: 0,
        lambda a, b=1: 0,
        lambda a, b=1, *, c=2, d: 0,
        lambda a, d=1, b=1, *, c=2: 0,
        lambda a, b=1, c=2: 0,
    ]
    assert all(_accepts(theirs, ours) for ours in accepted)
    assert not any(_accepts(theirs, ours) for ours in refused)

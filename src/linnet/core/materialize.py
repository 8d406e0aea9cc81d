"""How ``init`` turns requests for parameters into arrays, fast and bit for bit as ever.

``init`` needs the shapes of a forward pass, not its numbers. So :func:`run` defers all operations
(:mod:`linnet.core._deferred`); in the end only the variables are computed, and the forward pass
is neither compiled nor run. What a variable needs of it is computed, and so is what the program
looks at meanwhile.

A parameter is a *request*: an initialiser, a key, a shape. Where JAX's own initialisers, on keys of
its default generator, make float32 numbers, all requests of a model are filled by one program
(:mod:`linnet.core._init_table`). Every other one is made as ever, by calling the initialiser.

The flag ``linnet_fast_init`` (environment: ``LINNET_FAST_INIT=0``) turns all of it off.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from linnet import _compat
from linnet._frozen_dict import FrozenDict
from linnet.configurations import config
from linnet.core import _deferred, _init_kinds, _init_table
from linnet.core._deferred import DeferredArray, Operation
from linnet.core._init_table import Coefficients, is_unrolled, threefry
from linnet.core.devices import default_device, is_cuda
from linnet.core.repeated import repeated
from linnet.core.watching import watching


def run(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """``fn(*args, **kwargs)``, of which only what the result needs is computed.

    A program that cannot do with deferred arrays, since it hands them to one that was compiled
    ahead of time, for example, starts again and runs as ever.
    """
    if not may_defer((args, kwargs)):
        return fn(*args, **kwargs)
    with contextlib.suppress(_CannotDefer):
        result = _deferring(fn, args, kwargs)
        _deferred.evaluate(list(_pending(result)))
        return _settled(result)
    return fn(*args, **kwargs)


class _CannotDefer(Exception):
    """A program needs the numbers of an array at once."""


def _deferring(fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    try:
        with _deferred.deferring():
            return fn(*args, **kwargs)
    except _OF_TRACERS:
        raise _CannotDefer from None
    except (TypeError, NotImplementedError) as error:
        if any(message in str(error) for message in _NOT_FOR_TRACERS):
            raise _CannotDefer from None
        raise


_OF_TRACERS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.UnexpectedTracerError,
)
_NOT_FOR_TRACERS = ('Cannot apply JAX transformations', _deferred.DeferringTrace.__name__)
_DEBUGGING = (
    'jax_check_tracer_leaks jax_debug_infs jax_debug_key_reuse jax_debug_nans jax_disable_jit '
    'jax_enable_checks jax_no_tracing'
).split()
_GUARDS = 'jax_transfer_guard_host_to_device jax_transfer_guard_device_to_host'.split()


def may_defer(inputs: Any) -> bool:
    """Tells whether nothing is traced, nobody watches each operation, nor chose its device."""
    return (
        config.linnet_fast_init
        and _compat.current_trace() is _compat.eval_trace
        and not any(getattr(jax.config, name) for name in _DEBUGGING)
        and all(getattr(jax.config, name) in (None, 'allow') for name in _GUARDS)
        and watching.make_root is None
        and watching.on_attention is None
        and _compat.outside_of_meshes()
        and not _has_committed(inputs)
    )


def _has_committed(tree: Any) -> bool:
    """Tells whether a tree holds an array that somebody put on a device, or is none of JAX's."""
    try:
        leaves = jax.tree_util.tree_leaves(tree)
    except (TypeError, ValueError):  # keys without an order
        return True
    return any(
        isinstance(x, jax.Array) and not isinstance(x, _compat.Tracer) and x.committed
        for x in leaves
    )


def _pending(tree: Any) -> Iterator[Operation]:
    """The operations of the deferred arrays in a tree."""
    if type(tree) is DeferredArray:
        yield tree.operation
    elif isinstance(tree, dict | FrozenDict):
        for value in tree.values():
            yield from _pending(value)
    else:
        for child in _children(tree)[0]:
            yield from _pending(child)


def _settled(tree: Any) -> Any:
    """A tree with the arrays themselves; dicts, and what holds no deferred one, stay the same."""
    if type(tree) is DeferredArray:
        return tree.full_lower()
    if type(tree) is dict:
        tree.update({key: _settled(value) for key, value in tree.items()})
        return tree
    if type(tree) is FrozenDict:
        return FrozenDict({key: _settled(value) for key, value in tree.items()})
    children, treedef = _children(tree)
    settled = [_settled(child) for child in children]
    if all(new is old for new, old in zip(settled, children, strict=True)):
        return tree
    return jax.tree_util.tree_unflatten(treedef, settled)


def _children(tree: Any) -> tuple[list[Any], Any]:
    """What stands right below a node; nothing below a leaf."""
    children, treedef = jax.tree_util.tree_flatten(tree, is_leaf=lambda x: x is not tree)
    return ([] if jax.tree_util.treedef_is_leaf(treedef) else children), treedef


class _Fold(Operation):
    """A key that has not been folded yet.

    Attributes:
        base: the key that the digest is folded into.
        digest: the digest of a path.
    """

    __slots__ = ('base', 'digest')

    def __init__(self, base: jax.Array, digest: np.uint32) -> None:
        super().__init__(None, (), {})
        self.base = base
        self.digest = digest

    def run(self) -> None:
        """Folds the key."""
        self.finish((jax.random.fold_in(self.base, self.digest),))


def fold_in(base: Any, digest: Any) -> Any:
    """``jax.random.fold_in``, deferred where operations are; in a program without a loop."""
    if not _deferred.is_deferring() or isinstance(base, _compat.Tracer):
        return _folded(base, digest)
    if not isinstance(base, jax.Array):
        base = jax.numpy.asarray(base)
    return DeferredArray(jax.typeof(base), _Fold(base, digest))


@repeated(static=0)
def _folded(base: Any, digest: np.uint32) -> Any:
    if not isinstance(base, _compat.Tracer) or not is_unrolled(base):
        return jax.random.fold_in(base, digest)
    words = _hashed(jax.random.key_data(base), jax.numpy.uint32(digest))
    return jax.random.wrap_key_data(words, impl='threefry2x32')


@repeated(static=0)
def _folded_in_a_loop(base: Any, digest: Any) -> Any:
    """For keys of parameters, which are drawn once: their program shall compile fast."""
    return jax.random.fold_in(base, digest)


@jax.jit
def _hashed(words: Any, data: Any) -> Any:
    """The words ``[2]`` of ``jax.random.fold_in``."""
    hashed = threefry(words[0], words[1], jax.numpy.zeros_like(data), data)
    # As a loop would, the barrier keeps the hash apart from what uses it.
    return jax.numpy.stack(jax.lax.optimization_barrier(hashed))


class _Request(Operation):
    """A parameter that is to be made from a key.

    Attributes:
        fold: the key.
        shape: the shape of the parameter.
        content: its distribution, or the number that fills it.
    """

    __slots__ = ('content', 'fold', 'shape')

    def __init__(self, fold: _Fold, shape: tuple[int, ...], content: Any) -> None:
        super().__init__(None, (), {})
        self.fold = fold
        self.shape = shape
        self.content = content

    @staticmethod
    def run_all(requests: Sequence[_Request]) -> None:
        """Fills the parameters of all requests."""
        drawn = [r for r in requests if type(r.content) is Coefficients]
        made = [r for r in requests if type(r.content) is not Coefficients]
        filled = [np.full(r.shape, r.content, r.content.dtype) for r in made]
        for request, array in zip(made, jax.device_put(filled), strict=True):
            request.finish((array,))
        if drawn:
            sizes = [int(np.prod(r.shape)) for r in drawn]
            numbers = _init_table.fill(_words(drawn), sizes, [r.content for r in drawn])
            for request, part in zip(drawn, numbers, strict=True):
                request.finish((jax.device_put(part.reshape(request.shape)),))


def _words(requests: Sequence[_Request]) -> np.ndarray:
    """The words of the keys of requests, [n, 2]."""
    bases = {id(r.fold.base): r.fold.base for r in requests}
    words = {name: np.asarray(jax.random.key_data(base)) for name, base in bases.items()}
    return _init_table.fold_in(
        np.stack([words[id(r.fold.base)] for r in requests]),
        np.array([r.fold.digest for r in requests], np.uint32),
    )


def initial_value(init_fn: Callable[..., Any], key: Any, /, *args: Any, **kwargs: Any) -> Any:
    """``init_fn(key, *args, **kwargs)``, or a request for it that others are filled with.

    Args:
        init_fn: the initialiser.
        key: a key, or a lazy one, which is folded only if something draws from it.
        *args: what follows the key.
        **kwargs: keyword arguments.
    """
    staging = not kwargs and _compat.is_staging()
    closure = _init_kinds.closure_of(init_fn) if staging else ()
    if closure and closure[0] in _init_kinds.WITHOUT_KEY:
        return _filled(_Recipe(closure, init_fn), args)
    if hasattr(key, 'as_jax_rng') and not hasattr(init_fn, 'static_arguments'):
        deferring = _deferred.is_deferring()
        key = key.as_jax_rng() if deferring else key.as_jax_rng(_folded_in_a_loop)
    if type(key) is DeferredArray and type(key.operation) is _Fold:
        request = _request(init_fn, key.operation, args, kwargs)
        if request is not None:
            shape, content = request.shape, request.content
            dtype = np.float32 if type(content) is Coefficients else content.dtype
            return DeferredArray(jax.core.ShapedArray(shape, dtype), request)
    if closure:
        return _made(key, _Recipe(closure, init_fn), args)
    return init_fn(key, *args, **kwargs)


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """An initialiser of JAX, equal to another one that was made from equal things.

    Attributes:
        closure: what it is known by.
        init_fn: the initialiser.
    """

    closure: tuple[Any, ...]
    init_fn: Callable[..., Any] = dataclasses.field(compare=False)


@repeated(static=2)
def _made(key: Any, recipe: _Recipe, args: tuple[Any, ...]) -> Any:
    return recipe.init_fn(key, *args)


@repeated(static=2)
def _filled(recipe: _Recipe, args: tuple[Any, ...]) -> Any:
    return recipe.init_fn(None, *args)


def _request(
    init_fn: Any, fold: _Fold, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> _Request | None:
    """A request for what an initialiser gives, where a table fills it."""
    if kwargs or not 1 <= len(args) <= 2 or not _is_usual(fold.base):
        return None
    recognised = _init_kinds.recognise(init_fn, *args)
    return None if recognised is None else _Request(fold, *recognised)


def _is_usual(base: jax.Array) -> bool:
    """Tells whether a key is threefry's, where arrays are when nobody says where."""
    if not jax.config.jax_threefry_partitionable:
        return False
    device = default_device()
    return (
        not base.committed
        and base.devices() == {device}
        and (device.platform == 'cpu' or is_cuda(device))  # where the bits were compared
        and str(jax.random.key_impl(base)) == 'threefry2x32'
    )

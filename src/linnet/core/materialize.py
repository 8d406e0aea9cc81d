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

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.nn import initializers

from linnet import _compat
from linnet.configurations import config
from linnet.core import _deferred, _init_table
from linnet.core._deferred import DeferredArray, Operation
from linnet.core._init_table import Coefficients


def run(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``fn(*args, **kwargs)``, of which only what the result needs is computed.

    A program that cannot do with deferred arrays, since it hands them to one that was compiled
    ahead of time, for example, starts again and runs as ever.
    """
    if not _may_defer(args, kwargs):
        return fn(*args, **kwargs)
    try:
        with _deferred.deferring():
            result = fn(*args, **kwargs)
    except _OF_TRACERS:
        return fn(*args, **kwargs)
    except TypeError as error:
        if 'Cannot apply JAX transformations' not in str(error):
            raise
        return fn(*args, **kwargs)
    _deferred.evaluate(_pending(result))
    return _settled(result)


_OF_TRACERS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.UnexpectedTracerError,
)
_DEBUGGING = (
    'jax_check_tracer_leaks jax_debug_infs jax_debug_key_reuse jax_debug_nans jax_disable_jit '
    'jax_enable_checks jax_no_tracing'
).split()
_GUARDS = 'jax_transfer_guard_host_to_device jax_transfer_guard_device_to_host'.split()


def _may_defer(args: Any, kwargs: Any) -> bool:
    """Tells whether nothing is traced, nobody watches each operation, nor chose its device."""
    return (
        config.linnet_fast_init
        and _compat.current_trace() is _compat.eval_trace
        and not any(getattr(jax.config, name) for name in _DEBUGGING)
        and all(getattr(jax.config, name) in (None, 'allow') for name in _GUARDS)
        and _compat.outside_of_meshes()
        and not any(map(_is_committed, jax.tree_util.tree_leaves((args, kwargs))))
    )


def _is_committed(x: Any) -> bool:
    """Tells whether a value is an array that somebody put on a device."""
    return isinstance(x, jax.Array) and not isinstance(x, _compat.Tracer) and x.committed


def _pending(tree: Any) -> list[Operation]:
    """The operations of the deferred arrays in a tree."""
    leaves = jax.tree_util.tree_leaves(tree)
    return [leaf.operation for leaf in leaves if type(leaf) is DeferredArray]


def _settled(tree: Any) -> Any:
    """A tree with the arrays themselves; what holds no deferred one stays the same object."""
    if type(tree) is dict:
        return {key: _settled(value) for key, value in tree.items()}
    if type(tree) is DeferredArray:
        return tree.full_lower()
    children, treedef = jax.tree_util.tree_flatten(tree, is_leaf=lambda x: x is not tree)
    if jax.tree_util.treedef_is_leaf(treedef):
        return tree
    settled = [_settled(child) for child in children]
    if all(new is old for new, old in zip(settled, children, strict=True)):
        return tree
    return jax.tree_util.tree_unflatten(treedef, settled)


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


def fold_in(base: Any, digest: np.uint32) -> Any:
    """``jax.random.fold_in``, deferred where operations are."""
    if not _deferred.is_deferring() or isinstance(base, _compat.Tracer):
        return jax.random.fold_in(base, digest)
    if not isinstance(base, jax.Array):
        base = jax.numpy.asarray(base)
    return DeferredArray(jax.typeof(base), _Fold(base, digest))


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
    def run_all(requests: Sequence[Operation]) -> None:
        """Fills the parameters of all requests."""
        drawn = [r for r in requests if type(r) is _Request and type(r.content) is Coefficients]
        made = [r for r in requests if type(r) is _Request and type(r.content) is not Coefficients]
        for request in made:
            filled = np.full(request.shape, request.content, request.content.dtype)
            request.finish((jax.device_put(filled),))
        if drawn:
            sizes = [int(np.prod(r.shape)) for r in drawn]
            numbers = _init_table.fill(_words(drawn), sizes, [r.content for r in drawn])
            for request, array in zip(drawn, numbers, strict=True):
                request.finish((jax.device_put(array.reshape(request.shape)),))


def _words(requests: Sequence[_Request]) -> np.ndarray:
    """The words of the keys of requests, [n, 2]."""
    bases = {id(r.fold.base): r.fold.base for r in requests}
    words = {name: np.asarray(jax.random.key_data(base)) for name, base in bases.items()}
    return _init_table.fold_in(
        np.stack([words[id(r.fold.base)] for r in requests]),
        np.array([r.fold.digest for r in requests], np.uint32),
    )


def initial_value(init_fn: Callable[..., Any], key: Any, *args: Any, **kwargs: Any) -> Any:
    """``init_fn(key, *args, **kwargs)``, or a request for it that others are filled with."""
    if type(key) is DeferredArray and type(key.operation) is _Fold:
        request = _request(init_fn, key.operation, args, kwargs)
        if request is not None:
            shape, content = request.shape, request.content
            dtype = np.float32 if type(content) is Coefficients else content.dtype
            return DeferredArray(jax.core.ShapedArray(shape, dtype), request)
    return init_fn(key, *args, **kwargs)


def _request(
    init_fn: Any, fold: _Fold, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> _Request | None:
    """A request for what an initialiser gives, if it is one of JAX's and draws float32 numbers."""
    parse = _PARSERS.get(getattr(init_fn, '__code__', None))
    if parse is None or kwargs or not 1 <= len(args) <= 2 or not _is_usual(fold.base):
        return None
    default = (init_fn.__defaults__ or (None,))[0]
    dtype = args[1] if len(args) == 2 and args[1] is not None else default
    try:
        shape = tuple(operator.index(size) for size in args[0])
        is_float32 = np.dtype(jax.dtypes.canonicalize_dtype(dtype or float)) == np.float32
    except TypeError:
        return None
    if not is_float32 or min(shape, default=0) < 0 or np.prod(shape, dtype=float) >= 2**32:
        return None
    content = parse(_Arguments(init_fn), shape)
    if content is None or (type(content) is Coefficients and not _is_long(shape)):
        return None
    return _Request(fold, shape, content)


def _is_long(shape: tuple[int, ...]) -> bool:
    """Tells whether the innermost loop over an array is long enough to be compiled as one.

    XLA unrolls a short one on CPUs, into operations that round in another way: among arrays of
    shape [n, 3] there are some where one number in fifty has another last bit.
    """
    return next((size for size in reversed(shape) if size != 1), _LONG) >= _LONG


def _is_usual(base: jax.Array) -> bool:
    """Tells whether a key is threefry's, where arrays are when nobody says where."""
    if not jax.config.jax_threefry_partitionable or not _compat.knows_initialisers:
        return False
    device = _deferred.default_device()
    return (
        not base.committed
        and base.devices() == {device}
        and device.platform == 'cpu'
        and str(jax.random.key_impl(base)) == 'threefry2x32'
    )


class _Arguments:
    """What a factory of JAX made an initialiser from, as attributes."""

    def __init__(self, init_fn: Any) -> None:
        cells = init_fn.__closure__ or ()
        for name, cell in zip(init_fn.__code__.co_freevars, cells, strict=True):
            setattr(self, name, cell.cell_contents)

    def __getattr__(self, name: str) -> Any:
        return None


_LONG = 8
_ROOT = np.float32(np.sqrt(2))


def _number(x: Any) -> np.float32 | None:
    """A number of Python or NumPy in float32."""
    return np.float32(x) if isinstance(x, int | float | np.floating | np.integer) else None


def _uniform(made_from: Any, shape: tuple[int, ...]) -> Coefficients | None:
    scale = _number(made_from.scale)
    return None if scale is None else Coefficients(after=scale)


def _normal(made_from: Any, shape: tuple[int, ...]) -> Coefficients | None:
    stddev = _number(made_from.stddev)
    return None if stddev is None else _normal_of(stddev)


def _normal_of(stddev: np.float32) -> Coefficients:
    """A normal distribution; older versions of JAX scale in the end."""
    least = np.nextafter(np.float32(-1), np.float32(0))
    if _compat.normal_scales_first:
        return Coefficients(least, normal=True, before=_ROOT * stddev)
    return Coefficients(least, normal=True, before=_ROOT, after=stddev)


def _truncated_normal(made_from: Any, shape: tuple[int, ...]) -> Coefficients | None:
    numbers = [_number(x) for x in (made_from.lower, made_from.upper, made_from.stddev)]
    return None if None in numbers else _truncated_of(*numbers)  # type: ignore[arg-type]


def _truncated_of(lower: np.float32, upper: np.float32, stddev: np.float32) -> Coefficients:
    least = np.nextafter(lower, np.float32(np.inf))
    most = np.nextafter(upper, np.float32(-np.inf))
    return Coefficients(lower, upper, True, True, _ROOT, least, most, stddev)


def _variance_scaling(made_from: Any, shape: tuple[int, ...]) -> Coefficients | None:
    variance = _variance(made_from, shape)
    if variance is None:
        return None
    if made_from.distribution == 'truncated_normal':
        stddev = np.sqrt(variance) / np.float32(0.87962566103423978)
        return _truncated_of(np.float32(-2), np.float32(2), stddev)
    if made_from.distribution == 'normal':
        return _normal_of(np.sqrt(variance))
    if made_from.distribution == 'uniform':
        return Coefficients(low=np.float32(-1), after=np.sqrt(np.float32(3) * variance))
    return None


def _variance(made_from: Any, shape: tuple[int, ...]) -> np.float32 | None:
    """The variance of the numbers; None where JAX is to decide, or to raise its error."""
    try:
        fans = _compat.compute_fans(
            shape, made_from.in_axis, made_from.out_axis, made_from.batch_axis
        )
    except (ValueError, TypeError, IndexError, ZeroDivisionError):
        return None
    denominator = {
        'fan_in': fans[0],
        'fan_out': fans[1],
        'fan_avg': (fans[0] + fans[1]) / 2,
        'fan_geo_avg': (fans[0] * fans[1]) ** 0.5,
    }.get(made_from.mode, 0)
    scale = _number(made_from.scale)
    if scale is None or scale < 0 or not denominator:
        return None
    return np.float32(made_from.scale / denominator)


def _filled(value: float) -> Callable[[Any, tuple[int, ...]], Any]:
    return lambda made_from, shape: np.float32(value)


def _constant(made_from: Any, shape: tuple[int, ...]) -> np.float32 | None:
    return _number(made_from.value)


_PARSERS: dict[Any, Callable[[Any, tuple[int, ...]], Any]] = {
    initializers.zeros.__code__: _filled(0),
    initializers.ones.__code__: _filled(1),
    initializers.constant(0).__code__: _constant,
    initializers.uniform().__code__: _uniform,
    initializers.normal().__code__: _normal,
    initializers.truncated_normal().__code__: _truncated_normal,
    initializers.variance_scaling(1.0, 'fan_in', 'normal').__code__: _variance_scaling,
}

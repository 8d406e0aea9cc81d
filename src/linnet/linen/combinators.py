"""Sequential: layers one after another."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from linnet.errors.layers import InvalidOptionError
from linnet.errors.sharp_bits import SameInstanceWarning
from linnet.linen._inputs import warn_about
from linnet.linen.module.base import Module
from linnet.linen.module.decorators import compact
from linnet.linen.module.state import ModuleBase


class Sequential(Module):
    """Calls layers one after another, each on what the one before returned.

    A layer is anything callable. The first gets all arguments of the call, keywords too. What a
    layer returns becomes the arguments of the next: a tuple its positional arguments, a dict its
    keywords, anything else its one argument. What the last returns is returned.

    >>> import jax, jax.numpy as jnp, linnet.linen as nn
    >>> model = nn.Sequential([nn.Dense(4), nn.relu, nn.Dense(2)])
    >>> variables = model.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> sorted(variables['params'])
    ['layers_0', 'layers_2']

    Attributes:
        layers: the layers, in a list or tuple.
    """

    layers: Sequence[Callable[..., Any]]

    def __post_init__(self) -> None:
        if not isinstance(self.layers, Sequence):
            raise InvalidOptionError(
                f'layers of Sequential is a {type(self.layers).__name__}, not a list or tuple',
                mend='nn.Sequential([nn.Dense(4), nn.relu])',
            )
        super().__post_init__()

    @compact
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layers.

        Raises:
            InvalidOptionError: there are no layers, one cannot be called, or one does not take
                the arguments that it would get.
        """
        if not self.layers:
            raise InvalidOptionError(
                'Sequential has no layers', mend='nn.Sequential([nn.Dense(4), nn.relu])'
            )
        outputs: Any = None
        for i in range(len(self.layers)):
            if i:
                args, kwargs = _as_arguments(outputs)
            outputs = _call_layer(self.layers, i, args, kwargs)
        _warn_if_repeated(self)
        return outputs


def _warn_if_repeated(model: Sequential) -> None:
    """Warns of a layer with parameters that stands in two places, as ``[nn.Dense(4)] * 3`` has."""
    first: dict[int, int] = {}
    for i, layer in enumerate(model.layers):
        other = first.setdefault(id(layer), i)
        if other != i and isinstance(layer, ModuleBase) and layer.scope.all_parts('params'):
            warn_about(
                SameInstanceWarning,
                model,
                f'layers_{other} and layers_{i} are the same {type(layer).__name__}, so they share '
                'parameters; make one for each place: [nn.Dense(4) for _ in range(3)]',
            )
            return


def _as_arguments(outputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a layer returned, as positional and keyword arguments of the next."""
    if isinstance(outputs, tuple):
        return outputs, {}
    return ((), outputs) if isinstance(outputs, dict) else ((outputs,), {})


def _call_layer(
    layers: Sequence[Any], i: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    layer = layers[i]
    if not callable(layer) or (isinstance(layer, type) and issubclass(layer, ModuleBase)):
        raise InvalidOptionError(
            f'Sequential cannot call {_label(layers, i)}',
            mend=f'{layer.__name__}(...)' if isinstance(layer, type) else 'layers are callables',
        )
    try:
        return layer(*args, **kwargs)
    except TypeError as error:
        if _takes(layer, args, kwargs):
            raise
        raise _refused(layers, i, args, kwargs) from error


def _takes(layer: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the signature of a layer, if it shows one, fits the arguments."""
    try:
        signature = inspect.signature(layer)
    except ValueError:
        return True
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _refused(
    layers: Sequence[Any], i: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> InvalidOptionError:
    """The error for a layer that does not take the arguments that it would get."""
    given = f'{len(args)} positional argument{"" if len(args) == 1 else "s"}'
    if kwargs:
        given += f' and the keywords {list(kwargs)}'
    what = f'{_label(layers, i)} of Sequential does not take {given}'
    if i:
        kind = 'a dict, which is the keywords' if kwargs else 'a tuple, which is the arguments'
        return InvalidOptionError(
            what, why=f'{_label(layers, i - 1)} returned {kind} of the next layer'
        )
    return InvalidOptionError(
        what,
        why='keywords of the call go to the first layer only',
        mend='set them on the layer that wants them: nn.Dropout(0.5, deterministic=True)',
    )


def _label(layers: Sequence[Any], i: int) -> str:
    """A layer as errors name it: ``layers_0 (Dense)``."""
    layer = layers[i]
    name = getattr(layer, '__name__', type(layer).__name__)
    return f'layers_{i} ({name})'

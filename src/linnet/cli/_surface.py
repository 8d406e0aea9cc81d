"""Which names of Flax there are in Linnet, and what to say of those that there are not.

The errors of the library import JAX, which a program may want to configure first: they are
imported when one is made.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linnet.errors.programs import NotInLinnetError

_BY_PYTHON = 'run this program by python, with flax installed'

# What belongs to Flax, and neither to Linen nor to what goes with it.
_OUTSIDE = {
    'nnx': ('NNX is outside of Linnet, which is the whole of Flax Linen.', _BY_PYTHON),
    'experimental.nnx': ('NNX is outside of Linnet, which is the whole of Flax Linen.', _BY_PYTHON),
    'nn': (
        'flax.nn is what came before Linen, and Flax itself has dropped it.',
        'write the model with flax.linen, its successor',
    ),
    'optim': (
        'flax.optim is what came before optax, and Flax itself has dropped it.',
        'take the optimiser from optax, and flax.training.train_state.TrainState',
    ),
}


def version() -> str:
    """Returns the version of this library."""
    return importlib.import_module('linnet').__version__


def module(path: str) -> ModuleType | None:
    """Returns the module of Linnet that stands for ``flax.<path>``, or None."""
    name = f'linnet.{path}' if path else 'linnet'
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        asked = (error.name or '').partition('.')[2]
        if not f'{path}.'.startswith(f'{asked}.'):
            raise
        return None


@functools.cache
def lacking(path: str) -> NotInLinnetError | None:
    """Returns the error about the first name in ``flax.<path>`` that Linnet lacks, or None.

    Only names of modules are looked up: what a class offers is not asked.

    >>> lacking('linen.Dense') is None
    True
    >>> print(lacking('linen.Dens').why)
    Did you mean 'Dense'?
    """
    found: object = module('')
    names = path.split('.') if path else []
    for number, name in enumerate(names):
        if not isinstance(found, ModuleType):
            return None
        inner = '.'.join(names[: number + 1])
        try:
            if hasattr(found, name):
                found = getattr(found, name)
            elif (found := module(inner)) is None:
                return describe(inner)
        except ImportError:
            return None  # it is there, and needs a package that is not
    return None


def is_nnx(path: str) -> bool:
    """Tells whether ``flax.<path>`` is in what Flax has beside Linen.

    >>> is_nnx('nnx.statelib'), is_nnx('linen.nnx')
    (True, False)
    """
    return path.partition('.')[0] == 'nnx'


def describe(path: str) -> NotInLinnetError:
    """Returns the error that says that Linnet has no ``flax.<path>``, and what is near."""
    from linnet.errors.programs import NotInLinnetError

    outside = 'nnx' if is_nnx(path) else path
    if outside in _OUTSIDE:
        why, mend = _OUTSIDE[outside]
        return NotInLinnetError(f'flax.{path}', why=why, mend=mend)
    holder = module(path.rpartition('.')[0])
    known = {name for name in dir(holder) if not name.startswith('_')}
    known |= {info.name for info in pkgutil.iter_modules(getattr(holder, '__path__', []))}
    return NotInLinnetError(f'flax.{path}', known=sorted(known))


def sentence(lack: NotInLinnetError) -> str:
    """Returns what an error says in one line, for a list.

    >>> sentence(lacking('linen.Dens'))
    "flax.linen.Dens: Linnet has no such name. Did you mean 'Dense'?"
    """
    name = str(lack.name)
    known = name.removeprefix('flax.') in _OUTSIDE
    return f'{name}: {"" if known else "Linnet has no such name. "}{lack.why}'.rstrip()

"""Linnet, a neural-network library for JAX.

    import linnet.linen as nn

A sub-package is imported when it is first used: ``import linnet`` alone costs next to nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from linnet.version import __version__ as __version__

if TYPE_CHECKING:
    from linnet import checks as checks
    from linnet import cli as cli
    from linnet import configurations as configurations
    from linnet import core as core
    from linnet import cursor as cursor
    from linnet import errors as errors
    from linnet import ids as ids
    from linnet import io as io
    from linnet import jax_utils as jax_utils
    from linnet import linen as linen
    from linnet import metrics as metrics
    from linnet import serialization as serialization
    from linnet import sharp_bits as sharp_bits
    from linnet import struct as struct
    from linnet import testing as testing
    from linnet import traceback_util as traceback_util
    from linnet import train as train
    from linnet import training as training
    from linnet import traverse_util as traverse_util
    from linnet import typing as typing
    from linnet import version as version
    from linnet.checks import sanitize as sanitize
    from linnet.configurations import config as config
    from linnet.errors import SharpBitWarning as SharpBitWarning

_MODULES = frozenset(
    """
    checks cli configurations core cursor errors ids io jax_utils linen metrics serialization
    sharp_bits struct testing traceback_util train training traverse_util typing version
    """.split()
)
_OBJECTS = {
    'SharpBitWarning': 'linnet.errors',
    'config': 'linnet.configurations',
    'sanitize': 'linnet.checks',
}


def __getattr__(name: str) -> Any:
    """Imports a sub-package at its first use."""
    if name in _OBJECTS:
        return getattr(importlib.import_module(_OBJECTS[name]), name)
    if name in _MODULES:
        return importlib.import_module(f'linnet.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    """Names what can be had, imported or not."""
    return sorted({*globals(), *_MODULES, *_OBJECTS})


if os.environ.get('LINNET_SANITIZE', '0').lower() not in ('', '0', 'false', 'no', 'off'):
    importlib.import_module('linnet.checks.process').start()

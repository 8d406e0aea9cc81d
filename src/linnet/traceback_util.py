"""Keeps the machinery of this library out of the tracebacks that users read.

JAX filters the tracebacks that leave an ``api_boundary`` by a list of paths; this module puts the
folders of the library on that list, as long as ``config.flax_filter_frames`` is set, so that a
traceback ends at the user's own line. In profiles the files of the layers stay visible: they say
what was computed.
"""

from __future__ import annotations

import os
from pathlib import Path

from linnet import _compat
from linnet._compat import api_boundary as api_boundary
from linnet.configurations import config

_MACHINERY = ('core', 'linen/module', 'linen/transforms')
_LAYERS = ('linen',)

_flax_exclusions: set[str] = set()
_in_tracebacks_only: set[str] = set()


def register_exclusion(path: str) -> None:
    """Hides the frames of a file, or of all files in a folder, while frames are filtered."""
    _flax_exclusions.add(path)
    if config.flax_filter_frames:
        _compat.exclude_frames(path, path not in _in_tracebacks_only)


def hide_flax_in_tracebacks() -> None:
    """Hides this library's frames in tracebacks, from now on."""
    config.update('flax_filter_frames', True)
    for path in _flax_exclusions:
        _compat.exclude_frames(path, path not in _in_tracebacks_only)


def show_flax_in_tracebacks() -> None:
    """Shows this library's frames in tracebacks, from now on."""
    config.update('flax_filter_frames', False)
    _compat.include_frames(_flax_exclusions)


hide_linnet_in_tracebacks = hide_flax_in_tracebacks
show_linnet_in_tracebacks = show_flax_in_tracebacks

for _room in (*_MACHINERY, *_LAYERS):
    _folder = f'{Path(__file__).parent / _room}{os.sep}'
    if _room in _LAYERS:
        _in_tracebacks_only.add(_folder)
    register_exclusion(_folder)

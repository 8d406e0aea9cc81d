"""The registry of model shapes that both libraries must treat alike.

A *model* is registered by ``@model(*args, **attributes)`` above a builder ``build(nn)``; it is run
in every mode of :data:`tests.parity.harness.MODES`. A *program* is registered by ``@program``
above a function of a library that returns a tree of results. Each says in its name and its
sentence what it is about. The files beside this one, named ``models_*.py``, hold them by subject.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.parity.harness import Builder, Case, Library

MODELS: dict[str, Case] = {}
PROGRAMS: dict[str, Callable[[Library], Any]] = {}

_SUBJECTS = (
    'structure',
    'passing',
    'classes',
    'variables',
    'layers',
    'calls',
    'corner_classes',
    'corner_variables',
    'corner_calls',
    'corner_overrides',
    'corner_scopes',
)

X = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
IMAGE = np.random.default_rng(1).normal(size=(2, 6, 6, 2)).astype(np.float32)
TOKENS = np.array([[1, 2, 3], [0, 4, 1]], np.int32)


def model(*args: Any, **attributes: Any) -> Callable[[Builder], Builder]:
    """Registers a builder with its inputs; the attributes are those of :class:`Case`."""

    def register(build: Builder) -> Builder:
        name = build.__name__
        assert name not in MODELS, f'two models are named {name}'
        MODELS[name] = Case(build, args, **attributes)
        return build

    return register


def program(run: Callable[[Library], Any]) -> Callable[[Library], Any]:
    """Registers a program under its name."""
    assert run.__name__ not in PROGRAMS, f'two programs are named {run.__name__}'
    PROGRAMS[run.__name__] = run
    return run


def load_all() -> None:
    """Imports every file of models, which fills the registry."""
    for subject in _SUBJECTS:
        importlib.import_module(f'tests.parity.models_{subject}')

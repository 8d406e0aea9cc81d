"""Runs checks on eight devices, of which a process must be told before JAX starts.

A *check* is a function without arguments, whose name begins with ``check_``, in a test module.
``run_checks`` runs all of them in one process of its own; ``constraints`` lists what a program
says of shardings.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

ROOT = Path(__file__).resolve().parents[1]
COUNT = 8


def checks_in(names: Mapping[str, Any]) -> list[str]:
    """The checks among the names of a module, which are its ``globals()``."""
    return [name for name in names if name.startswith('check_')]


def run_checks(module: str) -> dict[str, str]:
    """Runs the checks of a module on eight devices; gives the traceback of each, or ''."""
    flags = f'--xla_force_host_platform_device_count={COUNT}'
    path = os.pathsep.join([str(ROOT / 'src'), str(ROOT)])
    done = subprocess.run(
        [sys.executable, '-m', 'tests.devices', module],
        env={**os.environ, 'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def new_mesh() -> Mesh:
    """A mesh ``x: 2, y: 4`` of eight devices, or ``x: 1, y: 1`` of one."""
    devices = np.array(jax.devices()[:COUNT])
    return Mesh(devices.reshape(2, 4) if len(devices) == COUNT else devices[:1, None], ('x', 'y'))


def constraints(fn: Callable[..., Any], *args: Any) -> list[str]:
    """The specs to which a program constrains values, in order, also inside loops and calls."""
    return list(_constraints(jax.make_jaxpr(fn)(*args).jaxpr))


def _constraints(jaxpr: Any) -> Iterator[str]:
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == 'sharding_constraint':
            yield str(tuple(eqn.params['sharding'].spec))
        for value in eqn.params.values():
            inner = getattr(value, 'jaxpr', value)
            if hasattr(inner, 'eqns'):
                yield from _constraints(inner)


def _run(check: Callable[[], None]) -> str:
    try:
        check()
    except Exception:
        return traceback.format_exc()
    return ''


if __name__ == '__main__':
    import tests.conftest  # noqa: F401  the settings of every test

    assert jax.device_count() == COUNT
    module = importlib.import_module(sys.argv[1])
    print(json.dumps({name: _run(getattr(module, name)) for name in checks_in(vars(module))}))

"""What is known of a run: the date, the machine, the versions, the command."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from benchmarks import _processes

_DISTRIBUTIONS = ('jax', 'jaxlib', 'flax', 'dm-haiku', 'equinox')
_DEVICE = """
import jax, json
device = jax.devices()[0]
print(json.dumps({f'{device.platform}, {device.device_kind}': 1}))
"""


def about(command: str) -> dict[str, Any]:
    """Describes the run of a command."""
    return {
        'date': datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%d %H:%M UTC'),
        'command': command,
        'device': next(iter(_processes.run_child(('-c', _DEVICE)))),
        'processor': _processor(),
        'cores': len(os.sched_getaffinity(0))
        if hasattr(os, 'sched_getaffinity')
        else os.cpu_count(),
        'python': platform.python_version(),
        'versions': _versions(),
    }


def title(about: dict[str, Any]) -> str:
    """Says it in a line, with the load of the machine before and after."""
    load = ' to '.join(f'{load[0]:.1f}' for load in about['load'])
    return (
        f'{about["date"]}; {about["device"]}; {about["processor"]}, {about["cores"]} cores, load '
        f'{load}; Python {about["python"]}, '
        f'{", ".join(f"{name} {version}" for name, version in about["versions"].items())}; '
        f'{about["command"]}'
    )


def _versions() -> dict[str, str]:
    """The versions of what is installed."""
    versions = {}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _processor() -> str:
    """The name of the processor, where the system tells it."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()

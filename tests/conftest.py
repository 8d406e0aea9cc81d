"""Settings that every test shares: the CPU, a cache of compiled programs, profiles of hypothesis.

Compiled programs are kept under ``.cache/jax`` of the repository, so that a second run of the
tests compiles next to nothing. ``LINNET_DEEP=1`` makes the tests that draw their programs draw
many more of them; under ``CI`` they draw the same ones each time. ``LINNET_LIGHT=1``, for a second
version of Python, leaves out two of three cases of each comparison with the oracle, and draws
fewer.
"""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path

os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import jax
import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# A folder for each process of pytest-xdist: JAX writes an entry in place, and another process that
# reads it meanwhile finds half of it.
_WORKER = os.environ.get('PYTEST_XDIST_WORKER', 'main')
jax.config.update('jax_compilation_cache_dir', str(ROOT / '.cache' / 'jax' / _WORKER))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)

pytest_plugins = ['tests.layer_table']

DEEP = os.environ.get('LINNET_DEEP') == '1'
LIGHT = os.environ.get('LINNET_LIGHT') == '1'


def _choose_hypothesis_profile() -> None:
    """Registers the one profile of drawn tests, and takes it."""
    try:
        import hypothesis
    except ModuleNotFoundError:
        return
    hypothesis.settings.register_profile(
        'linnet',
        max_examples=500 if DEEP else 4 if LIGHT else 12,
        deadline=None,
        derandomize=bool(os.environ.get('CI')),
        suppress_health_check=[
            hypothesis.HealthCheck.too_slow,
            hypothesis.HealthCheck.data_too_large,
        ],
    )
    hypothesis.settings.load_profile('linnet')


_choose_hypothesis_profile()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out, under ``LINNET_LIGHT``, two of three cases of comparisons with several."""
    if not LIGHT:
        return
    out = [
        item
        for item in items
        if hasattr(item, 'callspec')
        and item.path.parent.name == 'parity'
        and zlib.crc32(item.nodeid.encode()) % 3
    ]
    config.hook.pytest_deselected(items=out)
    left_out = set(out)
    items[:] = [item for item in items if item not in left_out]

"""Says in the head of the report which two libraries the parity tests compare."""

from __future__ import annotations

import importlib.util
import os


def pytest_report_header() -> str:
    if importlib.util.find_spec('flax') is None:
        return 'parity: flax is not installed, so every test of tests/parity is skipped'
    import flax

    pair = os.environ.get('LINNET_PARITY', 'flax,linnet')
    return f'parity: {pair} (flax {flax.__version__})'

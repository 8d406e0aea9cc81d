"""A whole process under the sanitizer: ``LINNET_SANITIZE=1 python train.py``.

What is found is given as a warning when it is found, and as a table when the process ends.
"""

from __future__ import annotations

import atexit
import sys

from linnet.checks.report import Report
from linnet.checks.watcher import Watcher


def start() -> Report:
    """Watches this process's main thread to its end, and prints then what was found."""
    watcher = Watcher(warn=True)
    watcher.start()
    atexit.register(_end, watcher)
    return watcher.report


def _end(watcher: Watcher) -> None:
    watcher.stop(getattr(sys, 'last_value', None))  # which Python sets where nobody has caught it
    print(watcher.report.table(), file=sys.stderr, end='')

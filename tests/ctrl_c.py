"""How a test starts a program that shall hear Ctrl-C.

A shell may start tests with the signal ignored, and what they start inherits that.
"""

from __future__ import annotations

import sys

HEARING = (
    sys.executable,
    '-c',
    """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
""",
)
"""The start of a command whose rest are the arguments of Python."""

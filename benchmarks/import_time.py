"""Measures what `import linnet.linen` costs beyond `import jax`, in fresh processes.

python benchmarks/import_time.py --runs 9
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / 'src'
PROGRAM = """
import time
import jax, jax.numpy
start = time.perf_counter()
import {module}
print(1e3 * (time.perf_counter() - start))
"""


def milliseconds(module: str) -> float:
    """Imports JAX, then `module`, in a fresh process; returns what the latter took."""
    environment = {**os.environ, 'PYTHONPATH': str(SOURCE), 'JAX_PLATFORMS': 'cpu'}
    environment.pop('PYTHONDONTWRITEBYTECODE', None)
    command = [sys.executable, '-c', PROGRAM.format(module=module)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Prints the median and the range, the first run left out: it may compile bytecode."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--module', default='linnet.linen')
    parser.add_argument('--runs', type=int, default=9)
    options = parser.parse_args()
    milliseconds(options.module)
    times = sorted(milliseconds(options.module) for _ in range(options.runs))
    print(
        f'{options.module}: {statistics.median(times):.0f} ms beyond jax '
        f'({times[0]:.0f} to {times[-1]:.0f} in {len(times)} runs)'
    )


if __name__ == '__main__':
    main()

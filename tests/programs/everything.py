"""Runs the programs beside it one after another, each as if Python had been given it."""

import runpy
import sys
from pathlib import Path

if __name__ == '__main__':
    for name in ('vae', 'ppo', 'resnet'):
        runpy.run_path(str(Path(__file__).with_name(f'{name}.py')), run_name='__main__')
    print(*sorted({'flax', 'linnet'} & set(sys.modules)), file=sys.stderr)

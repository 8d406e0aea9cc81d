"""What a person sees of a run: one picture of what the network makes of digits and of codes."""

from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from digits import DOTS, Batch


def draw(path: Path, digits: Batch, codes: np.ndarray, decode: Callable[..., Any]) -> np.ndarray:
    """Writes one PNG of digits and of what codes decode to; returns samples of the prior."""
    rows = 2 if codes.shape[1] == 2 else 1
    figure = Figure(figsize=(11, 5.5 * rows), dpi=110, layout='constrained')
    axes = figure.subplots(rows, 2).flat
    both = (images[:50].reshape(5, 10, -1) for images in (digits['counts'] / DOTS, decode(codes)))
    show(axes[0], 'Held-out digits, and decoded below each row', np.stack([*both], axis=1), 10)
    drawn = np.asarray(decode(np.random.default_rng(0).normal(size=(100, codes.shape[1]))))
    show(axes[1], 'Samples of the prior', drawn, 10)
    if rows == 2:
        axes[2].set_title('Codes of held-out digits', weight='bold')
        for label in range(10):
            axes[2].scatter(*codes[digits['label'] == label].T, marker=f'${label}$')
        steps = [NormalDist().inv_cdf((i + 0.5) / 18) for i in range(18)]
        plane = np.array([(x, y) for y in reversed(steps) for x in steps])
        show(axes[3], 'Decoded from the plane of codes', decode(plane), 18)
    figure.savefig(path)
    return drawn[:56].reshape(-1, 8, 8)


def show(axes: Axes, title: str, images: np.ndarray, columns: int) -> None:
    """Lays images of 0..1 out in rows, with a white line between them."""
    framed = np.pad(images.reshape(-1, columns, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
    axes.imshow(framed.swapaxes(1, 2).reshape(-1, columns * 10), cmap='gray_r', vmin=0, vmax=1)
    axes.set_title(title, weight='bold')
    axes.axis('off')

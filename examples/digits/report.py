"""What a person sees of a run: a live progress bar, and at the end one picture."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

TRAIN, VALID, WRONG = '#4c72b0', '#dd8452', '#c0392b'


class Epoch(NamedTuple):
    """The scores of one epoch: on the varied training digits, and on the validation part."""

    number: int
    step: int
    loss: float
    accuracy: float
    valid_loss: float
    valid_accuracy: float

    def __str__(self) -> str:
        scores = f'loss {self.loss:.3f}, accuracy {self.accuracy:.3f}'
        return f'{scores}, validation {self.valid_accuracy:.3f}'

    def row(self) -> dict[str, float]:
        """Its numbers by name."""
        return {name: value for name, value in self._asdict().items() if name != 'number'}


@contextmanager
def show_progress(epochs: int) -> Iterator[Callable[[Epoch], None]]:
    """Yields a function that shows an epoch: in a live bar, or as a line without a terminal."""
    console = Console()
    if not console.is_terminal:
        yield lambda epoch: print(f'epoch {epoch.number}/{epochs}: {epoch}', flush=True)
        return
    columns = (
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn('{task.description}'),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task('compiling', total=epochs)
        yield lambda epoch: bar.update(task, completed=epoch.number, description=str(epoch))


def draw(
    path: Path,
    history: Sequence[Epoch],
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
) -> None:
    """Writes one PNG: learning curves, the confusion matrix, and the digits that were hard.

    Args:
        path: the file to write.
        history: the epochs of the run.
        images: held-out digits, `[n, 8, 8, 1]`.
        labels: what they are, `[n]`.
        probabilities: what the network makes of them, `[n, 10]`.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(12, 9), dpi=110, facecolor='white', layout=layout)
    grid = figure.add_gridspec(2, 2, height_ratios=(2, 3))
    loss, accuracy, confusion, hard = (figure.add_subfigure(grid[i]) for i in range(4))
    count, wrong = len(labels), int((probabilities.argmax(-1) != labels).sum())
    figure.suptitle(
        f'{count} held-out handwritten digits: {wrong} read wrongly, '
        f'accuracy {1 - wrong / count:.2%}',
        fontsize=14,
    )
    losses = [(epoch.loss, epoch.valid_loss) for epoch in history]
    accuracies = [(epoch.accuracy, epoch.valid_accuracy) for epoch in history]
    draw_curves(loss.subplots(), 'Loss', history, losses)
    draw_curves(accuracy.subplots(), 'Accuracy', history, accuracies)
    draw_confusion(confusion.subplots(), labels, probabilities.argmax(-1))
    draw_hard_digits(hard, images, labels, probabilities)
    figure.savefig(path)


def draw_curves(
    axes: Axes, name: str, history: Sequence[Epoch], pairs: Sequence[tuple[float, float]]
) -> None:
    """Draws one score over the epochs, on the training digits and on the validation part."""
    train, valid = zip(*pairs, strict=True)
    numbers = [epoch.number for epoch in history]
    best = min(history, key=lambda epoch: epoch.valid_loss)
    axes.plot(numbers, train, color=TRAIN, marker='.', label='training, varied, with dropout')
    axes.plot(numbers, valid, color=VALID, marker='.', label='validation')
    axes.axvline(best.number, color='grey', linestyle=':', label=f'best epoch, {best.number}')
    axes.set_title(name, fontsize=11, weight='bold')
    axes.set_xlabel('epoch')
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(edgecolor='none')


def draw_confusion(axes: Axes, labels: np.ndarray, read: np.ndarray) -> None:
    """Draws how often each digit (row) was read as which (column)."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, read), 1)
    axes.imshow(counts, cmap='Blues', vmax=1.6 * counts.max())
    for row, column in np.argwhere(counts):
        color, weight = ('black', 'normal') if row == column else (WRONG, 'bold')
        text = axes.text(column, row, str(counts[row, column]), color=color, weight=weight)
        text.set(ha='center', va='center')
    axes.set_title('Confusion matrix', fontsize=11, weight='bold')
    axes.set(xlabel='read as', ylabel='is', xticks=range(10), yticks=range(10))


def draw_hard_digits(
    figure: SubFigure, images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray
) -> None:
    """Draws the digits that were read wrongly, then those that were read least surely."""
    read = probabilities.argmax(-1)
    sureness = probabilities.max(-1)
    wrong = read != labels
    hardest = np.lexsort((sureness, ~wrong))[:12]
    title = 'Read wrongly (red), then read least surely' if wrong.any() else 'Read least surely'
    figure.suptitle(title, fontsize=11, weight='bold')
    for axes, index in zip(figure.subplots(3, 4).flat, hardest, strict=True):
        color, width = (WRONG, 2) if wrong[index] else ('lightgrey', 1)
        caption = f'is {labels[index]}, read {read[index]}, {sureness[index]:.0%}'
        axes.imshow(images[index, ..., 0], cmap='gray_r')
        axes.set_xlabel(caption, color=WRONG if wrong[index] else 'black')
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=color, linewidth=width)

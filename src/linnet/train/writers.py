"""Writers: where the numbers of a run go, beside the screen.

A writer has ``write(step, values)``, called with numbers by name, and ``close()``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol


class Writer(Protocol):
    """What a run asks of a writer."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of a step."""

    def close(self) -> None:
        """Ends the run: nothing more comes."""


class _FileWriter:
    """A text file that grows line by line, so that a killed run leaves what it wrote."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: IO[str] | None = None

    def _append(self, text: str) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open('a', encoding='utf-8')
        self._file.write(text + '\n')
        self._file.flush()

    def close(self) -> None:
        """Closes the file; a later write opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


class JsonlWriter(_FileWriter):
    """One JSON object a line: ``{"step": 10, "loss": 0.5}``; what is not finite is null.

    Example::

        >>> import tempfile
        >>> writer = JsonlWriter(Path(tempfile.mkdtemp()) / 'run.jsonl')
        >>> writer.write(10, {'loss': 0.5, 'accuracy': math.nan})
        >>> writer.close()
        >>> writer.path.read_text()
        '{"step": 10, "loss": 0.5, "accuracy": null}\\n'
    """

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a line."""
        finite = {name: x if math.isfinite(x) else None for name, x in values.items()}
        self._append(json.dumps({'step': step, **finite}))


class CsvWriter(_FileWriter):
    """A table in long form, ``step,name,value``: metrics may come and go."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a line for each number."""
        if self._file is None and not (self.path.exists() and self.path.stat().st_size):
            self._append('step,name,value')
        for name, value in values.items():
            self._append(f'{step},{name},{value!r}')


class TensorBoardWriter:
    """Event files for TensorBoard; needs ``tensorboardX``."""

    def __init__(self, folder: str | Path) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a scalar for each number."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes out what is waiting."""
        self._writer.close()


class WandbWriter:
    """A run of Weights & Biases, which the caller has begun: ``WandbWriter(wandb.init(...))``."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the numbers."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


class MlflowWriter:
    """The active run of MLflow, which the caller has begun: ``MlflowWriter(mlflow)``."""

    def __init__(self, mlflow: Any) -> None:
        self._mlflow = mlflow

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the numbers."""
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._mlflow.end_run()

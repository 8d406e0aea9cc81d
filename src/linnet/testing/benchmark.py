"""Benchmarks as tests: each runs a program, checks its figures, and reports them as JSON.

A failed assertion does not end a benchmark, so that the report is whole; the test fails at its end.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from absl import flags, logging
from absl.testing import absltest

from linnet.errors.data import ToolArgumentError
from linnet.metrics.event_reader import read_scalars

FLAG = 'benchmark_output_dir'
if FLAG not in flags.FLAGS:  # two libraries in one process share it
    flags.DEFINE_string(FLAG, None, 'the folder for the reports of benchmarks')


class Benchmark(absltest.TestCase):
    """A test case whose tests report a wall time, metrics and other facts.

    The report of each test is logged, and written to ``NAME.json`` in the folder that the flag
    ``--benchmark_output_dir`` names::

        class Digits(Benchmark):
            def test_accuracy(self):
                folder = self.get_tmp_model_dir()
                train(folder)                        # writes logs for TensorBoard
                logs = self.read_summaries(folder)
                wall_time, step, accuracy = logs['accuracy'][-1]
                self.assertGreater(accuracy, 0.98)
                self.report_metric('accuracy', accuracy)
    """

    def setUp(self) -> None:
        """Begins an empty report."""
        super().setUp()
        self._failures: list[str] = []
        self._metrics: dict[str, float] = {}
        self._extras: dict[str, str] = {}
        self._wall_time: float | None = None
        self._has_reported = False

    def tearDown(self) -> None:
        """Writes the report, and fails where an assertion failed.

        Raises:
            ToolArgumentError: the test reported nothing.
        """
        super().tearDown()
        if not self._has_reported:
            raise ToolArgumentError(
                f'the benchmark {self._name} reported nothing',
                mend='self.report_wall_time(seconds), self.report_metric(name, value)',
            )
        self._write_report()
        if self._failures:
            raise self.failureException('\n'.join(self._failures))

    def __getattribute__(self, name: str) -> Any:
        """Assertions that note that they fail, and go on."""
        value = super().__getattribute__(name)
        if name.startswith('assert') and callable(value):
            return functools.partial(self._noted, value)
        return value

    def _noted(self, assertion: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return assertion(*args, **kwargs)
        except self.failureException as failure:
            self._failures.append(str(failure))
            return None

    @property
    def _name(self) -> str:
        return f'{type(self).__name__}.{self._testMethodName}'

    @property
    def _folder(self) -> str | None:
        return flags.FLAGS[FLAG].value

    def get_tmp_model_dir(self) -> str:
        """A folder for the files of this test; it is made if it is not there."""
        folder = os.path.join(self._folder or tempfile.mkdtemp(), self._name)
        os.makedirs(folder, exist_ok=True)
        return folder

    def has_outstanding_fails(self) -> bool:
        """Tells whether an assertion of this test has failed."""
        return bool(self._failures)

    def read_summaries(self, path: str) -> dict[str, list[tuple[float, int, float]]]:
        """The numbers in TensorBoard's files in a folder: (wall time, step, value) by tag.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        return read_scalars(path)

    def report_wall_time(self, wall_time: float) -> None:
        """Reports how long the test took, in seconds."""
        self._has_reported = True
        self._wall_time = wall_time

    def report_metrics(self, metrics: Mapping[str, float]) -> None:
        """Reports several numbers by name."""
        self._has_reported = True
        self._metrics.update(metrics)

    def report_metric(self, name: str, value: float) -> None:
        """Reports a number."""
        self.report_metrics({name: value})

    def report_extras(self, extras: Mapping[str, str]) -> None:
        """Reports several other facts, such as the name of the machine."""
        self._has_reported = True
        self._extras.update(extras)

    def report_extra(self, name: str, value: str) -> None:
        """Reports another fact."""
        self.report_extras({name: value})

    def _write_report(self) -> None:
        extras = dict(self._extras)
        if self._failures:
            extras['failed_assertions'] = '\n'.join(self._failures)
        report: dict[str, Any] = {
            'name': self._name,
            'succeeded': not self._failures,
            'metrics': self._metrics,
            'extras': extras,
        }
        if self._wall_time is not None:
            report['wall_time'] = self._wall_time
        text = json.dumps(report)
        logging.info(text)
        if self._folder:
            os.makedirs(self._folder, exist_ok=True)
            with open(os.path.join(self._folder, f'{self._name}.json'), 'w') as file:
                file.write(text)

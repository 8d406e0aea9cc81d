"""Reports: what is on the page, whatever the numbers and texts are."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import json
import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib import image

from linnet.core.meta import Partitioned
from linnet.errors.training import TrainOptionError
from linnet.train import Confusion, HtmlReport, Sample, Settings, Trainer
from linnet.train._report_curves import MOST_POINTS, Series, means, thin
from linnet.train._report_images import image_address
from tests.train.toys import Line, batches, regress

BAD = '<script>alert("&\')</script>'


def read(report: HtmlReport) -> str:
    return report.path.read_text(encoding='utf-8')


def charts(page: str) -> dict[str, dict[str, list[Any]]]:
    """The points of each chart, by metric and series."""
    found = re.findall(r'<h3>(.*?)</h3>.*?data-series="(.*?)"', page)
    return {
        metric: {one['name']: one['points'] for one in json.loads(html.unescape(data))}
        for metric, data in found
    }


@pytest.fixture
def report(tmp_path: Path) -> HtmlReport:
    return HtmlReport(tmp_path / 'run' / 'report.html')


def test_a_page_shows_figures_curves_settings_and_parameters(tmp_path: Path) -> None:
    settings = Settings(steps=20, out=tmp_path)
    report = HtmlReport(tmp_path / 'report.html', settings, title='A run')
    rows = [
        {'step': 10, 'epoch': 0, 'loss': 2.0, 'accuracy': 0.25, 'steps_per_second': 1234.5},
        {'step': 20, 'epoch': 1, 'loss': 1.0, 'accuracy': 0.5, 'steps_per_second': 2000.0},
        {'step': 20, 'epoch': 1, 'valid_loss': 1.5},
    ]
    kernel = Partitioned(jnp.zeros((3, 4), jnp.bfloat16), ('in', 'out'))  # type: ignore[arg-type]
    report.save(rows, {'batch_stats': {'mean': jnp.zeros(())}, 'params': {'kernel': kernel}})
    page = read(report)
    assert '<title>A run</title>' in page
    assert re.findall(r'<dt>(.*?)</dt><dd>(.*?)</dd>', page) == [
        ('valid loss', '1.5'),
        ('loss', '1'),
        ('accuracy', '0.5'),
        ('steps per second', '2,000'),
    ]
    found = charts(page)
    assert list(found) == ['loss', 'accuracy', 'steps per second']
    assert [point[2:] for point in found['loss']['train']] == [[10, '2'], [20, '1']]
    assert [point[2:] for point in found['loss']['valid']] == [[20, '1.5']]
    assert '<th scope="row">steps</th><td>20</td>' in page
    assert re.search(r'<th scope="row">jax</th><td>\d+\.\d+', page)
    paths = re.findall(r'<th scope="row">(\w+/<wbr>\w+)</th><td>(.*?)</td><td>(.*?)</td>', page)
    assert paths == [
        ('params/<wbr>kernel', '(3, 4)', 'bfloat16'),
        ('batch_stats/<wbr>mean', '()', 'float32'),
    ]
    assert '2 arrays, 13 elements' in page
    assert [path.name for path in tmp_path.iterdir()] == ['report.html']


def test_all_text_is_escaped(tmp_path: Path) -> None:
    report = HtmlReport(tmp_path / 'report.html', {BAD: BAD}, title=BAD)
    report.save([{'step': 1, BAD: 1.0}], {BAD: {BAD: np.zeros(2)}})
    confusion = Confusion([[1, 0], [2, 0]], [BAD, BAD])
    samples = [Sample(BAD, BAD), Sample(np.zeros((2, 2)), BAD)]
    report.add({BAD: 1.0}, confusion=confusion, samples=samples)
    page = read(report)
    assert page.count('<script') == 1
    assert page.count('</script>') == 1
    assert page.count(html.escape(BAD).replace('/', '/<wbr>')) >= 1
    assert page.count(html.escape(BAD)) > 10


def test_what_is_added_later_is_on_the_page(report: HtmlReport) -> None:
    report.save([{'step': 1, 'loss': 1.0}])
    report.add({'test accuracy': np.float32(0.75)}, confusion=Confusion.of([0, 1, 1], [0, 0, 1], 2))
    report.add(samples=[Sample('1+1 = 2', right=True), Sample('1+1 = 3', 'is 2', right=False)])
    page = read(report)
    assert page.index('<dt>test accuracy</dt><dd>0.75</dd>') < page.index('<dt>loss</dt>')
    assert '2 of 3 right' in page
    assert re.findall(r'class="recall">(.*?)<', page) == ['100.0%', '50.0%']
    assert re.findall(r'<figure class="sample (\w+)"><pre>(.*?)</pre>', page) == [
        ('right', '1+1 = 2'),
        ('wrong', '1+1 = 3'),
    ]


@pytest.mark.parametrize(
    'rows',
    [
        [],
        [{'step': 0}],
        [{'step': 0, 'loss': 1.0}],
        [{'step': 7, 'loss': np.nan}],
        [{'step': 1, 'loss': 0.0}, {'step': 2, 'loss': 0.0}],
        [{'step': 1, 'loss': -np.inf}, {'step': 2, 'loss': 1e30}, {'step': 3, 'loss': 1e-30}],
        [{'step': 3_000_000, 'loss': 1e7}, {'step': 4_000_000, 'loss': 3e7}],
    ],
)
def test_any_rows_make_a_page(report: HtmlReport, rows: list[dict[str, float]]) -> None:
    report.save(rows)
    page = read(report)
    assert ('No numbers came' in page) == (not any('loss' in row for row in rows))
    drawn = ''.join(re.findall(r' d="(.*?)"', page) + re.findall(r'(?:left|top):(.*?)%', page))
    assert 'nan' not in drawn
    assert 'inf' not in drawn


def test_numbers_that_are_not_finite_leave_a_gap_and_a_mark(report: HtmlReport) -> None:
    losses = [1.0, 2.0, np.nan, 1.0, 2.0, np.inf]
    report.save([{'step': i, 'loss': loss} for i, loss in enumerate(losses)])
    page = read(report)
    (line,) = re.findall(r'<path class="line train" d="(.*?)"', page)
    assert [part.count('L') for part in line.split('M')[1:]] == [1, 1]
    (marks,) = re.findall(r'<path class="marks train" d="(.*?)"', page)
    assert marks == 'M400 0v45M1000 0v45'
    assert [point[3] for point in charts(page)['loss']['train']][2:] == ['nan', '1', '2', 'inf']


def test_a_loss_that_falls_far_is_drawn_by_its_logarithm(report: HtmlReport) -> None:
    report.save([{'step': i, 'loss': 10.0**-i, 'size': 10.0**-i} for i in range(5)])
    page = read(report)
    assert page.count('log scale') == 1
    points = charts(page)
    heights = np.diff([point[1] for point in points['loss']['train']])
    np.testing.assert_allclose(heights, heights[0], atol=0.2)
    assert np.ptp(np.diff([point[1] for point in points['size']['train']])) > 100


def test_a_long_run_is_thinned_and_keeps_its_spikes(report: HtmlReport) -> None:
    values = np.ones(100_000)
    values[[777, 50_000, 90_001]] = 9.0, -9.0, np.nan
    report.save([{'step': i, 'loss': value} for i, value in enumerate(values.tolist())])
    page = read(report)
    points = charts(page)['loss']['train']
    assert len(points) <= MOST_POINTS
    assert {point[3] for point in points} == {'1', '9', '-9', 'nan'}
    assert [point[2] for point in points if point[3] == '9'] == [777]
    assert '<path class="all train"' in page
    assert len(page) < 100_000


def test_thinning_and_means() -> None:
    steps = np.arange(1000.0)
    series = Series('train', steps, np.where(steps % 2, 3.0, 1.0))
    assert thin(series, most=1000) is series
    thinned = thin(series, most=100)
    assert len(thinned.steps) <= 100
    assert set(thinned.values) == {1.0, 3.0}
    assert (thinned.steps[0], thinned.steps[-1]) == (0, 999)
    np.testing.assert_array_equal(means(series, 10).values, np.full(10, 2.0))
    bad = Series('train', steps, np.full(1000, np.nan))
    assert means(bad).steps.size == 0
    assert len(thin(bad).steps) <= MOST_POINTS


@pytest.mark.parametrize('channels', [(), (1,), (3,), (4,)])
def test_images_are_what_they_were(channels: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, *channels)).astype(np.uint8)
    kind, data = image_address(pixels).split(',')
    assert kind == 'data:image/png;base64'
    seen = image.imread(io.BytesIO(base64.b64decode(data)))
    np.testing.assert_array_equal(
        np.round(seen * 255), pixels[..., 0] if channels == (1,) else pixels
    )
    assert image_address(pixels / 255) == image_address(pixels)


def test_numbers_beyond_black_and_white_are_cut() -> None:
    cut = np.array([[0, 255, 0]], np.uint8)
    assert image_address(jnp.array([[-1.0, 2.0, jnp.nan]])) == image_address(cut)


def test_what_is_no_image_is_an_error_and_leaves_the_page(report: HtmlReport) -> None:
    report.save([{'step': 1, 'loss': 1.0}])
    before = read(report)
    with pytest.raises(TrainOptionError, match=r'an array of shape \(2, 2, 5\), no image'):
        report.add(samples=[Sample(np.zeros((2, 2, 5)))])
    assert read(report) == before


def test_confusion_is_square_and_named() -> None:
    with pytest.raises(TrainOptionError, match=r'the shape \(2, 3\)'):
        Confusion(np.zeros((2, 3), int))
    with pytest.raises(TrainOptionError, match='2 classes have 1 names'):
        Confusion(np.zeros((2, 2), int), ['a'])
    assert Confusion(np.zeros((2, 2), int)).classes == (0, 1)


def test_a_class_that_never_came_has_no_share(report: HtmlReport) -> None:
    report.add(confusion=Confusion([[0, 0], [1, 3]]))
    assert re.findall(r'class="recall">(.*?)<', read(report)) == ['none', '75.0%']


def make_trainer(folder: Path, **options: Any) -> Trainer:
    report = HtmlReport(folder / 'report.html', {'rate': 0.1})
    options = {'streams': (), 'log_every': 1, 'progress': 'quiet', **options}
    return Trainer(Line(), regress, optax.sgd(0.1), report=report, **options)


def test_a_trainer_writes_it_when_fit_ends(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.fit(batches(), steps=3, valid=batches())
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    points = charts(page)['loss']
    assert [point[2] for point in points['train']] == [1, 2, 3]
    assert [point[2] for point in points['valid']] == [3]
    assert '2 arrays, 4 elements' in page


@pytest.mark.parametrize('error', [KeyboardInterrupt, RuntimeError])
def test_a_run_that_is_stopped_leaves_what_there_is(tmp_path: Path, error: Any) -> None:
    def stop(trainer: Trainer, row: dict[str, float]) -> None:
        if row['step'] == 2:
            raise error

    with pytest.raises(error):
        make_trainer(tmp_path, hooks=[stop]).fit(batches(), epochs=2)
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    assert [point[2] for point in charts(page)['loss']['train']] == [1, 2]


def test_a_resumed_run_shows_the_rows_before(tmp_path: Path) -> None:
    folder = str(tmp_path / 'checkpoints')
    first = make_trainer(tmp_path, checkpoints=folder)
    first.fit(batches(), steps=2)
    second = make_trainer(tmp_path, checkpoints=folder)
    added = second.fit(batches(), steps=4, resume=True)
    assert [row['step'] for row in added] == [3, 4]
    assert second.history[:2] == first.history
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    assert [point[2] for point in charts(page)['loss']['train']] == [1, 2, 3, 4]


def test_a_setting_is_shown_as_it_is(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Own(Settings):
        rate: float = 1e-5

    HtmlReport(tmp_path / 'report.html', Own()).save([])
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    assert '<th scope="row">rate</th><td>1e-05</td>' in page
    assert f'<title>{tmp_path.name}</title>' in page

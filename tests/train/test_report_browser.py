"""A report in a real browser: in light and dark, on a desk and on a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from linnet.train import Confusion, HtmlReport, Sample

BROWSER, DRIVER = (shutil.which(name) for name in ('chromium', 'chromedriver'))
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars
    --disable-background-networking --disable-component-update --disable-sync
"""
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason='there is no chromium with its chromedriver'
)

# Of each text that is seen: the contrast with what lies behind it, as WCAG 2.2 defines it.
CONTRASTS = """
const canvas = document.createElement('canvas');
const context = canvas.getContext('2d', { willReadFrequently: true });
const rgba = (color) => {
  context.clearRect(0, 0, 1, 1);
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = ([r, g, b, a], below) => [r, g, b].map((x, i) => x * a + below[i] * (1 - a));
const behind = (element) => {
  const below = element.parentElement ? behind(element.parentElement) : [255, 255, 255];
  return over(rgba(getComputedStyle(element).backgroundColor), below);
};
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((x) => x / 255).map(
    (x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
  const below = behind(element);
  const ink = over(rgba(getComputedStyle(element).color), below);
  const [dark, light] = [luminance(ink), luminance(below)].sort((a, b) => a - b);
  found.push([(light + 0.05) / (dark + 0.05), walker.currentNode.data.trim()]);
}
return found;
"""


@pytest.fixture(scope='module')
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with everything in it."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp('report') / 'report.html'
    settings = {'data': 'a/long/path/without/any/space/' * 8, 'rate': 1e-3}
    report = HtmlReport(path, settings, title='A run with a_rather_long_title_' + 'x' * 60)
    rows: list[dict[str, float]] = []
    for step in range(10, 1010, 10):
        loss = 3 * float(np.exp(-step / 150)) + 0.01
        rows.append({'step': step, 'loss': loss, 'accuracy': 1 - loss / 4, 'steps_per_second': 90})
        if step % 100 == 0:
            rows.append({'step': step, 'valid_loss': loss * 1.1, 'valid_accuracy': 1 - loss / 3})
    rows.append({'step': 1010, 'loss': float('nan')})
    layers = {f'Block_{i}': {'kernel': np.zeros((3, 3, 64, 64))} for i in range(8)}
    report.save(rows, {'params': {'Encoder_0': {'SelfAttention_0': layers}}})
    report.add(
        {'test accuracy': 0.987},
        confusion=Confusion.of(rng.integers(0, 12, 300), rng.integers(0, 12, 300), 12),
        samples=[
            Sample('a sentence without end ' * 20, '0.98 positive', True),
            Sample(rng.random((8, 8)), 'is 3, read 8', False),
            Sample(rng.random((8, 8, 3)), 'is 3', True),
        ],
    )
    return path.as_uri()


@pytest.fixture(scope='module')
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in [*FLAGS.split(), f'--user-data-dir={tmp_path_factory.mktemp("profile")}']:
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    driver = webdriver.Chrome(options, webdriver.ChromeService(executable_path=str(DRIVER)))
    yield driver
    driver.quit()


def open_page(browser: WebDriver, address: str, scheme: str, width: int) -> None:
    """Opens a page as a screen of this width and a reader's choice of colors show it."""
    screen = {'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': width < 500}
    browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', screen)
    feature = {'name': 'prefers-color-scheme', 'value': scheme}
    browser.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': [feature]})
    for log in ('browser', 'performance'):
        browser.get_log(log)  # what came before
    browser.get(address)


def requests(browser: WebDriver, address: str) -> list[str]:
    """The addresses that a page asked for, without what is in the page itself."""
    events = [json.loads(entry['message'])['message'] for entry in browser.get_log('performance')]
    sent = [e['params'] for e in events if e['method'] == 'Network.requestWillBeSent']
    # What a browser that has just started asks for on its own is another document's.
    urls = [params['request']['url'] for params in sent if params['documentURL'] == address]
    return [url for url in urls if not url.startswith('data:')]


def wait_until(browser: WebDriver, condition: Callable[[], bool]) -> None:
    """Waits for what a busy machine may show a moment later."""
    WebDriverWait(browser, 20).until(lambda _: condition())


def too_faint(browser: WebDriver) -> list[Any]:
    """Texts whose contrast is below 4.5, what a small text needs."""
    found = browser.execute_script(CONTRASTS)
    assert len(found) > 100
    return [text for text in found if text[0] < 4.5]


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 390])
def test_it_can_be_read(browser: WebDriver, address: str, scheme: str, width: int) -> None:
    open_page(browser, address, scheme, width)
    assert browser.get_log('browser') == []
    assert requests(browser, address) == [address]
    assert browser.execute_script('return document.documentElement.scrollWidth') == width
    assert too_faint(browser) == []
    ground = browser.execute_script('return getComputedStyle(document.body).backgroundColor')
    is_dark = max(map(int, ground.removeprefix('rgb(').removesuffix(')').split(','))) < 64
    assert is_dark == (scheme == 'dark')


def test_curves_have_points(browser: WebDriver, address: str) -> None:
    open_page(browser, address, 'light', 1280)
    lines = browser.execute_script("""
        return [...document.querySelectorAll('.plot')].map((plot) => [
          JSON.parse(plot.dataset.series).map(({ points }) => points.length),
          [...plot.querySelectorAll('.line')].map((line) => line.getTotalLength()),
          plot.querySelector('svg').getBoundingClientRect().width,
        ])""")
    assert [points for points, _, _ in lines] == [[101, 10], [100, 10], [100]]
    for points, lengths, width in lines:
        assert len(lengths) == len(points)
        assert min(lengths) > 800
        assert width > 300
    sizes = browser.execute_script(
        'return [...document.images].map((image) => [image.naturalWidth, image.naturalHeight])'
    )
    assert sizes == [[8, 8], [8, 8]]


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_the_numbers_under_the_pointer_are_shown(
    browser: WebDriver, address: str, scheme: str
) -> None:
    open_page(browser, address, scheme, 1280)
    plot = browser.find_element(By.CSS_SELECTOR, '.plot')
    tip = plot.find_element(By.CSS_SELECTOR, '.tip')
    assert not tip.is_displayed()
    # Twice: a pointer that stands where a page is opened has not moved on it.
    for offset in (40, 0):
        ActionChains(browser).move_to_element_with_offset(plot, offset, 0).perform()
    wait_until(browser, tip.is_displayed)
    assert tip.text.splitlines()[0] in ('step 500', 'step 510')
    assert tip.text.splitlines()[1].startswith('train 0.1')
    assert tip.text.splitlines()[2].startswith('valid 0.1')
    assert too_faint(browser) == []
    ActionChains(browser).move_to_element(browser.find_element(By.TAG_NAME, 'h1')).perform()
    wait_until(browser, lambda: not tip.is_displayed())


def test_faint_text_would_be_found(browser: WebDriver, address: str) -> None:
    open_page(browser, address, 'light', 1280)
    browser.execute_script("document.querySelector('h1').style.color = '#999'")
    assert [text for _, text in too_faint(browser)] == [browser.title]

"""The language model, run as a person runs it; and what it writes is what it would foresee."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
DEEP = os.environ.get('LINNET_DEEP') == '1'


def run(out: Path, *arguments: str, fast: bool = True) -> tuple[dict[str, float], str]:
    """Runs the example to its end; returns its bits a character, and all that it prints."""
    script = 'examples/language_model/train.py'
    command = (sys.executable, '-W', 'error', script, '--out', str(out), *arguments)
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT / 'src')}
    if fast:  # most of a short run is compiling
        environment['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = re.findall(r'^(transformer|pairs|bzip2) +([\d.]+)$', done.stdout, re.MULTILINE)
    assert len(found) == 3, done.stdout
    return {name: float(bits) for name, bits in found}, done.stdout


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The files ``model`` and ``text`` of the example."""
    monkeypatch.syspath_prepend(str(ROOT / 'examples' / 'language_model'))
    names = ('model', 'text')
    for name in names:
        sys.modules.pop(name, None)
    yield {name: importlib.import_module(name) for name in names}
    for name in names:
        del sys.modules[name]


def test_it_learns_a_text_and_goes_on_where_the_prompt_ends(tmp_path: Path) -> None:
    text = tmp_path / 'text.txt'
    drawn = np.random.default_rng(0).choice(['spring ', 'summer ', 'autumn ', 'winter\n'], 2000)
    text.write_text(''.join(drawn), encoding='utf-8')
    short = (f'text={text}', 'steps=80', 'width=32', 'layers=1', 'length=32', 'prompt=wint')
    bits, printed = run(tmp_path / 'out', *(word for pair in short for word in ('--set', pair)))
    # One word of four is 2 bits for 7 characters; a window that begins within one asks for more.
    assert 2 / 7 <= bits['transformer'] < 0.6 * bits['pairs']
    assert printed.count('\n---\nwint') == 3
    page = (tmp_path / 'out' / 'report.html').read_text(encoding='utf-8')
    assert page.count('written by the network') == 3


def test_greedy_decoding_with_the_cache_is_the_argmax_of_the_whole(
    files: dict[str, ModuleType],
) -> None:
    model, write = files['model'].LanguageModel(11, width=16, layers=1), files['model'].write
    prompt = np.full((2, 12), -1)
    prompt[:, :3] = [[1, 2, 3], [4, 5, 6]]
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(prompt))['params']
    rng = np.random.default_rng(2)  # new blocks do nothing, so these are no new ones
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), shapes)
    params['Dense_0']['bias'] *= 0

    written = write(model, params, jax.random.key(2), prompt, 0.0, 1)
    np.testing.assert_array_equal(written[:, :3], prompt[:, :3])
    read = jax.jit(model.apply)
    foreseen = read({'params': params}, written).argmax(-1)
    np.testing.assert_array_equal(written[:, 3:], foreseen[:, 2:-1])
    pairs = {(a, b) for row in written.tolist() for a, b in itertools.pairwise(row)}
    assert {(9, 1), (9, 9), (1, 9), (1, 1)} <= pairs  # it looks further back than one character

    one, again, other = (
        np.asarray(write(model, params, jax.random.key(seed), prompt, 2.0, 3)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    likeliest = np.argsort(-read({'params': params}, one), axis=-1)[:, 2:-1, :3]
    assert (likeliest == one[:, 3:, None]).any(-1).all()
    assert (likeliest[..., 0] != one[:, 3:]).any()


def test_each_character_follows_once(files: dict[str, ModuleType]) -> None:
    text, codes = files['text'], np.arange(1, 11)
    for length in (2, 3, 9, 20):
        rows = text.windows(codes, length)
        assert rows.shape[1] == length + 1
        assert rows[:, 1:][rows[:, 1:] >= 0].tolist() == list(range(2, 11))
        assert (rows[:, 0] == rows[:, 1] - 1).all()
    one, again, other = (
        np.concatenate(text.shuffled(np.arange(100), 8, 3, *seed))
        for seed in ((0, 1), (0, 1), (0, 2))
    )
    assert one.shape == (9, 9)
    assert (np.diff(one) == 1).all()
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_the_text_that_python_ships_is_parted_and_not_repeated(
    files: dict[str, ModuleType],
) -> None:
    corpus = files['text'].read_corpus(None)
    sizes = [len(part) for part in corpus[1:]]
    assert sum(sizes) > 300_000
    assert sizes[1] == pytest.approx(sum(sizes) / 20, abs=1)
    assert sizes[2] == pytest.approx(sum(sizes) / 20, abs=1)
    paragraphs = corpus.decode(np.concatenate(corpus[1:])).split('\n\n')
    assert len(set(paragraphs)) > 0.99 * len(paragraphs)
    bits = files['text'].baselines(corpus)
    assert 2.0 < bits['bzip2'] < bits['pairs'] < 4.0


@pytest.mark.skipif(not DEEP, reason='a whole run; LINNET_DEEP=1 makes it')
def test_a_whole_run_needs_fewer_bits_than_bzip2(tmp_path: Path) -> None:
    bits, _ = run(tmp_path, fast=False)
    assert bits['transformer'] < 2.0 < bits['bzip2'] < bits['pairs']

"""The numbers of each layer stay those of the golden files, and those are the oracle's.

So they are pinned where the oracle is not installed, and a release of JAX that changes them is
seen. ``python -m tests.golden.make`` writes the files.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import linnet.linen as nn
from tests.golden import cases
from tests.golden.cases import CASES, Numbers
from tests.layer_table import LAYERS

pytestmark = pytest.mark.filterwarnings(
    'ignore::DeprecationWarning', 'ignore:The Fp8DotGeneralOp is deprecated'
)

# Which instructions XLA picks depends on its version and on the CPU: whether a product and a sum
# are rounded once or twice, in what order a sum is taken, how exp is approximated. So the last bits
# of outputs and gradients differ, and those alone. Of elements near zero, where terms of about 1
# cancel, atol leaves as little. That every bit is the oracle's is for tests/parity to check.
LAST_BITS = {'rtol': 1e-6, 'atol': 1e-7}


@functools.cache
def jax_draws_the_same_bits() -> bool:
    """Whether JAX alone draws on this machine what it drew where the files were made.

    It does under all supported versions on one kind of CPU. Elsewhere LAPACK, in ``orthogonal``, or
    a CPU that cannot multiply and add in one instruction may give other last bits.
    """
    drawn, golden = cases.flat(cases.drawn_by_jax()), cases.read('jax')
    return all(np.array_equal(drawn[path], golden[path]) for path in golden)


def assert_golden(name: str, nn: Any) -> None:
    """Asserts that a layer gives the numbers of its file, from the parameters in the file."""
    golden, made = cases.read(name), cases.init(name, nn)
    found = cases.flat({'variables': made, **cases.apply(name, cases.stored(made, golden), nn)})
    assert list(found) == list(golden)
    for path, expected in golden.items():
        x = found[path]
        assert (x.dtype, x.shape) == (expected.dtype, expected.shape), path
        if not path.startswith('variables/'):
            np.testing.assert_allclose(x, expected, **LAST_BITS, err_msg=path)
        elif jax_draws_the_same_bits():
            np.testing.assert_array_equal(x, expected, err_msg=path)
        else:
            np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6, err_msg=path)


def assert_same_masks(found: Numbers, golden: Numbers) -> None:
    assert list(found) == list(golden)
    for path, expected in golden.items():
        np.testing.assert_array_equal(found[path], expected, err_msg=path, strict=True)


@pytest.mark.parametrize('name', CASES)
def test_layer(name: str) -> None:
    assert_golden(name, nn)


def test_masks() -> None:
    assert_same_masks(cases.flat(cases.masks()), cases.read('masks'))


@pytest.mark.parametrize('name', [*(name for name in CASES if name != 'Stack'), 'masks'])
def test_the_oracle_gives_the_same(name: str) -> None:
    """But for Stack, which it lacks."""
    reason = 'flax, the oracle, is not installed'
    oracle = pytest.importorskip('flax.linen', reason=reason)
    if name == 'masks':
        assert_same_masks(cases.flat(cases.masks(oracle)), cases.read('masks'))
    else:
        assert_golden(name, oracle)


def test_every_layer_has_a_file() -> None:
    assert sorted(CASES) == sorted(LAYERS)
    files = list(cases.DATA.iterdir())
    assert {path.name for path in files} == {f'{name}.msgpack' for name in [*CASES, 'masks', 'jax']}
    assert sum(path.stat().st_size for path in files) < 100_000

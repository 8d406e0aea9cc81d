"""Linnet's numbers on the device at hand, against Flax's there and against plain formulas.

python -m tests.on_accelerator

The tests run on a CPU; this is for an accelerator, where XLA makes other programs. Prints a line
for each comparison, and fails if one of them is not what it should be.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

if __name__ == '__main__':
    # Of one product XLA else takes now this algorithm and now that, whichever was faster.
    fixed = ' --xla_gpu_autotune_level=0 --xla_gpu_deterministic_ops=true'
    os.environ['XLA_FLAGS'] = os.environ.get('XLA_FLAGS', '') + fixed

import jax
import jax.numpy as jnp
import numpy as np

import linnet.linen as nn
from benchmarks import cases, models
from linnet.configurations import config

SCALE = dataclasses.replace(models.QUICK, layers=3, stages=(1, 1), filters=16, steps=32)
Line = tuple[str, str, bool]
"""What is compared, what came out, and whether that is as it should be."""


def _equal(what: str, ours: Any, theirs: Any) -> Line:
    """Two trees are one, bit for bit."""
    pairs = [
        (np.asarray(a), np.asarray(b))
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    ]
    same = sum(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)
    far = max(_distance(a, b) for a, b in pairs)
    detail = '' if same == len(pairs) else f', others differ by up to {far:.1e}'
    return what, f'{same} of {len(pairs)} arrays equal to the bit{detail}', same == len(pairs)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    if a.shape != b.shape:
        return np.inf
    return float(np.max(np.abs(a.astype(float) - b.astype(float)), initial=0))


def _near(what: str, ours: Any, theirs: Any, limit: float) -> Line:
    """Two arrays differ by little, as a part of the norm."""
    a, b = (np.asarray(x, np.float64) for x in (ours, theirs))
    error = float(np.linalg.norm(a - b) / np.linalg.norm(b))
    return what, f'relative error {error:.1e} (at most {limit:g})', error <= limit


def inits(oracle: Any) -> Iterator[Line]:
    """The parameters of models, made eagerly and in a compiled program."""
    for name in ('transformer', 'ResNet-50', 'seq2seq'):
        ours, theirs = (models.linen_model(lib, name, SCALE) for lib in (nn, oracle))
        key = jax.random.key(7)
        wanted = theirs.init(key)
        yield _equal(f'init, {name}', ours.init(key), wanted)
        yield _equal(f'jit(init), {name}', jax.jit(ours.init)(key), jax.jit(theirs.init)(key))


def steps(oracle: Any) -> Iterator[Line]:
    """Forward passes and training steps with dropout and statistics, compiled."""
    for name in ('transformer', 'ResNet-50', 'seq2seq', 'MLP'):
        for what in ('forward', 'training step'):
            made = []
            for library in (nn, oracle):
                model = models.linen_model(library, name, SCALE)
                fn, args = cases._steps(model)[what]
                made.append(jax.jit(fn)(*args))
            yield _equal(f'{what}, {name}', *made)
        fn, args = cases._steps(models.linen_model(nn, name, SCALE))['training step']
        with config.temp_flip_flag('linnet_reuse_traces', False):
            plain = jax.jit(lambda *args, fn=fn: fn(*args))(*args)
        yield _equal(f'the same without blocks met again, {name}', made[0], plain)


def recurrent(oracle: Any) -> Iterator[Line]:
    """Every cell, over time."""
    x = jax.random.normal(jax.random.key(1), (4, SCALE.steps, 32))
    for name in ('SimpleCell', 'MGUCell', 'GRUCell', 'LSTMCell', 'OptimizedLSTMCell'):
        variables = jax.jit(oracle.RNN(getattr(oracle, name)(32)).init)(jax.random.key(0), x)

        def both(layer: Any, variables: Any = variables) -> list[Any]:
            return [jax.jit(fn)(variables, x) for fn in cases._ways(layer).values()]

        wanted = both(oracle.RNN(getattr(oracle, name)(32)))
        layer = nn.RNN(getattr(nn, name)(32), hoist_inputs=False)
        yield _equal(f'RNN of {name}, forward and gradient', both(layer), wanted)
        hoisted = both(layer.clone(hoist_inputs=True))
        for a, b in zip(jax.tree.leaves(hoisted), jax.tree.leaves(wanted), strict=True):
            yield _near(f'RNN of {name}, inputs hoisted, {b.shape}', a, b, 2e-3)


def dropout(oracle: Any) -> Iterator[Line]:
    """Masks: Flax's, and the fast ones, which are those of a CPU."""

    def drop(layer: Any) -> Any:
        x, key = jnp.ones((1024, 1000)), jax.random.key(3)
        return jax.jit(lambda key, x: layer.apply({}, x, rngs={'dropout': key}))(key, x)

    options = {'deterministic': False}
    for rate in (0.1, 0.5, 0.73):
        masks = [drop(library.Dropout(rate, **options)) for library in (nn, oracle)]
        yield _equal(f'Dropout({rate})', *masks)
        layer = nn.Dropout(rate, **options, fast_mask=True)
        with jax.default_device(jax.local_devices(backend='cpu')[0]):
            of_cpu = drop(layer)
        yield _equal(f'Dropout({rate}, fast_mask=True), device and CPU', drop(layer), of_cpu)


def attention() -> Iterator[Line]:
    """Fused and chunked attention against the plain formula in float32."""
    exact = functools.partial(nn.dot_product_attention, precision='highest')
    keys = jax.random.split(jax.random.key(5), 4)
    for heads, groups, length, depth in ((4, 4, 256, 64), (8, 2, 192, 32)):
        q, k, v, w = (
            jax.random.normal(key, (2, length, n, depth))
            for key, n in zip(keys, (heads, groups, groups, heads), strict=True)
        )
        for causal in (False, True):
            mask = nn.make_causal_mask(jnp.ones((2, length))) if causal else None

            def plain(q: Any, k: Any, v: Any, mask: Any = mask, n: int = heads // groups) -> Any:
                return exact(q, jnp.repeat(k, n, 2), jnp.repeat(v, n, 2), mask=mask)

            for name, fn, dtype, limit in (
                ('fused', nn.fused_attention, jnp.bfloat16, 1e-2),
                ('fused', nn.fused_attention, jnp.float32, 2e-3),
                ('chunked', nn.chunked_attention, jnp.float32, 2e-3),
            ):
                run = functools.partial(fn, causal=causal)
                half = [x.astype(dtype) for x in (q, k, v)]
                whole = [x.astype(jnp.float32) for x in half]
                what = f'{name}, {dtype.__name__}, {heads} heads of {groups}, causal={causal}'
                yield _near(what, jax.jit(run)(*half), jax.jit(plain)(*whole), limit)
                ours, theirs = (_gradient(f, w) for f in (run, plain))
                for argument, a, b in zip('qkv', ours(*half), theirs(*whole), strict=True):
                    yield _near(f'{what}, gradient of {argument}', a, b, limit)


def _gradient(fn: Any, weights: Any) -> Any:
    """The gradient of a weighted sum of what a function of three arrays gives."""
    return jax.jit(jax.grad(lambda *x: jnp.sum(fn(*x).astype(float) * weights), (0, 1, 2)))


def main() -> int:
    """Compares everything; returns the status to exit with."""
    oracle = importlib.import_module('flax.linen')
    print(f'{jax.devices()[0].device_kind}, jax {jax.__version__}')
    failures = 0
    # What GPUs do by default and Flax does not is compared on its own.
    with config.temp_flip_flag('linnet_hoist_inputs', False):
        for part in (inits, steps, recurrent, dropout):
            for line in part(oracle):
                failures += _say(line)
    for line in attention():
        failures += _say(line)
    print(f'{failures} comparisons failed' if failures else 'all comparisons hold')
    return 1 if failures else 0


def _say(line: Line) -> bool:
    what, result, is_good = line
    print(f'{"ok  " if is_good else "BAD "} {what}: {result}', flush=True)
    return not is_good


if __name__ == '__main__':
    sys.exit(main())

"""What lifting costs: tracing a lifted transform against JAX's own around a module's ``apply``.

    python -m benchmarks.transforms [--runs 30] [--library flax]

The function inside is the same: one transformer block, a pure function of its parameters. The two
take turns in one process; printed are the medians of the processor time of a trace, and their
ratio. A second trace of the block to find shapes would show as a ratio near 2.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

LAYERS = 4
X = jnp.ones((2, 16, 32))


def make_block(nn: Any) -> Any:
    """A class of transformer blocks ``[batch, length, width] -> [batch, length, width]``."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = x + nn.MultiHeadDotProductAttention(num_heads=4)(nn.LayerNorm()(x))
            return x + nn.Dense(32)(nn.gelu(nn.Dense(128)(nn.LayerNorm()(x))))

    return Block


def pairs(nn: Any) -> dict[str, tuple[Callable[..., Any], Callable[..., Any], Any]]:
    """By transform: the lifted one and JAX's own, functions of ``(variables, x)``; variables."""
    block = make_block(nn)
    one = block().init(jax.random.key(0), X)
    many = jax.tree.map(lambda p: jnp.stack([p] * LAYERS), one)

    def apply(variables: Any, x: Any) -> Any:
        return block().apply(variables, x)

    split = {'params': True}
    vmapped = nn.vmap(block, variable_axes={'params': 0}, split_rngs=split, in_axes=None)
    scanned = nn.scan(
        lambda module, x, _: (module(x), None),
        variable_axes={'params': 0},
        split_rngs=split,
        length=LAYERS,
    )

    class Scanned(nn.Module):
        @nn.compact
        def __call__(self, x):
            return scanned(block(name='block'), x, None)[0]

    class Gradient(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.grad(lambda module, x: module(x).sum(), block(name='block'), x)

    def inside(variables: Any) -> Any:
        return {'params': {'block': variables['params']}}

    def scan(variables: Any, x: Any) -> Any:
        return jax.lax.scan(
            lambda x, p: (apply({'params': p['block']}, x), None), x, variables['params']
        )[0]

    def gradient(variables: Any, x: Any) -> Any:
        params = {'params': variables['params']['block']}
        return jax.grad(lambda x: apply(params, x).sum())(x)

    def afresh(transform: Callable[..., Any]) -> Callable[..., Any]:
        """JAX remembers what it has traced by the function."""
        return lambda v, x: transform(lambda v, x: apply(v, x))(v, x)

    return {
        'remat': (nn.remat(block)().apply, afresh(jax.checkpoint), one),
        'jit': (lambda v, x: nn.jit(block)().apply(v, x), afresh(jax.jit), one),
        'vmap': (vmapped().apply, jax.vmap(apply, in_axes=(0, None)), many),
        'scan': (Scanned().apply, scan, inside(many)),
        'grad': (Gradient().apply, gradient, inside(one)),
    }


def trace_time(fn: Callable[..., Any], variables: Any, repeats: int = 5) -> float:
    """The processor seconds of one trace, of a function that JAX has not seen yet."""
    start = time.process_time()
    for _ in range(repeats):
        jax.make_jaxpr(lambda *args: fn(*args))(variables, X)
    return (time.process_time() - start) / repeats


def rows(nn: Any, runs: int) -> Iterator[tuple[str, float, float, float]]:
    """For each transform its name, the milliseconds of both, and the median of their ratio."""
    for name, (lifted, own, variables) in pairs(nn).items():
        times = [
            (trace_time(lifted, variables), trace_time(own, variables)) for _ in range(runs + 1)
        ][1:]
        a, b = (1e3 * statistics.median(side) for side in zip(*times, strict=True))
        yield name, a, b, statistics.median(x / y for x, y in times)


def main() -> None:
    """Prints a row for each transform."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--runs', type=int, default=30)
    parser.add_argument('--library', choices=['linnet', 'flax'], default='linnet')
    options = parser.parse_args()
    nn = importlib.import_module(f'{options.library}.linen')
    print(f'{"transform":10} {"lifted":>8} {"own":>8} {"ratio":>6}   (ms)')
    for name, lifted, own, ratio in rows(nn, options.runs):
        print(f'{name:10} {lifted:8.2f} {own:8.2f} {ratio:6.3f}', flush=True)


if __name__ == '__main__':
    main()

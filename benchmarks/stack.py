"""Measures what a deep transformer costs to trace and compile, as a stack and unrolled.

python -m benchmarks.stack --runs 5

Every figure is a median of fresh compilations in one process, the models in turn. Then it prints
how far the two forms differ, on the same parameters, in outputs and gradients.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import linnet.linen as nn
from linnet.linen.stack import Stack, stack_layers, unstack_layers

WIDTH, LENGTH, VOCABULARY = 32, 16, 64


class Block(nn.Module):
    """A pre-norm transformer block."""

    @nn.compact
    def __call__(self, x: Any, mask: Any, train: bool) -> Any:
        """Attends and transforms: [batch, length, width] -> [batch, length, width]."""
        y = nn.MultiHeadDotProductAttention(num_heads=4)(nn.LayerNorm()(x), mask=mask)
        x = x + nn.Dropout(0.1)(y, deterministic=not train)
        y = nn.Dense(4 * WIDTH)(nn.LayerNorm()(x))
        y = nn.Dense(WIDTH)(nn.gelu(y))
        return x + nn.Dropout(0.1)(y, deterministic=not train)


class Transformer(nn.Module):
    """A language model of ``n`` blocks."""

    n: int
    scan: bool = True
    remat: bool = False

    @nn.compact
    def __call__(self, tokens: Any, train: bool = False) -> Any:
        """Predicts the next token: [batch, length] -> [batch, length, vocabulary]."""
        x = nn.Embed(VOCABULARY, WIDTH)(tokens)
        stack = Stack(Block(), self.n, scan=self.scan, remat=self.remat, name='blocks')
        x = stack(x, nn.make_causal_mask(tokens), train)
        return nn.Dense(VOCABULARY)(nn.LayerNorm()(x))


TOKENS = jnp.arange(2 * LENGTH).reshape(2, LENGTH) % VOCABULARY
KEYS = {'params': jax.random.key(0), 'dropout': jax.random.key(1)}


def loss(model: nn.Module, params: Any) -> Any:
    """The mean loss of a training step, dropout included."""
    logits = model.apply({'params': params}, TOKENS, train=True, rngs=KEYS)
    wanted = jax.nn.one_hot(TOKENS[:, 1:], VOCABULARY)
    return -jnp.mean(jnp.sum(wanted * jax.nn.log_softmax(logits[:, :-1]), axis=-1))


def programs(model: nn.Module) -> dict[str, Callable[[Any], Any]]:
    """What is compiled: by name, a function of the parameters."""
    return {
        'forward': lambda params: model.apply({'params': params}, TOKENS),
        'gradient': jax.grad(lambda params: loss(model, params)),
        'init': lambda _: model.init(KEYS, TOKENS),
    }


def seconds(program: Callable[[Any], Any], params: Any) -> tuple[float, float]:
    """The time to trace, and to lower and compile, a program that was never seen before."""
    start = time.perf_counter()
    traced = jax.jit(lambda params: program(params)).trace(params)
    middle = time.perf_counter()
    traced.lower().compile()
    return middle - start, time.perf_counter() - middle


def compile_times(models: dict[str, nn.Module], names: Sequence[str], runs: int) -> None:
    """Prints the medians for each program and model, and their ratios to the first model."""
    params = {
        name: jax.eval_shape(lambda m=model: m.init(KEYS, TOKENS))['params']
        for name, model in models.items()
    }
    print(f'{"":10} {"model":24} {"trace":>8} {"compile":>8} {"both":>8} {"ratio":>6}   (ms)')
    for program in names:
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
        for run in range(runs + 1):
            for name, model in models.items():
                measured = seconds(programs(model)[program], params[name])
                if run:  # the first one warms up caches of JAX that all share
                    times[name].append(measured)
        base = 0.0
        for name, all_runs in times.items():
            trace, build = (1e3 * statistics.median(part) for part in zip(*all_runs, strict=True))
            both = 1e3 * statistics.median(sum(run) for run in all_runs)
            base = base or both
            ratio = both / base
            print(f'{program:10} {name:24} {trace:8.0f} {build:8.0f} {both:8.0f} {ratio:6.2f}')


def differences(n: int) -> None:
    """Prints how far the forms differ on the same parameters."""
    stacked, unrolled = Transformer(n), Transformer(n, scan=False)
    params = jax.jit(unrolled.init)(KEYS, TOKENS)['params']
    whole = stack_layers(params, 'blocks')
    back = unstack_layers(whole, 'blocks')
    same = jax.tree.map(np.array_equal, params, back)
    print(f'unrolled -> stacked -> unrolled, bit for bit: {all(jax.tree.leaves(same))}')
    outputs = [
        jax.jit(lambda p, m=model: m.apply({'params': p}, TOKENS))(p)
        for model, p in ((stacked, whole), (unrolled, params))
    ]
    print(f'outputs of {n} blocks differ by {_largest(*outputs):.1e}')
    gradients = [
        jax.jit(jax.grad(lambda p, m=model: loss(m, p)))(p)
        for model, p in ((stacked, whole), (unrolled, params))
    ]
    print(
        f'gradients differ by {_largest(unstack_layers(gradients[0], "blocks"), gradients[1]):.1e}'
    )


def _largest(a: Any, b: Any) -> float:
    """The largest difference between two trees."""
    return max(jax.tree.leaves(jax.tree.map(lambda x, y: float(jnp.abs(x - y).max()), a, b)))


def main() -> None:
    """Prints the table, then the differences."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--unrolled', action='store_true', help='measure the other form, too')
    parser.add_argument('--programs', nargs='+', default=['forward', 'gradient', 'init'])
    options = parser.parse_args()
    models: dict[str, nn.Module] = {
        'Stack of 4': Transformer(4),
        'Stack of 48': Transformer(48),
        'Stack of 48, remat': Transformer(48, remat=True),
    }
    if options.unrolled:
        models['unrolled, 4'] = Transformer(4, scan=False)
        models['unrolled, 48'] = Transformer(48, scan=False)
    compile_times(models, options.programs, options.runs)
    differences(6)


if __name__ == '__main__':
    main()

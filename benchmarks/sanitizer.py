"""What the sanitizer costs: a training step of a transformer, watched and not watched.

    python -m benchmarks.sanitizer

The steps alternate, so that both meet the same machine; medians and their ratio are printed, and
the same of the time to trace and compile.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import optax

import linnet.linen as nn
from linnet.checks import sanitize

MOST = 3.0  # what a watched step may take, of one that is not


class Block(nn.Module):
    width: int
    heads: int = 4

    @nn.compact
    def __call__(self, x, mask, train):
        y = nn.MultiHeadDotProductAttention(self.heads, dropout_rate=0.1, deterministic=not train)(
            nn.LayerNorm()(x), mask=mask
        )
        x = x + nn.Dropout(0.1, deterministic=not train)(y)
        y = nn.Dense(self.width)(nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x))))
        return x + nn.Dropout(0.1, deterministic=not train)(y)


class Transformer(nn.Module):
    vocabulary: int = 512
    width: int = 128
    depth: int = 4

    @nn.compact
    def __call__(self, ids, train):
        embed = nn.Embed(self.vocabulary, self.width)
        x = embed(ids)
        mask = nn.make_causal_mask(ids)
        for _ in range(self.depth):
            x = Block(self.width)(x, mask, train)
        return embed.attend(nn.LayerNorm()(x))


MODEL = Transformer()
TX = optax.adam(1e-3)


def new_step() -> Callable[..., Any]:
    """One training step, not compiled yet."""

    @jax.jit
    def step(params, state, ids, key):
        def loss(params):
            logits = MODEL.apply(params, ids, train=True, rngs={'dropout': key})
            return optax.softmax_cross_entropy_with_integer_labels(
                logits[:, :-1], ids[:, 1:]
            ).mean()

        updates, state = TX.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    return step


def timed(fn: Callable[..., Any], *args: Any) -> float:
    """Seconds that a call takes, to the end of what it starts."""
    start = time.perf_counter()
    jax.block_until_ready(fn(*args))
    jax.effects_barrier()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--length', type=int, default=64)
    options = parser.parse_args()
    init_key, ids_key, *keys = jax.random.split(jax.random.key(0), 4 + options.steps)
    ids = jax.random.randint(ids_key, (options.batch, options.length), 0, MODEL.vocabulary)
    params = MODEL.init(init_key, ids, train=False)
    args = params, TX.init(params), ids
    step, seconds = new_step(), {'off': [], 'on': []}
    start = time.perf_counter()
    off = step.lower(*args, keys[0]).compile()
    compiling = {'off': time.perf_counter() - start}
    with sanitize(show=False) as report:
        start = time.perf_counter()
        on = step.lower(*args, keys[0]).compile()
        compiling['on'] = time.perf_counter() - start
        assert 'callback' in on.as_text()
        for key in keys:
            seconds['off'].append(timed(off, *args, key))
            seconds['on'].append(timed(on, *args, key))
    assert not report, report.table()
    seconds = {name: values[2:] for name, values in seconds.items()}
    print(f'{"":24} {"off":>9} {"on":>9} {"ratio":>6}')
    rows = {
        'trace and compile': compiling,
        'step, median': {name: statistics.median(values) for name, values in seconds.items()},
        'step, fastest': {name: min(values) for name, values in seconds.items()},
    }
    for name, row in rows.items():
        print(f'{name:24} {row["off"]:8.3f}s {row["on"]:8.3f}s {row["on"] / row["off"]:6.2f}')
    print(f'a watched step may take {MOST:.0f} times as long')


if __name__ == '__main__':
    main()

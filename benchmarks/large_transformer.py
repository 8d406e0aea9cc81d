"""A training step of a large decoder in half precision: plain attention against fused.

python -m benchmarks.large_transformer --name NAME

Made for an accelerator: 24 blocks of width 1,024, sequences of 2,048 tokens, AdamW. The forms are
timed in one process, in turn. Writes ``benchmarks/results/NAME.json``.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks import _machine, table
from benchmarks._processes import Summary
from benchmarks.cases import MODULES, in_turn


@dataclass(frozen=True)
class Size:
    """How large the decoder is, and how many sequences a step takes."""

    layers: int = 24
    width: int = 1024
    heads: int = 16
    length: int = 2048
    vocabulary: int = 32768
    batch: int = 4

    @property
    def flops(self) -> float:
        """Operations of the matrix products of a step; of causal attention all pairs count."""
        tokens = self.batch * self.length
        of_kernels = self.layers * 12 * self.width**2 + self.vocabulary * self.width
        of_pairs = self.layers * 2 * self.length * self.width
        return 3 * 2 * tokens * (of_kernels + of_pairs)


FULL = Size()
TINY = Size(2, 16, 2, 8, 32, 2)
FORMS = {
    'Linnet, plain attention': ('linnet', False),
    'Linnet, fused attention': ('linnet', True),
    'Flax, plain attention': ('flax', False),
}


def decoder(nn: Any, size: Size, fused: bool) -> Any:
    """A decoder of any library with Linen's interface: ``[batch, length] -> [..., vocabulary]``."""
    options: dict[str, Any] = {'dtype': jnp.bfloat16}
    if fused:
        options['attention_fn'] = functools.partial(nn.fused_attention, causal=True)
    norm = functools.partial(nn.LayerNorm, dtype=jnp.bfloat16)
    dense = functools.partial(nn.Dense, dtype=jnp.bfloat16)

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x: Any, mask: Any) -> tuple[Any, None]:
            attend = nn.MultiHeadDotProductAttention(num_heads=size.heads, **options)
            x = x + attend(norm()(x), mask=mask)
            return x + dense(size.width)(nn.gelu(dense(4 * size.width)(norm()(x)))), None

    class Decoder(nn.Module):
        @nn.compact
        def __call__(self, tokens: Any) -> Any:
            x = nn.Embed(size.vocabulary, size.width, dtype=jnp.bfloat16)(tokens)
            at = nn.initializers.normal(0.02)
            x = x + self.param('position', at, (size.length, size.width)).astype(x.dtype)
            mask = None if fused else nn.make_causal_mask(tokens, dtype=bool)
            blocks = nn.scan(
                Block,
                variable_axes={'params': 0},
                split_rngs={'params': True},
                in_axes=nn.broadcast,
                length=size.layers,
            )
            x, _ = blocks()(x, mask)
            return dense(size.vocabulary)(norm()(x))

    return Decoder()


class Training:
    """A model that is trained, step by step, on one batch."""

    def __init__(self, model: Any, size: Size) -> None:
        """Compiles the step and makes the parameters."""
        shape = (size.batch, size.length)
        self.tokens = jax.random.randint(jax.random.key(1), shape, 0, size.vocabulary)
        optimizer = optax.adamw(1e-4)

        def start(key: Any) -> Any:
            params = model.init(key, self.tokens[:1])
            return params, optimizer.init(params)

        def step(state: Any, tokens: Any) -> Any:
            params, slots = state

            def loss(params: Any) -> Any:
                logits = model.apply(params, tokens)[:, :-1].astype(jnp.float32)
                given = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
                return given.mean()

            value, gradient = jax.value_and_grad(loss)(params)
            updates, slots = optimizer.update(gradient, slots, params)
            return (optax.apply_updates(params, updates), slots), value

        began = time.perf_counter()
        shapes = jax.eval_shape(start, jax.random.key(0))
        self.step = jax.jit(step, donate_argnums=0).lower(shapes, self.tokens).compile()
        self.compilation = time.perf_counter() - began
        self.state = jax.jit(start)(jax.random.key(0))

    def __call__(self) -> Any:
        """Makes a step and returns its loss."""
        self.state, loss = self.step(self.state, self.tokens)
        return loss


def measure(size: Size, seconds: float) -> dict[str, dict[str, float]]:
    """The figures of each form: by figure, then by form."""
    found: dict[str, dict[str, float]] = {}
    runs: dict[str, Callable[[], Any]] = {}
    for form, (library, fused) in FORMS.items():
        name = MODULES[library]
        if importlib.util.find_spec(name.partition('.')[0]) is None:
            continue
        run = runs[form] = Training(decoder(importlib.import_module(name), size, fused), size)
        figures = {
            'tracing and compilation': run.compilation,
            'temporary bytes': float(run.step.memory_analysis().temp_size_in_bytes),
            'loss of the first step, ratio': float(run()),
        }
        for figure, value in figures.items():
            found.setdefault(figure, {})[form] = value
    for form, duration in in_turn(runs, 3, seconds).items():
        found.setdefault('training step', {})[form] = duration
        found.setdefault('TFLOP/s, ratio', {})[form] = size.flops / duration / 1e12
    return found


def markdown(found: Mapping[str, Mapping[str, float]]) -> str:
    """The figures as a table, a form a column."""
    forms = list(next(iter(found.values())))
    rows = [['', *forms], ['---'] * (1 + len(forms))]
    for figure, values in found.items():
        rows.append([figure, *(table.amount(figure, values[form]) for form in forms)])
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table, and writes it."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--tiny', action='store_true', help='so small that it runs anywhere')
    parser.add_argument('--seconds', type=float, default=5.0, help='how long each form runs')
    parser.add_argument('--name', default='', help='name of the result file')
    options = parser.parse_args(arguments)
    size = TINY if options.tiny else FULL
    found = measure(size, options.seconds)
    print(f'{size}\n{markdown(found)}')
    if options.name:
        about = _machine.about('python -m benchmarks.large_transformer')
        summaries = {
            figure: {form: Summary((value,)) for form, value in values.items()}
            for figure, values in found.items()
        }
        table.write_json(summaries, about, table.RESULTS / f'{options.name}.json')


if __name__ == '__main__':
    main()

"""What is measured: groups of figures, taken in fresh processes.

python -m benchmarks.cases LIBRARY,LIBRARY GROUP SCALE

prints the figures of a group, named ``LIBRARY: FIGURE``, as one line of JSON. Times are in seconds,
and where something can be repeated they are the least of several repetitions; the names of other
figures end in their unit.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import math
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import floor, models, peers
from benchmarks.models import Model, Scale
from benchmarks.table import PROGRAM

SCALES = {'full': models.FULL, 'quick': models.QUICK, 'tiny': models.TINY}
MODULES = {
    'linnet': 'linnet.linen',
    'flax': 'flax.linen',
    'nnx': 'flax.nnx',
    'haiku': 'haiku',
    'equinox': 'equinox',
    'floor': 'jax',
}
MODELS = (
    'transformer',
    'ResNet-50',
    'ResNet-50, blocks by name',
    'seq2seq',
    'seq2seq, gates apart',
    'MLP',
)
_ALL, _LINEN = tuple(MODULES), ('linnet', 'flax')
_WITH_FLOOR = (*_LINEN, 'floor')
Figures = dict[str, float]


@dataclass(frozen=True)
class Group:
    """Figures that a process measures.

    Attributes:
        measure: takes libraries and the scale, and returns the figures of each library.
        libraries: the libraries that have them.
        together: whether one process takes all libraries, in turn, or each has its own.
    """

    measure: Callable[[Sequence[str], Scale], dict[str, Figures]]
    libraries: tuple[str, ...]
    together: bool = False

    @classmethod
    def apart(cls, measure: Callable[[str, Scale], Figures], libraries: tuple[str, ...]) -> Group:
        """A group of which each library has a process of its own."""
        return cls(lambda names, scale: {name: measure(name, scale) for name in names}, libraries)


def build(library: str, name: str, scale: Scale, layers: int | None = None) -> Model:
    """A model in a library."""
    if library == 'floor':
        return floor.floor_model(name, scale, layers)
    if library in _LINEN:
        nn = importlib.import_module(MODULES[library])
        return models.linen_model(nn, name, scale, layers)
    make = {'nnx': peers.nnx_model, 'haiku': peers.haiku_model, 'equinox': peers.equinox_model}
    return make[library](scale, layers or scale.layers)


def once(fn: Callable[[], Any]) -> float:
    """The seconds until what a function returns is computed."""
    start = time.perf_counter()
    jax.block_until_ready(fn())
    return time.perf_counter() - start


def best(fn: Callable[[], Any], repeats: int, seconds: float = 0.0) -> float:
    """The least seconds of several calls, after one that is not counted.

    They go on for ``seconds`` at least: for longer than most of what disturbs them.
    """
    once(fn)
    least, start, calls = math.inf, time.perf_counter(), 0
    while calls < repeats or time.perf_counter() - start < seconds:
        least, calls = min(least, once(fn)), calls + 1
    return least


def in_turn(
    calls: Mapping[str, Callable[[], Any]], repeats: int, seconds: float
) -> dict[str, float]:
    """The least seconds of each of several functions, called in turn; :func:`best` of each.

    What a process does to its memory, and a machine to a process, is the same for all of them.
    """
    least, start, turns = dict.fromkeys(calls, math.inf), time.perf_counter(), 0
    while turns < repeats or time.perf_counter() - start < seconds * len(calls):
        for name, call in calls.items():
            least[name] = min(least[name], best(call, 2))
        turns += 1
    return least


def _trace(
    apply: Callable[..., Any], params: Any, inputs: Any, repeats: int, seconds: float = 0
) -> float:
    # A new function each time: JAX remembers what it has traced.
    return best(
        lambda: jax.make_jaxpr(lambda *args: apply(*args))(params, *inputs), repeats, seconds
    )


def importing(library: str, scale: Scale) -> Figures:
    """What it costs to import the library once JAX is there."""
    del scale
    return {'import beyond jax': once(lambda: importlib.import_module(MODULES[library]) and None)}


def transformer(library: str, scale: Scale) -> Figures:
    """The transformer traced, called eagerly, and as users call what they have compiled."""
    model, key = build(library, 'transformer', scale), jax.random.key(0)
    made = model.init(key)
    params, apply = model.pure(made)
    call, run = model.eager(made), model.jitted(made)
    repeats, seconds = scale.repeats, scale.seconds
    return {
        f'trace apply, {scale.layers} blocks': _trace(
            apply, params, model.inputs, repeats, seconds
        ),
        'eager apply, transformer': best(lambda: call(*model.inputs), repeats, seconds),
        'compiled apply, as the library jits': best(lambda: run(*model.inputs), repeats, seconds),
    }


def deep(library: str, scale: Scale) -> Figures:
    """Tracing when the blocks are many and equal; JAX alone takes time for each parameter."""
    figures: Figures = {}
    whole: dict[int, float] = {}
    received: dict[int, float] = {}
    for layers in (scale.layers, *scale.deep):
        model, made = _with_zeros(library, scale, layers)
        params, apply = model.pure(made)
        for found, run in ((whole, apply), (received, lambda _, *inputs: inputs)):
            found[layers] = _trace(run, params, model.inputs, scale.repeats, scale.seconds)
    # Last, for what it leaves behind slows down Python's garbage collector.
    model, made = _with_zeros(library, scale, scale.deep[0])
    step = functools.partial(_training_step, model)
    figures[f'trace training step, {scale.deep[0]} blocks'] = _trace(
        step, made, (jax.random.key(0), *model.inputs), 1
    )
    for layers in scale.deep:
        figures[f'trace apply, {layers} blocks'] = whole[layers]
        depth = layers / scale.layers
        for what, few, many in (
            ('', whole[scale.layers], whole[layers]),
            (', less arguments,', *(whole[n] - received[n] for n in (scale.layers, layers))),
        ):
            growth = (many / few - 1) / (depth - 1)
            figures[f'growth of trace{what} / of depth, {layers} blocks, ratio'] = growth
        alone = (received[layers] - received[scale.layers]) / whole[scale.layers]
        figures[f'arguments alone, growth / of depth, {layers} blocks, ratio'] = alone / (depth - 1)
    return figures


def _with_zeros(library: str, scale: Scale, layers: int) -> tuple[Model, Any]:
    """The transformer of a depth, and arrays in place of its variables."""
    model = build(library, 'transformer', scale, layers)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return model, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def abstract(name: str, library: str, scale: Scale) -> Figures:
    """Init under ``jax.eval_shape``, where the library allows that."""
    model, key = build(library, name, scale), jax.random.key(0)
    if not model.traces:
        return {}

    def shapes() -> Any:
        return jax.tree.leaves(jax.eval_shape(lambda k: model.init(k), key)) and None

    return {f'abstract init, {name}': best(shapes, scale.repeats, scale.seconds)}


def cold_init(name: str, library: str, scale: Scale) -> Figures:
    """The first init of a process, from the call until all arrays are ready, and its memory."""
    model, key = build(library, name, scale), jax.block_until_ready(jax.random.key(0))
    figures = {f'cold init, {name}': once(lambda: model.init(key))}
    figures[f'peak memory after cold init, {name}, bytes'] = _peak_memory()
    if name == 'transformer' and library in _WITH_FLOOR:
        other = build(library, 'ResNet-50', scale)
        figures['second init, ResNet-50'] = once(lambda: other.init(key))
    return figures


def _peak_memory() -> float:
    unit = 1 if sys.platform == 'darwin' else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def compiled(name: str, libraries: Sequence[str], scale: Scale) -> dict[str, Figures]:
    """The compiled forward pass and training step of a model, and what XLA says that they cost."""
    figures: dict[str, Figures] = {library: {} for library in libraries}
    steps = {library: _steps(build(library, name, scale)) for library in libraries}
    for what in ('forward', 'training step'):
        runs: dict[str, functools.partial[Any]] = {}
        for library, of in steps.items():
            fn, args = of[what]
            runs[library] = functools.partial(jax.jit(fn).lower(*args).compile(), *args)
        for library, seconds in in_turn(runs, scale.repeats, scale.seconds).items():
            program: Any = runs[library].func
            cost = program.cost_analysis() or {}
            figures[library] |= {
                f'{what}, {name}': seconds,
                f'{what}, {name}{PROGRAM}': number_of(program),
                f'{what}, {name}, flops': cost.get('flops', 0.0),
                f'{what}, {name}, bytes': cost.get('bytes accessed', 0.0),
            }
    return figures


def _steps(model: Model) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """What is compiled of a model: functions, each with its arguments."""
    key = jax.random.key(0)
    variables = model.init(key)
    _, apply = model.pure(variables)
    step = functools.partial(_training_step, model)
    return {
        'forward': (apply, (variables, *model.inputs)),
        'training step': (step, (variables, key, *model.inputs)),
    }


def _training_step(model: Model, variables: Any, key: Any, *inputs: Any) -> Any:
    """A step of gradient descent on the mean square of the output."""
    training = model.training
    assert training is not None

    def loss(params: Any) -> tuple[Any, Any]:
        y, changed = training({**variables, 'params': params}, key, *inputs)
        return jnp.mean(jnp.square(y)), changed

    gradient, changed = jax.grad(loss, has_aux=True)(variables['params'])
    params = jax.tree.map(lambda p, g: p - 0.01 * g, variables['params'], gradient)
    return {**changed, 'params': params}


def dispatch(library: str, scale: Scale) -> Figures:
    """Calling a compiled function on many small arrays, in the containers of a library."""
    leaves = {f'layer_{i}': {'w': jnp.ones(2)} for i in range(scale.leaves)}
    frozen: Any = leaves
    if library in _LINEN:
        package = MODULES[library].partition('.')[0]
        frozen = importlib.import_module(f'{package}.core').freeze(leaves)
    run = jax.jit(lambda tree: tree['layer_0']['w'])
    repeats = 40 * scale.repeats
    return {
        f'jit dispatch, {scale.leaves} leaves in a dict': best(lambda: run(leaves), repeats),
        f'jit dispatch, {scale.leaves} leaves frozen': best(lambda: run(frozen), repeats),
    }


def recurrent(library: str, scale: Scale) -> Figures:
    """``nn.RNN`` forward and backward, with each cell, and what XLA says that it costs."""
    nn = importlib.import_module(MODULES[library])
    figures = {}
    for name in scale.cells:
        if name == 'ConvLSTMCell':
            cell, inner = nn.ConvLSTMCell(8, (3, 3)), (8, 8, 4)
        else:
            cell, inner = getattr(nn, name)(scale.hidden), (scale.hidden,)
        x = jax.random.normal(jax.random.key(1), (32, scale.steps, *inner))
        figures |= _both_ways(f'{name}, {scale.steps} steps', nn.RNN(cell), x, scale)
    return figures


def _both_ways(what: str, layer: Any, x: Any, scale: Scale) -> Figures:
    """A compiled layer's forward pass and gradient: time, operations, and memory beside arrays."""
    variables = jax.jit(layer.init)(jax.random.key(0), x)
    figures: Figures = {}
    for way, fn in _ways(layer).items():
        program = jax.jit(fn).lower(variables, x).compile()
        figures[f'{what}, {way}'] = best(
            lambda p=program: p(variables, x), scale.repeats, scale.seconds
        )
        figures[f'{what}, {way}{PROGRAM}'] = number_of(program)
        figures[f'{what}, {way}, flops'] = (program.cost_analysis() or {}).get('flops', 0.0)
        figures[f'{what}, {way}, temporary bytes'] = _temporary_bytes(program)
    return figures


def _ways(layer: Any) -> dict[str, Callable[..., Any]]:
    """Functions of variables and input: the forward pass, and the gradient of a loss."""

    def loss(variables: Any, x: Any) -> Any:
        return jnp.mean(jnp.square(layer.apply(variables, x)))

    return {'forward': layer.apply, 'gradient': jax.grad(loss)}


def number_of(program: Any) -> float:
    """A number that two compiled programs share when they are the same, instruction by instruction.

    What instructions are called, and where in a program of Python they come from, does not count.
    """
    names: dict[str, str] = {}
    _, _, text = program.as_text().partition('\n')
    text = re.sub(r'(?ms)^FileNames.*?(?=^(%|ENTRY))', '', text)
    text = re.sub(r', metadata={[^{}]*({[^{}]*}[^{}]*)*}|frontend_attributes={[^}]*}', '', text)
    text = re.sub(r'[\w.-]+(?=: )', '', text)  # names of parameters, where a computation begins
    text = re.sub(r'%[\w.-]+', lambda name: names.setdefault(name[0], f'%{len(names)}'), text)
    return float(int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]))


def _temporary_bytes(program: Any) -> float:
    return float(program.memory_analysis().temp_size_in_bytes)


def dropout(library: str, scale: Scale) -> Figures:
    """Compiled dropout on a large matrix; with fast masks where the library has them."""
    nn = importlib.import_module(MODULES[library])
    x, key = jnp.ones((scale.side, scale.side)), jax.random.key(0)
    figures = {}
    for what, options in (('dropout', {}), ('fast dropout', {'fast_mask': True})):
        options = options if library == 'linnet' else {}
        layer = nn.Dropout(0.5, deterministic=False, **options)
        run = jax.jit(lambda key, x, layer=layer: layer.apply({}, x, rngs={'dropout': key}))
        figures[f'{what}, {scale.side} x {scale.side}'] = best(
            lambda run=run: run(key, x), scale.repeats
        )
    return figures


def attention(library: str, scale: Scale) -> Figures:
    """Compiled attention over many tokens; memory-efficient where the library has that."""
    nn = importlib.import_module(MODULES[library])
    x = jax.random.normal(jax.random.key(1), (1, scale.tokens, scale.width))
    plain = nn.MultiHeadDotProductAttention(num_heads=scale.heads)
    efficient = plain.clone(attention_fn=nn.fused_attention) if library == 'linnet' else plain
    figures: Figures = {}
    for what, layer in (('attention', plain), ('memory-efficient attention', efficient)):
        figures |= _both_ways(f'{what}, {scale.tokens} tokens', layer, x, replace(scale, repeats=2))
    # Of a loop over chunks XLA counts the operations of one turn.
    figures = {name: figure for name, figure in figures.items() if not name.endswith('flops')}
    return figures | (_growth(efficient, x) if library == 'linnet' else {})


def _growth(layer: Any, x: Any) -> Figures:
    """How much more memory a layer takes for four times as many tokens, compared with these."""
    longer = jnp.tile(x, (1, 4, 1))
    variables = jax.eval_shape(layer.init, jax.random.key(0), x)
    figures: Figures = {}
    for way, fn in _ways(layer).items():
        one, four = (
            _temporary_bytes(jax.jit(fn).lower(variables, x).compile()) for x in (x, longer)
        )
        figures[f'growth of memory / of tokens, {way}, ratio'] = (four / one - 1) / 3
    return figures


GROUPS: dict[str, Group] = {
    'import': Group.apart(importing, _ALL[:-1]),
    'transformer': Group.apart(transformer, _ALL),
    'deep': Group.apart(deep, _WITH_FLOOR),
    **{
        f'{what} {name}': Group.apart(functools.partial(measure, name), libraries)
        for what, measure in (('abstract init', abstract), ('init', cold_init))
        for name, libraries in (('transformer', _ALL), ('ResNet-50', _WITH_FLOOR))
    },
    **{
        f'compiled {name}': Group(functools.partial(compiled, name), _WITH_FLOOR, together=True)
        for name in MODELS
    },
    'dispatch': Group.apart(dispatch, _WITH_FLOOR),
    'recurrent': Group.apart(recurrent, _LINEN),
    'dropout': Group.apart(dropout, _LINEN),
    'attention': Group.apart(attention, _LINEN),
}


def main() -> None:
    """Measures one group."""
    libraries, group, scale = sys.argv[1:]
    measured = GROUPS[group].measure(libraries.split(','), SCALES[scale])
    named = {f'{lib}: {name}': x for lib, found in measured.items() for name, x in found.items()}
    print(json.dumps(named))


if __name__ == '__main__':
    main()

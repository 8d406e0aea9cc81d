"""Random trees of modules give the same under both libraries, bit for bit.

Hypothesis draws a *spec*, a description that knows neither library: what each node is, its name,
how often it is called. One interpreter builds the spec out of either ``linen`` module. Every node
maps ``[2, 4] -> [2, 4]``, so that any tree of them is a model.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp

from tests.parity.harness import MODES, Case, Library, same_outcome
from tests.parity.models import X

LEAVES = ('dense', 'mlp', 'scale', 'dropout', 'noise', 'batch_norm', 'sown', 'counter', 'norm')
REFERENCES = ('sibling', 'wrapped_sibling', 'wrapped_dense')
STYLES = (
    'compact',
    'given',
    'setup_list',
    'setup_dict',
    'setup_attributes',
    'field_list',
    'field_dict',
)
NAMES = (None, None, None, 'a', 'b', 'Dense_1', 'parts_0')


@dataclasses.dataclass(frozen=True)
class Spec:
    """A node: a leaf, a reference to a module made before it, or a style of holding children."""

    kind: str
    name: str | None = None
    calls: int = 1
    number: int = 0
    children: tuple[Spec, ...] = ()


def _leaves() -> st.SearchStrategy[Spec]:
    return st.builds(
        Spec,
        kind=st.sampled_from(LEAVES + REFERENCES),
        name=st.sampled_from(NAMES),
        calls=st.sampled_from((1, 1, 2)),
        number=st.integers(0, 2),
    )


def _nodes(children: st.SearchStrategy[Spec]) -> st.SearchStrategy[Spec]:
    return st.builds(
        Spec,
        kind=st.sampled_from(STYLES),
        name=st.sampled_from(NAMES),
        calls=st.sampled_from((1, 1, 2)),
        number=st.integers(0, 2),
        children=st.lists(children, min_size=1, max_size=3).map(tuple),
    )


# A name scope below the root belongs, in the oracle, to whichever module calls first: so the
# root alone has them.
ROOTS = st.sampled_from((*STYLES, 'name_scope'))
TREES = st.builds(
    lambda spec, kind: dataclasses.replace(spec, kind=kind, name=None),
    _nodes(st.recursive(_leaves(), _nodes, max_leaves=8)),
    ROOTS,
)


class Interpreter:
    """Builds specs out of one library's modules."""

    def __init__(self, nn: Any) -> None:
        self.nn = nn
        self.leaves = _leaf_classes(nn)
        self.holders = _holder_classes(nn, self)

    def build(self, spec: Spec, made: list[Any]) -> Any:
        """Makes the module of a spec; ``made`` holds those made before it by the same parent."""
        if spec.kind == 'sibling' and made:
            return made[spec.number % len(made)]
        if spec.kind == 'wrapped_sibling' and made:
            return self.leaves['wrapper'](made[spec.number % len(made)], name=spec.name)
        if spec.kind in REFERENCES:
            return self.leaves['wrapper'](self.nn.Dense(4, name='inner'), name=spec.name)
        if spec.kind in ('field_list', 'field_dict'):
            return self._field_holder(spec)
        if spec.kind == 'given':
            return self.holders['compact'](spec, made[-2:], name=spec.name)
        if spec.kind in self.holders:
            return self.holders[spec.kind](spec, name=spec.name)
        if spec.kind == 'dense':
            return self.nn.Dense(4, use_bias=spec.number > 0, name=spec.name)
        return self.leaves[spec.kind](spec.number, name=spec.name)

    def build_all(self, spec: Spec) -> list[Any]:
        made: list[Any] = []
        for child in spec.children:
            made.append(self.build(child, made))
        return made

    def _field_holder(self, spec: Spec) -> Any:
        parts: Any = self.build_all(spec)
        if spec.kind == 'field_dict':
            parts = {f'k{i}': {'m': part} for i, part in enumerate(parts)}
        return self.holders['field'](spec, parts, name=spec.name)


def call_in_order(spec: Spec, parts: list[Any], x: Any) -> Any:
    """Calls each part as often as its spec says, beginning with the part of the spec's number."""
    pairs = list(zip(spec.children, parts, strict=True))
    start = spec.number % len(pairs)
    for child, part in pairs[start:] + pairs[:start]:
        for _ in range(child.calls):
            x = part(x)
    return x


def _holder_classes(nn: Any, interpreter: Interpreter) -> dict[str, Any]:
    class Compact(nn.Module):
        spec: Spec
        given: Any = ()

        @nn.compact
        def __call__(self, x):
            made = list(self.given)
            for child in self.spec.children:
                made.append(interpreter.build(child, made))
                for _ in range(child.calls):
                    x = made[-1](x)
            return x

    class NameScope(nn.Module):
        spec: Spec

        @nn.compact_name_scope
        def inner(self, x):
            return call_in_order(self.spec, interpreter.build_all(self.spec), x)

        @nn.compact
        def __call__(self, x):
            return self.inner(nn.Dense(4)(self.inner(x)))

    class SetupList(nn.Module):
        spec: Spec

        def setup(self):
            self.parts = interpreter.build_all(self.spec)

        def __call__(self, x):
            return call_in_order(self.spec, self.parts, x)

    class SetupDict(nn.Module):
        spec: Spec

        def setup(self):
            made = interpreter.build_all(self.spec)
            self.parts = {f'k{i}': (part, None) for i, part in enumerate(made)}

        def __call__(self, x):
            return call_in_order(self.spec, [pair[0] for pair in self.parts.values()], x)

    class SetupAttributes(nn.Module):
        spec: Spec

        def setup(self):
            for i, part in enumerate(interpreter.build_all(self.spec)):
                setattr(self, f'part{i}', part)

        def __call__(self, x):
            parts = [getattr(self, f'part{i}') for i in range(len(self.spec.children))]
            return call_in_order(self.spec, parts, x)

    class Field(nn.Module):
        spec: Spec
        parts: Any

        def __call__(self, x):
            parts = self.parts
            if self.spec.kind == 'field_dict':
                parts = [parts[f'k{i}']['m'] for i in range(len(parts))]
            return call_in_order(self.spec, parts, x)

    setups = {'setup_list': SetupList, 'setup_dict': SetupDict, 'setup_attributes': SetupAttributes}
    return {'compact': Compact, 'name_scope': NameScope, 'field': Field, **setups}


def _leaf_classes(nn: Any) -> dict[str, Any]:
    class Wrapper(nn.Module):
        sub: Any

        @nn.compact
        def __call__(self, x):
            return self.sub(x) + self.param('shift', nn.initializers.normal(), (4,))

    class Mlp(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            return nn.Dense(4)(nn.tanh(nn.Dense(self.width + 1)(x)))

    class Scale(nn.Module):
        number: int

        def setup(self):
            self.scale = self.param('scale', nn.initializers.uniform(), (4,))

        def __call__(self, x):
            return x * self.scale + self.number

    return {'wrapper': Wrapper, 'mlp': Mlp, 'scale': Scale, **_stateful_leaf_classes(nn)}


def _stateful_leaf_classes(nn: Any) -> dict[str, Any]:
    class Drop(nn.Module):
        number: int

        @nn.compact
        def __call__(self, x):
            stream = ('dropout', 'noise', 'other')[self.number]
            return nn.Dropout(0.5, deterministic=False, rng_collection=stream)(x)

    class Noise(nn.Module):
        number: int

        def __call__(self, x):
            key = self.make_rng(('noise', 'dropout', 'other')[self.number])
            return x + jax.random.normal(key, x.shape)

    class Batch(nn.Module):
        number: int

        @nn.compact
        def __call__(self, x):
            average = self.is_initializing() or not self.is_mutable_collection('batch_stats')
            return nn.BatchNorm(average, use_bias=self.number > 0, momentum=0.5)(x)

    class Sown(nn.Module):
        number: int

        @nn.compact
        def __call__(self, x):
            self.sow('intermediates', 'x', x.sum())
            self.sow('losses', 'l', x[0], reduce_fn=jnp.add, init_fn=lambda: jnp.zeros(()))
            return self.perturb('p', x) * (self.number + 1)

    class Counter(nn.Module):
        number: int

        @nn.compact
        def __call__(self, x):
            state = self.variable('state', 'n', jnp.full, (4,), float(self.number))
            if self.is_mutable_collection('state'):
                state.value = state.value + x.mean(0)
            return x - state.value

    class Norm(nn.Module):
        number: int

        @nn.compact
        def __call__(self, x):
            return (nn.LayerNorm, nn.RMSNorm, nn.LayerNorm)[self.number]()(x)

    kinds = {'dropout': Drop, 'noise': Noise, 'batch_norm': Batch}
    return {**kinds, 'sown': Sown, 'counter': Counter, 'norm': Norm}


def _compare(spec: Spec, mode: str, **attributes: Any) -> None:
    streams = ('dropout', 'noise', 'other')
    case = Case(lambda nn: Interpreter(nn).build(spec, []), (X,), streams=streams, **attributes)
    same_outcome(lambda lib: MODES[mode](case, lib), mode)


@hypothesis.given(TREES)
def test_tree_eager(spec: Spec) -> None:
    streams = {'params': jax.random.key(8), 'noise': jax.random.key(9)}
    _compare(spec, 'eager_typed', apply={'rngs': streams})


@hypothesis.given(TREES)
def test_tree_jit(spec: Spec) -> None:
    _compare(spec, 'jit_raw')


@hypothesis.given(TREES, st.sampled_from(['grad', 'vmap', 'scan']))
def test_tree_transformed(spec: Spec, mode: str) -> None:
    _compare(spec, mode)


@hypothesis.given(TREES)
def test_tree_paths(spec: Spec) -> None:
    def program(lib: Library) -> Any:
        rngs = {name: jax.random.key(1) for name in ('params', 'dropout', 'noise')}
        paths = Interpreter(lib.nn).build(spec, []).module_paths(rngs, X, show_repeated=True)
        return {path: type(module).__name__ for path, module in paths.items()}

    same_outcome(program)

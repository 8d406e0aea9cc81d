"""Bodies, and ways to lift them: the two sides of the tables of lifted transforms.

A *body* is a module class with the one field ``number``, which maps ``[2, 4] -> [2, 4]``. A *way*
turns such a class into another one by a lifted transform, so that every way goes around every body
and around every other way. Neither knows which library it is in.

A :class:`Table` holds cases by name and says which runs of them there are: with ``LINNET_DEEP=1``
every case in every mode, otherwise a fixed share.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from tests.parity.harness import MODES, Builder, Case, Library, same_as_some_run
from tests.parity.models import X
from tests.parity.test_random_trees import Interpreter

DEEP = os.environ.get('LINNET_DEEP') == '1'
STREAMS = ('dropout', 'noise', 'other')
CARRIED = ('batch_stats', 'state', 'losses', 'perturbations')
STATE = (*CARRIED, 'intermediates')
ALL_MODES = ('jit_raw', 'grad', 'eager_typed', 'jit_typed', 'eager_raw', 'vmap', 'scan')
FORWARD_MODES = tuple(mode for mode in ALL_MODES if mode != 'grad')


class Table:
    """Cases by name, and the runs of them that a test is made of.

    Args:
        share: how many modes each case runs in when not all are asked for; the modes rotate from
            case to case, beginning with the first of a case's own.
    """

    def __init__(self, share: int = 1) -> None:
        self.cases: dict[str, Case] = {}
        self._share = share

    def add(self, name: str, build: Builder, *args: Any, **attributes: Any) -> None:
        """Enters a case; without arguments its input is the common one."""
        assert name not in self.cases, f'two cases are named {name}'
        attributes = {'streams': STREAMS, 'modes': ALL_MODES, **attributes}
        self.cases[name] = Case(build, args or (X,), **attributes)

    def case(self, *args: Any, **attributes: Any) -> Callable[[Builder], Builder]:
        """Enters a builder under its own name."""

        def enter(build: Builder) -> Builder:
            self.add(build.__name__, build, *args, **attributes)
            return build

        return enter

    def runs(self) -> list[tuple[str, str]]:
        """Pairs of the name of a case and of a mode."""
        return [(name, mode) for name in self.cases for mode in self._modes(name)]

    def _modes(self, name: str) -> Iterator[str]:
        modes = list(self.cases[name].modes)
        if DEEP or len(modes) <= self._share:
            yield from modes
            return
        start = list(self.cases).index(name)
        for i in range(self._share):
            yield modes[(start + i * 2) % len(modes)]

    def run(self, name: str, mode: str) -> None:
        """Compares the two libraries in one run."""
        forget_programs_at_times()
        run_lifted(self.cases[name], mode)


def run_lifted(case: Case, mode: str) -> None:
    """Asserts that a lifted model gives the same under both libraries in one mode."""
    same_as_some_run(lambda lib: MODES[mode](case, lib), mode)


_runs = itertools.count(1)


def forget_programs_at_times() -> None:
    """Drops compiled programs after many runs: each maps memory, and a process may map so much."""
    if next(_runs) % 100 == 0:
        jax.clear_caches()


def numbers(key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """An initialiser that compiles fast; every bit of the key counts, and so does the place."""
    first, last = jax.random.key_data(key)[..., 0], jax.random.key_data(key)[..., -1]
    place = jax.lax.iota(jnp.uint32, math.prod(shape)) + first
    bits = (place * jnp.uint32(0x9E3779B9)) ^ last
    return ((bits >> 8).astype(dtype) / 2**24 - 0.5).reshape(shape)


def bodies(nn: Any) -> dict[str, Any]:
    """The classes of all bodies: the leaves of random trees, and some that lifting is about."""
    leaves = Interpreter(nn).leaves
    del leaves['wrapper']
    return {**leaves, **_plain_bodies(nn), **_nested_bodies(nn, leaves)}


def _plain_bodies(nn: Any) -> dict[str, Any]:
    boxed_ones = nn.with_partitioning(nn.initializers.normal(), ('in', None))

    class Boxed(nn.Module):
        number: int

        @nn.compact
        def __call__(self, x):
            w = self.param('w', boxed_ones, (4, 4))
            raw = self.param('raw', boxed_ones, (4, 4), unbox=False)
            self.variable('state', 's', nn.with_partitioning(jnp.ones, ('a',)), (4,))
            return x @ w + x @ raw.unbox()

    class Half(nn.Module):
        number: int

        @nn.compact
        def __call__(self, x):
            y = nn.Dense(4, dtype=jnp.bfloat16, param_dtype=jnp.float16)(x)
            return y.astype(x.dtype) * self.param('gain', lambda key: jnp.asarray(2.0))

    class Setup(nn.Module):
        number: int

        def setup(self):
            self.layers = [nn.Dense(4), nn.Dense(4, use_bias=False)]
            self.drop = nn.Dropout(0.5, deterministic=False)
            self.scale = self.param('scale', nn.initializers.uniform(), (4,))

        def __call__(self, x):
            for layer in self.layers:
                x = self.drop(layer(x))
            return self.layers[0](x) * self.scale

    return {'boxed': Boxed, 'half': Half, 'setup': Setup}


def _nested_bodies(nn: Any, leaves: dict[str, Any]) -> dict[str, Any]:
    class Rich(nn.Module):
        """Parameters, keys, state and sown values, some on calls of one module made twice."""

        number: int

        @nn.compact
        def __call__(self, x):
            noise = leaves['noise'](self.number)
            x = nn.tanh(nn.Dense(4)(noise(x)))
            x = leaves['batch_norm'](self.number)(x)
            x = leaves['sown'](0)(leaves['counter'](1, name='count')(x))
            key = self.make_rng('other')
            return noise(nn.Dense(4)(x)) + jax.random.uniform(key, x.shape)

    class Shared(nn.Module):
        """One module held by two others."""

        number: int

        def setup(self):
            shared = nn.Dense(4)
            self.parts = [Holder(shared), Holder(shared)]

        def __call__(self, x):
            return self.parts[1](self.parts[0](x))

    class Holder(nn.Module):
        sub: Any

        @nn.compact
        def __call__(self, x):
            return self.sub(x) + nn.Dropout(0.5, deterministic=False)(x)

    class Small(nn.Module):
        """Parameters, keys and state, and quick to compile."""

        number: int

        @nn.compact
        def __call__(self, x):
            x = nn.Dense(4, kernel_init=numbers)(x) + numbers(self.make_rng('noise'), x.shape)
            state = self.variable('state', 's', jnp.zeros, (4,))
            if self.is_mutable_collection('state'):
                state.value = state.value + x.sum(0)
            return nn.Dense(4, kernel_init=numbers)(x) * (self.number + state.value)

    return {'rich': Rich, 'shared': Shared, 'small': Small}


Way = Callable[[Any, Any], Any]


def _class_ways(nn: Any) -> dict[str, Callable[[Any], Any]]:
    """Ways that are a transform of the class and nothing else."""

    def flip(tree: Any) -> Any:
        return jax.tree_util.tree_map(lambda x: x[::-1] if x.ndim else x, tree)

    names = {nn.PARTITION_NAME: 'new'}
    return {
        'jit': nn.jit,
        'remat': nn.remat,
        'checkpoint_saving_dots': functools.partial(
            nn.checkpoint, policy=jax.checkpoint_policies.dots_saveable, prevent_cse=False
        ),
        'map_variables': functools.partial(
            nn.map_variables,
            mapped_collections='params',
            trans_in_fn=flip,
            trans_out_fn=flip,
            init=True,
            mutable=True,
        ),
        'add_metadata_axis': functools.partial(
            nn.add_metadata_axis, variable_axes={'params': 0}, metadata_params=names
        ),
        'fold_rngs': nn.fold_rngs,
        'remat_scan': functools.partial(nn.remat_scan, lengths=(2, 1)),
    }


def _batch_ways(nn: Any) -> dict[str, Callable[[Any], Callable[..., Any]]]:
    """Ways over an axis, as functions ``(class, module, x)``: several slices, put together."""
    names = {nn.PARTITION_NAME: 'new'}

    def ensemble(cls: Any, self: Any, x: Any) -> Any:
        many = nn.vmap(
            cls, {True: 0}, {True: True}, in_axes=None, axis_size=2, metadata_params=names
        )
        return many(self.number)(x).mean(0)

    def examples(cls: Any, self: Any, x: Any) -> Any:
        axes, splits = {'params': None, STATE: 0}, {'params': False, STREAMS: True}
        each = nn.vmap(
            cls, axes, splits, in_axes=-1, out_axes=1, axis_name='examples', metadata_params=names
        )
        return each(self.number)(jnp.stack([x, x + 1], -1)).sum(1)

    def one_key(cls: Any, self: Any, x: Any) -> Any:
        axes = {'params': -1, STATE: 0}
        lifted = nn.vmap(cls, axes, {True: False}, in_axes=1, out_axes=1, metadata_params=names)
        return lifted(self.number)(jnp.stack([x, -x], 1)).sum(1)

    return {'vmap_ensemble': ensemble, 'vmap_examples': examples, 'vmap_one_key': one_key}


def _loop_ways(nn: Any) -> dict[str, Callable[[Any], Callable[..., Any]]]:
    """Ways that are a loop, as functions ``(class, module, x)``."""
    names = {nn.PARTITION_NAME: 'new'}

    def body(mdl: Any, carry: Any, x: Any) -> Any:
        y = mdl(carry) + x
        return y, y.sum(0)

    def layers(cls: Any, self: Any, x: Any) -> Any:
        class Step(cls):
            def __call__(self, carry, x):
                y = super().__call__(carry) + x
                return y, y.sum(0)

        loop = nn.scan(Step, {True: 0}, split_rngs={True: True}, metadata_params=names)
        carry, ys = loop(self.number)(x, jnp.arange(3.0))
        return carry + ys.sum(0)

    def recurrent(cls: Any, self: Any, x: Any) -> Any:
        mdl = cls(self.number)
        if self.is_initializing():
            return mdl(x)
        loop = nn.scan(
            body,
            variable_broadcast='params',
            variable_carry=CARRIED,
            variable_axes={'intermediates': 0},
            split_rngs={STREAMS: True},
            reverse=True,
            out_axes=1,
            unroll=2,
        )
        carry, ys = loop(mdl, x, jnp.arange(2.0))
        return carry + ys.sum(1)

    def same_noise(cls: Any, self: Any, x: Any) -> Any:
        loop = nn.scan(
            body,
            {'params': -1, STATE: 0},
            split_rngs={True: False},
            in_axes=nn.broadcast,
            length=2,
            check_constancy_invariants=False,
            metadata_params=names,
        )
        return loop(cls(self.number), x, 0.5)[0]

    def steps(cls: Any, self: Any, x: Any) -> Any:
        mdl = cls(self.number)
        if self.is_initializing():
            return mdl(x)

        def go_on(mdl: Any, state: Any) -> Any:
            return state[0] < 2

        def step(mdl: Any, state: Any) -> Any:
            return state[0] + 1, mdl(state[1])

        return nn.while_loop(go_on, step, mdl, (0, x), CARRIED, 'params', {STREAMS: True})[1]

    return {
        'scan_layers': layers,
        'scan_recurrent': recurrent,
        'scan_same': same_noise,
        'while_loop': steps,
    }


def _direct_ways(nn: Any) -> dict[str, Callable[..., Any]]:
    """Ways that are a transform of a function of a module, as ``(class, module, x)``."""

    def call(mdl: Any, x: Any) -> Any:
        return mdl(x)

    def vjp(cls: Any, self: Any, x: Any) -> Any:
        y, back = nn.vjp(call, cls(self.number), x)
        params_bar, x_bar = back(jnp.ones_like(y))
        self.sow('intermediates', 'g', params_bar)
        return y + x_bar

    def grad(cls: Any, self: Any, x: Any) -> Any:
        return nn.grad(lambda mdl, x: mdl(x).sum(), cls(self.number), x)[0]

    def value_and_grad(cls: Any, self: Any, x: Any) -> Any:
        def loss(mdl: Any, x: Any) -> Any:
            y = mdl(x)
            return y.sum(), y

        (_, y), (x_bar,) = nn.value_and_grad(loss, cls(self.number), x, has_aux=True)
        return y + x_bar

    def jvp(cls: Any, self: Any, x: Any) -> Any:
        y, y_dot = nn.jvp(call, cls(self.number), (x,), (jnp.ones_like(x),), {})
        return y + y_dot

    def custom_vjp(cls: Any, self: Any, x: Any) -> Any:
        def backward(back: Any, y_bar: Any) -> Any:
            return back(2 * y_bar)

        forward = functools.partial(nn.vjp, call)
        return nn.custom_vjp(call, forward, backward)(cls(self.number), x)

    def cond(cls: Any, self: Any, x: Any) -> Any:
        def negative(mdl: Any, x: Any) -> Any:
            return -mdl(x * 2)

        return nn.cond(x.sum() > 0, call, negative, cls(self.number), x)

    def switch(cls: Any, self: Any, x: Any) -> Any:
        mdl = cls(self.number)
        branches = [call, lambda mdl, x: mdl(2 * x), lambda mdl, x: mdl(x) + 1]
        return mdl(x) if self.is_initializing() else nn.switch(1, branches, mdl, x)

    return {
        'vjp': vjp,
        'grad': grad,
        'value_and_grad': value_and_grad,
        'jvp': jvp,
        'custom_vjp': custom_vjp,
        'cond': cond,
        'switch': switch,
    }


def ways(nn: Any) -> dict[str, Callable[[Any], Any]]:
    """Every way, from a class to a class."""
    called = {**_batch_ways(nn), **_loop_ways(nn), **_direct_ways(nn)}

    def as_class(run: Callable[..., Any], cls: Any) -> Any:
        class Lifted(nn.Module):
            number: int

            @nn.compact
            def __call__(self, x):
                return run(cls, self, x)

        return Lifted

    return {
        **_class_ways(nn),
        **{name: functools.partial(as_class, run) for name, run in called.items()},
    }


ORACLE_NN = Library('flax').nn
BODIES = tuple(bodies(ORACLE_NN))
WAYS = tuple(ways(ORACLE_NN))


def stack(nn: Any, names: tuple[str, ...], body: str, number: int = 1) -> Any:
    """A module whose body is lifted in each of these ways, the last of them innermost."""
    cls = bodies(nn)[body]
    for name in reversed(names):
        cls = ways(nn)[name](cls)
    return cls(number)

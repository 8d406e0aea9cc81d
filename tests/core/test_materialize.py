"""Fast init: the table against JAX's initialisers, and programs that look at their numbers."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import initializers

import linnet.linen as nn
from linnet import _compat, jax_utils, serialization
from linnet._frozen_dict import FrozenDict
from linnet.configurations import config
from linnet.core import _deferred, _init_kinds, _init_table, init, materialize
from linnet.core._deferred import DeferredArray
from linnet.core.tracers import is_traced
from linnet.training import checkpoints

KEY = jax.random.key(3)
X = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)


@pytest.fixture(autouse=True)
def _fast() -> Any:
    with config.temp_flip_flag('linnet_fast_init', True):
        yield


def slowly(make: Any) -> Any:
    """What ``make`` gives where every operation runs at once."""
    with config.temp_flip_flag('linnet_fast_init', False):
        return make()


def assert_same(a: Any, b: Any) -> None:
    """Asserts equal structure, order of keys, dtypes, weak types, bits and placement."""
    assert list(map(str, _paths(a))) == list(map(str, _paths(b)))
    for x, y in zip(_leaves(a), _leaves(b), strict=True):
        assert type(x) is type(y)
        assert jax.typeof(x) == jax.typeof(y)
        assert (x.committed, x.devices()) == (y.committed, y.devices())
        np.testing.assert_array_equal(_bits(x), _bits(y))


def _paths(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(tree, dict):
        return [path]
    return [p for name, part in tree.items() for p in _paths(part, (*path, name))]


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for part in tree.values() for leaf in _leaves(part)]
    return jax.tree.leaves(tree)


def _bits(x: Any) -> np.ndarray:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    return np.ascontiguousarray(x).reshape(-1).view(np.uint8)


def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the deferred operations that run from now on."""
    names: list[str] = []
    run = _deferred.Operation.run

    def recorded(operation: Any) -> None:
        names.append(operation.primitive.name)
        run(operation)

    monkeypatch.setattr(_deferred.Operation, 'run', recorded)
    return names


DRAWN = {
    'lecun_normal': initializers.lecun_normal(),
    'he_uniform': initializers.he_uniform(),
    'fan_out': initializers.variance_scaling(2, 'fan_out', 'normal', in_axis=0, out_axis=1),
    'geometric': initializers.variance_scaling(0.5, 'fan_geo_avg', 'truncated_normal'),
    'normal': initializers.normal(np.float32(0.02)),
    'truncated_normal': initializers.truncated_normal(0.3, lower=-1.0, upper=3),
    'uniform': initializers.uniform(0.5),
}


@pytest.mark.parametrize('name', DRAWN)
def test_the_table_has_the_bits_of_jax(name: str) -> None:
    shapes = [(3, 8), (5, 1, 130, 1)]
    keys = jax.random.split(KEY, 2)
    found = [_init_kinds.recognise(DRAWN[name], shape) for shape in shapes]
    assert [f[0] for f in found if f] == shapes
    words = np.asarray(jax.random.key_data(keys))
    numbers = _init_table.fill(words, [24, 650], [f[1] for f in found if f])
    for key, shape, array in zip(keys, shapes, numbers, strict=True):
        wanted = DRAWN[name](key, shape, jnp.float32)
        np.testing.assert_array_equal(_bits(array), _bits(wanted))


@dataclasses.dataclass(frozen=True)
class Device:
    """Stands for a device of JAX."""

    platform: str


@pytest.mark.parametrize('name', DRAWN)
def test_on_a_gpu_the_device_computes_what_the_numbers_are_scaled_by(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recognised() -> Any:
        return [_init_kinds.recognise(DRAWN[name], shape) for shape in ((3, 8), (7, 7, 3, 64))]

    by_numpy = recognised()
    rounds_otherwise = lambda x: np.nextafter(np.sqrt(x), np.float32(9))  # noqa: E731
    for root, is_same in ((jax.lax.sqrt, True), (rounds_otherwise, False)):
        _init_kinds._on_device.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(_init_kinds, 'default_device', lambda: Device('gpu'))
            patch.setattr(_init_kinds.lax, 'sqrt', root)
            with _deferred.deferring():
                by_device = recognised()
        is_scaled = name not in ('normal', 'truncated_normal', 'uniform')
        assert (by_device == by_numpy) == (is_same or not is_scaled)


@pytest.mark.parametrize(
    ('device', 'operation', 'shape', 'on_host'),
    [
        ('cpu', 'broadcast_in_dim', (2**20 + 1,), True),
        ('cpu', 'reshape', (1, 1), True),
        ('gpu', 'broadcast_in_dim', (2**20,), True),
        ('gpu', 'broadcast_in_dim', (2**20 + 1,), False),
        ('gpu', 'reshape', (1, 1), False),
    ],
)
def test_a_gpu_is_sent_small_fills_alone(
    device: str, operation: str, shape: Any, on_host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_deferred, 'default_device', lambda: Device(device))
    params = {'sharding': None, 'shape': shape, 'new_sizes': shape, 'dimensions': None}
    made = _deferred._moved(operation, np.array(2, np.float32), params)
    assert (made is not None) == on_host
    if on_host:
        np.testing.assert_array_equal(made, np.full(shape, 2, np.float32))


def test_large_parameters_have_the_bits_of_jax() -> None:
    shapes = [(300, 1000), (1, 10), (9, 8)]
    init_fn = initializers.lecun_normal()
    keys = jax.random.split(KEY, 3)
    found = [_init_kinds.recognise(init_fn, shape) for shape in shapes]
    sizes = [300_000, 10, 72]
    assert sum(sizes) > _init_table._FEW
    numbers = _init_table.fill(np.asarray(jax.random.key_data(keys)), sizes, [f[1] for f in found])
    for key, shape, array in zip(keys, shapes, numbers, strict=True):
        np.testing.assert_array_equal(_bits(array), _bits(init_fn(key, shape)))


def test_keys_are_folded_on_the_host() -> None:
    keys = jax.random.split(KEY, 20)
    data = np.arange(20, dtype=np.uint32) * np.uint32(0x9E3779B9)
    words = _init_table.fold_in(np.asarray(jax.random.key_data(keys)), data)
    wanted = jax.random.key_data(jax.vmap(jax.random.fold_in)(keys, data))
    np.testing.assert_array_equal(words, wanted)


@pytest.mark.parametrize(
    ('init_fn', 'shape', 'dtype'),
    [
        (initializers.lecun_normal(), (4, 8), jnp.bfloat16),
        (initializers.normal(dtype=jnp.float16), (4, 8), None),
        (initializers.lecun_normal(), (16, 3), None),  # rounds in another way
        (initializers.lecun_normal(), (8,), None),  # an error of JAX
        (initializers.lecun_normal(), (8, 0), None),
        (initializers.lecun_normal(), (1 << 17, 1 << 17), None),
        (initializers.lecun_normal(), ('8', 8), None),
        (initializers.variance_scaling(-1, 'fan_in', 'normal'), (8, 8), None),
        (initializers.variance_scaling(1, 'fan', 'normal'), (8, 8), None),
        (initializers.variance_scaling(1, 'fan_in', 'other'), (8, 8), None),
        (initializers.normal(jnp.ones(())), (8, 8), None),
        (initializers.uniform(jnp.ones(())), (8, 8), None),
        (initializers.truncated_normal(jnp.ones(())), (8, 8), None),
        (initializers.constant(jnp.ones(8)), (8, 8), None),
        (initializers.orthogonal(), (8, 8), None),
        (initializers.ones, (8, -1), None),
        (lambda key, shape: jnp.ones(shape), (8, 8), None),
        (len, (8, 8), None),
    ],
)
def test_what_is_not_recognised(init_fn: Any, shape: Any, dtype: Any) -> None:
    assert _init_kinds.recognise(init_fn, shape, dtype) is None


class Everything(nn.Module):
    """Layers, boxes, statistics, a variable that depends on data, dtypes, shapes of all kinds."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.BatchNorm(use_running_average=False)(nn.Dense(8)(x))
        x = nn.DenseGeneral(
            (2, 8),
            kernel_init=nn.with_partitioning(nn.initializers.lecun_normal(), (None, None, 'model')),
        )(x)
        x = nn.Dropout(0.5, deterministic=False)(nn.Dense(3, param_dtype=jnp.bfloat16)(x))
        self.variable('state', 'mean', lambda: x.mean())
        self.variable('state', 'step', lambda: jnp.zeros((), jnp.int32))
        self.variable('state', 'key', lambda: self.make_rng('other'))
        self.param('half', nn.initializers.constant(0.1), (3, 3), jnp.float16)
        self.param('ortho', nn.initializers.orthogonal(), (3, 3))
        self.param('tree', lambda key: {'b': jnp.ones(2), 'a': [jax.random.normal(key)]})
        self.sow('intermediates', 'x', x)
        return x + self.param('bias', nn.initializers.zeros, ())


@pytest.mark.parametrize(
    'make', [jax.random.key, lambda seed: np.asarray(jax.random.PRNGKey(seed))]
)
def test_init_gives_the_same_bits_in_the_same_order(make: Any) -> None:
    rngs = {'params': make(1), 'dropout': make(2)}
    assert_same(Everything().init(rngs, X), slowly(lambda: Everything().init(rngs, X)))


def test_output_and_variables_have_the_same_bits() -> None:
    def both() -> Any:
        y, variables = Everything().init_with_output(KEY, X, mutable=True)
        return {'y': y, **variables}

    assert_same(both(), slowly(both))


def test_the_functional_core_defers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    names = runs(monkeypatch)
    make = init(lambda scope: scope.param('w', nn.initializers.normal(), (8, 8)))
    y, variables = make(KEY)
    assert_same({'y': y, **variables}, slowly(lambda: (lambda p: {'y': p[0], **p[1]})(make(KEY))))
    assert not names


def test_nothing_of_the_forward_pass_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    names = runs(monkeypatch)
    model = nn.Sequential([nn.Dense(8), nn.relu, nn.LayerNorm(), nn.Dense(16)])
    variables = model.init(KEY, X)
    assert not names
    assert {type(leaf) for leaf in jax.tree.leaves(variables)} == {type(jnp.ones(1))}


LOOKS = {
    'bool': lambda x: x.sum() > -100 and len(x),
    'float': lambda x: float(x.sum()),
    'int': lambda x: int(x.sum()),
    'complex': lambda x: complex(x.sum()),
    'index': lambda x: range(3)[jnp.argmax(x) * 0],
    'numpy': lambda x: np.asarray(x).tolist(),
    'item': lambda x: x.sum().item(),
    'tolist': lambda x: x.tolist(),
    'repr': lambda x: repr(x) + str(x) + f'{x.sum():.3f}',
    'device_get': lambda x: jax.device_get(x).tolist(),
    'devices': lambda x: (x.devices(), x.sharding, x.committed),
    'block': lambda x: jax.block_until_ready(x).tolist(),
    'mask': lambda x: x[x > 0].shape,
    'repeat': lambda x: jnp.repeat(x, (x[0] * 0 + 2).astype(int)[:2], axis=0).shape,
}


@pytest.mark.parametrize('look', LOOKS)
def test_programs_that_look_at_numbers_see_them_and_run_once(look: str) -> None:
    seen = []

    class Looks(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            y = nn.Dense(8)(x)
            seen.append(LOOKS[look](y))
            return nn.Dense(9)(y)

    fast = Looks().init(KEY, X)
    assert len(seen) == 1
    assert_same(fast, slowly(lambda: Looks().init(KEY, X)))
    assert seen[0] == seen[1]


def in_call(body: Any) -> Any:
    """A module that calls ``body(dense(x))``."""

    class Calls(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return body(self, nn.Dense(8)(x))

    return Calls()


def test_effects_happen_once_and_in_order() -> None:
    seen: list[Any] = []

    def body(module: Any, x: Any) -> Any:
        jax.debug.callback(lambda v: seen.append(v.sum()), x, ordered=True)
        jax.debug.callback(lambda v: seen.append(v.max()), jnp.cos(x), ordered=True)
        doubled = jax.pure_callback(lambda v: 2 * np.asarray(v), x, x)
        ref = jax.new_ref(jnp.zeros(()))
        ref[...] = doubled.sum()
        module.variable('state', 'twice', lambda: ref[...])
        return x

    fast = in_call(body).init(KEY, X)
    jax.effects_barrier()
    assert len(seen) == 2
    assert_same(fast, slowly(lambda: in_call(body).init(KEY, X)))
    jax.effects_barrier()
    assert seen[:2] == seen[2:]


def test_an_error_is_raised_once_as_it_is() -> None:
    calls = []

    def body(module: Any, x: Any) -> Any:
        calls.append(1)
        return x @ jnp.ones((3, 3))

    with pytest.raises(TypeError) as fast:
        in_call(body).init(KEY, X)
    assert len(calls) == 1
    with pytest.raises(TypeError) as slow:
        slowly(lambda: in_call(body).init(KEY, X))
    assert str(fast.value) == str(slow.value)
    assert fast.value.__notes__ == slow.value.__notes__
    assert fast.value.__context__ is None


def test_a_program_that_was_compiled_ahead_of_time_runs_as_ever() -> None:
    compiled = jax.jit(jnp.sin).lower(jax.ShapeDtypeStruct((2, 8), jnp.float32)).compile()

    def body(module: Any, x: Any) -> Any:
        module.variable('state', 'sin', lambda: compiled(x))

    assert_same(in_call(body).init(KEY, X), slowly(lambda: in_call(body).init(KEY, X)))


def test_a_kind_of_call_that_cannot_be_deferred_runs_as_ever() -> None:
    seen = []

    def fn() -> Any:
        seen.append(_deferred.is_deferring())
        if seen == [True]:
            raise NotImplementedError(f'{type(_compat.current_trace())} must override this')
        return 3

    assert materialize.run(fn) == 3
    assert seen == [True, False]


def test_trees_of_any_kind_are_settled() -> None:
    def fn(unordered: Any = None) -> Any:
        a, b = jnp.ones(2) + 1, jnp.ones(3) + 2
        return {
            'z': FrozenDict({'y': a, 'x': b}),
            'list': [a, (b, None)],
            'box': nn.Partitioned({2: a, 'b': b}, ('i',)),
            'plain': ['text', 3],
        }

    fast, slow = materialize.run(fn), slowly(lambda: materialize.run(fn))
    assert list(fast['z']) == list(slow['z']) == ['y', 'x']
    assert str(fast) == str(slow)
    assert type(fast['list'][1][0]) is type(slow['list'][1][0])
    assert str(materialize.run(fn, {1: 2, 'a': 3})) == str(slow)


def test_a_tracer_of_a_transform_raises_what_it_did() -> None:
    def body(module: Any, x: Any) -> Any:
        return jax.jit(lambda v: v if np.asarray(v).any() else -v)(x)

    with pytest.raises(jax.errors.TracerArrayConversionError):
        in_call(body).init(KEY, X)
    other_error = TypeError('of another kind')

    def raises(module: Any, x: Any) -> Any:
        raise other_error

    with pytest.raises(TypeError) as caught:
        in_call(raises).init(KEY, X)
    assert caught.value is other_error


def test_transforms_inside_see_deferred_arrays() -> None:
    def body(module: Any, x: Any) -> Any:
        def loss(v: Any) -> Any:
            return (jnp.sin(v) * x).sum()

        grad = jax.grad(loss)(x)
        mapped = jax.vmap(lambda row: row * x[0, 0])(x)
        total, _ = jax.lax.scan(lambda c, row: (c + row @ x[0], None), jnp.zeros(()), x)
        chosen = jax.lax.cond(x[0, 0] > 0, lambda: x, lambda: -x)
        donated = jax.jit(lambda v: v + 1, donate_argnums=0)(mapped)
        mesh = jax.make_mesh((1,), ('i',), axis_types=(jax.sharding.AxisType.Auto,))
        both = jax.shard_map(lambda v: 2 * v, mesh=mesh, in_specs=jax.P('i'), out_specs=jax.P('i'))(
            x
        )
        host = np.ones(8, np.float32)
        added = x + host
        host[:] = 7  # what was added stays
        smooth = jax.custom_vjp(jnp.tanh)
        smooth.defvjp(lambda v: (smooth(v), v), lambda v, g: (g,))
        values = (smooth(x), grad, total, chosen, donated, np.asarray(both), added, x**2)
        module.variable('state', 'all', lambda: tuple(map(jnp.asarray, values)))

    assert_same(in_call(body).init(KEY, X), slowly(lambda: in_call(body).init(KEY, X)))


def test_contexts_hold_for_what_is_computed_inside() -> None:
    def body(module: Any, x: Any) -> Any:
        with jax.default_matmul_precision('float32'):
            y = x @ x.T
            assert type(y) is not DeferredArray
            late = float(jnp.sum(x))  # deferred outside, looked at inside
        module.variable('state', 'y', lambda: y + late)

    assert_same(in_call(body).init(KEY, X), slowly(lambda: in_call(body).init(KEY, X)))


def test_a_program_that_was_first_run_in_init_keeps_a_table() -> None:
    """Later calls of it, and of programs that close over the table, give the same numbers."""
    kept: dict[str, Any] = {}
    inside = jax.jit(lambda x: x + kept['table'])

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            kept.setdefault('table', jnp.arange(8.0) * 2)
            return inside(x * self.param('scale', nn.initializers.ones, ())) + kept['table']

    x = np.arange(16, dtype=np.float32).reshape(2, 8)  # whole numbers, whose sums are exact

    model = Net()
    variables = model.init(KEY, x)
    assert isinstance(kept['table'], DeferredArray)
    expected = x + 2 * np.arange(8, dtype=np.float32) * 2
    programs: list[Any] = [
        jax.jit(lambda x: model.apply(variables, x)),
        jax.vmap(lambda x: model.apply(variables, x)),
        lambda x: inside(inside(x)),
        jax.jit(lambda x: x + 2 * kept['table']),
        jax.jit(lambda x: jax.lax.scan(lambda c, _: (c + kept['table'], None), x, length=2)[0]),
        jax.jit(lambda x: x + 2 * kept['table']).lower(x).compile(),
    ]
    for program in programs:
        for _ in range(3):
            np.testing.assert_array_equal(program(x), expected)
    again = jax.jit(jax.grad(lambda x: (inside(x) * kept['table']).sum()))
    for _ in range(3):
        np.testing.assert_array_equal(again(x), np.broadcast_to(2 * np.arange(8), x.shape))


def test_an_array_that_was_kept_can_be_used_later(tmp_path: Path) -> None:
    kept = []
    in_call(lambda module, x: kept.append(x)).init(KEY, X)
    slowly(lambda: in_call(lambda module, x: kept.append(x)).init(KEY, X))
    assert isinstance(kept[0], DeferredArray)
    assert not is_traced(kept[0])
    np.testing.assert_array_equal(kept[0] + 1, kept[1] + 1)
    np.testing.assert_array_equal(jax.jit(jnp.sin)(kept[0]), jnp.sin(kept[1]))
    np.testing.assert_array_equal(jax.device_put(kept[0]), kept[1])
    assert serialization.to_bytes({'x': kept[0]}) == serialization.to_bytes({'x': kept[1]})
    np.testing.assert_array_equal(jax_utils.replicate(kept[0]), jax_utils.replicate(kept[1]))
    checkpoints.save_checkpoint(tmp_path, {'x': kept[0]}, 1)
    restored = checkpoints.restore_checkpoint(tmp_path, {'x': jnp.zeros_like(kept[1])})
    np.testing.assert_array_equal(restored['x'], kept[1])


@pytest.mark.parametrize(
    'setting',
    [
        lambda: jax.disable_jit(),
        lambda: jax.debug_nans(True),
        lambda: jax.checking_leaks(),
        lambda: jax.transfer_guard_host_to_device('log'),
        lambda: jax.set_mesh(jax.make_mesh((1,), ('i',))),
        lambda: config.temp_flip_flag('linnet_fast_init', False),
    ],
)
def test_settings_in_which_every_operation_runs_at_once(setting: Any) -> None:
    deferred = []
    with setting():
        materialize.run(lambda: deferred.append(_deferred.is_deferring()))
    materialize.run(lambda: deferred.append(_deferred.is_deferring()))
    assert deferred == [False, True]


def test_arrays_that_were_put_on_a_device_run_at_once() -> None:
    placed = jax.device_put(X, jax.devices()[0])
    deferred = []
    materialize.run(lambda x: deferred.append(_deferred.is_deferring()), placed)
    jax.jit(lambda x: materialize.run(lambda: deferred.append(_deferred.is_deferring())))(X)
    assert deferred == [False, False]


@pytest.mark.parametrize(
    'setting',
    [
        lambda: jax.enable_x64(True),
        lambda: jax.threefry_partitionable(False),
        lambda: jax.default_prng_impl('rbg'),
        lambda: jax.default_device(jax.devices()[0]),
        contextlib.nullcontext,
    ],
)
def test_settings_of_jax_give_the_same_bits(setting: Any) -> None:
    with setting():
        model, key = nn.Dense(8, kernel_init=nn.initializers.normal()), jax.random.key(0)
        assert_same(model.init(key, X), slowly(lambda: model.init(key, X)))


def test_init_inside_transforms_is_as_ever() -> None:
    model = nn.Dense(8)
    assert_same(jax.jit(model.init)(KEY, X), slowly(lambda: jax.jit(model.init)(KEY, X)))
    keys = jax.random.split(KEY, 2)
    many = jax.vmap(model.init, (0, None))
    assert_same(many(keys, X), slowly(lambda: many(keys, X)))

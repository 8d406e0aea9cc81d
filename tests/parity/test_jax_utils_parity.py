"""Functions around JAX's transforms, and small tools of training, against the oracle."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.devices import checks_in, run_checks
from tests.parity.harness import ORACLE, OURS, same

MODULES = """
    jax_utils training.common_utils training.dynamic_scale training.early_stopping
    training.lr_schedule training.prefetch_iterator
""".split()


def parameters(function: Any) -> list[Any]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize('module', MODULES)
def test_everything_public_is_there_with_its_signature(module):
    theirs, ours = ORACLE.load(module), OURS.load(module)
    names = [
        name
        for name, value in vars(theirs).items()
        if getattr(value, '__module__', '').endswith(module) and name[0] != '_'
    ]
    assert names
    for name in names:
        one, other = getattr(theirs, name), getattr(ours, name)
        assert [p[:2] for p in parameters(one)] == [p[:2] for p in parameters(other)], name
        members = [key for key, value in vars(one).items() if inspect.isfunction(value)]
        for member in members if inspect.isclass(one) else ():
            if member[0] != '_':
                pair = getattr(one, member), getattr(other, member)
                assert parameters(pair[0]) == parameters(pair[1]), (name, member)
        if dataclasses.is_dataclass(one):
            kinds = [[(f.name, f.default, dict(f.metadata)) for f in dataclasses.fields(cls)]
                     for cls in (one, other)]  # fmt: skip
            assert kinds[0] == kinds[1]


# The rest runs on eight devices, in a process of its own.


def placed(tree: Any) -> Any:
    """The values of a tree, and how they lie on the devices."""
    return [tree, [str(getattr(leaf, 'sharding', '')) for leaf in jax.tree.leaves(tree)]]


TREE = {
    'w': np.arange(6.0).reshape(2, 3),
    'b': jnp.ones(3, jnp.bfloat16),
    'n': 3,
    'f': 1.5,
    'weak': jnp.asarray(2.0),
    'key': jax.random.key(1),
    'none': None,
}


def check_copies_on_all_devices():
    devices = jax.devices()

    def program(lib):
        utils = lib.load('jax_utils')
        copies = [utils.replicate(TREE), utils.replicate(TREE['w'], devices[2:5], 'batch')]
        mapped = jax.pmap(lambda x: 2 * x)(jnp.arange(16.0).reshape(8, 2))
        mesh = jax.sharding.Mesh(np.array(devices), ('x',))
        whole = jax.device_put(jnp.arange(8.0), jax.NamedSharding(mesh, jax.P()))
        others = [mapped, whole, jnp.arange(6.0).reshape(3, 2), np.ones((3, 2)), jnp.float32(1)]
        firsts = [utils.unreplicate(tree) for tree in [*copies, *others]]
        inside = jax.jit(lambda x: utils.unreplicate(utils.replicate(x)))(jnp.arange(3.0))
        return [placed(copies), placed(firsts), inside]

    same(program)


def check_means_over_an_axis():
    def program(lib):
        tree = {'a': jnp.arange(8.0), 'b': jnp.ones((8, 2))}
        return jax.pmap(lambda x: lib.load('jax_utils').pmean(x, 'i'), 'i')(tree)

    same(program)


def check_batches_on_devices():
    def program(lib):
        seen: list[int] = []

        def batches():
            for i in range(5):
                seen.append(i)
                yield {'x': np.full((8, 2), i), 'y': [jnp.ones((16, 1)), None]}

        utils = lib.load('jax_utils')
        result = []
        for batch in utils.prefetch_to_device(batches(), 2):
            result.append([placed(batch), list(seen)])
        few = utils.prefetch_to_device(iter([np.ones((2, 1))]), 9, devices=jax.devices()[:2])
        return [result, placed(list(few))]

    same(program)


def check_batches_of_any_size():
    def program(lib):
        shapes: list[Any] = []

        def function(params, x, y=None, k=2):
            shapes.append(jax.tree.map(np.shape, (params, x, y, k)))
            return {'x': params * x['a'], 'y': y, 'k': None}

        utils = lib.load('jax_utils')
        wrapped = utils.pad_shard_unpad(function, static_argnames=('k',))
        result = []
        for size, least in ((5, None), (8, 1), (3, 2), (20, 2)):
            x = {'a': np.arange(size) + 1.0}
            y = np.arange(2 * size).reshape(size, 2) % 2 == 0
            result.append(wrapped(2.0, x, min_device_batch=least, y=y, k=7))
        whole = utils.pad_shard_unpad(lambda x: x, (), static_return=True)
        mapped = utils.pad_shard_unpad(jax.pmap(lambda x: x + 1), ())
        result += [whole(np.arange(5)), whole(np.ones((3, 2), bool)), mapped(jnp.arange(6.0))]
        return [result, shapes]

    same(program)


def check_batches_and_metrics_of_all_devices():
    def program(lib):
        utils = lib.load('training.common_utils')
        batch = {'x': np.arange(16.0).reshape(16, 1), 'y': [jnp.arange(8)], 'e': np.zeros((0, 3))}
        metrics = [jax.pmap(lambda x: {'loss': x})(jnp.arange(8.0) + i) for i in range(3)]
        keys = [jax.random.PRNGKey(0), jax.random.key(0)]
        return [
            utils.shard(batch),
            [utils.shard_prng_key(key) for key in keys],
            utils.get_metrics(metrics),
            utils.stack_forest(iter([{'a': 1, 'b': np.ones(2)}, {'a': 2, 'b': np.zeros(2)}])),
            utils.onehot(jnp.array([[0, 2], [5, -1]]), 3),
            utils.onehot(np.array([1]), 2, on_value=5, off_value=-1),
        ]

    same(program)


def check_arguments_for_orbax():
    devices = np.array(jax.devices())
    mesh = jax.sharding.Mesh(devices.reshape(4, 2), ('x', 'y'))
    other = jax.sharding.Mesh(devices.reshape(2, 4), ('x', 'y'))
    split, whole = (jax.NamedSharding(mesh, spec) for spec in (jax.P('x'), jax.P()))
    tree = {'s': jax.device_put(jnp.arange(8.0), split), 'n': 1, 'a': np.ones(2)}
    tree['w'] = jax.device_put(jnp.arange(8.0), whole)

    def program(lib):
        utils = lib.load('training.orbax_utils')
        args = [utils.restore_args_from_target(tree), utils.restore_args_from_target(tree, other)]
        return [[utils.is_multi_device_array(leaf) for leaf in tree.values()], repr(args)]

    same(program)
    ours = OURS.load('training.orbax_utils')
    args = ours.restore_args_from_target({'one': jnp.ones(2), 'n': 1}, other)
    assert args['one'].sharding.is_fully_replicated


@pytest.fixture(scope='module')
def outcomes():
    return run_checks('tests.parity.test_jax_utils_parity')


@pytest.mark.parametrize('check', checks_in(globals()))
def test_on_eight_devices(check, outcomes):
    assert not outcomes[check], outcomes[check]


def test_scans_over_axes_are_the_same():
    xs = jnp.arange(24.0).reshape(2, 3, 4) / 7

    def program(lib):
        scan, shapes = lib.load('jax_utils').scan_in_dim, []

        def body(carry, x):
            shapes.append(x.shape)
            return carry * 0.5 + jnp.sum(x), x * 2 + carry

        @jax.jit
        def run(xs):
            result = []
            for axis in (1, (0, 1), (2, 0), (-1, 0), (0, 1, 2)):
                for keepdims in (False, True):
                    result.append(scan(body, jnp.float32(0), xs, axis=axis, keepdims=keepdims))
            for unroll in ((2, 1), 2, (2,), (1, 2, 3)):
                result.append(scan(lambda c, x: (c + x.sum(), None), 0.0, xs, (0, 1), unroll))
            trees = {'a': xs, 'b': jnp.ones((5, 4))}
            result.append(scan(lambda c, x: (c, x), 0.0, trees, axis=(-1,)))
            expanded = lambda c, x: (c, x.sum()[None, None, None])  # noqa: E731
            result.append(scan(expanded, 0.0, xs, axis=(-1,)))
            return result

        return [run(xs), list(dict.fromkeys(shapes))]

    same(program)


def test_evaluation_by_shapes_is_the_same():
    def program(lib):
        evaluate = lib.load('jax_utils').partial_eval_by_shape
        key = jax.random.key(0)

        def function(x, y, k, scale=1):
            drawn = jax.random.normal(k, x.shape) * scale
            inner = jax.jit(lambda x: (jnp.ones(3), x + 1))(x)
            return {'known': drawn, 'x': x, 'y': y * 2, 'n': x.shape[0], 'inner': inner[0]}

        spec = [(2, 3), ((4,), jnp.int32)]
        return [evaluate(function, spec, key), evaluate(function, spec, key, scale=3)]

    same(program)


# Numbers of the training tools, bit for bit


SCALES = [
    {},
    {'scale': 3.0, 'growth_interval': 1},
    {'scale': 3e38, 'growth_interval': 0},
    {'scale': 1e-38, 'minimum_scale': None},
    {'scale': 7.0, 'minimum_scale': 5.0, 'growth_factor': 1.5, 'growth_interval': 0},
]


@pytest.mark.parametrize('options', SCALES)
def test_scales_change_alike(options):
    def program(lib):
        scale = lib.load('training.dynamic_scale').DynamicScale(**options)
        loss = lambda w, x: (jnp.sum(w**2) * x, {'x': x})  # noqa: E731
        step = jax.jit(lambda scale, w, x: tuple(scale.value_and_grad(loss, 0, True)(w, x)))
        results = [tuple(scale.value_and_grad(loss, 0, True)(jnp.array([1.3, 2.7]), 1.0))]
        for x in (1.0, 1e-8, float('inf'), 1.0, float('nan')):
            results.append(step(scale, jnp.array([1.3, 2.7], jnp.float16), x))
            scale = results[-1][0]
        return results

    same(program)


def test_scales_agree_over_an_axis():
    def program(lib):
        scale = lib.load('training.dynamic_scale').DynamicScale()

        def run(w, v, x):
            loss = lambda w, v: jnp.sum(w * v) * x  # noqa: E731
            return tuple(scale.value_and_grad(loss, (0, 1), axis_name='i')(w, v))

        xs = jnp.array([1.0, 3.0]), jnp.array([1.0, jnp.inf])
        mapped = jax.jit(jax.vmap(run, axis_name='i'))
        return [mapped(jnp.ones((2, 2)), jnp.ones((2, 2)), x) for x in xs]

    same(program)


def test_stopping_is_decided_alike():
    def program(lib):
        cls, states = lib.load('training.early_stopping').EarlyStopping, []
        for options in ({}, {'min_delta': 1, 'patience': 2}, {'min_delta': 0.5}):
            state = cls(**options)
            for metric in (10, 9.5, 8, 8, 8, 8, 7, 6, float('nan'), jnp.float32(2), -1e9):
                state = state.update(metric)
                states.append(state)
            states += [state.reset(), cls().update(float('nan')).update(1.0)]
        return [dataclasses.asdict(state) for state in states]

    same(program)


def rates(create: Callable[[Any], Callable[[Any], Any]]) -> None:
    def program(lib):
        rate = create(lib.load('training.lr_schedule'))
        jitted = jax.jit(rate)
        steps = [0, 1, 7, 8, 15, 29, np.float32(4.5)]
        return [[rate(step), jitted(step)] for step in steps] + [rate(jnp.int32(9))]

    same(program)


@pytest.mark.parametrize('warmup', [0.0, 1.3])
def test_learning_rates_are_the_same(warmup):
    rates(lambda m: m.create_constant_learning_rate_schedule(0.1, 7, warmup))
    rates(lambda m: m.create_cosine_learning_rate_schedule(0.37, 10, 3, warmup))
    pairs = [[1, 0.3], [2.5, 0.07]]
    rates(lambda m: m.create_stepped_learning_rate_schedule(0.1, 7, pairs, warmup))
    rates(lambda m: m.create_stepped_learning_rate_schedule(0.1, 7, [], warmup))


@pytest.mark.filterwarnings('ignore:PrefetchIterator is deprecated:DeprecationWarning')
def test_items_come_alike():
    def program(lib):
        cls = lib.load('training.prefetch_iterator').PrefetchIterator
        items = cls(iter(range(5)), buffer_size=2)
        result = [next(items), list(items), list(items)]

        def failing():
            yield from range(2)
            raise RuntimeError('no more')

        items = cls(failing())
        result += [next(items), next(items)]
        for _ in range(2):
            with pytest.raises(RuntimeError, match='no more'):
                next(items)
        return result

    same(program)

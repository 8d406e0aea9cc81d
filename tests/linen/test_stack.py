"""Stack: n layers as one body, the two forms of their variables, and what it says of misuse."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import linnet.linen as nn
from linnet.errors import (
    CallCompactUnboundModuleError,
    CarryError,
    InvalidOptionError,
    JaxTransformError,
)
from linnet.linen import FrozenDict
from linnet.linen.stack import Stack, stack_layers, unstack_layers
from linnet.training.train_state import TrainState

KEY = jax.random.key(0)
KEYS = {'params': KEY, 'dropout': jax.random.key(1)}
X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
POLICY = jax.checkpoint_policies.dots_saveable


class Block(nn.Module):
    """A block with parameters, state, randomness and a sown value."""

    rate: float = 0.5

    @nn.compact
    def __call__(self, x: Any, scale: Any = 1.0, *, train: bool = False) -> Any:
        y = nn.BatchNorm(use_running_average=not train)(nn.Dense(x.shape[-1])(x))
        self.sow('intermediates', 'mean', y.mean())
        y = nn.Dropout(self.rate, deterministic=not train)(jnp.tanh(y))
        return x + scale * y


class Model(nn.Module):
    """A stack inside a model, made in the compact method."""

    n: int = 3
    scan: bool = True
    remat: Any = False
    unroll: int = 1

    @nn.compact
    def __call__(self, x: Any, scale: Any = 1.0, train: bool = False) -> Any:
        stack = Stack(Block(), self.n, scan=self.scan, remat=self.remat, unroll=self.unroll)
        return nn.Dense(2)(stack(x, scale, train=train))


@functools.cache
def made() -> Any:
    """The variables of ``Model``, made as a loop."""
    return Model().init(KEY, X)


def assert_equal(a: Any, b: Any) -> None:
    """The same structure, and in each place the same type, dtype and bits."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert type(x) is type(y)
        assert getattr(x, 'dtype', None) == getattr(y, 'dtype', None)
        np.testing.assert_array_equal(x, y)


def assert_close(a: Any, b: Any, atol: float = 1e-6) -> None:
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=atol, rtol=0), a, b)


# Variables.


def test_each_layer_has_parameters_of_its_own() -> None:
    kernel = Stack(nn.Dense(32), 4).init(KEY, jnp.ones((1, 32)))['params']['block']['kernel']
    assert kernel.shape == (4, 32, 32)
    assert len({np.asarray(k).tobytes() for k in kernel}) == 4
    np.testing.assert_allclose(kernel.std((1, 2)), 32**-0.5, rtol=0.1)  # as lecun_normal has it
    correlations = np.corrcoef(np.asarray(kernel).reshape(4, -1))
    np.testing.assert_allclose(correlations, np.eye(4), atol=0.12)


def test_variables_have_a_first_axis_in_every_collection() -> None:
    shapes = jax.tree.map(jnp.shape, made())
    stats = {'BatchNorm_0': {'mean': (3, 3), 'var': (3, 3)}}
    assert shapes['batch_stats'] == {'Stack_0': {'block': stats}}
    assert shapes['params'].keys() == {'Stack_0', 'Dense_0'}
    assert shapes['params']['Stack_0'] == {
        'block': {
            'Dense_0': {'kernel': (3, 3, 3), 'bias': (3, 3)},
            'BatchNorm_0': {'scale': (3, 3), 'bias': (3, 3)},
        }
    }


def test_shapes_are_known_without_computing() -> None:
    shapes = jax.eval_shape(lambda: Model().init(KEY, X))
    assert jax.tree.map(jnp.shape, made()) == jax.tree.map(lambda s: s.shape, shapes)


def test_state_changes_in_each_layer() -> None:
    apply = functools.partial(Model().apply, rngs=KEYS, mutable=['batch_stats'])
    _, state = apply(made(), X, train=True)
    before = made()['batch_stats']['Stack_0']['block']['BatchNorm_0']['var']
    after = state['batch_stats']['Stack_0']['block']['BatchNorm_0']['var']
    assert (after != before).all()


def test_sown_values_have_one_entry_for_each_layer() -> None:
    _, state = Model().apply(made(), X, capture_intermediates=True)
    found = state['intermediates']['Stack_0']
    assert found.keys() == {'block', '__call__'}
    below = {'Dense_0', 'BatchNorm_0', 'Dropout_0'}
    assert found['block'].keys() == {'mean', '__call__', *below}
    assert found['block']['mean'][0].shape == (3,)
    assert found['block']['__call__'][0].shape == (3, 2, 3)
    np.testing.assert_array_equal(found['block']['__call__'][0][-1], found['__call__'][0])


def test_observers_see_no_other_method_of_the_block() -> None:
    _, state = Model().apply(made(), X, capture_intermediates=lambda module, name: True)
    assert 'layer' not in state['intermediates']['Stack_0']['block']


def test_a_stack_that_runs_twice_sows_twice() -> None:
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            stack = Stack(Block(), 3, name='stack')
            return stack(stack(x))

    variables = Twice().init(KEY, X)
    _, state = Twice().apply(variables, X, mutable=['intermediates'])
    assert [m.shape for m in state['intermediates']['stack']['block']['mean']] == [(3,), (3,)]


def test_boxes_learn_the_name_of_the_axis() -> None:
    kernel_init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, 'model'))
    block = nn.Dense(3, kernel_init=kernel_init)
    for name in ('layers', 'stage', None):
        variables = Stack(block, 2, axis_name=name).init(KEY, X)
        assert variables['params']['block']['kernel'].names == (name, None, 'model')
        assert Stack(block, 2, axis_name=name).apply(variables, X).shape == X.shape
        unrolled = unstack_layers(variables, axis_name=name)
        assert unrolled['params']['block_1']['kernel'].names == (None, 'model')
        assert_equal(stack_layers(unrolled, axis_name=name), variables)


def test_a_box_is_told_the_name_that_it_has() -> None:
    kernel_init = nn.with_partitioning(nn.initializers.zeros, (None, 'model'))
    variables = Stack(nn.Dense(3, kernel_init=kernel_init), 2).init(KEY, X)
    with pytest.raises(InvalidOptionError, match="removed as 'stage'"):
        unstack_layers(variables, axis_name='stage')


# The two forms.


@pytest.mark.parametrize('remat', [False, True, POLICY], ids=['plain', 'remat', 'policy'])
def test_both_forms_make_the_same_model(remat: Any) -> None:
    stacked, unrolled = Model(remat=remat), Model(scan=False, remat=remat)
    variables = unrolled.init(KEY, X)
    assert list(variables['params']['Stack_0']) == ['block_0', 'block_1', 'block_2']
    whole = stack_layers(variables, 'Stack_0')
    assert_equal(unstack_layers(whole, 'Stack_0'), variables)
    assert_close(whole, made())

    def run(model: Any, variables: Any) -> Any:
        def loss(params: Any, x: Any) -> Any:
            y, state = model.apply(
                {**variables, 'params': params},
                x,
                0.7,
                train=True,
                rngs=KEYS,
                mutable=['batch_stats', 'intermediates'],
            )
            return jnp.sum(y**2), (y, state)

        return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(variables['params'], X)

    (grads, x_grad), (y, state) = run(stacked, whole)
    (grads_u, x_grad_u), (y_u, state_u) = run(unrolled, variables)
    assert_close(y, y_u)
    assert_close(unstack_layers(state, 'Stack_0'), state_u)
    assert_close(unstack_layers(grads, 'Stack_0'), grads_u, 1e-5)
    assert_close(x_grad, x_grad_u, 1e-5)


class Drops(nn.Module):
    """Shows what a layer draws: each adds its mask in a column of its own."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        self.sow('intermediates', 'key', jax.random.key_data(self.make_rng('dropout')))
        mask = nn.Dropout(0.5, deterministic=False)(jnp.ones((16,)))
        self.sow('intermediates', 'mask', mask)
        return x


@pytest.mark.parametrize('key', [KEY, jax.random.PRNGKey(0)], ids=['typed', 'raw'])
def test_each_layer_draws_keys_of_its_own_the_same_in_both_forms(key: Any) -> None:
    def drawn(**options: Any) -> Any:
        stack = Stack(Drops(), 3, **options)
        _, state = stack.apply({}, X, rngs={'dropout': key}, mutable=['intermediates'])
        return state['intermediates']

    sown = drawn()['block']
    for values in (*sown['key'], *sown['mask']):
        assert len({np.asarray(v).tobytes() for v in values}) == 3
    assert_equal(unstack_layers({'intermediates': drawn()}), {'intermediates': drawn(scan=False)})
    assert_equal(drawn(), drawn(remat=True))
    assert_equal(drawn(), drawn(unroll=2))


def test_conversion_follows_the_path_and_leaves_the_rest() -> None:
    class Deep(nn.Module):
        def setup(self) -> None:
            self.encoder = Model()
            self.block = nn.Dense(3)

        def __call__(self, x: Any) -> Any:
            return self.encoder(self.block(x))

    variables = Deep().init(KEY, X)
    unrolled = unstack_layers(variables, 'encoder/Stack_0')
    assert unrolled['params'].keys() == {'encoder', 'block'}
    assert unrolled['params']['block'] is variables['params']['block']
    assert list(unrolled['params']['encoder']) == ['Stack_0', 'Dense_0']
    np.testing.assert_array_equal(
        unrolled['params']['encoder']['Stack_0']['block_1']['Dense_0']['kernel'],
        variables['params']['encoder']['Stack_0']['block']['Dense_0']['kernel'][1],
    )
    assert_equal(stack_layers(unrolled, 'encoder/Stack_0'), variables)
    params = unstack_layers(variables['params'], 'encoder/Stack_0')
    assert_equal(params, unrolled['params'])


def test_frozen_dicts_stay_frozen_and_numpy_stays_numpy() -> None:
    variables = FrozenDict(jax.tree.map(np.asarray, made()))
    unrolled = unstack_layers(variables, 'Stack_0')
    assert isinstance(unrolled, FrozenDict)
    leaves = jax.tree.leaves(unrolled['params']['Stack_0'])
    assert all(isinstance(leaf, np.ndarray) for leaf in leaves)
    back = stack_layers(unrolled, 'Stack_0')
    assert isinstance(back, FrozenDict)
    assert_equal(back, variables)


def test_the_state_of_an_optimizer_follows_its_parameters() -> None:
    params = made()['params']
    labels = {'Stack_0': 'a', 'Dense_0': 'b'}
    tx = optax.chain(
        optax.multi_transform({'a': optax.adam(1e-3), 'b': optax.sgd(0.1, momentum=0.9)}, labels),
        optax.trace(0.9),
    )
    state = TrainState.create(apply_fn=Model().apply, params=params, tx=tx)
    state = state.apply_gradients(grads=jax.tree.map(jnp.ones_like, params))
    unrolled = unstack_layers(state, 'Stack_0')
    assert isinstance(unrolled, TrainState)
    expected = tx.init(unrolled.params)
    assert jax.tree.structure(unrolled.opt_state) == jax.tree.structure(expected)
    assert jax.tree.map(jnp.shape, unrolled.opt_state) == jax.tree.map(jnp.shape, expected)
    assert_equal(stack_layers(unrolled, 'Stack_0'), state)
    unrolled.apply_gradients(grads=jax.tree.map(jnp.ones_like, unrolled.params))


def test_conversion_under_transforms() -> None:
    shapes = jax.eval_shape(lambda v: unstack_layers(v, 'Stack_0'), made())
    unrolled = jax.jit(lambda v: unstack_layers(v, 'Stack_0'))(made())
    assert jax.tree.map(lambda s: s.shape, shapes) == jax.tree.map(jnp.shape, unrolled)
    assert_equal(jax.jit(lambda v: stack_layers(v, 'Stack_0'))(unrolled), made())


@pytest.mark.parametrize('value', [jax.random.split(KEY, 2), jnp.ones((2,), jnp.bfloat16)])
def test_conversion_of_unusual_leaves(value: Any) -> None:
    tree = {'block': {'a': value, 'none': None}, 'other': 3}
    back = stack_layers(unstack_layers(tree))
    assert (back['block']['a'] == value).all()
    assert back['block']['a'].dtype == value.dtype
    assert back['block']['none'] is None
    assert back['other'] == 3


# Transforms, dtypes, sizes.


def test_the_block_is_traced_once_however_many_layers_there_are() -> None:
    traced = []

    class Counted(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            traced.append(x)
            return jnp.tanh(nn.Dense(x.shape[-1])(x))

    def size(n: int, **options: Any) -> int:
        stack = Stack(Counted(), n, **options)
        variables = jax.eval_shape(lambda: stack.init(KEY, X))
        traced.clear()
        loss = jax.grad(lambda v: stack.apply(v, X).sum())
        return len(str(jax.make_jaxpr(loss)(variables)).splitlines())

    for options in ({}, {'remat': True}):
        lines = size(48, **options)
        assert len(traced) == 1
        assert lines == size(4, **options)
    assert size(48, scan=False) > 8 * lines
    assert len(traced) == 48


def test_a_weak_type_does_not_trace_the_block_again() -> None:
    traced = []

    class Counted(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            traced.append(x)
            return x * self.param('scale', nn.initializers.ones, ())

    assert Stack(Counted(), 2).init_with_output(KEY, 3.0)[0] == 3.0
    assert len(traced) == 1


def test_arguments_are_the_same_for_all_layers() -> None:
    class Picks(nn.Module):
        @nn.compact
        def __call__(self, x: Any, mode: str, weights: Any, *, offset: Any = 0.0) -> Any:
            assert mode == 'sum'
            return x + weights['w'] + offset

    weights = {'w': jnp.arange(3.0), 'label': 'not an array'}
    y = Stack(Picks(), 2, remat=True).apply({}, X, 'sum', weights, offset=np.float32(1.0))
    np.testing.assert_allclose(y, X + 2 * jnp.arange(3.0) + 2, rtol=1e-6)
    grad = jax.grad(lambda w: Stack(Picks(), 2).apply({}, X, 'sum', {'w': w}).sum())(weights['w'])
    np.testing.assert_array_equal(grad, [4.0, 4.0, 4.0])


def test_vmap_and_jit() -> None:
    apply = jax.jit(jax.vmap(lambda x: Model().apply(made(), x[None])[0]))
    assert_close(apply(X), Model().apply(made(), X))


def test_lifted_transforms_around_a_stack() -> None:
    class Outer(nn.Module):
        wrap: Any

        @nn.compact
        def __call__(self, x: Any) -> Any:
            return self.wrap(Stack)(nn.Dense(3), 2, name='stack')(x)

    variables = Outer(lambda cls: cls).init(KEY, X)
    expected = Outer(lambda cls: cls).apply(variables, X)
    for wrap in (nn.jit, nn.remat):
        assert_close(Outer(wrap).apply(variables, X), expected)
    mapped = functools.partial(
        nn.vmap, variable_axes={'params': 0}, split_rngs={'params': True}, in_axes=None, axis_size=4
    )
    variables = Outer(mapped).init(KEY, X)
    assert variables['params']['stack']['block']['kernel'].shape == (4, 2, 3, 3)


@pytest.mark.parametrize('scan', [True, False])
def test_bfloat16(scan: bool) -> None:
    block = nn.Dense(3, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
    y, variables = Stack(block, 2, scan=scan).init_with_output(KEY, X.astype(jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.bfloat16)}


def test_one_layer_is_the_block_itself() -> None:
    variables = Stack(nn.Dense(3), 1).init(KEY, X)
    single = unstack_layers(variables)['params']['block_0']
    expected = nn.Dense(3).apply({'params': single}, X)
    assert_close(Stack(nn.Dense(3), np.int64(1)).apply(variables, X), expected)


def test_what_goes_through_may_be_a_tree() -> None:
    class Swap(nn.Module):
        @nn.compact
        def __call__(self, pair: Any) -> Any:
            return {'a': pair['b'], 'b': nn.Dense(3)(pair['a'])}

    y = Stack(Swap(), 2).init_with_output(KEY, {'a': X, 'b': 2 * X})[0]
    assert jax.tree.map(jnp.shape, y) == {'a': (2, 3), 'b': (2, 3)}


def test_stacks_in_stacks() -> None:
    class Group(nn.Module):
        scan: bool = True

        @nn.compact
        def __call__(self, x: Any) -> Any:
            return jnp.tanh(Stack(nn.Dense(3), 2, scan=self.scan, axis_name='inner')(x))

    for stack, inner in ((Stack(Group(), 3), 'Stack_0'), (Stack(Stack(nn.Dense(3), 2), 3), '')):
        y, variables = stack.init_with_output(KEY, X)
        node = variables['params']['block']
        kernel = (node[inner] if inner else node)['block']['kernel']
        assert kernel.shape == (3, 2, 3, 3)
        assert len({np.asarray(k).tobytes() for k in kernel.reshape(6, 3, 3)}) == 6
    variables = Stack(Group(), 3).init(KEY, X)
    y = Stack(Group(), 3).apply(variables, X)
    unrolled = unstack_layers(variables)
    for i in range(3):
        unrolled = unstack_layers(unrolled, f'block_{i}/Stack_0', axis_name='inner')
    assert_close(Stack(Group(scan=False), 3, scan=False).apply(unrolled, X), y)


def test_a_module_among_the_arguments_is_shared_by_all_layers() -> None:
    class Uses(nn.Module):
        @nn.compact
        def __call__(self, x: Any, shared: Any) -> Any:
            return x + nn.Dense(3)(shared(x))

    class Net(nn.Module):
        scan: bool = True
        early: bool = True

        @nn.compact
        def __call__(self, x: Any) -> Any:
            shared = nn.Dense(3, name='shared')
            x = shared(x) if self.early else x
            return Stack(Uses(), 2, scan=self.scan)(x, shared)

    y, variables = Net().init_with_output(KEY, X)
    assert variables['params']['shared']['kernel'].shape == (3, 3)
    assert_close(Net(scan=False).apply(unstack_layers(variables, 'Stack_0'), X), y)
    with pytest.raises(JaxTransformError, match='/shared'):  # made inside the loop
        Net(early=False).init(KEY, X)


# The template.


class Holder(nn.Module):
    """A block that holds another module."""

    inner: nn.Module

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return x + self.inner(x)


def names(model: nn.Module) -> Any:
    return jax.tree.map(jnp.shape, model.init(KEY, X)['params'])


def test_a_template_made_in_a_compact_method_takes_no_name_there() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = Stack(Holder(nn.Dense(3)), 2)(x)
            first, second = nn.Dense(3), nn.Dense(3)
            x = Stack(second, 2)(x)
            return Stack(first, 2)(nn.Dense(3)(x))

    kernels = {'kernel': (2, 3, 3), 'bias': (2, 3)}
    params = names(Net())
    assert params['Stack_0'] == {'block': {'inner': kernels}}
    assert params['Stack_1'] == params['Stack_2'] == {'block': kernels}
    assert params.keys() == {'Stack_0', 'Stack_1', 'Stack_2', 'Dense_0'}


def test_automatic_names_go_on_as_if_there_were_no_template() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = nn.Dense(3)(x)
            return nn.Dense(3)(Stack(nn.Dense(3), 2)(x))

    assert names(Net()).keys() == {'Dense_0', 'Stack_0', 'Dense_1'}


def test_the_name_of_a_template_stays_free_where_others_follow() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            template, other = nn.Dense(3), nn.Dense(3)
            return nn.Dense(3)(other(Stack(template, 2)(x)))

    assert names(Net()).keys() == {'Stack_0', 'Dense_1', 'Dense_2'}


def test_a_template_in_setup_or_in_a_field() -> None:
    class Net(nn.Module):
        block: nn.Module

        def setup(self) -> None:
            self.layers = [Stack(Holder(nn.Dense(3)), 2), Stack(self.block, 4)]

        def __call__(self, x: Any) -> Any:
            return self.layers[1](self.layers[0](x))

    kernel = names(Net(Holder(nn.Dense(3))))
    assert kernel['layers_0']['block']['inner']['kernel'] == (2, 3, 3)
    assert kernel['layers_1']['block']['inner']['kernel'] == (4, 3, 3)
    assert kernel.keys() == {'layers_0', 'layers_1'}


def test_one_template_for_two_stacks() -> None:
    block = nn.Dense(3)
    model = nn.Sequential([Stack(block, 2), Stack(block, 3), Stack(block, 3, scan=False)])
    params = names(model)
    assert params['layers_0']['block']['kernel'] == (2, 3, 3)
    assert params['layers_1']['block']['kernel'] == (3, 3, 3)
    assert params['layers_2'].keys() == {'block_0', 'block_1', 'block_2'}


@pytest.mark.filterwarnings('ignore::linnet.errors.SameInstanceWarning')
def test_one_stack_used_twice_has_one_set_of_variables() -> None:
    stack = Stack(nn.Dense(3), 2)
    assert names(nn.Sequential([stack, stack])).keys() == {'layers_0'}


def test_copies_of_a_stack() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            stack = Stack(Holder(nn.Dense(3)), 2)
            return stack.copy(n=3)(stack(x))

    params = names(Net())
    assert params['Stack_0']['block']['inner']['kernel'] == (2, 3, 3)
    assert params['Stack_1']['block']['inner']['kernel'] == (3, 3, 3)
    stack = Stack(nn.Dense(3), 2)
    assert stack == Stack(nn.Dense(3), 2) == stack.clone()
    assert hash(stack) == hash(stack.clone())
    variables = stack.init(KEY, X)
    bound = stack.bind(variables)
    np.testing.assert_array_equal(bound(X), stack.apply(variables, X))
    assert bound.unbind()[0] == stack


# Misuse.


@pytest.mark.parametrize(
    ('make', 'said'),
    [
        (lambda: Stack(nn.Dense, 12), r'pass an instance: nn\.Stack\(Dense\(\.\.\.\), 12\)'),
        (lambda: Stack(nn.relu, 2), r'not a module[\s\S]*nn\.Stack\(Block\(\.\.\.\), n\)'),
        (lambda: Stack(None, 2), 'block of a Stack is None'),
        (lambda: Stack(nn.Dense(3), 0), 'n of a Stack must be a positive int, got 0'),
        (lambda: Stack(nn.Dense(3), -1), 'got -1'),
        (lambda: Stack(nn.Dense(3), 2.0), r'got 2\.0'),
        (lambda: Stack(nn.Dense(3), True), 'got True'),
        (lambda: Stack(nn.Dense(3), jnp.int32(3)), 'n of a Stack'),
        (lambda: Stack(nn.Dense(3), 2, unroll=0), 'unroll of a Stack must be a positive int'),
        (lambda: Stack(nn.Dense(3), 2, remat='dots'), r"'dots'[\s\S]*checkpoint_policies\.dots"),
    ],
)
def test_options(make: Any, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        make()


class Returns(nn.Module):
    change: Any

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return self.change(x)


@pytest.mark.parametrize('scan', [True, False])
@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (
            lambda x: nn.Dense(5)(x),
            r'takes float32\[2,3\] and returns float32\[2,5\][\s\S]*Dense\(',
        ),
        (lambda x: x.astype(jnp.bfloat16), r'returns bfloat16\[2,3\][\s\S]*astype\(x\.dtype\)'),
        (lambda x: (x, None), r"returns \('float32\[2,3\]', None\)[\s\S]*nothing beside it"),
        (lambda x: None, 'and returns None'),
        (lambda x: 3, 'and returns 3'),
    ],
    ids=['shape', 'dtype', 'pair', 'none', 'number'],
)
def test_a_block_that_changes_what_goes_through(change: Any, said: str, scan: bool) -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return Stack(Returns(change), 2, scan=scan)(x)

    with pytest.raises(CarryError, match=said) as caught:
        Net().init(KEY, X)
    place = '/Stack_0/block' if scan else '/Stack_0/block_0'
    assert f'{place} (Returns): ' in str(caught.value)


def test_a_block_that_is_in_use() -> None:
    class Used(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            block = nn.Dense(3)
            x = block(x)
            return Stack(block, 2)(x)

    with pytest.raises(InvalidOptionError, match='the block of a Stack, is bound already, at /Den'):
        Used().init(KEY, X)
    bound = nn.Dense(3).bind(nn.Dense(3).init(KEY, X))
    with pytest.raises(InvalidOptionError, match='bound already, at /'):
        Stack(bound, 2)


def test_a_block_that_holds_a_module_of_another_place() -> None:
    class Net(nn.Module):
        def setup(self) -> None:
            self.shared = nn.Dense(3)
            self.layers = Stack(Holder(self.shared), 2)

        def __call__(self, x: Any) -> Any:
            return self.layers(x)

    said = r'Dense, which Holder, the block of a Stack, holds, is bound already, at /shared'
    with pytest.raises(InvalidOptionError, match=said):
        Net().init(KEY, X)


def test_a_template_does_not_run_itself() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            block = nn.Dense(3)
            return block(Stack(block, 2)(x))

    with pytest.raises(CallCompactUnboundModuleError, match='Dense'):
        Net().init(KEY, X)


def test_variables_of_the_other_form() -> None:
    with pytest.raises(InvalidOptionError, match=r"nn\.unstack_layers\(variables, 'Stack_0'\)"):
        Model(scan=False).apply(made(), X)
    with pytest.raises(InvalidOptionError, match=r"nn\.stack_layers\(variables, 'Stack_0'\)"):
        Model().apply(unstack_layers(made(), 'Stack_0'), X)


@pytest.mark.parametrize('n', [2, 4])
def test_variables_of_another_number_of_layers(n: int) -> None:
    said = f'/Stack_0 .*a Stack of {n} layers was given [a-z_]* of 3'
    with pytest.raises(InvalidOptionError, match=said):
        Model(n).apply(made(), X)
    with pytest.raises(InvalidOptionError, match=said):
        Model(n, scan=False).apply(unstack_layers(made(), 'Stack_0'), X)


@pytest.mark.parametrize(
    ('convert', 'said'),
    [
        (lambda: unstack_layers(made()), "no 'block' at ''; the tree has it at '.*params/Stack_0'"),
        (lambda: unstack_layers(made(), 'Stack_1'), "no 'block' at 'Stack_1'"),
        (lambda: stack_layers(made(), 'Stack_0'), "no 'block_0' at 'Stack_0'.*at nothing"),
        (lambda: unstack_layers({'block': {'a': np.ones(2), 'b': np.ones(3)}}), 'of 2 and 3 lay'),
        (lambda: unstack_layers({'block': {'a': np.ones(())}}), "at '' are of 0 layers"),
        (lambda: unstack_layers({'block': {}}), "at '' are of 0 layers"),
        (lambda: stack_layers({'block_0': {'a': 1}, 'block_2': {'a': 1}}), 'block_1 is missing'),
        (
            lambda: stack_layers({'block_0': np.ones(2), 'block_1': np.ones(3)}),
            r'differ: float64\[2\] and float64\[3\] at one place',
        ),
        (
            lambda: stack_layers({'block_0': {'a': np.ones(2)}, 'block_1': {'b': np.ones(2)}}),
            "layers at '' differ",
        ),
    ],
)
def test_conversion_of_what_is_no_stack(convert: Any, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        convert()


def test_the_programs_of_the_page_run() -> None:
    page = Path(__file__).parents[2] / 'docs' / 'stack.md'
    programs = re.findall(r'```python\n(.*?)```', page.read_text(), re.DOTALL)
    assert programs
    program = compile('\n'.join(programs), str(page), 'exec', dont_inherit=True)
    exec(program, {'__name__': '__main__'})

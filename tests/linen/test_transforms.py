"""Lifted transforms of modules: what they do, on programs small enough to work out by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn

KEY = jax.random.key(0)
X = np.arange(6.0, dtype=np.float32).reshape(3, 2)


class Scale(nn.Module):
    """``w * x``, with how often it was called in ``state/n``."""

    start: float = 2.0

    @nn.compact
    def __call__(self, x):
        w = self.param('w', lambda key: jnp.float32(self.start))
        n = self.variable('state', 'n', lambda: jnp.int32(0))
        if self.is_mutable_collection('state'):
            n.value += 1
        return w * x


class Noise(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + jax.random.normal(self.make_rng('noise'), jnp.shape(x))


def compact(body: Any) -> Any:
    """A module whose ``__call__`` is ``body(self, x)``."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return body(self, x)

    return Net()


def shapes(variables: Any) -> Any:
    return jax.tree.map(jnp.shape, variables)


# Lifting, whatever the transform.


def test_lifted_classes_are_subclasses_with_a_name() -> None:
    lifted = nn.remat(nn.Dense)
    assert issubclass(lifted, nn.Dense)
    assert lifted.__name__ == 'CheckpointDense'
    assert [nn.jit(nn.Dense).__name__, nn.vmap(nn.Dense).__name__] == ['JitDense', 'VmapDense']


def test_lifted_functions_keep_their_name() -> None:
    def forward(mdl: Any, x: Any) -> Any:
        """Runs."""
        return mdl(x)

    lifted = nn.remat(forward)
    assert (lifted.__name__, lifted.__doc__) == ('forward', 'Runs.')


def test_remat_makes_one_class_for_equal_options() -> None:
    class Scaled(nn.Module):
        def __call__(self, x):
            return 2 * x

    policy = jax.checkpoint_policies.dots_saveable
    options = [{}, {'policy': policy}, {'prevent_cse': False}, {'variables': 'params'}]
    classes = [nn.remat(Scaled, **option) for option in options]
    assert len(set(classes)) == 4
    assert classes == [nn.remat(Scaled, **option) for option in options]
    assert nn.remat(Scaled, variables=['params']) not in classes
    assert nn.remat(Scaled)().apply({}, X[0, 0]) == 2 * X[0, 0]
    Scaled.__call__ = lambda self, x: 3 * x
    assert nn.remat(Scaled)().apply({}, X[0, 0]) == 3 * X[0, 0]


@pytest.mark.parametrize('transform', [nn.jit, nn.remat, nn.fold_rngs])
def test_state_goes_in_and_comes_out(transform: Any) -> None:
    net = compact(lambda self, x: transform(Scale)(name='s')(x))
    variables = net.init(KEY, X)
    y, state = net.apply(variables, X, mutable='state')
    np.testing.assert_array_equal(y, 2 * X)
    assert (variables['state']['s']['n'], state['state']['s']['n']) == (1, 2)
    assert net.apply(variables, X).shape == X.shape


def test_automatic_names_go_on_after_a_lifted_function() -> None:
    def body(self: Any, x: Any) -> Any:
        def two(self: Any, x: Any) -> Any:
            return nn.Dense(2)(nn.Dense(2)(x))

        return nn.Dense(2)(nn.remat(two)(self, nn.Dense(2)(x)))

    assert set(compact(body).init(KEY, X)['params']) == {f'Dense_{i}' for i in range(4)}


def test_a_module_in_two_fields_is_one_inside() -> None:
    class Pair(nn.Module):
        a: Any
        b: Any

        def __call__(self, x):
            assert self.a is self.b
            return self.b(self.a(x))

    def body(self: Any, x: Any) -> Any:
        shared = Scale(name='shared')
        return nn.jit(Pair)(shared, shared)(x) + shared(x)

    net = compact(body)
    variables = net.init(KEY, X)
    assert list(variables['params']) == ['shared']
    assert variables['state']['shared']['n'] == 3
    np.testing.assert_array_equal(net.apply(variables, X), 6 * X)


def test_modules_and_variables_as_arguments() -> None:
    def body(self: Any, x: Any) -> Any:
        bias = self.variable('state', 'bias', lambda: jnp.float32(1))

        def run(mdl: Any, other: Any, x: Any, *, bias: Any) -> Any:
            bias.value += 1
            return mdl(other['k'](x)) + bias.value

        lifted = nn.remat(run)
        return lifted(Scale(name='a'), {'k': Scale(name='b')}, x, bias=bias), bias.value

    y, variables = compact(body).init_with_output(KEY, X)
    np.testing.assert_array_equal(y[0], 4 * X + 2)
    assert (y[1], variables['state']['bias']) == (2, 2)


def test_setup_runs_inside_again() -> None:
    """What ``setup`` defines belongs to the copy inside."""

    class Net(nn.Module):
        def setup(self):
            self.layers = [Scale(), Scale(3.0)]

        @nn.jit
        def both(self, x):
            return self.layers[1](self.layers[0](x))

        def __call__(self, x):
            return self.both(self.layers[0](x))

    y, variables = Net().init_with_output(KEY, X)
    np.testing.assert_array_equal(y, 12 * X)
    assert variables['state']['layers_0']['n'] == 2


def test_methods() -> None:
    class Pair(nn.Module):
        def setup(self):
            self.a, self.b = Scale(), Scale(3.0)

        def encode(self, x):
            return self.a(x)

        def decode(self, x):
            return self.b(x)

    axes, splits = {'params': None, 'state': 0}, {'params': False}
    some = nn.vmap(Pair, axes, splits, methods=('encode',))
    assert some.decode is Pair.decode
    y, variables = some().init_with_output(KEY, X, method='encode')
    np.testing.assert_array_equal(y, 2 * X)
    assert variables['state']['a']['n'].shape == (3,)
    each = nn.vmap(
        Pair,
        methods={
            'encode': {'variable_axes': axes, 'split_rngs': splits, 'out_axes': 1},
            'decode': {'variable_axes': axes, 'split_rngs': splits, 'in_axes': 1},
        },
    )
    y = each().init_with_output(KEY, X, method='encode')[0]
    np.testing.assert_array_equal(y, 2 * X.T)
    y = each().init_with_output(KEY, X, method='decode')[0]
    np.testing.assert_array_equal(y, 3 * X.T)


def test_decorators_in_either_order() -> None:
    class Above(nn.Module):
        @nn.remat
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(x)

    class Below(nn.Module):
        @nn.compact
        @nn.remat
        def __call__(self, x):
            return nn.Dense(2)(x)

    jax.tree.map(np.testing.assert_array_equal, Above().init(KEY, X), Below().init(KEY, X))


def test_interceptors_and_intermediates_see_calls_inside() -> None:
    net = compact(lambda self, x: nn.scan(_Step, **_SHARED)(name='loop')(x[0], x)[0])
    variables = net.init(KEY, X)
    seen: list[str] = []

    def interceptor(next_fn: Any, args: Any, kwargs: Any, context: Any) -> Any:
        seen.append(type(context.module).__name__)
        return next_fn(*args, **kwargs)

    with nn.intercept_methods(interceptor):
        net.apply(variables, X)
    assert 'Dense' in seen
    loop = nn.remat(nn.Dense)(2)
    state = loop.apply(loop.init(KEY, X), X, capture_intermediates=True)[1]
    assert shapes(state) == {'intermediates': {'__call__': ((3, 2),)}}


# One by one.


class _Step(nn.Module):
    @nn.compact
    def __call__(self, carry, x):
        carry = nn.Dense(2, kernel_init=nn.initializers.ones, use_bias=False)(carry) + x
        return carry, carry.sum()


_SHARED: dict[str, Any] = {'variable_broadcast': 'params', 'split_rngs': {'params': False}}


def test_vmap_has_parameters_for_each_slice_or_one_for_all() -> None:
    each = nn.vmap(nn.Dense, {'params': 1}, {'params': True})(4)
    assert shapes(each.init(KEY, X))['params'] == {'bias': (4, 3), 'kernel': (2, 3, 4)}
    one = nn.vmap(nn.Dense, {'params': None}, {'params': False})(4)
    plain = nn.Dense(4)
    variables = plain.init(KEY, X[0])
    jax.tree.map(np.testing.assert_array_equal, one.init(KEY, X), variables)
    np.testing.assert_allclose(one.apply(variables, X), plain.apply(variables, X), rtol=1e-6)


def test_vmap_gives_each_slice_a_key_of_its_own() -> None:
    x = jnp.zeros((3, 5))
    apart = nn.vmap(Noise, {}, {'noise': True})().apply({}, x, rngs={'noise': KEY})
    alike = nn.vmap(Noise, {}, {'noise': False})().apply({}, x, rngs={'noise': KEY})
    assert len(np.unique(apart)) == 15
    assert len(np.unique(alike)) == 5


def test_vmap_over_a_named_axis() -> None:
    class Body(nn.Module):
        def __call__(self, x):
            return jax.lax.psum(x, 'b') + jax.lax.axis_index('b')

    y = nn.vmap(Body, {}, {}, axis_name='b')().apply({}, X)
    np.testing.assert_array_equal(y, X.sum(0) + np.arange(3)[:, None])


def test_scan_runs_a_recurrence() -> None:
    loop = nn.scan(_Step, **_SHARED)()
    variables = loop.init(KEY, np.zeros(2, np.float32), X)
    assert shapes(variables)['params'] == {'Dense_0': {'kernel': (2, 2)}}
    carry, sums = loop.apply(variables, np.zeros(2, np.float32), X)
    np.testing.assert_array_equal(sums, [1, 7, 23])  # the sum doubles, and a row is added
    np.testing.assert_array_equal(carry, [7 + 4, 7 + 5])


def test_scan_stacks_layers() -> None:
    loop = nn.scan(_Step, {'params': 0}, split_rngs={'params': True}, length=3)()
    x = np.ones(2, np.float32)
    variables = loop.init(KEY, x, 0.0 * X)
    assert shapes(variables)['params'] == {'Dense_0': {'kernel': (3, 2, 2)}}
    np.testing.assert_array_equal(loop.apply(variables, x, 0.0 * X)[0], [8, 8])


def test_scan_in_reverse_along_another_axis() -> None:
    loop = nn.scan(_Step, **_SHARED, reverse=True, in_axes=1, out_axes=0)()
    start = np.zeros(2, np.float32)
    variables = loop.init(KEY, start, X.T)
    np.testing.assert_array_equal(loop.apply(variables, start, X.T)[1], [47, 23, 9])


def test_scan_hands_state_on() -> None:
    def body(self: Any, x: Any) -> Any:
        scale = Scale(name='s')
        if self.is_initializing():
            return scale(x[0])
        loop = nn.scan(
            lambda mdl, c, x: (mdl(c) + x, None),
            variable_broadcast='params',
            variable_carry='state',
        )
        return loop(scale, jnp.zeros(2), x)[0]

    net = compact(body)
    variables = net.init(KEY, X)
    y, state = net.apply(variables, X, mutable='state')
    np.testing.assert_array_equal(y, 4 * X[0] + 2 * X[1] + X[2])
    assert state['state']['s']['n'] == 4
    np.testing.assert_array_equal(net.apply(variables, X), y)


def test_scan_broadcasts_arguments() -> None:
    loop = nn.scan(lambda mdl, c, x, k: (c + x * k, k), in_axes=(0, nn.broadcast))
    net = compact(lambda self, x: loop(self, jnp.zeros(2), x, 10.0))
    np.testing.assert_array_equal(net.apply({}, X)[0], 10 * X.sum(0))


def test_sown_values_are_stacked() -> None:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, c, x):
            self.sow('intermediates', 'x', x)
            self.sow('intermediates', 'x', -x)
            return c, None

    loop = nn.scan(Body, {'intermediates': 0})()
    state = loop.apply({}, 0, X, mutable='intermediates')[1]['intermediates']
    np.testing.assert_array_equal(state['x'], (X, -X))


def test_remat_scan_nests_loops() -> None:
    deep = nn.remat_scan(Scale, lengths=(2, 3))()
    variables = deep.init(KEY, X)
    assert shapes(variables) == {'params': {'w': (2, 3)}, 'state': {'n': (2, 3)}}
    np.testing.assert_array_equal(deep.apply(variables, X), 2.0**6 * X)


def test_remat_computes_again() -> None:
    runs: list[int] = []

    def count(x: Any) -> Any:
        jax.debug.callback(lambda: runs.append(1))
        return jnp.sin(x)

    def loss(w: Any, lifted: Any) -> Any:
        net = compact(lambda self, x: lifted(self, x))
        return net.apply({'params': {'w': w}}, X).sum()

    def body(self: Any, x: Any) -> Any:
        return jnp.sin(count(self.get_variable('params', 'w') * x))

    def times(lifted: Any) -> int:
        runs.clear()
        jax.grad(loss)(1.0, lifted)
        jax.effects_barrier()
        return len(runs)

    assert (times(body), times(nn.remat(body, prevent_cse=False))) == (1, 2)


def test_static_arguments_choose_the_program() -> None:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, x, negate, twice=False):
            y = -x if negate else x
            return 2 * y if twice else y

    np.testing.assert_array_equal(nn.remat(Body, static_argnums=2)().apply({}, X, True), -X)
    np.testing.assert_array_equal(nn.jit(Body, static_argnums=2)().apply({}, X, False), X)
    lifted = nn.jit(Body, static_argnums=(2,), static_argnames='twice')()
    np.testing.assert_array_equal(lifted.apply({}, X, True, twice=True), -2 * X)


def test_jit_compiles_once() -> None:
    traces: list[Any] = []

    class Body(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            traces.append(self.width)
            return nn.Dense(self.width)(x)

    lifted = nn.jit(Body)

    def body(self: Any, x: Any) -> Any:
        return lifted(2, name='a')(x), lifted(3, name='b')(x)

    net = compact(body)
    variables = net.init(KEY, X)
    traces.clear()
    for _ in range(3):
        net.apply(variables, X)
    assert traces == [2, 3]
    net.apply(variables, X[:1])
    assert traces == [2, 3, 2, 3]

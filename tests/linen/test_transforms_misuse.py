"""Transforms used wrongly, and what errors say; plain transforms of JAX, where they are right."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet.errors import (
    ApplyModuleInvalidMethodError,
    CallCompactUnboundModuleError,
    InputShapeError,
    InvalidOptionError,
    InvalidRngError,
    JaxTransformError,
    LinnetError,
    ModifyScopeVariableError,
    ScanError,
    ScopeCollectionNotFound,
    TransformedMethodReturnValueError,
    TransformTargetError,
)

KEY = jax.random.key(0)
X = np.arange(6.0, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize(
    ('transform', 'options', 'mend'),
    [
        (nn.grad, {'rngs': False}, 'nn.vjp(..., rngs=True)'),
        (nn.cond, {'rngs': False}, 'nn.cond(..., rngs=True)'),
    ],
)
def test_hidden_streams_name_the_argument_that_the_transform_has(
    transform: Any, options: Any, mend: str
) -> None:
    def draw(module: Any, x: Any) -> Any:
        return x * jax.random.uniform(module.make_rng('noise'))

    def body(self: Any, x: Any) -> Any:
        functions = (True, draw, draw) if transform is nn.cond else (draw,)
        return transform(*functions, self, x, **options)

    with pytest.raises(InvalidRngError) as refused:
        compact(body).init({'params': KEY, 'noise': KEY}, jnp.float32(1))
    assert mend in str(refused.value)


def test_a_target_is_refused_under_the_name_that_was_called() -> None:
    for transform, name in ((nn.grad, 'nn.grad'), (nn.value_and_grad, 'nn.value_and_grad')):
        with pytest.raises(TransformTargetError, match=rf'{name} was given 3'):
            compact(lambda self, x, lift=transform: lift(lambda m, x: x, 3, x)).init(KEY, X)
    with pytest.raises(ApplyModuleInvalidMethodError) as refused:
        nn.jit(nn.Dense, methods='cal')
    assert "nn.jit(Dense, methods=['__call__'])" in str(refused.value)


def compact(body: Any) -> Any:
    """A module whose ``__call__`` is ``body(self, x)``."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return body(self, x)

    return Net()


def shapes(variables: Any) -> Any:
    return jax.tree.map(jnp.shape, variables)


def says(error: type[Exception], run: Callable[[], Any], *words: str) -> str:
    """Asserts that a program fails with an error that says these words."""
    with pytest.raises(error) as caught:
        run()
    message = re.sub(r'\s+', ' ', str(caught.value))
    for word in words:
        assert word in message, message
    return message


# Collections and streams that a transform was not told about.


class Block(nn.Module):
    """A body with parameters, and more where asked to."""

    kind: str = ''

    @nn.compact
    def __call__(self, carry, x):
        y = nn.Dense(2)(carry) + x
        if self.kind == 'batch_norm':
            y = nn.BatchNorm(use_running_average=False)(y)
        if self.kind == 'dropout':
            y = nn.Dropout(0.5, deterministic=False)(y)
        return y, y.sum()


def loop(kind: str = '', **options: Any) -> Any:
    lifted = nn.scan(Block, **{'split_rngs': {'params': True}, **options})
    return compact(lambda self, x: lifted(kind, name='loop')(x[0], x))


def test_scan_that_says_nothing_of_params() -> None:
    says(
        ScopeCollectionNotFound,
        lambda: loop().init(KEY, X),
        '/loop/Dense_0 (Dense)',
        "'params'",
        "nn.scan(..., variable_axes={'params': 0}), or variable_broadcast='params'",
    )


def test_scan_that_says_nothing_of_batch_stats() -> None:
    says(
        ScopeCollectionNotFound,
        lambda: loop('batch_norm', variable_axes={'params': 0}).init(KEY, X),
        '/loop/BatchNorm_0 (BatchNorm)',
        "'batch_stats'",
        "variable_axes={'batch_stats': 0}), or variable_carry='batch_stats'",
    )


def test_scan_that_hides_a_stream() -> None:
    net = loop('dropout', variable_axes={'params': 0})
    variables = net.init({'params': KEY, 'dropout': KEY}, X)
    says(
        InvalidRngError,
        lambda: net.apply(variables, X, rngs={'dropout': KEY}),
        '/loop/Dropout_0 (Dropout)',
        "'dropout', which nn.scan hides",
        "nn.scan(..., split_rngs={'dropout': True})",
    )


def test_vmap_that_hides_params_and_streams() -> None:
    lifted = nn.vmap(nn.Dense, {}, {'params': True})
    says(
        ScopeCollectionNotFound,
        lambda: compact(lambda self, x: lifted(2)(x)).init(KEY, X),
        '/VmapDense_0 (Dense)',
        "nn.vmap(..., variable_axes={'params': 0})",
    )
    noise = nn.vmap(nn.Dropout, {}, {})
    says(
        InvalidRngError,
        lambda: noise(0.5, deterministic=False).apply({}, X, rngs={'dropout': KEY}),
        "nn.vmap(..., split_rngs={'dropout': True})",
    )


def test_the_transform_that_hides_is_the_one_that_is_named() -> None:
    """Not the one inside it, to which nothing was handed."""
    inner = nn.remat(Block)
    lifted = nn.scan(inner, split_rngs={'params': True})
    message = says(ScopeCollectionNotFound, lambda: lifted().init(KEY, X[0], X), 'nn.scan(')
    assert 'nn.remat' not in message


def test_while_loop_that_makes_parameters() -> None:
    def body(self: Any, x: Any) -> Any:
        dense = nn.Dense(2, name='dense')
        return nn.while_loop(lambda mdl, c: c.sum() < 9, lambda mdl, c: mdl(c), dense, x)

    says(
        ScopeCollectionNotFound,
        lambda: compact(body).init(KEY, X),
        '/dense (Dense)',
        'make the variables before nn.while_loop: call the module once while initializing',
    )


# Loops whose body has another form.


def returns(y: Callable[[Any, Any], Any], init: Any = None, **options: Any) -> Callable[[], Any]:
    """A program that scans over a body which returns ``y(carry, x)``."""

    class Body(nn.Module):
        @nn.compact
        def __call__(self, carry, x):
            return y(carry, x)

    lifted = nn.scan(Body, **options)
    return lambda: lifted().init(KEY, X[0] if init is None else init, X)


@pytest.mark.parametrize(
    ('y', 'got'),
    [
        (lambda c, x: c, 'it returned one'),
        (lambda c, x: None, 'it returned one NoneType'),
        (lambda c, x: (c, x, x), 'it returned 3 values'),
        (lambda c, x: (c,), 'it returned 1 values'),
        (lambda c, x: {'carry': c}, 'it returned one dict'),
    ],
)
def test_body_that_does_not_return_a_pair(y: Any, got: str) -> None:
    words = "the body '__call__' of nn.scan must return two values, (carry, output)"
    says(ScanError, returns(y), words, got, 'return carry, y')


@pytest.mark.parametrize(
    ('y', 'change'),
    [
        (
            lambda c: {**c, 'h': c['h'].astype(jnp.bfloat16)},
            "['h'] goes from float32[2] to bfloat16[2]",
        ),
        (lambda c: {**c, 'h': c['h'][None]}, "carry['h'] goes from float32[2] to float32[1,2]"),
        (lambda c: {**c, 'n': (c['n'][0] * 1.5,)}, "carry['n'][0] goes from int32[] to float32[]"),
        (lambda c: {'h': c['h']}, "carry['n'][0] is lost in the loop"),
        (lambda c: {**c, 'new': 1}, "carry['new'] is made in the loop"),
        (lambda c: {**c, 'n': list(c['n'])}, 'its structure goes from'),
        (lambda c: {**c, 'h': None}, "carry['h'] is lost in the loop"),
    ],
)
def test_carry_that_changes(y: Any, change: str) -> None:
    init = {'h': X[0], 'n': (jnp.int32(0),)}
    words = ('an iteration changes the carry of nn.scan', change, 'carry.dtype')
    says(ScanError, returns(lambda c, x: (y(c), None), init), *words)


def test_carried_variable_that_is_made_in_the_loop() -> None:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, c, x):
            self.variable('state', 'n', jnp.zeros, ())
            return c, None

    says(
        ScanError,
        lambda: nn.scan(Body, variable_carry='state')().init(KEY, X[0], X),
        'variable state/n is made in the loop',
        'make variables of variable_carry before the loop',
    )


@pytest.mark.parametrize('options', [{}, {'check_constancy_invariants': False}])
def test_broadcast_variable_that_depends_on_the_loop(options: Any) -> None:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, c, x):
            return c, self.variable('state', 'n', lambda: c.sum()).value

    lifted = nn.scan(Body, variable_broadcast='state', **options)
    words = ('depends on the carry', 'variable_carry=') if not options else ('state/n is made',)
    says(ScanError, lambda: lifted().init(KEY, X[0], X), *words)


def test_broadcast_parameters_with_a_key_for_each_iteration() -> None:
    lifted = nn.scan(Block, variable_broadcast='params', split_rngs={'params': True})
    says(ScanError, lambda: lifted().init(KEY, X[0], X), 'depends on the carry or on a slice')


def test_axis_that_an_input_does_not_have() -> None:
    lifted = returns(lambda c, x: (c, x), in_axes=2)
    says(ScanError, lifted, 'axis 2 of argument 2, whose shape is (3, 2)', 'nn.broadcast')
    lifted = stack(in_axes=(0, None), length=3)
    says(ScanError, lambda: lifted.init(KEY, X[0], X, X), 'axis None is out of', 'nn.broadcast')


# What a transform cannot lift, or hand back.

CLASS_LIFTS = (nn.jit, nn.remat, nn.vmap, nn.scan, nn.remat_scan, nn.map_variables, nn.fold_rngs)
DIRECT: dict[str, Callable[[Any], Any]] = {
    'vjp': lambda mdl: nn.vjp(_call, mdl, X),
    'grad': lambda mdl: nn.grad(_call, mdl, X),
    'value_and_grad': lambda mdl: nn.value_and_grad(_call, mdl, X),
    'jvp': lambda mdl: nn.jvp(_call, mdl, (X,), (X,), {}),
    'custom_vjp': lambda mdl: nn.custom_vjp(_call, _call, _call)(mdl, X),
    'cond': lambda mdl: nn.cond(True, _call, _call, mdl, X),
    'switch': lambda mdl: nn.switch(0, [_call], mdl, X),
    'while_loop': lambda mdl: nn.while_loop(_call, _call, mdl, X),
    'remat': lambda mdl: nn.remat(_call)(mdl, X),
    'jit': lambda mdl: nn.jit(_call)(mdl, X),
}


def _call(mdl: Any, x: Any) -> Any:
    return mdl(x)


@pytest.mark.parametrize('lift', CLASS_LIFTS, ids=lambda lift: lift.__name__)
@pytest.mark.parametrize('target', [nn.Dense(3), 3, dict, None])
def test_targets_that_are_no_class_or_function(lift: Any, target: Any) -> None:
    words = ('was given', 'a Module class, or a function whose first argument is a Module')
    says(TransformTargetError, lambda: lift(target), f'nn.{lift.__name__}', *words)


@pytest.mark.parametrize('name', DIRECT)
@pytest.mark.parametrize('module', [3, X, nn.Dense, None], ids=['int', 'array', 'class', 'none'])
def test_first_arguments_that_are_no_module(name: str, module: Any) -> None:
    says(TransformTargetError, lambda: DIRECT[name](module), 'was given')


@pytest.mark.parametrize('name', DIRECT)
def test_modules_that_are_not_bound(name: str) -> None:
    says(CallCompactUnboundModuleError, lambda: DIRECT[name](nn.Dense(2)), 'Dense', 'not bound')
    net = compact(lambda self, x: DIRECT[name](nn.Dense(2, parent=None)))
    says(CallCompactUnboundModuleError, lambda: net.init(KEY, X), 'Dense', 'not bound')


@pytest.mark.parametrize('lift', [nn.jit, nn.remat, nn.fold_rngs], ids=lambda f: f.__name__)
def test_lifted_class_that_is_not_bound(lift: Any) -> None:
    says(CallCompactUnboundModuleError, lambda: lift(nn.Dense)(2)(X), 'not bound')


@pytest.mark.parametrize('lift', [nn.jit, nn.remat, nn.fold_rngs], ids=lambda f: f.__name__)
def test_results_that_belong_to_a_trace(lift: Any) -> None:
    class Net(nn.Module):
        kind: str

        @lift
        def make(self):
            if self.kind == 'module':
                return {'dense': nn.Dense(2)}
            return [self.variable('state', 's', jnp.zeros, ())]

        @nn.compact
        def __call__(self, x):
            return self.make()

    words = ("the transformed method 'make' returned a", 'return the array')
    says(TransformedMethodReturnValueError, lambda: Net('module').init(KEY, X), '/ (Net)', *words)
    says(TransformedMethodReturnValueError, lambda: Net('variable').init(KEY, X), 'Variable')


def test_gradient_of_what_is_no_scalar() -> None:
    for derive in (nn.grad, nn.value_and_grad):
        net = compact(lambda self, x, derive=derive: derive(_call, nn.Dense(2), x))
        says(InputShapeError, lambda net=net: net.init(KEY, X), '/ (Net)', 'shape (3, 2)', 'nn.vjp')


# Plain transforms of JAX around what makes variables.

MAKES: dict[str, tuple[Callable[..., Any], str]] = {
    'jit': (lambda f, x: jax.jit(f)(x), 'use nn.jit in place of jax.jit'),
    'scan': (lambda f, x: jax.lax.scan(lambda c, _: (f(c), None), x, x), 'use nn.scan in'),
    'while_loop': (lambda f, x: jax.lax.while_loop(lambda c: False, f, x), 'use nn.while_loop in'),
    'cond': (lambda f, x: jax.lax.cond(x.sum() > 0, f, f, x), 'use nn.cond in'),
    'checkpoint': (lambda f, x: jax.checkpoint(f)(x), 'use nn.checkpoint in'),
    'fori_loop': (
        lambda f, x: jax.lax.fori_loop(0, 2, lambda i, x: f(x), x),
        'in place of jax.lax',
    ),
    'map': (lambda f, x: jax.lax.map(f, x), 'use nn.scan in'),
    'eval_shape': (lambda f, x: jax.eval_shape(f, x), 'use nn.jit'),
}


@pytest.mark.parametrize('name', MAKES)
def test_parameters_that_would_leak(name: str) -> None:
    transform, mend = MAKES[name]
    net = compact(lambda self, x: transform(lambda x: nn.Dense(2)(x), x))
    words = ('/Dense_0 (Dense)', 'params/kernel', mend)
    says(JaxTransformError, lambda: net.init(KEY, X), *words)


def test_state_and_sown_values_that_would_leak() -> None:
    def sown(self: Any, x: Any) -> Any:
        return jax.jit(lambda x: self.sow('intermediates', 'y', x))(x)

    def written(self: Any, x: Any) -> Any:
        return jax.vmap(lambda x: self.put_variable('state', 'y', x))(x)

    def derived(self: Any, x: Any) -> Any:
        return jax.grad(lambda x: (self.put_variable('state', 'y', x), x.sum())[1])(x)

    for body, thing in [(sown, 'intermediates/y'), (written, 'state/y'), (derived, 'state/y')]:
        net = compact(body)
        says(JaxTransformError, lambda net=net: net.apply({}, X, mutable=True), '/ (Net)', thing)


def test_module_given_to_jax_itself() -> None:
    """Not hashable, and its hash says why."""
    for transform in (jax.jit, jax.checkpoint):
        net = compact(lambda self, x, transform=transform: transform(nn.Dense(2))(x))
        says(
            (LinnetError, TypeError), lambda net=net: net.init(KEY, X), '/Dense_0 (Dense)', 'nn.jit'
        )  # type: ignore[arg-type]


def test_modules_that_are_closed_over() -> None:
    """Their variables cannot go through the transform; ones that exist are read."""

    def body(self: Any, x: Any) -> Any:
        closed, given = nn.Dense(2, name='closed'), nn.Dense(2, name='given')
        return nn.jit(lambda mdl, x: closed(mdl(x)))(given, x)

    net = compact(body)
    says(JaxTransformError, lambda: net.init(KEY, X), '/closed (Dense)', 'params/kernel')
    params = nn.Dense(2).init(KEY, X)['params']
    y = net.apply({'params': {'closed': params, 'given': params}}, X)
    assert y.shape == (3, 2)


# Plain transforms of JAX, where they are right.


READS: dict[str, Any] = {
    'jit': lambda f, x: jax.jit(f)(x),
    'vmap': lambda f, x: jax.vmap(f)(x),
    'grad': lambda f, x: jax.grad(lambda x: f(x).sum())(x),
    'value_and_grad': lambda f, x: jax.value_and_grad(lambda x: f(x).sum())(x)[0],
    'vjp': lambda f, x: jax.vjp(f, x)[0],
    'jvp': lambda f, x: jax.jvp(f, (x,), (x,))[0],
    'checkpoint': lambda f, x: jax.checkpoint(f)(x),
    'scan': lambda f, x: jax.lax.scan(lambda c, x: (c, f(x)), 0, x)[1],
    'map': lambda f, x: jax.lax.map(f, x),
    'cond': lambda f, x: jax.lax.cond(x.sum() > 0, f, lambda x: x, x),
    'while_loop': lambda f, x: jax.lax.while_loop(lambda c: c.sum() < 9, f, x),
    'fori_loop': lambda f, x: jax.lax.fori_loop(0, 2, lambda _, x: f(x), x),
    'eval_shape': lambda f, x: jnp.zeros(jax.eval_shape(f, x).shape),
    'hessian': lambda f, x: jax.hessian(lambda x: f(x).sum())(x),
}


@pytest.mark.parametrize('name', READS)
def test_parameters_are_read_inside_plain_transforms(name: str) -> None:
    def body(self: Any, x: Any) -> Any:
        dense = nn.Dense(2, name='d')
        if self.is_initializing():
            return dense(x)
        return READS[name](lambda x: dense(x), x)

    net = compact(body)
    variables = net.init(KEY, X)
    kernel, bias = variables['params']['d']['kernel'], variables['params']['d']['bias']
    expected = READS[name](lambda x: x @ kernel + bias, X)
    np.testing.assert_allclose(net.apply(variables, X), expected, rtol=1e-6)


@pytest.mark.parametrize('name', ['grad', 'value_and_grad', 'vjp', 'jvp', 'vmap', 'hessian'])
def test_parameters_are_made_inside_plain_transforms_that_do_not_trace_them(name: str) -> None:
    net = compact(lambda self, x: READS[name](lambda x: nn.Dense(2, name='d')(x), x))
    expected = nn.Dense(2).init(KEY, X[0])
    made = net.init(KEY, X)['params']['d']
    assert shapes(made) == shapes(expected['params'])
    assert not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(made))


def test_init_and_apply_under_plain_transforms() -> None:
    loop = nn.scan(Block, {'params': 0}, split_rngs={'params': True})()
    keys = jax.random.split(KEY, 4)
    many = jax.vmap(lambda key: loop.init(key, X[0], X))(keys)
    assert shapes(many)['params'] == {'Dense_0': {'kernel': (4, 3, 2, 2), 'bias': (4, 3, 2)}}
    y, _ = jax.jit(jax.vmap(lambda v: loop.apply(v, X[0], X)))(many)
    assert y.shape == (4, 2)
    shaped = jax.eval_shape(loop.init, KEY, X[0], X)
    assert shaped['params']['Dense_0']['kernel'].shape == (3, 2, 2)


# Sizes, carries, branches, and what is lifted.


@pytest.mark.parametrize(
    ('run', 'words'),
    [
        (lambda: many(in_axes=None).init(KEY, X), 'nothing tells nn.vmap the size|axis_size=n'),
        (lambda: many().init(KEY, X, X[:2]), 'argument 1 has 3, argument 2 has 2'),
        (lambda: many(axis_size=5).init(KEY, X), 'axis_size=5, argument 1 has 3'),
        (lambda: many(in_axes=2).init(KEY, X), 'axis 2 of argument 1, whose shape is (3, 2)'),
        (lambda: many().init(KEY, 2.0), 'axis 0 of argument 1, whose shape is ()'),
        (lambda: stack(in_axes=3).init(KEY, X[0], X), 'axis 3 of argument 2, whose shape is'),
        (lambda: stack().init(KEY, X[0], None), 'nothing tells nn.scan the size|length=n'),
        (lambda: stack(length=5).init(KEY, X[0], X), 'length=5, argument 2 has 3'),
        (
            lambda: stack().apply(stack().init(KEY, X[0], X), X[0], X[:2]),
            'params/Dense_0/bias has 3, argument 2 has 2',
        ),
    ],
)
def test_sizes_of_an_axis(run: Callable[[], Any], words: str) -> None:
    says(ScanError, run, *words.split('|'))


def many(**options: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, *_):
            return nn.Dense(2)(x)

    return nn.vmap(Net, {'params': 0}, {'params': True}, **options)()


def stack(**options: Any) -> Any:
    return nn.scan(Block, {'params': 0}, split_rngs={'params': True}, **options)()


def test_errors_inside_of_a_transform_stay() -> None:
    def refuse(module, x):
        raise ValueError('my own')

    with pytest.raises(ValueError, match='my own'):
        compact(lambda self, x: nn.vmap(refuse)(self, x)).apply({}, X)
    with pytest.raises(ValueError, match='my own'):
        compact(lambda self, x: nn.scan(lambda m, c, x: refuse(m, x))(self, x, x)).apply({}, X)

    def refuse_types(module, x):
        raise TypeError('my own')

    with pytest.raises(TypeError, match='my own'):
        compact(lambda s, x: nn.cond(True, refuse_types, refuse_types, s, x)).apply({}, X)


def test_what_a_while_loop_hands_on() -> None:
    def loop(test, step):
        return compact(lambda self, x: nn.while_loop(test, step, self, x))

    def small(module, x):
        return x.sum() < 9

    cast = loop(small, lambda module, x: x.astype(jnp.bfloat16))
    says(ScanError, lambda: cast.apply({}, X), 'the carry of nn.while_loop', 'to bfloat16[3,2]')
    wide = loop(lambda module, x: x < 9, lambda module, x: x)
    says(ScanError, lambda: wide.apply({}, X), 'an array of shape (3, 2)', 'not one boolean')

    def write(module, x):
        module.put_variable('state', 'n', x)
        return small(module, x)

    state = {'state': {'n': X}}
    asks = loop(write, lambda module, x: x)
    run = functools.partial(asks.apply, state, X, mutable=['state'])
    says(ModifyScopeVariableError, run, 'the condition of nn.while_loop', 'in the body')
    writes = loop(small, lambda module, x: (write(module, x), x)[1])
    run = functools.partial(writes.apply, state, X, mutable=['state'])
    says(ModifyScopeVariableError, run, 'inside nn.while_loop', "carry_variables='state'")


def test_branches_that_differ() -> None:
    def choose(one, other):
        return compact(lambda self, x: nn.cond(True, one, other, self, x))

    two = choose(lambda m, x: nn.Dense(2, name='a')(x), lambda m, x: nn.Dense(2, name='b')(x))
    says(
        ScanError,
        lambda: two.init(KEY, X),
        'params/a/bias is float32[2] in branch 0 and missing in branch 1',
        'self.is_initializing()',
    )
    pair = choose(lambda m, x: (x, x), lambda m, x: x)
    says(ScanError, lambda: pair.apply({}, X), 'result[0] is float32[3,2] in branch 0')


def test_methods_that_a_class_does_not_have() -> None:
    says(ApplyModuleInvalidMethodError, lambda: nn.remat(Block, methods=['encode']), "'encode'")
    says(ApplyModuleInvalidMethodError, lambda: nn.remat(Block, methods=3), 'methods=3', 'Block')


def test_modules_that_are_not_bound_and_what_is_no_module() -> None:
    run = functools.partial(nn.vjp, lambda m, x: m(x), nn.Dense(2), X)
    says(CallCompactUnboundModuleError, run, 'nn.vjp was given Dense(features=2)', 'in a method')
    run = functools.partial(nn.cond, True, min, max, 3)
    says(TransformTargetError, run, 'nn.cond was given 3', 'nn.cond(pred, lambda m, x: m(x)')


def test_a_static_argument_that_is_given_by_keyword() -> None:
    class Net(nn.Module):
        def __call__(self, x, train):
            return x

    run = functools.partial(nn.remat(Net, static_argnums=(2,))().apply, {}, X, train=True)
    says(InvalidOptionError, run, 'argument 2', '1 were given by position', 'keywords train')


def test_modules_that_a_loop_closes_over() -> None:
    def body(self, x):
        dense = nn.Dense(2)
        return nn.scan(lambda m, c, x: (dense(c), None), length=2)(self, x, None)

    says(JaxTransformError, lambda: compact(body).init(KEY, X), 'under nn.scan closes over')

"""Lifting functions of scopes: what goes through a boundary, which keys are drawn, what is refused.

The table of keys is that of the rule by which a key is derived: base key, path, count.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linnet import core
from linnet.core import lift
from linnet.core.rng import fold
from linnet.core.scope import Scope
from linnet.errors import (
    InputShapeError,
    InvalidRngError,
    InvalidScopeError,
    JaxTransformError,
    ModifyScopeVariableError,
    PartitioningUnspecifiedError,
    ScanError,
    ScopeCollectionNotFound,
)
from linnet.linen import Partitioned, with_partitioning
from linnet.typing import In, Out

K = jax.random.key(7)
X = np.arange(6.0, dtype=np.float32).reshape(3, 2)


def run(fn: Callable[..., Any], variables: Any = None, mutable: Any = False, **rngs: Any) -> Any:
    """Applies a function of a scope."""
    return core.apply(fn, mutable=mutable)(variables or {}, rngs=rngs)


def made(fn: Callable[..., Any], **rngs: Any) -> Any:
    """The variables that a function of a scope makes."""
    return core.init(fn)({'params': K, **rngs})[1]


def equal_keys(drawn: Any, expected: Any) -> None:
    drawn, expected = jax.tree.leaves(drawn), jax.tree.leaves(expected)
    assert len(drawn) == len(expected)
    for a, b in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(jax.random.key_data(a), jax.random.key_data(b))


# Keys.


def folds(*suffixes: tuple[Any, ...], base: Any = K) -> list[Any]:
    return [fold(base, suffix) for suffix in suffixes]


def draws(scope: Scope, *_: Any) -> Any:
    return scope.make_rng('r'), scope.make_rng('r')


def twice(lifted: Callable[..., Any], *args: Any) -> Any:
    """Calls on a child ``m`` twice, then draws in the parent and in the child."""

    def fn(scope: Scope) -> Any:
        m = scope.push('m')
        return lifted(m, *args), lifted(m, *args), scope.make_rng('r'), m.make_rng('r')

    return run(fn, r=K)


LIFTS: dict[str, Callable[..., Any]] = {
    'plain': draws,
    'remat': lift.remat(draws),
    'map_variables': lift.map_variables(draws, 'params'),
    'vjp': lambda s: lift.vjp(lambda s: (jnp.zeros(()), draws(s)), s, has_aux=True)[2],
    'value_and_grad': lambda s: lift.value_and_grad(
        lambda s: (jnp.zeros(()), draws(s)), s, has_aux=True
    )[1],
}


@pytest.mark.parametrize('name', LIFTS)
def test_keys_of_one_trace_a_call(name: str) -> None:
    expected = folds(('m', 1), ('m', 2), ('m', 3), ('m', 4), (1,), ('m', 5))
    equal_keys(twice(LIFTS[name]), expected)


def test_keys_of_jit_and_fold_rngs() -> None:
    """Inside, a path begins at the lifted scope; counts go on."""
    for lifted in (lift.jit(draws), lift.fold_rngs(draws)):
        equal_keys(twice(lifted), folds((1,), (2,), (3,), (4,), (1,), ('m', 5)))


@pytest.mark.parametrize('split', [True, False])
def test_keys_of_vmap(split: bool) -> None:
    lifted = lift.vmap(draws, {}, {'r': split}, axis_size=3, in_axes=(0,))
    bases = jax.random.split(K, 3) if split else [K] * 3
    sliced = [folds(('m', 1), ('m', 2), ('m', 3), ('m', 4), base=base) for base in bases]
    expected = [jnp.stack([keys[i] for keys in sliced]) for i in range(4)]
    equal_keys(twice(lifted, X), [*expected, *folds((1,), ('m', 5))])


@pytest.mark.parametrize(
    ('split', 'check', 'counts'),
    [(True, True, (3, 4, 7, 8)), (True, False, (1, 2, 3, 4)), (False, True, (3, 4, 7, 8))],
)
def test_keys_of_scan(split: bool, check: bool, counts: tuple[int, ...]) -> None:
    """The first pass is a trace, and uses up counts."""
    lifted = lift.scan(
        lambda s, c, x: (c, draws(s)), split_rngs={'r': split}, check_constancy_invariants=check
    )
    bases = jax.random.split(K, 3) if split else [K] * 3
    sliced = [folds(*[('m', n) for n in counts], base=base) for base in bases]
    expected = [jnp.stack([keys[i] for keys in sliced]) for i in range(4)]
    after = folds((1,), ('m', counts[-1] + 1))
    equal_keys(twice(lambda s: lifted(s, 0, X)[1]), [*expected, *after])


def test_keys_of_branches() -> None:
    """Every branch is traced; one runs."""

    def draw(scope: Scope) -> Any:
        return scope.make_rng('r')

    def fn(scope: Scope) -> Any:
        one = lift.cond(True, draw, draw, scope), lift.cond(False, draw, draw, scope)
        return one, lift.switch(2, [draw, draw, draw], scope), scope.make_rng('r')

    equal_keys(run(fn, r=K), folds((1,), (4,), (7,), (8,)))


@pytest.mark.parametrize('split', [True, False])
def test_keys_of_while_loop(split: bool) -> None:
    def fn(scope: Scope) -> Any:
        def body(scope: Scope, carry: Any) -> Any:
            return carry[0] + 1, carry[1].at[carry[0]].set(scope.make_rng('r'))

        start = (0, jnp.stack([K] * 3))
        keys = lift.while_loop(lambda s, c: c[0] < 3, body, scope, start, split_rngs={'r': split})[
            1
        ]
        return keys, scope.make_rng('r')

    keys, after = run(fn, r=K)
    assert len({str(jax.random.key_data(k)) for k in keys}) == (3 if split else 1)
    equal_keys(after, folds((2,)))
    if not split:
        equal_keys(keys[0], folds((1,)))


def test_keys_of_parameters() -> None:
    """In ``init`` a scanned parameter is made in the loop, a broadcast one before it."""

    def body(scope: Scope, c: Any, _: Any) -> Any:
        return c, scope.param('w', lambda key: jax.random.key_data(key))

    def loop(**options: Any) -> Any:
        return made(lambda s: lift.scan(body, **options)(s, 0, X))['params']['w']

    keys = jax.random.split(K, 3)
    scanned = loop(variable_axes={'params': 0}, split_rngs={'params': True})
    np.testing.assert_array_equal(scanned, [jax.random.key_data(fold(key, (2,))) for key in keys])
    shared = loop(variable_broadcast='params', split_rngs={'params': False})
    np.testing.assert_array_equal(shared, jax.random.key_data(fold(K, (1,))))


# Variables.


def test_scopes_that_lie_in_each_other_go_in_once() -> None:
    def fn(scope: Scope) -> Any:
        child = scope.push('c')

        def inner(scopes: Any) -> Any:
            above, below = scopes
            below.put_variable('state', 'x', jnp.ones(()))
            return above.get_variable('state', 'c')['x']

        return lift.jit(inner)([scope, child]), child.get_variable('state', 'x')

    (inside, outside), state = run(fn, mutable='state')
    assert (inside, outside, state) == (1, 1, {'state': {'c': {'x': 1}}})


def test_a_tree_of_scopes_keeps_its_structure() -> None:
    def fn(scope: Scope) -> Any:
        scopes = {'a': scope.push('a'), 'b': (scope.push('b'), scope)}
        return lift.remat(lambda s: jax.tree.map(lambda x: len(x.path), s))(scopes)

    assert run(fn) == {'a': 1, 'b': (1, 0)}


def test_inner_scopes_end_with_the_transform() -> None:
    kept: list[Any] = []
    run(lambda scope: lift.remat(lambda s: kept.append(s))(scope))
    assert kept[0].invalid
    with pytest.raises(InvalidScopeError):
        kept[0].put_variable('state', 'x', 1)


def test_what_one_branch_writes_no_other_sees() -> None:
    def add(n: int, scope: Scope) -> Any:
        scope.put_variable('state', 'x', scope.get_variable('state', 'x') + n)

    def fn(scope: Scope) -> Any:
        branches = [functools.partial(add, n) for n in (1, 10, 100)]
        lift.switch(1, branches, scope)
        lift.cond(False, branches[0], branches[2], scope)

    assert run(fn, {'state': {'x': jnp.zeros(())}}, mutable='state')[1] == {'state': {'x': 110}}


def test_directions_of_variables() -> None:
    """``In`` drops what is written, ``Out`` hides what there was."""

    def body(scope: Scope, x: Any) -> Any:
        seen = scope.get_variable('a', 'v', -1), scope.get_variable('b', 'v', -1)
        scope.put_variable('b', 'v', x)
        return seen

    axes: Any = {'a': In(None), 'b': Out(1)}
    variables = {'a': {'v': 5}, 'b': {'v': 6}}
    seen, state = run(lambda s: lift.vmap(body, axes, {})(s, X), variables, mutable=['a', 'b'])
    np.testing.assert_array_equal(seen[0], [5, 5, 5])
    np.testing.assert_array_equal(seen[1], [-1, -1, -1])
    assert state['a'] == {'v': 5}
    np.testing.assert_array_equal(state['b']['v'], X.T)


def test_state_in_the_carry() -> None:
    def body(scope: Scope, c: Any, x: Any) -> Any:
        n = scope.get_variable('state', 'n')
        scope.put_variable('state', 'n', n + x.sum())
        return c + n, n

    loop = lift.scan(body, variable_carry='state')
    variables = {'state': {'n': jnp.zeros(())}}
    (carry, ns), state = run(lambda s: loop(s, 0.0, X), variables, mutable='state')
    assert (carry, ns.tolist(), state['state']['n']) == (7.0, [0.0, 1.0, 6.0], 15.0)


def test_read_only_state_in_the_carry() -> None:
    loop = lift.scan(
        lambda s, c, x: (c + s.get_variable('state', 'n'), None), variable_carry='state'
    )
    assert run(lambda s: loop(s, 0.0, X)[0], {'state': {'n': 2.0}}) == 6.0


def test_data_transform() -> None:
    def double(variables: Any, rngs: Any) -> Any:
        return jax.tree.map(lambda x: x * 2, variables), rngs

    loop = lift.scan(
        lambda s, c, x: (c + s.get_variable('params', 'w') * x, None),
        variable_broadcast='params',
        data_transform=double,
    )
    carry = run(lambda s: loop(s, jnp.zeros(2), X)[0], {'params': {'w': 3.0}})
    np.testing.assert_array_equal(carry, 6 * X.sum(0))


def test_swap_collection() -> None:
    def fn(scope: Scope) -> Any:
        assert scope.get_variable('a', 'x') == 2
        scope.put_variable('a', 'y', 3)

    variables = {'a': {'x': 1}, 'b': {'x': 2}}
    swapped = run(lambda s: lift.swap_collection(fn, 'a', 'b')(s), variables, mutable=True)[1]
    assert swapped == {'a': {'x': 1}, 'b': {'x': 2, 'y': 3}}


def test_map_variables_keeps_what_it_cannot_change() -> None:
    calls: list[Any] = []

    def fn(scope: Scope) -> Any:
        calls.append(1)
        scope.put_variable('state', 'n', 1)
        return scope.get_variable('params', 'w')

    def mapped(scope: Scope) -> Any:
        return lift.map_variables(fn, 'params', init=True)(scope)

    assert run(mapped, {'params': {'w': 3}}, mutable='state') == (3, {'state': {'n': 1}})
    assert len(calls) == 2


def test_pack_writes_a_transform() -> None:
    def scaled(factor: float, fn: Any) -> Any:
        def inner(scope_fn: Any, repack_fn: Any, groups: Any, rngs: Any, x: Any) -> Any:
            params, rest = groups
            scope = scope_fn((jax.tree.map(lambda p: p * factor, params), rest), rngs)
            y = fn(scope, x)
            return y, repack_fn(scope)

        return lift.pack(inner, ('params', True), ('state', False), (True,), name='scaled')

    def fn(scope: Scope, x: Any) -> Any:
        scope.put_variable('state', 'x', x)
        return scope.get_variable('params', 'w') * x

    y, state = run(
        lambda s: scaled(10, fn)(s, 2.0), {'params': {'w': 3.0}}, mutable=['state', 'params']
    )
    assert (y, state['state'], state['params']) == (60.0, {'x': 2.0}, {'w': 3.0})


def test_boxes_are_told_of_axes() -> None:
    init = with_partitioning(lambda key, *_: jnp.zeros((2, 2)), ('in', 'out'))

    def body(scope: Scope, x: Any) -> Any:
        assert scope.param('w', init, unbox=False).names == ('in', 'out')
        return x

    lifted = lift.vmap(
        body, {'params': 1}, {'params': True}, metadata_params={'partition_name': 'new'}
    )
    box = made(lambda s: lifted(s, X))['params']['w']
    assert (type(box), box.names, box.value.shape) == (Partitioned, ('in', 'new', 'out'), (2, 3, 2))


def test_compiled_functions_keep_nothing_alive() -> None:
    """A program that is found compiled sees the variables of now, and counts as when traced."""
    traces: list[Any] = []

    def fn(scope: Scope, x: Any) -> Any:
        traces.append(1)
        return scope.get_variable('params', 'w') * x, scope.make_rng('r')

    compiled = lift.jit(fn)

    def whole(scope: Scope) -> Any:
        return [compiled(scope, 2.0)[0], compiled(scope, 3.0)[0], scope.make_rng('r')]

    for w in (5.0, 6.0):
        y1, y2, key = run(whole, {'params': {'w': w}}, r=K)
        assert (y1, y2) == (2 * w, 3 * w)
        equal_keys(key, folds((3,)))
    assert len(traces) == 2  # one for each count of keys, whatever the variables


# Derivatives.


def square(scope: Scope, x: Any) -> Any:
    return (scope.get_variable('params', 'w') * x) ** 2


def test_derivatives_by_variables_and_arguments() -> None:
    def fn(scope: Scope) -> Any:
        y, back = lift.vjp(square, scope, 2.0)
        value = lift.value_and_grad(square, scope, 2.0)
        tangent = {'params': {'w': jnp.ones(())}}
        return y, back(1.0), value, lift.jvp(square, scope, (2.0,), (0.0,), tangent)

    y, (params_bar, x_bar), value, jvp = run(fn, {'params': {'w': jnp.float32(3.0)}})
    assert (y, params_bar, x_bar) == (36, {'params': {'w': 24}}, 36)
    assert (value, jvp) == ((36, (36,)), (36, 24))


def test_own_derivative() -> None:
    def backward(back: Any, y_bar: Any) -> Any:
        params_bar, x_bar = back(y_bar)
        return jax.tree.map(lambda g: g * 100, params_bar), x_bar

    custom = lift.custom_vjp(square, lambda s, x: lift.vjp(square, s, x), backward)

    def loss(w: Any, x: Any) -> Any:
        return run(lambda s: custom(s, x), {'params': {'w': w}})

    assert jax.grad(loss, argnums=(0, 1))(3.0, 2.0) == (2400.0, 36.0)


def test_gradient_of_what_is_no_scalar() -> None:
    with pytest.raises(InputShapeError, match=r'only a scalar has a gradient.*shape \(3, 2\)'):
        run(lambda s: lift.value_and_grad(lambda s, x: x, s, X))


# Mistakes.


def test_collections_that_are_not_passed_on() -> None:
    def body(scope: Scope, c: Any, x: Any) -> Any:
        return c, scope.variable('state', 'n', jnp.zeros, ()).value

    with pytest.raises(ScopeCollectionNotFound) as caught:
        made(lambda s: lift.scan(body)(s.push('block'), 0.0, X))
    message = str(caught.value)
    assert '/block' in message
    assert "nn.scan(..., variable_axes={'state': 0})" in message


def test_streams_that_are_not_passed_on() -> None:
    with pytest.raises(InvalidRngError, match=r"nn\.vmap\(\.\.\., split_rngs={'noise': True}\)"):
        run(lambda s: lift.vmap(lambda s, x: s.make_rng('noise'), {}, {})(s, X), noise=K)


def test_collections_that_are_read_only_in_a_loop() -> None:
    def condition(scope: Scope, c: Any) -> Any:
        scope.put_variable('state', 'n', c)
        return False

    loop = functools.partial(lift.while_loop, condition, lambda s, c: c, carry_variables='state')
    with pytest.raises(ModifyScopeVariableError, match=r"'n'.*'state'"):
        run(lambda s: loop(s, 1.0), {'state': {'n': 1.0}}, mutable=True)


def test_boxes_without_a_name_for_the_axis() -> None:
    init = with_partitioning(lambda key: jnp.zeros(2), ('in',))
    lifted = lift.vmap(lambda s, x: s.param('w', init), {'params': 0}, {'params': True})
    with pytest.raises(PartitioningUnspecifiedError, match='metadata_params='):
        made(lambda s: lifted(s, X))


def test_broadcast_variables_without_the_first_pass() -> None:
    loop = lift.scan(
        lambda s, c, x: (c, s.param('w', lambda key: jnp.zeros(()))),
        variable_broadcast='params',
        split_rngs={'params': False},
        check_constancy_invariants=False,
    )
    with pytest.raises(ScanError, match=r'params/w.*\n.*\n.*check_constancy_invariants='):
        made(lambda s: loop(s, 0.0, X))


def test_values_that_would_leak() -> None:
    def fn(scope: Scope) -> Any:
        return jax.jit(lambda x: scope.put_variable('state', 'x', x))(X)

    with pytest.raises(JaxTransformError, match=r'jax\.jit was applied to state/x'):
        run(fn, mutable='state')


def test_pack_without_keywords() -> None:
    packed = lift.pack(lambda *args: ((), ()), (), (), (), name='mine')
    with pytest.raises(TypeError, match=r"mine takes no keyword arguments: \['x'\]"):
        run(lambda s: packed(s, x=1))

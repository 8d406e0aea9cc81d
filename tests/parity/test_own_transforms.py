"""Transforms that a program lifts itself have the oracle's names, numbers and keys."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import pytest

from tests.parity.harness import same, same_error

KEY = jax.random.PRNGKey(0)
X = jnp.ones((2, 3))

CLASSES = {
    'remat': lambda lib, T, lift: T.lift_transform(lift.remat, lib.nn.Dense, prevent_cse=False),
    'vmap': lambda lib, T, lift: T.module_class_lift_transform(
        lift.vmap, lib.nn.Dense, {'params': 0}, {'params': True}
    ),
    'jit': lambda lib, T, lift: T.lift_transform_cached(lift.jit, lib.nn.Dense),
    'jit of a class': lambda lib, T, lift: T.module_class_lift_transform_cached(
        lift.jit, lib.nn.Dense, methods=['__call__']
    ),
    'fold': lambda lib, T, lift: T.lift_transform_cached(lift.fold_rngs, lib.nn.Dense),
}


@pytest.mark.parametrize('make', CLASSES.values(), ids=CLASSES)
def test_a_lifted_class_has_the_same_name_and_numbers(make):
    def run(lib):
        cls = make(lib, lib.load('linen.transforms'), lib.load('core.lift'))
        return cls.__name__, cls(2).init_with_output(KEY, X)

    same(run)


def total(layer, x):
    return layer(x).sum()


def mean(layer, x):
    return layer(x).mean()


def call(layer, x):
    return layer(x)


def passed(fn, *args, lift, seen, **kwargs):
    """A core transform that notes what it is given."""
    seen.append((args, kwargs))
    return lift.remat(fn)


def applied(fn, scopes, *args, lift, seen, **kwargs):
    seen.append((type(scopes).__name__, kwargs))
    return lift.value_and_grad(fn, scopes, *args)


def first_of(first, second):
    assert first is not second
    return first


CALLS = {
    'decorator': lambda T, lift, seen, d: T.decorator_lift_transform(lift.remat, call)(d, X),
    'decorator of one scope': lambda T, lift, seen, d: T.decorator_lift_transform(
        functools.partial(passed, lift=lift, seen=seen), call, 3, a=4, multi_scope=False
    )(d, X),
    'decorator of two functions': lambda T, lift, seen, d: T.decorator_lift_transform(
        first_of, (total, mean)
    )(d, X),
    'decorator cached': lambda T, lift, seen, d: T.decorator_lift_transform_cached(lift.jit, call)(
        d, X
    ),
    'direct': lambda T, lift, seen, d: T.lift_direct_transform(lift.value_and_grad, (total,), d, X),
    'direct of one scope': lambda T, lift, seen, d: T.lift_direct_transform(
        functools.partial(applied, lift=lift, seen=seen), (total,), d, X, multi_scope=False, b=5
    ),
    'direct of two functions': lambda T, lift, seen, d: T.lift_direct_transform(
        functools.partial(lift.cond, True), (total, mean), d, X
    ),
}


@pytest.mark.parametrize('how', CALLS.values(), ids=CALLS)
def test_a_lifted_function_has_the_same_numbers_and_arguments(how):
    def run(lib):
        nn, seen = lib.nn, []

        class Net(nn.Module):
            @nn.compact
            def __call__(self, x):
                layer = nn.Dense(2)
                layer(x)
                return how(lib.load('linen.transforms'), lib.load('core.lift'), seen, layer)

        return Net().init_with_output(KEY, X), seen

    same(run)


def test_forked_keys_are_the_same_and_those_outside_go_on():
    def run(lib):
        nn, fork_rngs = lib.nn, lib.load('linen.transforms').fork_rngs

        class Net(nn.Module):
            @nn.compact
            def __call__(self):
                keys = [self.make_rng('params')]
                with fork_rngs(self):
                    keys += [self.make_rng('params'), self.make_rng('params')]
                return [*keys, self.make_rng('params')]

        return Net().init_with_output(KEY)[0]

    same(run)


def test_what_is_no_module_is_refused():
    same_error(lambda lib: lib.load('linen.transforms').lift_transform(max, 3))

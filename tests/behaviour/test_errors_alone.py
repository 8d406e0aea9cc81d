"""An error of a user's program comes alone: raised while the library handles no other one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn

KEY, X = jax.random.key(0), jnp.ones((2, 4))


class Wrong(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.Dense(4)(x) @ jnp.ones((3, 3))


class Looking(nn.Module):
    """Looks at a number, which is not there yet while ``init`` defers what it computes."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return float(np.asarray(nn.Dense(4)(x)).sum()) * x @ jnp.ones((3, 3))


class Compiled(nn.Module):
    """Calls what was compiled ahead, with what ``init`` has deferred."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = jax.jit(jnp.sin).lower(X).compile()(nn.Dense(4)(x))
        return x @ jnp.ones((3, 3))


class WrongParameter(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return x + self.param('w', lambda key: jnp.ones((3, 3)) @ jnp.ones((2, 2)))


class OtherBranches(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.cond(True, lambda module, x: x, lambda module, x: x[0], self, x)


class OtherSizes(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.vmap(lambda module, x, y: x + y)(self, x, x[:1])


MODULES = (Wrong, Looking, Compiled, WrongParameter, OtherBranches, OtherSizes)
PLACES: dict[str, Callable[[Any, Any], Any]] = {
    'called': lambda module, x: module()(x),
    'after other layers': lambda module, x: module()(nn.Dense(4)(nn.Dense(4)(x))),
    'remat': lambda module, x: nn.remat(module)()(x),
    'jit': lambda module, x: nn.jit(module)()(x),
    'vmap': lambda module, x: nn.vmap(
        module, variable_axes={'params': 0}, split_rngs={'params': True}
    )()(x),
    'scan': lambda module, x: nn.scan(
        lambda block, carry, _: (block(carry), None),
        variable_axes={'params': 0},
        split_rngs={'params': True},
        length=2,
    )(module(), x, None),
    'cond': lambda module, x: nn.cond(
        True, lambda block, x: block(x), lambda block, x: block(x), module(), x
    ),
    'sequence': lambda module, x: nn.Sequential([nn.Dense(4), module()])(x),
}


class Net(nn.Module):
    place: str
    inner: type[nn.Module]

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return PLACES[self.place](self.inner, x)


VARIABLES = {
    'params': {'Dense_0': {'kernel': jnp.ones((4, 4)), 'bias': jnp.ones(4)}, 'Wrong_0': {}}
}
WAYS: dict[str, Callable[[Net], Any]] = {
    'init': lambda net: net.init(KEY, X),
    'jitted init': lambda net: jax.jit(net.init)(KEY, X),
    'abstract init': lambda net: jax.eval_shape(net.init, KEY, X),
    'tabulate': lambda net: net.tabulate(KEY, X),
    'apply': lambda net: net.apply(VARIABLES, X),
    'jitted apply': lambda net: jax.jit(net.apply)(VARIABLES, X),
    'gradient': lambda net: jax.grad(lambda v: net.apply(v, X).sum())(VARIABLES),
}


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('inner', MODULES)
def test_an_error_is_not_raised_while_another_is_handled(
    inner: type[nn.Module], place: str, way: str
) -> None:
    net = Net(place, inner)
    with pytest.raises(Exception) as raised:  # noqa: PT011 any, of the library, JAX or Python
        WAYS[way](net)
    error = raised.value
    assert error.__context__ is None or error.__suppress_context__

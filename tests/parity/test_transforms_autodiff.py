"""``nn.vjp``, ``nn.grad``, ``nn.value_and_grad``, ``nn.jvp`` and ``nn.custom_vjp``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from tests.parity.models import X
from tests.parity.transforms import Table, numbers

TABLE = Table()
tree_map = jax.tree_util.tree_map


def body(nn: Any) -> Any:
    """Parameters, state, keys and sown values."""

    class Body(nn.Module):
        @nn.compact
        def __call__(self, x, scale=1.0):
            y = nn.Dense(4, kernel_init=numbers)(x) * scale
            y = y + numbers(self.make_rng('noise'), y.shape)
            mean = self.variable('state', 'mean', jnp.zeros, (4,))
            if self.is_mutable_collection('state'):
                mean.value = mean.value + y.mean(0)
            self.sow('intermediates', 'y', y)
            return jnp.sin(y) * y

    return Body


def _net(run: Callable[[Any, Any, Any], Any], make: Any = body) -> Callable[[Any], Any]:
    """A model that runs ``run(nn, module, x)``, uses the module again and draws a key."""

    def build(nn: Any) -> Any:
        class Net(nn.Module):
            @nn.compact
            def __call__(self, x):
                mdl = make(nn)()
                y = run(nn, mdl, nn.Dense(4, kernel_init=numbers)(x))
                return y, mdl(x), self.make_rng('noise')

        return Net()

    return build


def _call(mdl: Any, *args: Any) -> Any:
    return mdl(*args)


def _loss(mdl: Any, *args: Any) -> Any:
    return mdl(*args).sum()


def _with_aux(mdl: Any, x: Any) -> Any:
    y = mdl(x)
    return y.sum(), {'y': y, 'twice': mdl(y)}


def _vjp(nn: Any, mdl: Any, x: Any, fn: Any = _call, args: Any = (), **options: Any) -> Any:
    y, back, *aux = nn.vjp(fn, mdl, x, *args, **options)
    return y, back(tree_map(jnp.ones_like, y)), back(y), aux


RUNS: dict[str, Callable[[Any, Any, Any], Any]] = {
    'vjp': _vjp,
    'vjp_twice': lambda nn, mdl, x: _vjp(nn, mdl, _vjp(nn, mdl, x)[0]),
    'vjp_with_aux': functools.partial(_vjp, fn=_with_aux, has_aux=True),
    'vjp_of_two_primals': functools.partial(_vjp, args=(2.0,)),
    'vjp_by_no_variables': functools.partial(_vjp, vjp_variables=False),
    'vjp_by_state': functools.partial(_vjp, vjp_variables='state'),
    'vjp_by_two_collections': functools.partial(_vjp, vjp_variables=['params', 'state']),
    'vjp_of_some_collections': functools.partial(_vjp, variables=['params', 'state']),
    'vjp_of_some_streams': functools.partial(_vjp, rngs=['params', 'noise']),
    'vjp_reduce_axes': functools.partial(_vjp, reduce_axes=()),
    'vjp_multi_scope': functools.partial(_vjp, multi_scope=True),
    'vjp_of_a_tree': lambda nn, mdl, x: _vjp(
        nn, mdl, {'a': x, 'b': (x[0], None)}, fn=lambda mdl, t: {'y': mdl(t['a'] + t['b'][0])}
    ),
    'vjp_of_a_method': lambda nn, mdl, x: _vjp(nn, mdl, x, fn=type(mdl).__call__),
    'grad': lambda nn, mdl, x: nn.grad(_loss, mdl, x),
    'grad_of_two': lambda nn, mdl, x: nn.grad(_loss, mdl, x, 2.0),
    'grad_with_aux': lambda nn, mdl, x: nn.grad(_with_aux, mdl, x, has_aux=True),
    'grad_of_some_streams': lambda nn, mdl, x: nn.grad(_loss, mdl, x, rngs=['params', 'noise']),
    'grad_of_some_collections': lambda nn, mdl, x: nn.grad(
        _loss, mdl, x, variables=['params', 'state']
    ),
    'grad_reduce_axes': lambda nn, mdl, x: nn.grad(_loss, mdl, x, reduce_axes=()),
    'value_and_grad': lambda nn, mdl, x: nn.value_and_grad(_loss, mdl, x),
    'value_and_grad_of_two': lambda nn, mdl, x: nn.value_and_grad(_loss, mdl, x, 0.5),
    'value_and_grad_with_aux': lambda nn, mdl, x: nn.value_and_grad(
        _with_aux, mdl, x, has_aux=True
    ),
    'value_and_grad_of_a_tree': lambda nn, mdl, x: nn.value_and_grad(
        lambda mdl, t: mdl(t[0] * t[1]['k']).sum(), mdl, (x, {'k': x})
    ),
    'value_and_grad_twice': lambda nn, mdl, x: nn.grad(
        lambda mdl, x: nn.value_and_grad(_loss, mdl, x)[1][0].sum(), mdl, x
    ),
    'jvp': lambda nn, mdl, x: nn.jvp(_call, mdl, (x,), (x * 2,), {}),
    'jvp_of_two': lambda nn, mdl, x: nn.jvp(_call, mdl, (x, 2.0), (x, 1.0), {}),
    'jvp_of_a_list': lambda nn, mdl, x: nn.jvp(_call, mdl, [x], (x,), {}),
    'jvp_of_some_collections': lambda nn, mdl, x: nn.jvp(
        _call, mdl, (x,), (x,), {}, variables=['params', 'state'], rngs=['params', 'noise']
    ),
    'jvp_of_a_tree': lambda nn, mdl, x: nn.jvp(
        lambda mdl, t: {'y': mdl(t['a'])}, mdl, ({'a': x},), ({'a': x},), {}
    ),
    'jvp_of_jvp': lambda nn, mdl, x: nn.jvp(
        lambda mdl, x: nn.jvp(_call, mdl, (x,), (x,), {})[1], mdl, (x,), (x,), {}
    ),
    'vjp_of_jvp': lambda nn, mdl, x: _vjp(
        nn, mdl, x, fn=lambda mdl, x: nn.jvp(_call, mdl, (x,), (x,), {})[1]
    ),
}
for _name, _run in RUNS.items():
    TABLE.add(_name, _net(_run))


@TABLE.case(X)
def jvp_along_variables(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            mdl = nn.Dense(4, kernel_init=numbers)
            y = mdl(x)
            params = tree_map(lambda x: x + 1, dict(mdl.variables['params']))
            zeros = jnp.zeros_like(x)
            return y, nn.jvp(_call, mdl, (x,), (zeros,), {'params': params})

    return Net()


@TABLE.case(X)
def modules_shared_with_the_outside(nn: Any) -> Any:
    """With ``multi_scope`` derivatives come in a list, one entry for each scope."""

    class Holder(nn.Module):
        sub: Any

        @nn.compact
        def __call__(self, x):
            return self.sub(x) * self.param('scale', numbers, (4,))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            sub = nn.Dense(4, kernel_init=numbers)
            holder = Holder(sub)
            y, back = nn.vjp(_call, holder, x, multi_scope=True)
            return y, back(y), sub(x)

    return Net()


@TABLE.case(X)
def derivative_of_self(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            def run(self, x):
                return nn.Dense(4, kernel_init=numbers)(x) * self.param('w', numbers, (4,))

            y, back = nn.vjp(run, self, x)
            params_bar, x_bar = back(jnp.ones_like(y))
            return y, params_bar, nn.Dense(4)(x_bar)

    return Net()


@TABLE.case(X)
def in_setup_style(nn: Any) -> Any:
    class Net(nn.Module):
        def setup(self):
            self.one, self.two = nn.Dense(4), body(nn)()

        def __call__(self, x):
            y, back = nn.vjp(lambda self, x: self.two(self.one(x)), self, x)
            return y, back(y), nn.grad(lambda self, x: self.two(x).sum(), self, x)

    return Net()


@TABLE.case(X)
def boxed_parameters(nn: Any) -> Any:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            init = nn.with_partitioning(numbers, ('a', None))
            return nn.Dense(4, kernel_init=init)(x)

    return _net(_vjp, lambda nn: Body)(nn)


# custom_vjp: the backward pass is ours, so the gradient shows whether it ran.


def _custom(nn: Any, mdl: Any, x: Any, *args: Any, factor: float = 3.0, **options: Any) -> Any:
    def forward(mdl: Any, *args: Any) -> Any:
        return nn.vjp(_call, mdl, *args)

    def backward(back: Any, y_bar: Any) -> Any:
        params_bar, *rest = back(y_bar)
        return tree_map(lambda x: x * factor, params_bar), *rest

    return nn.custom_vjp(_call, forward, backward, **options)(mdl, x, *args)


def _nondiff(nn: Any, mdl: Any, x: Any) -> Any:
    def fn(mdl: Any, times: int, x: Any) -> Any:
        return mdl(x) * times

    def forward(mdl: Any, times: int, x: Any) -> Any:
        return nn.vjp(lambda mdl, x: fn(mdl, times, x), mdl, x)

    def backward(times: int, back: Any, y_bar: Any) -> Any:
        return back(y_bar * times)

    return nn.custom_vjp(fn, forward, backward, nondiff_argnums=(1,))(mdl, 2, x)


def _sign(nn: Any, mdl: Any, x: Any) -> Any:
    def backward(back: Any, y_bar: Any) -> Any:
        params_bar, *rest = back(y_bar)
        return tree_map(jnp.sign, params_bar), *rest

    run = nn.custom_vjp(_call, functools.partial(nn.vjp, _call), backward)
    return run(mdl, x), run(mdl, 2 * x)


def _own_residuals(nn: Any, mdl: Any, x: Any) -> Any:
    def forward(mdl: Any, x: Any) -> Any:
        y = mdl(x)
        return y, {'x': x, 'params': mdl.variables['params']}

    def backward(residuals: Any, y_bar: Any) -> Any:
        bar = tree_map(lambda p: p * y_bar.sum(), residuals['params'])
        return {'params': bar}, residuals['x'] * 2

    return nn.custom_vjp(_call, forward, backward)(mdl, x)


for _name, _run in {
    'custom_vjp': _custom,
    'custom_vjp_of_two_arguments': lambda nn, mdl, x: _custom(nn, mdl, x, 2.0),
    'custom_vjp_grad_vars': lambda nn, mdl, x: _custom(nn, mdl, x, grad_vars='params'),
    'custom_vjp_nondiff_argnums': _nondiff,
    'custom_vjp_of_own_residuals': _own_residuals,
}.items():
    TABLE.add(_name, _net(_run), modes=('eager_typed', 'grad', 'jit_raw'))


@TABLE.case(X)
def custom_vjp_called_twice(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return _sign(nn, nn.Dense(4, kernel_init=numbers), x)

    return Net()


@TABLE.case(X)
def under_a_lifted_loop(nn: Any) -> Any:
    """A derivative in each iteration."""

    class Step(nn.Module):
        @nn.compact
        def __call__(self, c, _):
            (g,) = nn.grad(_loss, nn.Dense(4, kernel_init=numbers), c)
            return c - 0.1 * g, g.sum()

    loop = nn.scan(Step, {'params': 0}, split_rngs={'params': True}, length=2)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return loop()(x, None)

    return Net()


@TABLE.case(X)
def of_a_lifted_loop(nn: Any) -> Any:
    class Step(nn.Module):
        @nn.compact
        def __call__(self, c, _):
            return body(nn)()(c), None

    axes, splits = {True: 0}, {True: True}
    loop = nn.scan(Step, axes, split_rngs=splits, length=2)
    run = functools.partial(_vjp, fn=lambda mdl, x: mdl(x, None)[0])

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return run(nn, loop(), x), self.make_rng('noise')

    return Net()


@pytest.mark.parametrize(('name', 'mode'), TABLE.runs())
def test_autodiff(name: str, mode: str) -> None:
    TABLE.run(name, mode)

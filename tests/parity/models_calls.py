"""Programs by how a module is run: bind, clone, intercept, functional forms, filters, flags."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from tests.parity.harness import Library
from tests.parity.models import X, program

KEY = jax.random.key(0)


def _net(nn: Any) -> Any:
    """A class with submodules from setup, several methods, state, noise and sown values."""

    class Net(nn.Module):
        width: int = 3

        def setup(self):
            self.first = nn.Dense(self.width)
            self.second = nn.Dense(4)
            self.count = self.variable('state', 'n', lambda: jnp.zeros((), jnp.int32))

        def encode(self, x):
            y = self.first(x)
            self.sow('intermediates', 'code', y)
            return y

        def decode(self, y, scale=1.0):
            if self.is_mutable_collection('state'):
                self.count.value += 1
            return self.second(y) * scale + self.count.value

        def noisy(self, x):
            return self(x) + jax.random.normal(self.make_rng('noise'), x.shape)

        def __call__(self, x):
            return self.decode(self.encode(x))

    return Net


def _deep(nn: Any) -> Any:
    """A model three modules deep."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.relu(nn.Dense(4)(nn.LayerNorm()(x)))

    class Deep(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(2):
                x = Block()(x)
            return Block(name='last')(x)

    return Deep


@program
def methods_by_every_kind_of_name(lib: Library) -> Any:
    """``method`` takes a string, a function of the class, a bound method, any function."""
    net = _net(lib.nn)()
    variables = net.init(KEY, X)
    return [
        net.apply(variables, X, method='encode'),
        net.apply(variables, X, method=type(net).encode),
        net.apply(variables, X, method=net.encode),
        net.apply(variables, X, method=lambda self, x: self.decode(self.encode(x), scale=2.0)),
        net.apply(variables, X[:, :3], 3.0, method='decode'),
        net.apply(variables, X[:, :3], scale=3.0, method=net.decode, mutable='state'),
        net.init(KEY, X, method='encode'),
        net.init(KEY, X[:, :3], method=net.decode),
        net.apply(variables, method=lambda self: (self.width, self.first.features)),
        net.apply(variables, X, method='noisy', rngs={'noise': KEY}),
    ]


@program
def every_form_of_rngs(lib: Library) -> Any:
    """One key or a dict of keys, typed or raw; a missing stream falls back to params."""
    net = _net(lib.nn)()
    raw = jax.random.PRNGKey(7)
    variables = net.init({'params': KEY, 'other': raw}, X)
    both = {'params': KEY, 'noise': raw}
    forms = [KEY, raw, both, {'params': raw}, {'noise': jax.random.key(2, impl='rbg')}]
    return [
        variables,
        net.init(raw, X),
        [net.apply(variables, X, method='noisy', rngs=form) for form in forms],
        net.init(both, X, method='noisy'),
        net.init({**both, 'unused': raw}, X),
    ]


@program
def every_form_of_mutable(lib: Library) -> Any:
    """A flag, a name, a list, a set or a DenyList; empty ones return a pair too."""
    net = _net(lib.nn)()
    variables = net.init(KEY, X)
    deny = lib.core.DenyList
    forms: list[Any] = [
        False,
        True,
        'state',
        ['state'],
        ('state', 'intermediates'),
        {'intermediates'},
    ]
    forms += [
        [],
        deny('params'),
        deny(['params', 'intermediates']),
        deny(True),
        deny(False),
        'none',
    ]
    inits = [True, ['params', 'state'], deny('intermediates'), deny(['batch_stats'])]
    deep = _deep(lib.nn)()
    return [
        [net.apply(variables, X, mutable=form) for form in forms],
        [net.init(KEY, X, mutable=form) for form in inits],
        [deep.init(KEY, X, mutable=form) for form in ('params', ['params'], deny('state'))],
    ]


@program
def capture_intermediates(lib: Library) -> Any:
    """True captures the outputs of ``__call__``, a filter picks modules and methods."""
    deep, net = _deep(lib.nn)(), _net(lib.nn)()
    v_deep, v_net = deep.init(KEY, X), net.init(KEY, X)

    def is_dense(module, method):
        return type(module).__name__ == 'Dense'

    def by_method(module, method):
        return method in ('encode', 'decode')

    captured = {'mutable': ['intermediates'], 'capture_intermediates': True}
    return [
        deep.apply(v_deep, X, **captured),
        deep.apply(v_deep, X, mutable='intermediates', capture_intermediates=is_dense),
        net.apply(v_net, X, mutable=['intermediates'], capture_intermediates=by_method),
        net.apply(v_net, X, mutable=True, capture_intermediates=lambda *_: False),
        deep.apply(v_deep, X, capture_intermediates=True),
        deep.init_with_output(KEY, X, mutable=True, capture_intermediates=True),
        deep.init_with_output(KEY, X, capture_intermediates=True),
    ]


@program
def function_forms(lib: Library) -> Any:
    """``nn.init``, ``nn.apply`` and ``nn.init_with_output`` of any function of a module."""
    nn = lib.nn
    net = _net(nn)()

    def twice(net, x):
        return net(net(x)) + net.first(x).sum()

    variables = nn.init(twice, net)(KEY, X)
    return [
        variables,
        nn.apply(twice, net)(variables, X),
        nn.apply(twice, net, mutable=['state'])(variables, X),
        nn.apply(twice, net, mutable=True, capture_intermediates=True)(variables, X),
        nn.init_with_output(twice, net, mutable=True)(KEY, X),
        nn.apply(lambda net, x: net.noisy(x), net)(variables, X, rngs={'noise': KEY}),
        jax.eval_shape(nn.init(twice, net), KEY, X),
    ]


@program
def bind_and_unbind(lib: Library) -> Any:
    nn = lib.nn
    net = _net(nn)()
    variables = net.init(KEY, X)
    bound = net.bind(variables, rngs={'noise': KEY}, mutable=['state'])
    results = [bound(X), bound.encode(X), bound.noisy(X), bound.noisy(X)]
    results += [bound.first.variables, bound.variables, bound.first.path, bound.path]
    module, after = bound.unbind()
    child, of_child = bound.second.unbind()
    return [
        results,
        after,
        of_child,
        child.apply(of_child, X[:, :3]),
        [module.scope, child.scope, child.name, child.parent, module == net],
        module.apply(after, X),
        net.bind(variables).encode(X),
        bound.get_variable('state', 'n'),
    ]


@program
def clone_and_copy(lib: Library) -> Any:
    nn = lib.nn
    net = _net(nn)(width=2)
    wider = net.clone(width=5)
    holder = nn.Sequential([nn.Dense(3, name='a'), nn.relu, net])
    bound = net.bind(net.init(KEY, X), mutable=True)
    return [
        wider.init(KEY, X),
        net.width,
        net.copy(width=4).width,
        net.clone(name='n').name,
        net.copy(name='n').name,
        holder.clone() == holder,
        holder.clone(layers=[nn.Dense(2)]).init(KEY, X),
        holder.copy().init(KEY, X),
        bound.clone().scope is None,
        bound.copy(width=7).width,
        bound.first.clone().name,
        bound.first.copy().name,
    ]


@program
def intercepted_methods(lib: Library) -> Any:
    """Interceptors see every wrapped call, the inner ones closest to the method."""
    nn = lib.nn
    seen: list[Any] = []

    def scale_dense(next_fn, args, kwargs, context):
        seen.append((type(context.module).__name__, context.method_name, context.module.name))
        if isinstance(context.module, nn.Dense) and context.method_name == '__call__':
            return next_fn(*args, **kwargs) * 2
        return next_fn(*args, **kwargs)

    def add_one(next_fn, args, kwargs, context):
        out = next_fn(*args, **kwargs)
        return out + 1 if context.method_name == '__call__' else out

    net = _net(nn)()
    with nn.intercept_methods(scale_dense):
        variables = net.init(KEY, X)
        with nn.intercept_methods(add_one):
            nested = net.apply(variables, X)
        single = net.apply(variables, X)
    return [variables, nested, single, net.apply(variables, X), seen]


@program
def interceptor_without_the_method(lib: Library) -> Any:
    nn = lib.nn

    def skip(next_fn, args, kwargs, context):
        if isinstance(context.module, nn.LayerNorm):
            return args[0]
        return next_fn(*args, **kwargs)

    with nn.intercept_methods(skip):
        return _deep(nn)().init_with_output(KEY, X)


@program
def paths_of_all_modules(lib: Library) -> Any:
    nn = lib.nn
    shared = nn.Dense(4)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Sequential([shared, nn.LayerNorm(), shared])(_deep(nn)()(x))

    paths = Net().module_paths(KEY, X)
    repeated = Net().module_paths(KEY, X, show_repeated=True)
    return [{p: type(m).__name__ for p, m in table.items()} for table in (paths, repeated)]


@program
def lazy_init(lib: Library) -> Any:
    """Shapes stand in for inputs; what does not depend on them is computed as by ``init``."""
    net = _net(lib.nn)()
    shape = jax.ShapeDtypeStruct((2, 4), jnp.float32)
    made = [
        net.lazy_init(KEY, shape),
        net.lazy_init({'params': KEY}, X),
        net.lazy_init(KEY, shape, method='encode'),
        _deep(lib.nn)().lazy_init(KEY, shape, mutable=['params']),
        jax.eval_shape(net.init, KEY, shape),
        jax.jit(net.init)(KEY, X),
    ]
    return jax.tree.map(lambda leaf: leaf, made)  # sorts the keys, as the oracle's 0.12.8 does


@program
def frozen_dicts_as_variables(lib: Library) -> Any:
    """Variables go in as dict or FrozenDict; what comes out is a dict either way."""
    net = _net(lib.nn)()
    variables = net.init(KEY, X)
    frozen = lib.core.freeze(variables)
    half = {name: lib.core.freeze(value) for name, value in variables.items()}
    return [
        net.apply(frozen, X),
        net.apply(half, X, mutable=['state']),
        net.apply(frozen, X, mutable=True),
        type(net.apply(frozen, X, mutable='state')[1]).__name__,
        net.bind(frozen).variables,
    ]


@contextlib.contextmanager
def _flag(lib: Library, name: str, value: bool) -> Iterator[None]:
    config = lib.load('configurations').config
    before = getattr(config, name)
    config.update(name, value)
    try:
        yield
    finally:
        config.update(name, before)


def _with_flag(lib: Library, name: str, run: Callable[[], Any]) -> Any:
    results = []
    for value in (False, True):
        with _flag(lib, name, value):
            results.append(run())
    return results


@program
def flag_return_frozendict(lib: Library) -> Any:
    net = _net(lib.nn)()

    def run() -> Any:
        variables = net.init(KEY, X)
        bound = net.bind(variables, mutable=True)
        return variables, net.apply(variables, X, mutable=['state']), bound.variables

    return _with_flag(lib, 'flax_return_frozendict', run)


@program
def flag_preserve_adopted_names(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        sub: Any
        more: Any

        def __call__(self, x):
            return self.more[0](self.sub(x)), self.sub.name

    class Keeps(Net):
        preserve_adopted_names = True

    def run() -> Any:
        nets = [cls(nn.Dense(4, name='given'), [nn.Dense(4, name='x')]) for cls in (Net, Keeps)]
        return [net.init_with_output(KEY, X) for net in nets]

    return _with_flag(lib, 'flax_preserve_adopted_names', run)


@program
def flag_fix_rng_separator(lib: Library) -> Any:
    deep, net = _deep(lib.nn)(), _net(lib.nn)()

    def run() -> Any:
        noisy = net.apply(net.init(KEY, X), X, method='noisy', rngs={'noise': KEY})
        return deep.init(KEY, X), noisy

    return _with_flag(lib, 'flax_fix_rng_separator', run)


@program
def colliding_paths(lib: Library) -> Any:
    """Without the separator, two paths whose texts join alike draw one key."""
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            left = nn.Sequential([nn.Dense(3, name='cdef')], name='ab')
            right = nn.Sequential([nn.Dense(3, name='def')], name='abc')
            return left(x), right(x)

    return Net().init_with_output(KEY, X)


@program
def named_calls(lib: Library) -> Any:
    """The name stack of the compiled program holds the paths of the modules."""
    nn = lib.nn
    deep = _deep(nn)()
    variables = deep.init(KEY, X)

    def text() -> str:
        return jax.jit(deep.apply).lower(variables, X).as_text(debug_info=True)

    def names() -> list[bool]:
        lowered = text()
        return [f'Block_0{sep}Dense_0' in lowered for sep in ('/', '.')]

    results = [names()]
    with nn.override_named_call(enable=False):
        results.append(names())
    nn.disable_named_call()
    try:
        results.append(names())
    finally:
        nn.enable_named_call()
    return results


@program
def gradient_of_perturbations(lib: Library) -> Any:
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            hidden = self.perturb('hidden', nn.Dense(3)(x))
            return nn.Dense(1)(nn.tanh(hidden)).sum()

    net = Net()
    variables = net.init(KEY, X)

    def loss(perturbations):
        return net.apply({'params': variables['params'], 'perturbations': perturbations}, X)

    return [
        jax.grad(loss)(variables['perturbations']),
        net.apply({'params': variables['params']}, X),
    ]


@program
def sown_values_passed_back(lib: Library) -> Any:
    """Sown values that were passed in are appended to."""
    net = _net(lib.nn)()
    variables = net.init(KEY, X)
    _, first = net.apply(variables, X, mutable=['intermediates'])
    return net.apply({**variables, **first}, X, mutable=['intermediates'])


@program
def missing_variables_are_made_when_mutable(lib: Library) -> Any:
    """``apply`` may create what is missing in a mutable collection, with a key at hand."""
    net = _net(lib.nn)()
    return [
        net.apply({}, X, rngs={'params': KEY}, mutable=True),
        net.apply({}, X, rngs=KEY, mutable=['params', 'state']),
        net.apply({'params': net.init(KEY, X)['params']}, X, mutable=['state']),
        net.init_with_output(KEY, X),
    ]


@program
def modules_inside_transforms_of_apply(lib: Library) -> Any:
    """Reading parameters inside JAX's own transforms, within a method, is allowed."""
    nn = lib.nn

    class Net(nn.Module):
        def setup(self):
            self.layer = nn.Dense(4)

        def __call__(self, x):
            if self.is_initializing():
                return self.layer(x)
            y = jax.vmap(self.layer)(x)
            z, _ = jax.lax.scan(lambda c, _: (jnp.tanh(self.layer(c)), None), x, length=2)
            w = jax.lax.cond(x.sum() > 0, lambda x: self.layer(x), lambda x: x, x)
            return (
                y,
                z,
                w,
                jax.grad(lambda x: self.layer(x).sum())(x),
                jax.jit(lambda x: self.layer(x))(x),
            )

    net = Net()
    return net.apply(net.init(KEY, X), X)


@program
def modules_as_pytrees_of_results(lib: Library) -> Any:
    """A module may travel through the result of a method, and lives on unbound from its trace."""
    nn = lib.nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = nn.Dense(3)
            layer(x)
            return layer

    layer, variables = Net().init_with_output(KEY, X)
    return [type(layer).__name__, layer.name, layer.features, variables, layer.path]

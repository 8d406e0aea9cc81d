"""The functional core of lifting: every transform of functions of scopes, and the loop below it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity.harness import ORACLE, OURS, Library, same
from tests.parity.models import X
from tests.parity.transforms import numbers

# Some programs ask for members that start equal, which is what they test.
pytestmark = pytest.mark.filterwarnings('ignore::linnet.errors.EqualMembersWarning')

KEYS = {'params': jax.random.key(1), 'noise': jax.random.key(2)}
RAW = {'params': jax.random.PRNGKey(1), 'noise': jax.random.PRNGKey(2)}
XS = np.stack([X, X + 1, X - 1])
Main = Callable[[Any, Any, Any], Any]
tree_map = jax.tree_util.tree_map

MAINS: dict[str, Main] = {}
"""Programs ``main(lift, scope, x)`` by name."""


def main(run: Main) -> Main:
    MAINS[run.__name__.strip('_')] = run
    return run


def dense(scope: Any, x: Any, features: int = 4) -> Any:
    kernel = scope.param('kernel', numbers, (x.shape[-1], features))
    return x @ kernel + scope.param('bias', numbers, (features,))


def body(scope: Any, x: Any) -> Any:
    """Parameters in a child, keys, state."""
    y = scope.child(dense)(x) + numbers(scope.make_rng('noise'), x.shape)
    mean = scope.variable('state', 'mean', jnp.zeros, (4,))
    if scope.is_mutable_collection('state'):
        mean.value = mean.value + y.reshape(-1, 4).mean(0)
    return scope.child(dense, 'last')(y) - mean.value


def loop_body(scope: Any, carry: Any, x: Any) -> Any:
    y = body(scope, carry) + x
    return y, y.sum(-1)


def _around(lift: Any, scope: Any, run: Callable[[Any], Any]) -> Any:
    """Runs in a child scope, draws keys before and after, and in the child."""
    before, child = scope.make_rng('noise'), scope.push('inner')
    y = run(child)
    return y, before, scope.make_rng('noise'), child.make_rng('noise')


# Transforms that leave a signature as it is.

LIFTS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    'jit': lambda lift: lift.jit,
    'jit_of_some': lambda lift: functools.partial(
        lift.jit, variables=['params', 'state'], rngs=['params', 'noise']
    ),
    'checkpoint': lambda lift: lift.checkpoint,
    'remat': lambda lift: functools.partial(
        lift.remat, policy=jax.checkpoint_policies.dots_saveable, prevent_cse=False
    ),
    'remat_of_some': lambda lift: functools.partial(
        lift.remat, variables=['params', 'state'], rngs=['params', 'noise']
    ),
    'fold_rngs': lambda lift: lift.fold_rngs,
    'map_variables': lambda lift: functools.partial(
        lift.map_variables, mapped_collections='params', init=True
    ),
    'map_variables_mutable': lambda lift: functools.partial(
        lift.map_variables,
        mapped_collections=['params'],
        map_in_fn=lambda tree: tree_map(lambda x: x * 2, tree),
        map_out_fn=lambda tree: tree_map(lambda x: x / 2, tree),
        init=True,
        mutable=True,
    ),
    'vmap': lambda lift: functools.partial(
        lift.vmap, variable_axes={'params': 0, 'state': 1}, split_rngs={True: True}
    ),
    'vmap_shared': lambda lift: functools.partial(
        lift.vmap,
        variable_axes={'params': None, 'state': 0},
        split_rngs={'params': False, 'noise': True},
        in_axes=1,
        out_axes=1,
        axis_name='a',
    ),
    'vmap_with_one_key': lambda lift: functools.partial(
        lift.vmap, variable_axes={True: -1}, split_rngs={True: False}, axis_size=3
    ),
    'remat_scan': lambda lift: functools.partial(lift.remat_scan, lengths=(2, 2)),
    'remat_scan_shared': lambda lift: functools.partial(
        lift.remat_scan,
        lengths=(3,),
        variable_broadcast='params',
        variable_axes={'state': 0},
        split_rngs={'params': False, 'noise': True},
    ),
}


def _called(lift: Any, make: Any, s: Any, x: Any) -> Any:
    """Some transforms of the oracle take a hashable value first, which the function gets too."""
    lifted = make(lift)
    if getattr(lifted, 'func', lifted).__name__ in ('jit', 'fold_rngs'):
        return lifted(lambda s, k, x: body(s, x * k))(s, 2, XS + x)
    return lifted(body)(s, XS + x)


for _name, _lift in LIFTS.items():
    MAINS[_name] = lambda lift, scope, x, f=_lift: _around(
        lift, scope, lambda s: _called(lift, f, s, x)
    )
    MAINS[f'{_name}_twice'] = lambda lift, scope, x, f=_lift: _around(
        lift, scope, lambda s: (_called(lift, f, s, x), _called(lift, f, s.rewound(), x + 1))
    )

SCANS: dict[str, Any] = {
    'scan': {'variable_axes': {True: 0}, 'split_rngs': {True: True}},
    'scan_shared': {
        'variable_broadcast': 'params',
        'variable_axes': {'state': 1},
        'split_rngs': {'params': False, 'noise': True},
        'out_axes': 1,
    },
    'scan_with_one_key': {
        'variable_axes': {'params': -1, 'state': 0},
        'split_rngs': {True: False},
        'reverse': True,
        'unroll': 3,
    },
    'scan_without_the_first_pass': {
        'variable_axes': {True: 0},
        'split_rngs': {True: True},
        'check_constancy_invariants': False,
        '_split_transpose': True,
    },
}
for _name, _options in SCANS.items():
    MAINS[_name] = lambda lift, scope, x, o=_options: _around(
        lift, scope, lambda s: lift.scan(loop_body, **o)(s, x, XS)
    )


@main
def scan_with_state_in_the_carry(lift: Any, scope: Any, x: Any) -> Any:
    options = {
        'variable_broadcast': 'params',
        'variable_carry': 'state',
        'split_rngs': {'noise': True},
    }

    def run(s: Any) -> Any:
        before = body(s, x)
        writable = s.is_mutable_collection('state') and not s.get_flag('initializing', False)
        return before, lift.scan(loop_body, **options)(s.rewound(), x, XS) if writable else ()

    return _around(lift, scope, run)


# Derivatives.


def _gradients(lift: Any, s: Any, x: Any, **options: Any) -> Any:
    y, back = lift.vjp(body, s, x, **options)
    return y, back(jnp.ones_like(y)), back(y)


def _aux(scope: Any, x: Any) -> Any:
    y = body(scope, x)
    return y.sum(), {'y': y}


DERIVATIVES: dict[str, Callable[[Any, Any, Any], Any]] = {
    'vjp': _gradients,
    'vjp_by_no_variables': functools.partial(_gradients, vjp_variables=False),
    'vjp_by_state': functools.partial(_gradients, vjp_variables='state'),
    'vjp_by_all': functools.partial(_gradients, vjp_variables=['params', 'state']),
    'vjp_reduce_axes': functools.partial(_gradients, reduce_axes=()),
    'vjp_with_aux': lambda lift, s, x: (lambda y, back, aux: (y, back(jnp.ones_like(y)), aux))(
        *lift.vjp(_aux, s, x, has_aux=True)
    ),
    'value_and_grad': lambda lift, s, x: lift.value_and_grad(
        lambda s, x, k: body(s, x * k).sum(), s, x, 2.0
    ),
    'value_and_grad_with_aux': lambda lift, s, x: lift.value_and_grad(_aux, s, x, has_aux=True),
    'jvp': lambda lift, s, x: lift.jvp(body, s, (x,), (x,), {}),
    'custom_vjp': lambda lift, s, x: lift.custom_vjp(
        body,
        lambda s, x: lift.vjp(body, s, x),
        lambda back, y_bar: tree_map(lambda x: x * 2, back(y_bar)),
    )(s, x),
    'custom_vjp_of_state_too': lambda lift, s, x: lift.custom_vjp(
        body,
        lambda s, x: lift.vjp(body, s, x, vjp_variables=['params', 'state']),
        lambda back, y_bar: back(y_bar),
        grad_vars=['params', 'state'],
    )(s, x),
}
for _name, _run in DERIVATIVES.items():
    MAINS[_name] = lambda lift, scope, x, f=_run: _around(lift, scope, lambda s: f(lift, s, x))


@main
def jvp_along_variables(lift: Any, scope: Any, x: Any) -> Any:
    def run(s: Any) -> Any:
        y = dense(s, x)
        direction = tree_map(jnp.ones_like, dict(s.variables()['params']))
        return y, lift.jvp(lambda s, x: dense(s, x), s.rewound(), (x,), (x,), {'params': direction})

    return _around(lift, scope, run)


@main
def custom_vjp_nondiff(lift: Any, scope: Any, x: Any) -> Any:
    def fn(s: Any, times: int, x: Any) -> Any:
        return dense(s, x) * times

    def forward(s: Any, times: int, x: Any) -> Any:
        return lift.vjp(lambda s, x: fn(s, times, x), s, x)

    def backward(times: int, back: Any, y_bar: Any) -> Any:
        return back(y_bar * times)

    run = lift.custom_vjp(fn, forward, backward, nondiff_argnums=(1,))
    return _around(lift, scope, lambda s: run(s, 3, x))


# Control flow.


def _other(scope: Any, x: Any) -> Any:
    return -body(scope, x)


CONTROL: dict[str, Callable[[Any, Any, Any], Any]] = {
    'cond': lambda lift, s, x: lift.cond(x.sum() > 0, body, _other, s, x),
    'cond_static': lambda lift, s, x: lift.cond(True, body, _other, s, x),
    'cond_of_some': lambda lift, s, x: lift.cond(
        True, body, _other, s, x, variables=['params', 'state'], rngs=['params', 'noise']
    ),
    'switch': lambda lift, s, x: lift.switch(2, [body, _other, body], s, x),
}
for _name, _run in CONTROL.items():
    MAINS[_name] = lambda lift, scope, x, f=_run: _around(lift, scope, lambda s: f(lift, s, x))


@main
def while_loop(lift: Any, scope: Any, x: Any) -> Any:
    def run(s: Any) -> Any:
        y = body(s, x)
        if s.get_flag('initializing', False) or not s.is_mutable_collection('state'):
            return y
        return lift.while_loop(
            lambda s, c: c[0] < 3,
            lambda s, c: (c[0] + 1, body(s, c[1])),
            s.rewound(),
            (0, x),
            carry_variables='state',
            broadcast_variables='params',
            split_rngs={'noise': True},
        )

    return _around(lift, scope, run)


# Several scopes, and transforms of one's own.


@main
def trees_of_scopes(lift: Any, scope: Any, x: Any) -> Any:
    a, b = scope.push('a'), scope.push('b')
    inner = a.push('inside')

    def run(scopes: Any, x: Any) -> Any:
        y = dense(scopes['a'], x) + dense(scopes['rest'][0], x)
        return dense(scopes['rest'][1], y) + numbers(scopes['a'].make_rng('noise'), x.shape)

    scopes = {'a': a, 'rest': (b, inner)}
    return lift.remat(run)(scopes, x), dense(b.rewound(), x), a.make_rng('noise')


@main
def derivative_by_several_scopes(lift: Any, scope: Any, x: Any) -> Any:
    scopes = [scope.push('a'), scope.push('b')]
    y, back = lift.vjp(lambda s, x: dense(s[1], dense(s[0], x)), scopes, x)
    return y, back(y)


@main
def loop_over_several_scopes(lift: Any, scope: Any, x: Any) -> Any:
    def step(scopes: Any, c: Any, x: Any) -> Any:
        return dense(scopes[0], c) + dense(scopes[1], x), None

    loop = lift.scan(step, {'params': 0}, split_rngs={'params': True})
    return loop((scope.push('a'), scope.push('b')), x, XS)


@main
def swap_collection(lift: Any, scope: Any, x: Any) -> Any:
    child = scope.push('c')
    y = dense(child, x)
    if scope.is_mutable_collection('other'):
        child.put_variable('other', 'kernel', jnp.ones((4, 4)))
        child.put_variable('other', 'bias', jnp.ones(4))
    return y, lift.swap_collection(dense, 'params', 'other')(child.rewound(), x)


@main
def pack(lift: Any, scope: Any, x: Any) -> Any:
    """A transform of one's own, written with the primitive."""

    def doubled(fn: Any) -> Any:
        def inner(scope_fn: Any, repack: Any, groups: Any, rngs: Any, *args: Any) -> Any:
            params, rest = groups
            params = tree_map(lambda x: x * 2, params)
            scopes = scope_fn((params, rest), rngs)
            y = fn(scopes, *args)
            return y, repack(scopes)

        return lift.pack(inner, ('params', True), (True,), ('params', 'noise'), name='doubled')

    def run(s: Any) -> Any:
        y = body(s, x)
        return y if s.is_mutable_collection('params') else doubled(body)(s.rewound(), x)

    return _around(lift, scope, run)


@main
def boxes_of_metadata(lift: Any, scope: Any, x: Any) -> Any:
    meta = Library(type(scope).__module__.split('.')[0]).load('core.meta')
    init = meta.with_partitioning(numbers, ('in', 'out'))
    names = {meta.PARTITION_NAME: 'new'}

    def step(s: Any, c: Any, x: Any) -> Any:
        return c @ s.param('w', init, (4, 4)) + x, s.param('raw', init, (2, 2), unbox=False).names

    axes, split = {'params': 1}, {'params': True}
    loop = lift.scan(
        lambda s, c, x: (step(s, c, x)[0], None), axes, split_rngs=split, metadata_params=names
    )
    many = lift.vmap(lambda s, x: step(s, x, 0)[0], axes, split, metadata_params=names)
    return loop(scope.push('loop'), x, XS), many(scope.push('many'), XS)


def _whole(lib: Library, run: Main, keys: Any, mutable: Any) -> Any:
    lift = lib.load('core.lift')
    core = lib.core

    def fn(scope: Any, x: Any) -> Any:
        return run(lift, scope, x)

    y, variables = core.init(fn)(keys, X)
    rngs = {'noise': keys['noise']}
    applied = core.apply(fn)(variables, X, rngs=rngs)
    changed = core.apply(fn, mutable=mutable)(variables, X, rngs=rngs)
    return {'init': (y, variables), 'apply': applied, 'mutable': changed}


@pytest.mark.parametrize('name', MAINS)
def test_lift(name: str) -> None:
    keys = KEYS if len(name) % 2 else RAW
    mutable = True if 'map_variables' in name else ['state', 'other']
    same(lambda lib: _whole(lib, MAINS[name], keys, mutable), name)


def _gradient(lib: Library, run: Main) -> Any:
    lift, core = lib.load('core.lift'), lib.core
    variables = dict(core.init(lambda s, x: run(lift, s, x))(KEYS, X)[1])
    params = variables.pop('params')

    def loss(params: Any, x: Any) -> Any:
        everything = {**variables, 'params': params}
        y = core.apply(lambda s, x: run(lift, s, x))(everything, x, rngs={'noise': KEYS['noise']})
        floats = [leaf for leaf in jax.tree_util.tree_leaves(y) if leaf.dtype == jnp.float32]
        return sum((leaf**2).sum() for leaf in floats)

    return jax.value_and_grad(loss, argnums=(0, 1))(params, X)


@pytest.mark.parametrize(
    'name', ['vmap_shared', 'scan_shared', 'remat_scan', 'custom_vjp', 'cond', 'jit', 'vjp', 'jvp']
)
def test_gradient(name: str) -> None:
    same(lambda lib: _gradient(lib, MAINS[name]), name)


# The loop below.


def _loop(lib: Library, fn: Any, in_axes: Any, out_axes: Any, args: Any, **options: Any) -> Any:
    scan = lib.load('core.axes_scan')
    translate = {'broadcast': scan.broadcast}
    axes = tree_map(lambda a: translate.get(a, a), (in_axes, out_axes))
    return scan.scan(fn, *axes, **options)(*args)


def _plain_step(b: Any, c: Any, x: Any) -> Any:
    return b * 2, c + x.sum() * b, {'c': c, 'x': x * 2}


def _constant_step(b: Any, c: Any, x: Any, k: Any) -> Any:
    return {'b': b}, c + x.sum() + k.sum(), (k * 2, x)


LOOPS: dict[str, Any] = {
    'first_axis': (_plain_step, (0,), 0, (2.0, 1.0, X), {}),
    'last_axis': (_plain_step, (-1,), {'c': 0, 'x': -1}, (2.0, 1.0, X), {}),
    'axis_1_to_0': (_plain_step, (1,), 0, (2.0, 1.0, X), {'reverse': True}),
    'unrolled': (_plain_step, (1,), 0, (2.0, 1.0, X), {'unroll': 2}),
    'with_length': (_plain_step, (1,), 0, (2.0, 1.0, X), {'length': 4}),
    'split_transpose': (_plain_step, (1,), 0, (2.0, 1.0, X), {'_split_transpose': True}),
    'broadcast_in': (_constant_step, (0, 'broadcast'), 0, (1.0, 0.0, X, X), {}),
    'broadcast_in_and_out': (
        _constant_step,
        (0, 'broadcast'),
        ('broadcast', 0),
        (1.0, 0.0, X, X),
        {},
    ),
    'trees': (
        lambda b, c, t: (b, c, (t['a'][0] + c, None)),
        ({'a': (1, 'broadcast')},),
        (0, 'broadcast'),
        ((), 0.0, {'a': (X, X)}),
        {},
    ),
    'nothing_scanned': (lambda b, c: (b, c + b, c), (), 0, (1.0, 0.0), {'length': 3}),
}


@pytest.mark.parametrize('name', LOOPS)
def test_axes_scan(name: str) -> None:
    fn, in_axes, out_axes, args, options = LOOPS[name]

    def program(lib: Library) -> Any:
        # A Python number that is the same in all iterations comes back as one, or as JAX's own
        # kind of number, as the version of JAX has it: as arrays they are alike.
        return jax.tree.map(jnp.asarray, _loop(lib, fn, in_axes, out_axes, args, **options))

    same(program, name)


def test_axes_scan_without_the_first_pass() -> None:
    def step(b: Any, c: Any, x: Any) -> Any:
        return (), c + x.sum() * b, x

    options = {'check_constancy_invariants': False}
    same(lambda lib: _loop(lib, step, (0,), 0, (2.0, 1.0, X), **options)[1:])


def test_shaped_arrays() -> None:
    def program(lib: Library) -> Any:
        build = lib.load('core.axes_scan').build_shaped_array
        shaped = [build(jnp.ones((2, 3), jnp.bfloat16)), build(jnp.ones((2, 3)), batch_dim=True)]
        return [(s.shape, s.dtype) for s in shaped]

    same(program)


# Signatures.

NAMES = """checkpoint cond custom_vjp fold_rngs jit jvp map_variables pack remat remat_scan scan
    swap_collection switch value_and_grad vjp vmap while_loop""".split()
LINEN_NAMES = """add_metadata_axis checkpoint cond custom_vjp fold_rngs grad jit jvp map_variables
    named_call remat remat_scan scan switch value_and_grad vjp vmap while_loop""".split()


def _signature(fn: Any) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults; functions as defaults are all alike."""
    return [
        (p.name, p.kind, '<function>' if inspect.isroutine(p.default) else _plain(p.default))
        for p in inspect.signature(fn).parameters.values()
        if p.name != 'loop'  # that only our scan has; it goes by keyword
    ]


def _plain(default: Any) -> Any:
    return dict(default) if hasattr(default, 'keys') else default


@pytest.mark.parametrize('name', NAMES)
def test_signature(name: str) -> None:
    theirs, ours = (_signature(getattr(lib.load('core.lift'), name)) for lib in (ORACLE, OURS))
    assert theirs == ours


@pytest.mark.parametrize('name', LINEN_NAMES)
def test_signature_of_linen(name: str) -> None:
    theirs, ours = (_signature(getattr(lib.nn, name)) for lib in (ORACLE, OURS))
    assert theirs == ours

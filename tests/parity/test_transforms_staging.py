"""``nn.jit``, ``nn.remat`` and ``nn.remat_scan``, ``nn.map_variables`` and what is like it."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from tests.parity.harness import Library, same
from tests.parity.models import X
from tests.parity.transforms import STATE, Table, numbers, stack

pytestmark = pytest.mark.filterwarnings('ignore::linnet.errors.EqualMembersWarning')

TABLE = Table()
KEY = jax.random.key(3)


def _inside(nn: Any, make: Any) -> Any:
    """A model around a lifted class, which is made by ``make`` and called twice."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            mdl = make()
            y = mdl(mdl(nn.Dense(4, kernel_init=numbers)(x)))
            return y, self.make_rng('noise')

    return Net()


def _switched(nn: Any) -> Any:
    """A body with arguments that decide about the program."""

    class Body(nn.Module):
        @nn.compact
        def __call__(self, x, twice, scale=1.0, *, negate=False):
            y = nn.Dense(4, kernel_init=numbers)(x)
            if twice:
                y = nn.Dense(4, kernel_init=numbers, name='twice')(y)
            return (-y if negate else y) * scale + numbers(self.make_rng('noise'), y.shape)

    return Body


# Options that jit and remat share, and their own.

REMAT_OPTIONS: dict[str, Any] = {
    'prevent_cse': {'prevent_cse': False},
    'policy': {'policy': jax.checkpoint_policies.everything_saveable},
    'policy_of_nothing': {'policy': jax.checkpoint_policies.nothing_saveable},
    'concrete': {'concrete': False},
    'rngs': {'rngs': ['params', 'noise', 'other']},
    'variables': {'variables': ('params', *STATE)},
    'methods': {'methods': ['__call__']},
}
JIT_OPTIONS: dict[str, Any] = {
    'donate': {'donate_argnums': ()},
    'rngs': {'rngs': ['params', 'noise', 'other']},
    'variables': {'variables': ('params', *STATE)},
    'methods': {'methods': ['__call__']},
}


def _rich(nn: Any, lift: Any) -> Any:
    class Rich(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.Dense(4, kernel_init=numbers)(x) + numbers(self.make_rng('noise'), x.shape)
            n = self.variable('state', 'n', lambda: jnp.zeros((), jnp.int32))
            if self.is_mutable_collection('state'):
                n.value += 1
            self.sow('intermediates', 'y', y)
            return y * n.value

    return _inside(nn, lambda: lift(Rich)())


for _name, _options in REMAT_OPTIONS.items():
    TABLE.add(f'remat_{_name}', lambda nn, o=_options: _rich(nn, functools.partial(nn.remat, **o)))
for _name, _options in JIT_OPTIONS.items():
    TABLE.add(f'jit_{_name}', lambda nn, o=_options: _rich(nn, functools.partial(nn.jit, **o)))


@TABLE.case(X, modes=('eager_typed', 'jit_raw', 'grad'))
def static_arguments(nn: Any) -> Any:
    """``self`` is argument 0; values of static arguments choose the program."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.remat(_switched(nn), static_argnums=2)(name='a')(x, True)
            y = nn.remat(_switched(nn), static_argnums=(2, 3))(name='b')(y, False, 2.0)
            y = nn.jit(_switched(nn), static_argnums=2)(name='c')(y, True)
            y = nn.jit(_switched(nn), static_argnums=(2, 3))(name='d')(y, False, 0.5)
            y = nn.jit(_switched(nn), static_argnums=2, static_argnames='negate')(name='e')(
                y, False, negate=True
            )
            y = nn.jit(_switched(nn), static_argnums=2, static_argnames=['negate', 'scale'])(
                name='f'
            )(y, True, scale=3, negate=True)
            e = nn.jit(_switched(nn), static_argnums=2)(name='g')
            return e(y, True), e(y, False), e(y, True)

    return Net()


@TABLE.case(X)
def keyword_arguments(nn: Any) -> Any:
    """They pass through and are traced."""

    class Body(nn.Module):
        @nn.compact
        def __call__(self, x, *, shift, tree):
            return nn.Dense(4, kernel_init=numbers)(x) * shift + tree['a']

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for lift in (nn.jit, nn.remat, nn.fold_rngs):
                x = lift(Body)()(x, shift=x.sum(), tree={'a': x})
            return x

    return Net()


@TABLE.case(X)
def programs_that_are_found_compiled(nn: Any) -> Any:
    """A program that is found again counts keys and names as if it had been traced."""

    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = x + numbers(self.make_rng('noise'), x.shape)
            return nn.Dense(4, kernel_init=numbers)(x) + numbers(self.make_rng('other'), x.shape)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            cls = nn.jit(Body)
            one, two = cls(), cls()
            x = two(one(two(one(x))))
            for _ in range(2):
                x = one(x)
            return x, self.make_rng('noise'), one.make_rng('noise'), two.make_rng('other')

    return Net()


def jit_across_calls(lib: Library) -> Any:
    """One lifted class in several calls of ``init`` and ``apply``, with other shapes and state."""
    nn = lib.nn

    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            n = self.variable('state', 'n', lambda: jnp.zeros(()))
            if self.is_mutable_collection('state'):
                n.value += 1
            y = nn.Dense(4, kernel_init=numbers)(x) + n.value
            return y + numbers(self.make_rng('noise'), y.shape)

    class Net(nn.Module):
        lifted: Any

        @nn.compact
        def __call__(self, x):
            mdl = self.lifted()
            return mdl(mdl(x)), self.make_rng('noise')

    net = Net(nn.jit(Body))
    variables = net.init({'params': KEY, 'noise': KEY}, X)
    out = [variables]
    for seed, x, mutable in [(0, X, False), (0, X, ['state']), (1, X, False), (0, X[:1], False)]:
        rngs = {'noise': jax.random.key(seed)}
        out.append(net.apply(variables, x, rngs=rngs, mutable=mutable))
        out.append(net.apply(variables, x, rngs=rngs, mutable=mutable))
    return out


def test_jit_across_calls() -> None:
    same(jit_across_calls)


# remat_scan.


def _step(nn: Any) -> Any:
    class Step(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.Dense(4, kernel_init=numbers)(x)
            self.sow('intermediates', 'y', y)
            return nn.tanh(y) + numbers(self.make_rng('noise'), y.shape)

    return Step


SHARED = {'variable_broadcast': 'params', 'variable_axes': {'intermediates': 0}}
for _name, _options in {
    'one_length': {'lengths': (3,)},
    'two_lengths': {'lengths': (2, 3)},
    'three_lengths': {'lengths': (2, 1, 2)},
    'lengths_as_a_list': {'lengths': [2, 2]},
    'policy': {'lengths': (2, 2), 'policy': jax.checkpoint_policies.dots_saveable},
    'one_key': {'lengths': (2, 2), 'split_rngs': {True: False}},
    'params_on_axis_1': {'lengths': (2, 2), 'variable_axes': {'params': 1, 'intermediates': 0}},
    'params_shared': {
        'lengths': (2, 2),
        **SHARED,
        'split_rngs': {'params': False, 'noise': True},
    },
}.items():
    TABLE.add(
        f'remat_scan_{_name}',
        lambda nn, o=_options: _inside(nn, lambda: nn.remat_scan(_step(nn), **o)()),
    )


@TABLE.case((X, {'b': X}))
def remat_scan_over_a_tree(nn: Any) -> Any:
    class Step(nn.Module):
        @nn.compact
        def __call__(self, carry):
            x, tree = carry
            return nn.Dense(4, kernel_init=numbers)(x), {'b': tree['b'] + x}

    return nn.remat_scan(Step, lengths=(2, 2))()


@TABLE.case(X)
def remat_scan_of_a_method(nn: Any) -> Any:
    class Net(nn.Module):
        @functools.partial(nn.remat_scan, lengths=(2, 2))
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4, kernel_init=numbers)(x)

    return Net()


# map_variables and what is like it.


def _transpose(tree: Any) -> Any:
    return jax.tree_util.tree_map(lambda x: jnp.swapaxes(x, 0, -1), tree)


def _double(tree: Any) -> Any:
    return jax.tree_util.tree_map(lambda x: x * 2, tree)


def _halve(tree: Any) -> Any:
    return jax.tree_util.tree_map(lambda x: x * 0.5, tree)


MAPS: dict[str, Any] = {
    'transposed': {'trans_in_fn': _transpose, 'trans_out_fn': _transpose, 'init': True},
    'mutable': {
        'trans_in_fn': _double,
        'trans_out_fn': _halve,
        'init': True,
        'mutable': True,
    },
    'only_in': {'trans_in_fn': _double, 'init': True},
    'only_out': {'trans_out_fn': _double, 'init': True},
    'everything': {'mapped_collections': True, 'trans_in_fn': _double, 'init': True},
    'state': {
        'mapped_collections': 'state',
        'trans_in_fn': _double,
        'trans_out_fn': _halve,
        'mutable': True,
    },
    'two_collections': {
        'mapped_collections': ['params', 'state'],
        'trans_in_fn': _double,
        'trans_out_fn': _halve,
        'init': True,
        'mutable': True,
    },
    'methods': {
        'trans_in_fn': _transpose,
        'trans_out_fn': _transpose,
        'init': True,
        'methods': ['__call__'],
    },
    'variables_and_rngs': {
        'trans_in_fn': _transpose,
        'trans_out_fn': _transpose,
        'init': True,
        'variables': ['state', 'intermediates'],
        'rngs': ['params', 'noise'],
    },
}


def _floats(nn: Any) -> Any:
    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.Dense(4, kernel_init=numbers)(x) + numbers(self.make_rng('noise'), x.shape)
            mean = self.variable('state', 'mean', jnp.zeros, (4,))
            if self.is_mutable_collection('state'):
                mean.value = mean.value + y.mean(0)
            return y - mean.value

    return Body


for _name, _options in MAPS.items():
    TABLE.add(
        f'map_variables_{_name}',
        lambda nn, o={'mapped_collections': 'params', **_options}: _inside(
            nn, lambda: nn.map_variables(_floats(nn), **o)()
        ),
    )


@TABLE.case(X)
def tied_weights(nn: Any) -> Any:
    """One module, plain and transposed."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = nn.Dense(3, use_bias=False, kernel_init=numbers)
            code = dense(x)

            def transposed(variables):
                return jax.tree_util.tree_map(jnp.transpose, variables)

            tied = nn.map_variables(
                lambda mdl, x: x @ mdl.variables['params']['kernel'], 'params', transposed
            )
            return tied(dense, code)

    return Net()


@TABLE.case(X)
def weights_standardized(nn: Any) -> Any:
    def standardize(variables: Any) -> Any:
        return jax.tree_util.tree_map(lambda w: (w - w.mean()) / (w.std() + 1e-3), variables)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            init = self.is_initializing()
            return nn.map_variables(nn.Dense, 'params', standardize, init=init)(4)(x)

    return Net()


@TABLE.case(X)
def renamed_collections(nn: Any) -> Any:
    """The module sees as ``params`` what is stored as ``frozen``."""

    def rename(old: str, new: str) -> Any:
        return lambda tree: {new: tree[old]} if old in tree else {}

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            renamed = nn.map_variables(
                nn.Dense,
                ('frozen', 'params'),
                rename('frozen', 'params'),
                rename('params', 'frozen'),
                init=self.is_initializing(),
            )
            return renamed(4, kernel_init=numbers)(x), nn.Dense(4)(x)

    return Net()


for _index in (0, 1):
    for _box in ('with_partitioning', 'with_logical_partitioning'):

        def _with_axis(nn: Any, index: int = _index, box: str = _box) -> Any:
            init = getattr(nn, box)(numbers, ('in', 'out'))
            names = {nn.PARTITION_NAME: 'new'}
            lifted = nn.add_metadata_axis(nn.Dense, {'params': index}, names)
            return _inside(nn, lambda: lifted(4, kernel_init=init))

        TABLE.add(f'add_metadata_axis_{_index}_{_box}', _with_axis)


@TABLE.case(X)
def named_calls(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.named_call
        def helper(self, x):
            return nn.Dense(4, kernel_init=numbers)(x)

        @nn.compact
        def __call__(self, x):
            y = nn.named_call(lambda mdl, x: mdl(x))(nn.Dense(4), self.helper(x))
            return nn.named_call(nn.Dense(4).__call__.__func__, force=False)(nn.Dense(4), y)

    return Net()


THREE_DEEP = [
    ('jit', 'remat', 'scan_layers'),
    ('remat', 'jit', 'vmap_ensemble'),
    ('scan_layers', 'remat', 'vmap_ensemble'),
    ('scan_layers', 'jit', 'map_variables'),
    ('vmap_ensemble', 'scan_layers', 'remat'),
    ('jit', 'vmap_examples', 'scan_layers'),
    ('remat_scan', 'remat', 'jit'),
    ('vjp', 'scan_layers', 'remat'),
    ('map_variables', 'map_variables', 'remat'),
    ('cond', 'scan_layers', 'jit'),
    ('scan_layers', 'cond', 'vmap_ensemble'),
    ('grad', 'remat', 'scan_layers'),
    ('custom_vjp', 'jit', 'remat'),
]
for _ways in THREE_DEEP:
    TABLE.add('>'.join(_ways), lambda nn, w=_ways: stack(nn, w, 'small'))


@pytest.mark.parametrize(('name', 'mode'), TABLE.runs())
def test_staging(name: str, mode: str) -> None:
    TABLE.run(name, mode)

"""The functional core: scopes, variables, streams and filters do the same in both libraries."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity.harness import ORACLE, OURS, Library, same, same_error
from tests.parity.models import X

KEY = jax.random.key(0)
RAW = jax.random.PRNGKey(3)
Program = Callable[[Library], Any]


def _dense(scope: Any, x: Any, features: int = 3) -> Any:
    kernel = scope.param('kernel', jax.nn.initializers.lecun_normal(), (x.shape[-1], features))
    return x @ kernel + scope.param('bias', jax.nn.initializers.zeros, (features,))


def _noise(scope: Any, x: Any) -> Any:
    return x + jax.random.normal(scope.make_rng('noise'), x.shape)


def _mlp(scope: Any, x: Any) -> Any:
    x = scope.child(_dense)(x, 4)
    x = scope.child(_dense, name='named', features=5)(x)
    return scope.child(_dense, prefix='layer_')(scope.child(_dense, prefix='layer_')(x))


def _stateful(scope: Any, x: Any) -> Any:
    mean = scope.variable('state', 'mean', jnp.zeros, (x.shape[-1],))
    count = scope.variable('state', 'count', lambda: 0)
    if scope.is_mutable_collection('state') and not scope.get_flag('initializing', False):
        mean.value = 0.5 * mean.value + x.mean(0)
        count.value += 1
    return x - mean.value, count.value


def _names_and_paths(scope: Any, x: Any) -> Any:
    child = scope.push('a')
    grandchild = child.push(prefix='p_')
    automatic = [scope.default_name('k'), scope.push(prefix='k').name, scope.default_name('k')]
    paths = [s.path for s in (scope, child, grandchild)] + [s.path_text for s in (scope, child)]
    roots = [s.root is scope for s in (scope, child, grandchild)]
    return (
        paths,
        roots,
        automatic,
        [s.name for s in (scope, child, grandchild)],
        child.push('b').path,
    )


def _reuse(scope: Any, x: Any) -> Any:
    first = scope.push('a').param('w', jax.random.normal, (2,))
    again = scope.push('a', reuse=True).param('w', jax.random.normal, (2,))
    return first, again, scope.push('a', reuse=True).has_variable('params', 'w')


def _rewound(scope: Any, x: Any) -> Any:
    first = scope.param('w', jax.random.normal, (2,)), scope.make_rng('noise')
    again = scope.rewound()
    second = again.param('w', jax.random.normal, (2,)), again.make_rng('noise')
    start = scope.rewound(rewind_rngs=True)
    return first, second, start.param('w', jax.random.normal, (2,)), start.make_rng('noise')


def _temporary(scope: Any, x: Any) -> Any:
    with scope.temporary() as inner:
        value = inner.param('w', jax.random.normal, (2,))
        alive = inner.invalid
    return value, alive, inner.invalid, scope.has_variable('params', 'w')


def _access(scope: Any, x: Any) -> Any:
    w = scope.param('w', lambda key: jnp.ones(2))
    scope.put_variable('cache', 'k', x)
    scope.put_variable('cache', 'tree', {'a': 1, 'b': (2.0, None)})
    child = scope.push('child')
    child.put_variable('cache', 'k', x * 2)
    reads = [scope.get_variable('cache', 'k'), child.get_variable('cache', 'k')]
    reads += [scope.get_variable('cache', 'none', 'default'), scope.has_variable('cache', 'none')]
    empty = [scope.is_collection_empty(c) for c in ('cache', 'params', 'other')]
    mutable = [scope.is_mutable_collection(c) for c in ('cache', 'params', 'other')]
    return w, reads, empty, mutable, child.variables(), scope.has_rng('params'), scope.has_rng('z')


def _flags(scope: Any, x: Any) -> Any:
    child = scope.push('c')
    names = ('initializing', 'mine', 'other')
    return [(s.has_flag(name), s.get_flag(name, 'none')) for name in names for s in (scope, child)]


def _reservations(scope: Any, x: Any) -> Any:
    scope.reserve('a')
    scope.reserve('p', 'params')
    scope.param('q', jnp.ones_like, x[0]) if scope.has_variable('params', 'q') else None
    asked = itertools.product(('a', 'p', 'q'), (None, 'params', 'state'))
    return [scope.name_reserved(name, col) for name, col in asked]


def _streams(scope: Any, x: Any) -> Any:
    child = scope.push('c')
    draws = [scope.make_rng('noise'), scope.make_rng('noise'), scope.make_rng('params')]
    draws += [child.make_rng('noise'), scope.make_rng('other'), scope.make_rng(), child.make_rng()]
    return draws, scope.param('w', jax.random.normal, (2,)), scope.make_rng('params')


def _boxes(scope: Any, x: Any) -> Any:
    meta = Library(type(scope).__module__.split('.')[0]).load('core.meta')
    init = meta.with_partitioning(jax.nn.initializers.normal(), ('a', None))
    w = scope.param('w', init, (2, 3))
    boxed = scope.param('boxed', init, (2, 3), unbox=False)
    state = scope.variable('state', 's', meta.with_partitioning(jnp.zeros, ('a',)), (3,))
    state.value = state.value + 1
    raw = scope.variable('state', 'r', meta.with_partitioning(jnp.zeros, ('a',)), (3,), unbox=False)
    return w, boxed, state.value, raw.value, boxed.names


BODIES = [_dense, _noise, _mlp, _stateful, _names_and_paths, _reuse, _rewound, _temporary, _access]
BODIES += [_flags, _reservations, _streams, _boxes]


@pytest.mark.parametrize('body', BODIES, ids=lambda body: body.__name__.strip('_'))
@pytest.mark.parametrize('key', [KEY, RAW], ids=['typed', 'raw'])
def test_init_and_apply(body: Callable[..., Any], key: Any) -> None:
    def program(lib: Library) -> Any:
        core, streams = lib.core, {'params': key, 'noise': key + 0 if key is RAW else key}
        y, variables = core.init(body)(streams, X)
        again = core.apply(body, mutable=True, flags={'mine': 1})(variables, X, rngs=streams)
        return y, variables, again, core.init(body, flags={'mine': 2})(streams, X)

    same(program)


@pytest.mark.parametrize('body', [_dense, _mlp, _stateful], ids=lambda body: body.__name__[1:])
def test_apply_without_changes(body: Callable[..., Any]) -> None:
    def program(lib: Library) -> Any:
        core = lib.core
        _, variables = core.init(body)(KEY, X)
        forms = ('state', ['state', 'params'], core.DenyList('params'), [])
        some = [core.apply(body, mutable=form)(variables, X) for form in forms]
        return core.apply(body)(variables, X), jax.jit(core.apply(body))(variables, X), some

    same(program)


def test_lazy_init() -> None:
    def program(lib: Library) -> Any:
        shape = jax.ShapeDtypeStruct(X.shape, X.dtype)
        return [lib.core.lazy_init(body)(KEY, shape) for body in (_dense, _mlp)]

    same(program, ordered=False)  # the order is of the oracle's version: 0.12.8 sorts


def test_bind() -> None:
    def program(lib: Library) -> Any:
        core = lib.core
        _, variables = core.init(_mlp)(KEY, X)
        scope = core.bind(variables, rngs={'noise': RAW}, mutable=['state'])
        y = _noise(scope, X)
        scope.put_variable('state', 's', 1)
        child = scope.push('_dense_0')
        return (
            y,
            scope.variables(),
            scope.mutable_variables(),
            child.variables(),
            _dense(child, X, 4),
        )

    same(program)


def test_value_of_another_structure_is_taken() -> None:
    same(lambda lib: _apply(lambda s: s.param('w', lambda key: {'a': jnp.ones(2)}), _W)(lib))


def test_scope_made_by_hand() -> None:
    def program(lib: Library) -> Any:
        core = lib.core
        scope = core.Scope({'params': {'w': jnp.ones(2)}}, {'params': KEY}, mutable=['params'])
        named = core.Scope({}, {'params': KEY}, name='n', mutable=True)
        texts = [scope.name, scope.path, scope.mutable, named.name, named.path, named.path_text]
        w = scope.param('w', lambda key: jnp.zeros(2))
        return w, texts, named.param('w', jax.random.normal, (2,)), named.variables()

    same(program)


def test_equality_of_scopes() -> None:
    def program(lib: Library) -> Any:
        scope = lib.core.bind({'params': {'a': {'w': 1}}})
        a, again, b = scope.push('a'), scope.push('a', reuse=True), scope.push('b')
        other = lib.core.bind({'params': {'a': {'w': 1}}})
        pairs = [(a, a), (a, again), (a, b), (scope, other), (scope, a)]
        return [(x == y, hash(x) == hash(y) if x == y else None) for x, y in pairs]

    same(program)


def test_random_streams_of_scopes() -> None:
    def program(lib: Library) -> Any:
        lazy = lib.load('core.scope').LazyRng
        made = [
            lazy.create(KEY),
            lazy.create(KEY, 'a'),
            lazy.create(RAW, 'a', 3, 'größe', 0, 70000),
        ]
        made.append(lazy.create(made[1], 'b', 1))
        keys = [one.as_jax_rng() for one in made]
        cleared = [one.clear_suffix().as_jax_rng() for one in made]
        suffixes = [one.suffix for one in made]
        return keys, cleared, suffixes, [field.name for field in dataclasses.fields(lazy)]

    same(program)


@hypothesis.given(
    st.lists(st.one_of(st.text(max_size=6), st.integers(0, 2**40)), max_size=5),
    st.booleans(),
)
def test_fold_of_any_path(suffix: list[Any], separator: bool) -> None:
    def program(lib: Library) -> Any:
        config = lib.load('configurations').config
        config.update('flax_fix_rng_separator', separator)
        try:
            return lib.load('core.scope').LazyRng.create(KEY, *suffix).as_jax_rng()
        finally:
            config.update('flax_fix_rng_separator', False)

    same(program)


# Filters.

_FILTERS = [True, False, 'params', ['params', 'state'], (), {'state'}, frozenset({'a', 'params'})]
_DENIED = [True, False, 'params', ['params', 'state'], ()]


def _filters(lib: Library) -> list[Any]:
    return [*_FILTERS, *(lib.core.DenyList(denied) for denied in _DENIED)]


def test_filters() -> None:
    def program(lib: Library) -> Any:
        scope, filters = lib.load('core.scope'), _filters(lib)
        names = ('params', 'state', 'other')
        members = [[scope.in_filter(f, name) for name in names] for f in filters]
        return members, [scope.is_filter_empty(f) for f in filters]

    same(program)


@pytest.mark.parametrize('name', ['union_filters', 'subtract_filters', 'intersect_filters'])
def test_filter_algebra(name: str) -> None:
    def program(lib: Library) -> Any:
        scope, filters = lib.load('core.scope'), _filters(lib)
        operation, names = getattr(scope, name), ('params', 'state', 'a', 'other')
        results = [operation(a, b) for a, b in itertools.product(filters, filters)]
        return [[scope.in_filter(result, name) for name in names] for result in results]

    same(program)


def test_grouped_collections() -> None:
    def program(lib: Library) -> Any:
        group, deny = lib.load('core.scope').group_collections, lib.core.DenyList
        variables = {name: {'x': i} for i, name in enumerate(('params', 'state', 'cache', 'other'))}
        filters = [('params', True), (['state', 'params'], deny('cache')), (False, 'cache'), ()]
        return [group(variables, chosen) for chosen in filters]

    same(program)


def test_filter_sets_and_deny_lists() -> None:
    def program(lib: Library) -> Any:
        scope, deny = lib.load('core.scope'), lib.core.DenyList
        sets = [scope.filter_to_set(f) for f in (False, 'a', ['b', 'a'], {'c'})]
        equal = [deny('a') == deny('a'), deny('a') == deny('b'), deny(deny('a')) == deny('a')]
        return sets, equal, deny('a').deny, repr(deny(['a', 'b']))

    same(program)


# Mistakes: both libraries refuse them with errors of the same class.


def _init(body: Callable[..., Any], *args: Any, **kwargs: Any) -> Program:
    return lambda lib: lib.core.init(body, **kwargs)(KEY, *args)


def _apply(body: Callable[..., Any], variables: Any, *args: Any, **kwargs: Any) -> Program:
    rngs = kwargs.pop('rngs', None)
    return lambda lib: lib.core.apply(body, **kwargs)(variables, *args, rngs=rngs)


def _twice(scope: Any) -> None:
    scope.param('w', jax.random.normal, (2,))
    scope.param('w', jax.random.normal, (2,))


def _use_after(scope: Any) -> Any:
    with scope.temporary() as inner:
        pass
    return inner.param('w', jax.random.normal, (2,))


_W = {'params': {'w': np.ones(2, np.float32)}}

MISTAKES: dict[str, Program] = {
    'param_twice': _init(_twice),
    'param_named_like_a_child': _init(lambda s: (s.push('a'), s.param('a', jax.random.normal, ()))),
    'variable_named_like_a_param': _init(lambda s: (_twice, s.reserve('a'), s.reserve('a'))),
    'child_twice': _init(lambda s: (s.push('a'), s.push('a'))),
    'missing_param': _apply(lambda s: s.param('w', jax.random.normal, (2,)), {'params': {'x': 1}}),
    'missing_collection': _apply(lambda s: s.param('w', jax.random.normal, (2,)), {}),
    'missing_variable': _apply(lambda s: s.variable('state', 'w', jnp.zeros), {'state': {'x': 1}}),
    'missing_state': _apply(lambda s: s.variable('state', 'w', jnp.zeros), _W),
    'wrong_shape': _apply(lambda s: s.param('w', jax.random.normal, (3,)), _W),
    'immutable': _apply(lambda s: s.put_variable('params', 'w', 1), _W),
    'no_stream': _apply(lambda s: s.make_rng('noise'), _W),
    'no_stream_but_another': _apply(lambda s: s.make_rng('noise'), _W, rngs={'dropout': KEY}),
    'doubled_params': _apply(lambda s: None, {'params': _W}),
    'variables_of_array': _apply(lambda s: None, {'params': X}),
    'variables_numbered': _apply(lambda s: None, {0: {}}),
    'rngs_of_ints': _apply(lambda s: None, _W, rngs={'noise': 1}),
    'rngs_of_floats': _apply(lambda s: None, _W, rngs={'noise': np.ones(2, np.float32)}),
    'rngs_split': _apply(lambda s: None, _W, rngs={'noise': jax.random.split(KEY)}),
    'rngs_split_raw': _apply(lambda s: None, _W, rngs={'noise': jax.random.split(RAW)}),
    'rngs_text': _apply(lambda s: None, _W, rngs='noise'),
    'rngs_list': _apply(lambda s: None, _W, rngs=[KEY]),
    'rngs_int_names': _apply(lambda s: None, _W, rngs={0: KEY}),
    'init_without_key': lambda lib: lib.core.init(_dense)(None, X),
    'init_with_int': lambda lib: lib.core.init(_dense)(0, X),
    'used_after_its_time': _init(_use_after),
    'bad_filter': lambda lib: lib.core.apply(_dense, mutable=1.5)(_W, X),
    'bad_filter_in': lambda lib: lib.load('core.scope').in_filter(3, 'params'),
    'bad_filter_union': lambda lib: lib.load('core.scope').union_filters(3, 'params'),
    'hash_of_frozen_arrays': lambda lib: hash(lib.core.freeze(_W)),
    'item_of_frozen': lambda lib: lib.core.freeze(_W).__setitem__('a', 1),
    'pop_of_frozen': lambda lib: lib.core.freeze(_W).pop('a'),
}

# What the oracle refuses by accident, with an error of Python's own: ours must say more.
ACCIDENTS: dict[str, Program] = {
    'variables_none': _apply(lambda s: None, None),
    'variables_array': _apply(lambda s: None, X),
    'variables_tuple': _apply(lambda s: None, (_W, {})),
}


@pytest.mark.parametrize('name', ACCIDENTS)
def test_accident(name: str) -> None:
    for lib, root in ((ORACLE, Exception), (OURS, getattr(OURS.errors, 'LinnetError', Exception))):
        with pytest.raises(root):
            ACCIDENTS[name](lib)


@pytest.mark.parametrize('name', MISTAKES)
def test_mistake(name: str) -> None:
    same_error(MISTAKES[name])

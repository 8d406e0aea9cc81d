"""Attention and its masks against the oracle.

The program that is traced is a shorter one than the oracle's (the square root of the depth is
taken while tracing, and products are written without ``jnp.einsum``), so drawn configurations are
run: one operation after another, which compiles little, and chosen ones in every mode.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from tests.parity.harness import ORACLE, PAIR, Library, compare, same, same_error

pytestmark = pytest.mark.filterwarnings(
    'ignore::DeprecationWarning:flax', 'ignore:.*old name of:DeprecationWarning'
)

FLOATS = ('float32', 'bfloat16', 'float16')
KEY = jax.random.key(0)


def array(*shape: int, seed: int = 0, dtype: Any = 'float32') -> Any:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * 2).astype(dtype)


def optional(**options: Any) -> Any:
    return st.fixed_dictionaries({}, optional=options)


# Functions.

TERMS = dict(
    bias=st.sampled_from(['float32', 'bfloat16', 'int32']),
    mask=st.sampled_from(['bool', 'float32', 'int32']),
    rate=st.sampled_from([0.0, 0.1, 0.3]),
    broadcast_dropout=st.booleans(),
    deterministic=st.booleans(),
    dtype=st.sampled_from(FLOATS),
    precision=st.sampled_from(['high', lax.Precision.HIGHEST]),
    force_fp32_for_softmax=st.booleans(),
)


def terms_of(options: dict[str, Any], weights: Any) -> dict[str, Any]:
    """Keyword arguments: what was drawn as a dtype becomes an array of it."""
    options = dict(options)
    if 'bias' in options:
        options['bias'] = array(*weights[-3:], seed=3, dtype=options['bias'])
    if 'mask' in options:
        positive = array(*weights[:-3], 1, *weights[-2:], seed=4) > -1
        options['mask'] = positive.astype(options['mask'])
    if rate := options.pop('rate', 0.0):
        options |= {'dropout_rate': rate, 'dropout_rng': KEY}
    return options


SIZES = st.tuples(
    st.sampled_from([(), (2,), (2, 1)]),
    st.sampled_from([1, 3]),
    st.sampled_from([3, 4]),
    st.sampled_from([1, 2]),
    st.sampled_from([4, 5]),
)


@given(optional(**TERMS), SIZES, st.sampled_from((*FLOATS, 'int32')), st.sampled_from(FLOATS))
def test_functions(options: Any, sizes: Any, dtype: str, other: str) -> None:
    batch, queries, keys, heads, depth = sizes
    query = array(*batch, queries, heads, depth, dtype=dtype)
    key = array(*batch, keys, heads, depth, seed=1, dtype=dtype)
    value = array(*batch, keys, heads, depth + 1, seed=2, dtype=other)
    terms = terms_of(options, (*batch, heads, queries, keys))

    def program(lib: Library) -> Any:
        nn = lib.nn
        weights = nn.dot_product_attention_weights(query, key, **terms)
        return weights, nn.dot_product_attention(query, key, value, **terms)

    same(program)


@pytest.mark.parametrize('batch', [(), (2,), (2, 3)])
@pytest.mark.parametrize('depth', [3, 4, 7])
def test_functions_in_every_mode(batch: Any, depth: int) -> None:
    query, key, value = (array(*batch, n, 2, depth, seed=n) for n in (5, 9, 9))
    mask = array(*batch, 1, 5, 9) > 0

    def program(lib: Library) -> Any:
        attend = functools.partial(lib.nn.dot_product_attention, mask=mask)
        loss = lambda *args: jnp.sum(jnp.sin(attend(*args)))  # noqa: E731
        gradient = jax.grad(loss, (0, 1, 2))
        unmasked = lib.nn.dot_product_attention
        outputs = [attend(query, key, value), jax.jit(attend)(query, key, value)]
        outputs += [gradient(query, key, value), jax.jit(gradient)(query, key, value)]
        if batch:
            outputs += [jax.vmap(unmasked)(query, key, value)]
        return outputs

    same(program)


@pytest.mark.parametrize('dtype', ['float64', 'float32', 'complex128', 'float16'])
@pytest.mark.parametrize('force', [True, False])
def test_double_precision(dtype: str, force: bool) -> None:
    with jax.enable_x64(True):
        query, key, bias = (array(2, 3, 2, 5, seed=s, dtype=dtype) for s in (0, 1, 2))
        bias = array(2, 3, 3, dtype='float64')

        def program(lib: Library) -> Any:
            attend = lib.nn.dot_product_attention
            force_it = {'force_fp32_for_softmax': force and 'complex' not in dtype}
            plain = attend(query, key, key, **force_it)
            if 'complex' in dtype:
                return plain
            return plain, attend(query, key, key, bias, dropout_rate=0.3, dropout_rng=KEY)

        same(program)


@pytest.mark.filterwarnings('ignore::linnet.errors.SharpBitWarning')
def test_masks_with_axes_of_their_own() -> None:
    query = array(2, 3, 2, 4)
    masks = [array(4, 1, 1, 3, 3) > 0, array(2, 3, 3) > 0, array(3, 3) > 0, True]
    same(
        lambda lib: [lib.nn.dot_product_attention(query, query, query, mask=mask) for mask in masks]
    )


@pytest.mark.filterwarnings('ignore::linnet.errors.SharpBitWarning')
def test_masks_that_mean_to_be_added() -> None:
    query = array(2, 3, 2, 4)
    mask = jnp.where(jnp.tril(jnp.ones((3, 3))) > 0, 0.0, -jnp.inf)
    for option in ('mask', 'bias'):
        same(lambda lib, o=option: lib.nn.dot_product_attention(query, query, query, **{o: mask}))


def test_custom_products() -> None:
    query = array(2, 3, 2, 4)

    def program(lib: Library) -> Any:
        seen: list[Any] = []

        def einsum(equation: str, *args: Any) -> Any:
            seen.append(equation)
            return jnp.einsum(equation, *args, precision='high')

        def dot_general(*args: Any, **kwargs: Any) -> Any:
            seen.append('dot_general')
            return lax.dot_general(*args, **kwargs)

        attend = functools.partial(lib.nn.dot_product_attention, query, query, query)
        outputs = [
            attend(qk_attn_weights_einsum=einsum, attn_weights_value_einsum=einsum),
            attend(einsum_dot_general=dot_general, precision='high'),
        ]
        return outputs, seen

    same(program)


# Masks.

MASK_DTYPES = st.sampled_from([jnp.float32, jnp.bool_, jnp.int32, jnp.bfloat16])


@given(
    st.lists(st.integers(1, 3), max_size=2),
    st.integers(0, 3),
    st.integers(1, 3),
    st.sampled_from([jnp.multiply, jnp.equal, jnp.greater_equal, jnp.minimum]),
    st.integers(0, 2),
    MASK_DTYPES,
)
def test_masks(batch: Any, queries: int, keys: int, pair: Any, extra: int, dtype: Any) -> None:
    a = (array(*batch, queries) > 0).astype(jnp.float32)
    b = (array(*batch, keys, seed=1) > 0).astype(jnp.float32)

    def program(lib: Library) -> Any:
        nn = lib.nn
        return [
            str(jax.make_jaxpr(nn.make_attention_mask)(a, b)),
            nn.make_attention_mask(a, b, pair, extra, dtype),
            nn.make_causal_mask(b, extra, dtype),
        ]

    same(program)


@given(st.lists(st.none() | st.sampled_from(['bool', 'float32', 'int32']), max_size=4), MASK_DTYPES)
def test_combined_masks(kinds: Any, dtype: Any) -> None:
    masks = [
        None if kind is None else (array(2, 1, 3, 3, seed=i) > 0).astype(kind)
        for i, kind in enumerate(kinds)
    ]
    same(lambda lib: [lib.nn.combine_masks(*masks), lib.nn.combine_masks(*masks, dtype=dtype)])


# Layers.


def random_init(key: Any, shape: Any, dtype: Any = jnp.float32) -> Any:
    return jax.random.normal(key, tuple(shape), dtype)


@given(
    optional(
        dtype=st.sampled_from(FLOATS),
        param_dtype=st.sampled_from([jnp.float32, jnp.bfloat16]),
        qkv_features=st.sampled_from([4, 8]),
        out_features=st.integers(1, 3),
        broadcast_dropout=st.booleans(),
        precision=st.sampled_from(['high', 'highest']),
        kernel_init=st.just(random_init),
        out_kernel_init=st.just(jax.nn.initializers.glorot_normal()),
        bias_init=st.just(random_init),
        out_bias_init=st.just(jax.nn.initializers.ones),
        use_bias=st.booleans(),
        normalize_qk=st.booleans(),
        force_fp32_for_softmax=st.booleans(),
    ),
    st.sampled_from([1, 2]),
    st.sampled_from(['self', 'keys', 'both', 'kv']),
    st.sampled_from([0.0, 0.4]),
    st.sampled_from([None, jax.random.key, jax.random.PRNGKey]),
    st.booleans(),
    st.sampled_from([(), (2,)]),
)
def test_layers(
    options: Any, heads: int, form: str, rate: float, key: Any, masked: bool, batch: Any
) -> None:
    q, k, v = array(*batch, 3, 4), array(*batch, 5, 6, seed=1), array(*batch, 5, 2, seed=2)
    args = {'self': (q,), 'keys': (q, k), 'both': (q, k, v), 'kv': (q,)}[form]
    call: dict[str, Any] = {'inputs_kv': k} if form == 'kv' else {}
    if masked:
        call['mask'] = array(*batch, 1, 3, 3 if form == 'self' else 5) > -1
    if rate:
        call['deterministic'] = False
        options = {**options, 'dropout_rate': rate}
    if key is not None:
        call['dropout_rng'] = key(5)

    def program(lib: Library) -> Any:
        layer = lib.nn.MultiHeadDotProductAttention(heads, **options)
        rngs = {'params': KEY, 'dropout': jax.random.key(1)}
        made = layer.init_with_output(rngs, *args, **call)
        sown = layer.apply(
            made[1],
            *args,
            **call,
            sow_weights=True,
            mutable=['intermediates'],
            rngs={'dropout': jax.random.PRNGKey(7)},
        )
        return made, sown

    same(program)


def attention(**options: Any) -> Any:
    return lambda nn: nn.MultiHeadDotProductAttention(**{'num_heads': 2, **options})


CHOSEN = {
    'plain': attention(),
    'dropout': attention(dropout_rate=0.3, deterministic=False, normalize_qk=True),
    'half': attention(dtype='bfloat16', force_fp32_for_softmax=True),
    'short': lambda nn: nn.MultiHeadAttention(num_heads=2, qkv_features=6),
    'self': lambda nn: nn.SelfAttention(num_heads=2),
}


@pytest.mark.parametrize('name', CHOSEN)
def test_every_mode(name: str) -> None:
    x = np.asarray(array(2, 5, 6))
    modes = None if name == 'plain' else ['eager_typed', 'jit_raw', 'grad']
    compare(CHOSEN[name], (x,), ['dropout'], modes=modes)


@pytest.mark.parametrize('name', ['plain', 'dropout'])
def test_an_empty_batch(name: str) -> None:
    compare(CHOSEN[name], (np.ones((0, 5, 6), np.float32),), ['dropout'], modes=['jit_typed'])


def test_gradients_outside_of_jit() -> None:
    x = array(3, 9, 8)

    def program(lib: Library) -> Any:
        layer = lib.nn.MultiHeadAttention(2)
        variables = layer.init(KEY, x)
        mask = lib.nn.make_causal_mask(x[..., 0])
        return jax.grad(lambda v: jnp.sum(jnp.sin(layer.apply(v, x, mask=mask))))(variables)

    same(program)


class Product:
    """A callable class in place of a module, as a layer's ``*_cls``."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return lax.dot_general(*args, **kwargs) * 2


class Einsum:
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return jnp.einsum(*args, **kwargs) + 1


def scaled(nn: Any) -> Any:
    class Scaled(nn.Module):
        @nn.compact
        def __call__(self, equation: Any, *args: Any, **kwargs: Any) -> Any:
            scale = self.param('scale', nn.initializers.ones, ())
            return jnp.einsum(equation, *args, **kwargs) * scale

    return Scaled


@pytest.mark.parametrize(
    'options',
    [
        {'qkv_dot_general': lambda *a, **k: lax.dot_general(*a, **k) * 3},
        {'out_dot_general': lambda *a, **k: lax.dot_general(*a, **k) * 3},
        {'qkv_dot_general_cls': Product, 'out_dot_general_cls': Product},
        {'qk_attn_weights_einsum_cls': Einsum, 'attn_weights_value_einsum_cls': Einsum},
        'scaled',
    ],
)
def test_custom_products_of_a_layer(options: Any) -> None:
    def build(nn: Any) -> Any:
        more = options
        if options == 'scaled':
            cls = scaled(nn)
            more = {'qk_attn_weights_einsum_cls': cls, 'attn_weights_value_einsum_cls': cls}
        return attention(**more)(nn)

    compare(build, (np.asarray(array(2, 3, 4)),), modes=['eager_typed'])


def test_a_function_of_ones_own() -> None:
    x = array(2, 3, 4)

    def program(lib: Library) -> Any:
        seen: list[Any] = []

        def mine(query: Any, key: Any, value: Any, mask: Any = 0, *, dtype: Any = 0) -> Any:
            seen.append([np.shape(query), mask, dtype])
            return value

        def everything(query: Any, key: Any, value: Any, **options: Any) -> Any:
            seen.append(sorted(options))
            return value

        def all_named(
            query: Any,
            key: Any,
            value: Any,
            bias: Any = 'not given',
            mask: Any = 'not given',
            broadcast_dropout: Any = 'not given',
            dropout_rng: Any = 'not given',
            dropout_rate: Any = 'not given',
            deterministic: Any = 'not given',
            precision: Any = 'not given',
            force_fp32_for_softmax: Any = 'not given',
            einsum_dot_general: Any = 'not given',
            qk_attn_weights_einsum: Any = 'not given',
            attn_weights_value_einsum: Any = 'not given',
        ) -> Any:
            seen.append(dict(locals(), query=0, key=0, value=0, seen=0))
            return value

        outputs = []
        for fn in (mine, everything, all_named, functools.partial(all_named, bias=3)):
            for rate, flag in ((0.0, None), (0.5, True), (0.0, False)):
                layer = lib.nn.MultiHeadAttention(2, attention_fn=fn, dropout_rate=rate)
                outputs.append(layer.init_with_output(KEY, x, deterministic=flag))
        seen = [{**s, 'seen': 0} if isinstance(s, dict) else s for s in seen]
        return outputs, seen

    same(program)


# Decoding.


@pytest.mark.parametrize('options', [{}, {'dtype': 'bfloat16', 'normalize_qk': True}])
@pytest.mark.parametrize('batch', [(), (2,), (2, 1)])
@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.filterwarnings('ignore::linnet.errors.SharpBitWarning')  # the cache gets full
def test_decoding(options: Any, batch: Any, masked: bool) -> None:
    x = array(*batch, 3, 4)
    mask = {'mask': array(*batch, 1, 1, 3) > -1} if masked else {}

    def program(lib: Library) -> Any:
        layer = lib.nn.MultiHeadAttention(2, decode=True, **options)
        variables = layer.init(KEY, x)
        outputs = [variables]
        step = lambda v, token: layer.apply(v, token, mutable=['cache'], **mask)  # noqa: E731
        for i in (0, 1, 2, 0):
            y, changed = step(variables, x[..., i : i + 1, :] * (i + 1))
            variables = {**variables, **changed}
            outputs.append((y, changed))
        outputs.append(jax.jit(step)(variables, x[..., :1, :]))
        return outputs

    same(program)


def test_decoding_of_a_batch_of_models() -> None:
    x = array(3, 2, 1, 4)

    def program(lib: Library) -> Any:
        layer = lib.nn.MultiHeadAttention(2, decode=True)
        variables = layer.init(KEY, array(2, 5, 4))
        step = lambda x: layer.apply(variables, x, mutable=['cache'])  # noqa: E731
        return jax.vmap(step)(x), jax.lax.scan(lambda c, x: (c, step(x)), 0, x)

    same(program)


def test_a_cache_that_is_made_by_the_first_step() -> None:
    x = array(2, 1, 4)

    def program(lib: Library) -> Any:
        layer = lib.nn.MultiHeadAttention(2, decode=True)
        params = layer.init(KEY, x)['params']
        return layer.apply({'params': params}, x, mutable=['cache'])

    same(program)


@pytest.mark.parametrize(
    'program',
    [
        lambda nn, x: nn.MultiHeadAttention(2, dropout_rate=0.5).init(KEY, x),
        lambda nn, x: nn.MultiHeadAttention(2, dropout_rate=0.5, deterministic=True).init(
            KEY, x, deterministic=True
        ),
        lambda nn, x: nn.MultiHeadAttention(2).init(KEY, x, None, x),
        lambda nn, x: nn.MultiHeadAttention(2).init(KEY, x, x, inputs_kv=x),
        lambda nn, x: nn.MultiHeadAttention(2, qk_attn_weights_einsum_cls=Einsum).init(KEY, x),
        lambda nn, x: nn.MultiHeadAttention(2, decode=True).apply(
            nn.MultiHeadAttention(2, decode=True).init(KEY, x), x, mutable=['cache']
        ),
        lambda nn, x: nn.MultiHeadAttention(2, decode=True).apply(
            nn.MultiHeadAttention(2, decode=True).init(KEY, x), x[:, :1]
        ),
        lambda nn, x: nn.dot_product_attention(x, x, x, mask=jnp.ones((1, 3, 2))),
        lambda nn, x: nn.dot_product_attention(x, x, x, precision='high', einsum=jnp.einsum),
    ],
)
def test_errors_are_of_the_same_kind(program: Any) -> None:
    same_error(lambda lib: program(lib.nn, array(2, 3, 4)))


def test_every_name_is_there() -> None:
    theirs, ours = (lib.load('linen.attention') for lib in PAIR)
    named = {
        name
        for name, value in vars(theirs).items()
        if getattr(value, '__module__', '').startswith(ORACLE.name)
    }
    assert named <= set(vars(ours))
    assert named >= {'Module', 'compact', 'merge_param'}

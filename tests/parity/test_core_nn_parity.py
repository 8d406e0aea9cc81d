"""Layers as functions of a scope have the oracle's variables and numbers."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linnet.core import apply, init, nn
from linnet.core.nn.attention import make_padding_mask
from linnet.errors import InputShapeError, InvalidOptionError, TokenIdError
from tests.parity.harness import same

KEY = jax.random.PRNGKey(0)
BF16 = jnp.bfloat16
ONES = jax.nn.initializers.ones


def drawn(*shape, dtype=jnp.float32):
    values = np.random.default_rng(len(shape)).normal(size=shape) * 2 + 0.5
    return jnp.asarray(np.abs(values) if len(shape) < 2 else values, dtype)


ROWS, IMAGE = drawn(3, 4), drawn(2, 5, 5, 4)
IDS = jnp.array([[0, 4], [-1, 7]])
CASES = {
    'dense': ('dense', {'features': 3}, ROWS),
    'dense bf16': ('dense', {'features': 3, 'dtype': BF16, 'bias': False}, ROWS),
    'dense_general': ('dense_general', {'features': (2, 3), 'axis': (-2, -1)}, IMAGE),
    'dense_general batch': ('dense_general', {'features': 3, 'batch_dims': (0,)}, IMAGE),
    'conv': ('conv', {'features': 2, 'kernel_size': (3, 3), 'strides': (2, 2)}, IMAGE),
    'conv groups': (
        'conv',
        {'features': 4, 'kernel_size': (3, 1), 'padding': 'VALID', 'kernel_dilation': (2, 1),
         'feature_group_count': 2, 'bias': False, 'dtype': BF16},
        IMAGE,
    ),
    'conv_transpose': (
        'conv_transpose', {'features': 2, 'kernel_size': (3, 3), 'strides': (2, 2)}, IMAGE,
    ),
    'layer_norm': ('layer_norm', {}, ROWS),
    'layer_norm bare': ('layer_norm', {'bias': False, 'scale': False}, ROWS),
    'group_norm': ('group_norm', {'num_groups': 2}, IMAGE),
    'group_norm size': ('group_norm', {'num_groups': None, 'group_size': 1}, IMAGE),
    'batch_norm': ('batch_norm', {}, IMAGE),
    'batch_norm axis': (
        'batch_norm', {'axis': 1, 'kind': 'averages', 'dtype': BF16, 'momentum': 0.5}, IMAGE,
    ),
    'batch_norm eval': ('batch_norm', {'use_running_average': True}, IMAGE),
    'attention masks': (
        'multi_head_dot_product_attention',
        {'num_heads': 2, 'causal_mask': True, 'qkv_features': 6, 'out_features': 3, 'bias': False,
         'padding_mask': jnp.array([1, 1, 0, 1, 0, 1]).reshape(2, 3, 1), 'kernel_init': ONES,
         'key_padding_mask': jnp.array([1, 0, 1, 1, 1, 1]).reshape(2, 3, 1),
         'segmentation': jnp.array([0, 0, 1, 2, 2, 2]).reshape(2, 3, 1),
         'dropout_rate': 0.5, 'dropout_rng': KEY},
        (drawn(2, 3, 4),) * 2,
    ),
}  # fmt: skip


def spread(tree):
    """Other values for variables than those of an initialiser."""
    return jax.tree.map(lambda x: drawn(*x.shape, dtype=x.dtype), tree)


@pytest.mark.parametrize('name', CASES)
def test_variables_outputs_and_updates_are_equal(name):
    fn, options, args = CASES[name]
    args = args if isinstance(args, tuple) else (args,)

    def run(lib):
        core = lib.load('core')
        layer = functools.partial(getattr(lib.load('core.nn'), fn), **options)
        y, variables = core.init(layer)(KEY, *args)
        stats = [col for col in variables if col != 'params']
        return y, variables, core.apply(layer, mutable=stats)(spread(variables), *args)

    same(run)


@pytest.mark.parametrize('norm', ['layer_norm', 'group_norm', 'batch_norm'])
@pytest.mark.parametrize('dtypes', [(BF16, jnp.float32), (jnp.float32, BF16), (BF16, BF16)])
def test_norms_of_other_dtypes_are_equal(norm, dtypes):
    x, options = IMAGE.astype(dtypes[0]), {'num_groups': 2} if norm == 'group_norm' else {}

    def run(lib):
        core = lib.load('core')
        layer = functools.partial(getattr(core.nn, norm), dtype=dtypes[1], **options)
        variables = spread(core.init(layer)(KEY, x)[1])
        return core.apply(layer, mutable=['batch_stats'])(variables, x)

    same(run)


def test_statistics_over_devices_are_equal():
    def run(lib):
        core = lib.load('core')
        layer = functools.partial(core.nn.batch_norm, axis_name='d')
        variables = core.init(core.nn.batch_norm)(KEY, ROWS)[1]
        step = core.apply(layer, mutable=['batch_stats'])
        return jax.vmap(step, (None, 0), axis_name='d')(variables, drawn(2, 3, 4))

    same(run)


@pytest.mark.parametrize(
    ('axis', 'options'),
    [
        (None, {}),
        ((2,), {'dropout_rate': 0.5, 'broadcast_dropout': False, 'dtype': BF16}),
        ((2, 1), {}),
    ],
)
def test_attention_over_any_axes_is_equal(axis, options):
    q, k, v = drawn(2, 3, 2, 2, 4), drawn(2, 3, 2, 2, 4) * 2, drawn(2, 3, 2, 2, 3)

    def run(lib):
        core = lib.load('core')
        attend = functools.partial(core.nn.dot_product_attention, axis=axis, **options)
        return core.apply(attend)({}, q, k, v, rngs={'dropout': KEY})

    same(run)


def test_dropout_is_equal():
    def run(lib):
        core = lib.load('core')
        drop = core.apply(core.nn.dropout)
        return (
            drop({}, ROWS, 0.5, rngs={'dropout': KEY}),
            drop({}, ROWS, 0.5, rng=KEY),
            drop({}, ROWS, 0.5, deterministic=True),
            drop({}, ROWS, 0.0),
            drop({}, ROWS, 1.0, rng=KEY),
        )

    same(run)


def test_embeddings_are_equal():
    def run(lib):
        core = lib.load('core')

        def embed(scope, ids):
            table = core.nn.embedding(scope, 5, 3)
            return table.lookup(ids), table.attend(drawn(2, 3)), jax.tree.leaves(table)

        return core.init(embed)(KEY, IDS)

    same(run)


def test_masks_of_planes_let_a_query_see_the_keys_that_are_there():
    queries = np.array([1, 1, 0, 1, 0, 1]).reshape(1, 2, 3, 1)
    keys = np.array([1, 0]).reshape(1, 2, 1, 1)
    shapes = (1, 2, 3, 2, 4), (1, 2, 1, 2, 4)
    mask = make_padding_mask(jnp.asarray(queries), jnp.asarray(keys), *shapes)
    np.testing.assert_array_equal(
        mask[0, 0], queries[0, :, :, 0][:, :, None, None] * keys[0, :, :, 0]
    )
    columns = make_padding_mask(
        jnp.asarray(queries), jnp.asarray(queries), shapes[0], shapes[0], attention_axis=1
    )
    assert columns.shape == (1, 3, 1, 2, 2)
    np.testing.assert_array_equal(columns[0, 2, 0], [[0, 0], [0, 1]])


def test_a_causal_mask_works_between_sequences_of_other_lengths():
    attend = functools.partial(nn.multi_head_dot_product_attention, num_heads=1, causal_mask=True)
    q, kv = drawn(1, 2, 4) * 0.1, drawn(1, 3, 4)
    variables = spread(jax.eval_shape(init(attend), KEY, q, kv)[1])
    changed = kv.at[0, 1:].add(0.5)
    before, after = (apply(attend)(variables, q, x) for x in (kv, changed))
    np.testing.assert_array_equal(before[0, 0], after[0, 0])
    assert (before[0, 1] != after[0, 1]).any()


@pytest.mark.parametrize(
    ('program', 'error', 'message'),
    [
        (lambda: nn.linear.Embedding(jnp.ones((2, 3))).lookup(ROWS), TokenIdError, 'float32'),
        (lambda: init(nn.group_norm)(KEY, ROWS, 2, 2), InvalidOptionError, 'one of num_groups=2'),
        (lambda: init(nn.group_norm)(KEY, ROWS, 3), InvalidOptionError, '4 features .* 3 groups'),
        (
            lambda: init(nn.multi_head_dot_product_attention)(KEY, ROWS, ROWS, 3),
            InvalidOptionError,
            '4 features, 3 heads',
        ),
        (
            lambda: init(nn.multi_head_dot_product_attention)(KEY, ROWS, ROWS, 2, cache=True),
            InvalidOptionError,
            r'cache=True(.|\n)*decode=True',
        ),
        (
            lambda: apply(nn.dot_product_attention)({}, IMAGE, IMAGE, IMAGE, axis=3),
            InvalidOptionError,
            r'axes \(3,\)',
        ),
        (
            lambda: apply(nn.dot_product_attention)({}, IMAGE, IMAGE, IMAGE[:1]),
            InputShapeError,
            'do not fit',
        ),
    ],
)
def test_mistakes_are_named(program, error, message):
    with pytest.raises(error, match=message):
        program()

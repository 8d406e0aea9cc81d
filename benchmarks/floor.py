"""The floor: the same models written by hand in JAX, as someone would who needs nothing else."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.models import Model, Scale, functional, inputs_of

Tree = dict[str, Any]
_lecun = jax.nn.initializers.lecun_normal()


def floor_model(name: str, scale: Scale, layers: int | None = None) -> Model:
    """A model by hand."""
    layers = layers or scale.layers
    make, run = {
        'transformer': (
            functools.partial(_init_transformer, scale, layers),
            functools.partial(_transformer, scale),
        ),
        'ResNet-50': (functools.partial(_init_resnet, scale), functools.partial(_resnet, scale)),
        'ResNet-50, blocks by name': (
            functools.partial(_init_blocks_by_name, scale),
            functools.partial(_blocks_by_name, scale),
        ),
        'seq2seq': (functools.partial(_init_seq2seq, scale), _seq2seq),
        'seq2seq, gates apart': (functools.partial(_init_gates_apart, scale), _gates_apart),
        'MLP': (_init_mlp, _mlp),
    }[name]

    def apply(variables: Tree, *inputs: Any) -> Any:
        return run(variables, None, *inputs)[0]

    return functional(make, apply, inputs_of(name, scale), run)


def _keys(key: Any, n: int) -> Iterator[Any]:
    return iter(jax.random.split(key, n))


def _dense(p: Tree, x: Any) -> Any:
    return lax.dot_general(x, p['kernel'], (((x.ndim - 1,), (0,)), ((), ()))) + p['bias']


def _init_dense(key: Any, n_in: int, n_out: int) -> Tree:
    return {'kernel': _lecun(key, (n_in, n_out)), 'bias': jnp.zeros(n_out)}


def _init_norm(width: int) -> Tree:
    return {'scale': jnp.ones(width), 'bias': jnp.zeros(width)}


def _statistics(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    mean = x.mean(axes)
    return mean, jnp.maximum(0.0, lax.square(x).mean(axes) - lax.square(mean))


def _layer_norm(p: Tree, x: Any) -> Any:
    mean, var = (s[..., None] for s in _statistics(x, (-1,)))
    return (x - mean) * (lax.rsqrt(var + 1e-6) * p['scale']) + p['bias']


class _Drops:
    """Draws a new mask at each call, where there is a key."""

    def __init__(self, key: Any) -> None:
        self.key, self.count = key, itertools.count()

    def kept(self, rate: float, shape: tuple[int, ...]) -> Any:
        key = jax.random.fold_in(self.key, next(self.count))
        return jax.random.bernoulli(key, 1 - rate, shape)

    def __call__(self, rate: float, x: Any) -> Any:
        if self.key is None:
            return x
        return jnp.where(self.kept(rate, x.shape), x / (1 - rate), 0)


# The transformer.


def _init_transformer(scale: Scale, layers: int, key: Any) -> Tree:
    keys, d, depth = _keys(key, 6 * layers + 3), scale.width, scale.width // scale.heads

    def project() -> Tree:
        kernel = _lecun(next(keys), (d, d)).reshape(d, scale.heads, depth)
        return {'kernel': kernel, 'bias': jnp.zeros((scale.heads, depth))}

    def block() -> Tree:
        out = _lecun(next(keys), (d, d)).reshape(scale.heads, depth, d)
        return {
            'norm_0': _init_norm(d),
            'norm_1': _init_norm(d),
            'query': project(),
            'key': project(),
            'value': project(),
            'out': {'kernel': out, 'bias': jnp.zeros(d)},
            'up': _init_dense(next(keys), d, 4 * d),
            'down': _init_dense(next(keys), 4 * d, d),
        }

    params = {
        'embed': jax.random.normal(next(keys), (scale.vocabulary, d)),
        'pos': 0.02 * jax.random.normal(next(keys), (2 * scale.length, d)),
        'blocks': [block() for _ in range(layers)],
        'norm': _init_norm(d),
        'head': _init_dense(next(keys), d, scale.vocabulary),
    }
    return {'params': params}


def _attend(p: Tree, x: Any, mask: Any, drop: _Drops) -> Any:
    def project(name: str) -> Any:
        kernel, bias = p[name]['kernel'], p[name]['bias']
        return lax.dot_general(x, kernel, (((2,), (0,)), ((), ()))) + bias

    query, key, value = project('query'), project('key'), project('value')
    query = query / jnp.sqrt(query.shape[-1]).astype(query.dtype)
    logits = jnp.einsum('...qhd,...khd->...hqk', query, key)
    weights = jax.nn.softmax(jnp.where(mask, logits, jnp.finfo(logits.dtype).min))
    if drop.key is not None:
        kept = drop.kept(0.1, (1, 1, *weights.shape[-2:]))
        weights = weights * (kept.astype(weights.dtype) / jnp.asarray(0.9, weights.dtype))
    y = jnp.einsum('...hqk,...khd->...qhd', weights, value)
    kernel, bias = p['out']['kernel'], p['out']['bias']
    return lax.dot_general(y, kernel, (((2, 3), (0, 1)), ((), ()))) + bias


def _transformer(scale: Scale, variables: Tree, key: Any, tokens: Any) -> tuple[Any, Tree]:
    p, drop = variables['params'], _Drops(key)
    x = jnp.take(p['embed'], tokens, axis=0) + p['pos'][: tokens.shape[1]]
    at = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    mask = (at[:, :, None] >= at[:, None, :])[:, None]
    for b in p['blocks']:
        x = x + drop(0.1, _attend(b, _layer_norm(b['norm_0'], x), mask, drop))
        h = jax.nn.gelu(_dense(b['up'], _layer_norm(b['norm_1'], x)))
        x = x + drop(0.1, _dense(b['down'], h))
    return _dense(p['head'], _layer_norm(p['norm'], x)), {}


# The residual network.


def _blocks(scale: Scale) -> Iterator[tuple[int, int]]:
    """Filters and stride of each bottleneck."""
    for i, n in enumerate(scale.stages):
        for j in range(n):
            yield scale.filters * 2**i, 2 if i > 0 and j == 0 else 1


def _init_resnet(scale: Scale, key: Any) -> Tree:
    keys, width = _keys(key, 4 * sum(scale.stages) + 2), scale.filters
    stats: list[Any] = []

    def conv(size: int, n_in: int, n_out: int) -> Tree:
        stats.append({'mean': jnp.zeros(n_out), 'var': jnp.ones(n_out)})
        return {'kernel': _lecun(next(keys), (size, size, n_in, n_out)), **_init_norm(n_out)}

    params: Tree = {'stem': conv(7, 3, width), 'blocks': []}
    for filters, stride in _blocks(scale):
        block = [conv(1, width, filters), conv(3, filters, filters), conv(1, filters, 4 * filters)]
        if stride > 1 or width != 4 * filters:
            block.append(conv(1, width, 4 * filters))
        params['blocks'].append(block)
        width = 4 * filters
    params['head'] = _init_dense(next(keys), width, scale.classes)
    return {'params': params, 'batch_stats': stats}


def _resnet(scale: Scale, variables: Tree, key: Any, x: Any) -> tuple[Any, Tree]:
    p, train = variables['params'], key is not None
    old, new = iter(variables['batch_stats']), []

    def conv(p: Tree, x: Any, stride: int = 1) -> Any:
        layout = ('NHWC', 'HWIO', 'NHWC')
        y = lax.conv_general_dilated(
            x, p['kernel'], (stride, stride), 'SAME', dimension_numbers=layout
        )
        stats = next(old)
        mean, var = stats['mean'], stats['var']
        if train:
            mean, var = _statistics(y, (0, 1, 2))
            new.append({n: 0.9 * stats[n] + 0.1 * s for n, s in (('mean', mean), ('var', var))})
        return (y - mean) * (lax.rsqrt(var + 1e-5) * p['scale']) + p['bias']

    x = jax.nn.relu(conv(p['stem'], x, 2))
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), 'SAME')
    for b, (_, stride) in zip(p['blocks'], _blocks(scale), strict=True):
        y = jax.nn.relu(conv(b[0], x))
        y = jax.nn.relu(conv(b[1], y, stride))
        y = conv(b[2], y)
        x = jax.nn.relu(y + (conv(b[3], x, stride) if len(b) > 3 else x))
    return _dense(p['head'], x.mean((1, 2))), {'batch_stats': new} if train else {}


def _init_blocks_by_name(scale: Scale, key: Any) -> Tree:
    """The blocks in a dict, as in Linen's trees: JAX takes ``block_10`` before ``block_2``."""
    variables = _init_resnet(scale, key)
    params = dict(variables['params'])
    params['blocks'] = {f'block_{i}': block for i, block in enumerate(params['blocks'])}
    return {**variables, 'params': params}


def _blocks_by_name(scale: Scale, variables: Tree, key: Any, x: Any) -> tuple[Any, Tree]:
    params = dict(variables['params'])
    blocks = params['blocks']
    params['blocks'] = [blocks[f'block_{i}'] for i in range(len(blocks))]
    return _resnet(scale, {**variables, 'params': params}, key, x)


# The recurrent network and the small one.


def _init_lstm(key: Any, width: int) -> Tree:
    keys = _keys(key, 2)
    orthogonal = jax.nn.initializers.orthogonal()
    wide = (width, 4 * width)
    recurrent = jnp.concatenate(
        [orthogonal(k, (width, width)) for k in jax.random.split(next(keys), 4)], 1
    )
    return {'input': _lecun(next(keys), wide), 'state': recurrent, 'bias': jnp.zeros(wide[1])}


def lstm(p: Tree, carry: Any, xs: Any) -> tuple[Any, Any]:
    """An LSTM: ``[batch, length, width] -> [batch, length, width]``, and its last carry."""

    def step(carry: Any, x: Any) -> tuple[Any, Any]:
        c, h = carry
        i, f, g, o = jnp.split(x @ p['input'] + h @ p['state'] + p['bias'], 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h

    carry, ys = lax.scan(step, carry, jnp.swapaxes(xs, 0, 1))
    return carry, jnp.swapaxes(ys, 0, 1)


def _init_seq2seq(scale: Scale, key: Any) -> Tree:
    keys, width = _keys(key, 4), scale.hidden
    params = {
        'embed': jax.random.normal(next(keys), (scale.letters, width)),
        'reader': _init_lstm(next(keys), width),
        'writer': _init_lstm(next(keys), width),
        'head': _init_dense(next(keys), width, scale.letters),
    }
    return {'params': params}


def _seq2seq(variables: Tree, key: Any, source: Any, target: Any) -> tuple[Any, Tree]:
    p = variables['params']
    zeros = jnp.zeros((source.shape[0], p['embed'].shape[1]))
    carry, _ = lstm(p['reader'], (zeros, zeros), jnp.take(p['embed'], source, axis=0))
    _, y = lstm(p['writer'], carry, jnp.take(p['embed'], target, axis=0))
    return _dense(p['head'], y), {}


def _init_gates_apart(scale: Scale, key: Any) -> Tree:
    """The parameters of the gates as leaves of their own, as Linen's trees and checkpoints have."""
    params = _init_seq2seq(scale, key)['params']
    for name in ('reader', 'writer'):
        params[name] = jax.tree.map(lambda x: jnp.split(x, 4, -1), params[name])
    return {'params': params}


def _gates_apart(variables: Tree, key: Any, source: Any, target: Any) -> tuple[Any, Tree]:
    params = dict(variables['params'])
    for name in ('reader', 'writer'):
        params[name] = {kind: jnp.concatenate(gates, -1) for kind, gates in params[name].items()}
    return _seq2seq({'params': params}, key, source, target)


def _init_mlp(key: Any) -> Tree:
    return {'params': _init_dense(key, 4, 3)}


def _mlp(variables: Tree, key: Any, x: Any) -> tuple[Any, Tree]:
    return _Drops(key)(0.5, _dense(variables['params'], x)), {}

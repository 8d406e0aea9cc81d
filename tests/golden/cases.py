"""The configuration of each layer whose numbers the golden files hold, and how it is run.

A *case* is one layer with what it is called with. Its file holds a flat dictionary: ``variables/``
that ``init`` makes, the ``output``, the collections that ``apply`` ``changed``, and the
``gradient`` with respect to the variables (``0``) and to the arguments (``1``).

Inputs are exact numbers, made without a generator. Parameters have 16 elements or a multiple: then
vector instructions draw them all, and no remainder goes through other code with another last bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import linnet.linen
from linnet.serialization import msgpack_restore, msgpack_serialize, to_state_dict
from linnet.traverse_util import flatten_dict, unflatten_dict

DATA = Path(__file__).parent / 'data'
Numbers = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer, made out of the ``linen`` module of a library, and what it is called with."""

    build: Callable[[Any], Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    mutable: tuple[str, ...] = ()


def numbers(*shape: int) -> np.ndarray:
    """Multiples of 1/8 from -1 to 1, which float32 and products of a few of them hold exactly."""
    return ((np.arange(np.prod(shape)) * 7 + 3) % 17 / 8 - 1).astype(np.float32).reshape(shape)


def inside(call: Callable[..., Any]) -> Callable[[Any], Any]:
    """Builds a model whose method is ``call(nn, *args)``."""

    def build(nn: Any) -> Any:
        class Net(nn.Module):
            @nn.compact
            def __call__(self, *args: Any) -> Any:
                return call(nn, *args)

        return Net()

    return build


def cell(name: str) -> Case:
    state = numbers(2, 4)
    carry = (state, -state) if 'LSTM' in name else state
    return Case(lambda nn: getattr(nn, name)(4), (carry, numbers(2, 4)))


def product(name: str) -> Case:
    first = ('ab,bc->ac',) if name == 'Fp8Einsum' else ()
    last = () if first else ((((1,), (0,)), ((), ())),)
    build = inside(lambda nn, x, k: getattr(nn, name)(amax_history_length=2)(*first, x, k, *last))
    return Case(build, (numbers(3, 2), numbers(2, 4)))


def pooling(name: str, *options: Any) -> Case:
    return Case(
        inside(lambda nn, x: getattr(nn.pooling, name)(x, *options)), (numbers(1, 5, 4, 1),)
    )


X = numbers(2, 3, 4)
CAUSAL = np.tril(np.ones((1, 1, 3, 3), bool))
STATS = {'mutable': ('batch_stats',)}

CASES: dict[str, Case] = {
    'BatchApply': Case(inside(lambda nn, x: nn.BatchApply(nn.Dense(4))(x)), (X,)),
    'BatchNorm': Case(lambda nn: nn.BatchNorm(False, momentum=0.5), (X,), **STATS),
    'Bidirectional': Case(
        lambda nn: nn.Bidirectional(nn.RNN(nn.MGUCell(4)), nn.RNN(nn.LSTMCell(4))),
        (X,),
        {'seq_lengths': np.array([2, 3])},
    ),
    'Conv': Case(
        lambda nn: nn.Conv(4, (2, 2), 2, 'CIRCULAR', feature_group_count=2), (numbers(1, 4, 5, 4),)
    ),
    'ConvLSTMCell': Case(
        lambda nn: nn.ConvLSTMCell(2, (2,)),
        ((numbers(1, 3, 2), -numbers(1, 3, 2)), numbers(1, 3, 1)),
    ),
    'ConvLocal': Case(lambda nn: nn.ConvLocal(2, (2,), padding='VALID'), (X,)),
    'ConvTranspose': Case(lambda nn: nn.ConvTranspose(2, (2,), (2,)), (X,)),
    'Dense': Case(lambda nn: nn.Dense(4), (X[0],)),
    'DenseGeneral': Case(lambda nn: nn.DenseGeneral((2, 4), (-1, 1), (0,)), (numbers(2, 2, 3, 2),)),
    'Dropout': Case(lambda nn: nn.Dropout(0.25, (0,), deterministic=False), (X,)),
    'Einsum': Case(lambda nn: nn.Einsum((4, 4), '...a,ab->...b'), (X,)),
    'Embed': Case(lambda nn: nn.Embed(4, 4), (np.array([[0, 3], [2, 2]], np.int32),)),
    'Fp8DirectDotGeneralOp': product('Fp8DirectDotGeneralOp'),
    'Fp8DotGeneralOp': product('Fp8DotGeneralOp'),
    'Fp8Einsum': product('Fp8Einsum'),
    'GRUCell': cell('GRUCell'),
    'GroupNorm': Case(lambda nn: nn.GroupNorm(2), (X,)),
    'InstanceNorm': Case(lambda nn: nn.InstanceNorm(), (X,)),
    'LSTMCell': cell('LSTMCell'),
    'LayerNorm': Case(lambda nn: nn.LayerNorm(), (X,)),
    'MGUCell': cell('MGUCell'),
    'MultiHeadAttention': Case(
        lambda nn: nn.MultiHeadAttention(2, decode=True), (X[:, :1],), mutable=('cache',)
    ),
    'MultiHeadDotProductAttention': Case(
        lambda nn: nn.MultiHeadDotProductAttention(
            2,
            qkv_features=16,
            out_kernel_init=nn.initializers.glorot_uniform(),
            dropout_rate=0.25,
            deterministic=False,
            normalize_qk=True,
        ),
        (X, X[:, ::-1]),
        {'mask': CAUSAL},
    ),
    'NANOOFp8DotGeneralOp': product('NANOOFp8DotGeneralOp'),
    'OptimizedLSTMCell': cell('OptimizedLSTMCell'),
    'PReLU': Case(lambda nn: nn.PReLU(), (X,)),
    'RMSNorm': Case(lambda nn: nn.RMSNorm(), (X,)),
    'RNN': Case(lambda nn: nn.RNN(nn.GRUCell(4), return_carry=True), (X,)),
    'SelfAttention': Case(
        lambda nn: nn.SelfAttention(2, out_kernel_init=nn.initializers.glorot_uniform()),
        (X, CAUSAL),
    ),
    'Sequential': Case(lambda nn: nn.Sequential([nn.Dense(4), nn.relu, nn.Dense(4)]), (X,)),
    'SimpleCell': cell('SimpleCell'),
    'SpectralNorm': Case(
        lambda nn: nn.SpectralNorm(nn.Dense(4)), (X,), {'update_stats': True}, **STATS
    ),
    'Stack': Case(lambda nn: nn.Stack(nn.Dense(4), 2), (X,)),
    'WeightNorm': Case(lambda nn: nn.WeightNorm(nn.Dense(4)), (X,)),
    'avg_pool': pooling('avg_pool', (2, 2), (2, 1), 'SAME'),
    'max_pool': pooling('max_pool', (2, 3), (1, 1), ((1, 0), (0, 1))),
    'min_pool': pooling('min_pool', (3, 2)),
    'pool': pooling('pool', 0.0, lax.add, (2, 2), (1, 2), 'VALID'),
}


def init(name: str, nn: Any = linnet.linen) -> Any:
    """The variables that a layer makes; ``nn`` is the ``linen`` module of a library."""
    case = CASES[name]
    rngs = {'params': jax.random.key(0), 'dropout': jax.random.key(1)}
    return case.build(nn).init(rngs, *case.args, **case.kwargs)


def apply(name: str, variables: Any, nn: Any = linnet.linen) -> Any:
    """The output of a layer, the collections that it changed, and its gradient."""
    case = CASES[name]
    fixed = {col: part for col, part in variables.items() if col in case.mutable}
    trained = {col: part for col, part in variables.items() if col not in case.mutable}

    def loss(trained: Any, args: Any) -> Any:
        options = {'rngs': {'dropout': jax.random.key(1)}, 'mutable': list(case.mutable)}
        y, changed = case.build(nn).apply({**fixed, **trained}, *args, **options, **case.kwargs)
        return sum(map(weighted, jax.tree.leaves(y))), {'output': y, 'changed': changed}

    differentiate = jax.grad(loss, argnums=(0, 1), has_aux=True, allow_int=True)
    gradient, more = jax.jit(differentiate)(trained, case.args)
    return {**more, 'gradient': gradient}


def weighted(x: Any) -> Any:
    """The sum of an output in which each element has a weight of its own."""
    return jnp.sum(x * numbers(*x.shape) / 4)


def masks(nn: Any = linnet.linen) -> Any:
    """What dropout keeps, for both kinds of key, and masks of attention."""

    def kept(rate: float, new_key: Any, *axes: int) -> Any:
        layer = nn.Dropout(rate, axes, deterministic=False)
        return layer.apply({}, np.ones((3, 8), np.float32), rngs={'dropout': new_key(7)}) != 0

    def attended(shared: bool) -> Any:
        options = {'dropout_rng': jax.random.key(3), 'dropout_rate': 0.5}
        query = np.ones((2, 3, 2, 4), np.float32)
        weights = nn.dot_product_attention_weights(
            query, query, broadcast_dropout=shared, **options
        )
        return weights != 0

    tokens = np.array([[1, 1, 0], [1, 0, 0]], np.float32)
    causal, padding = nn.make_causal_mask(tokens), nn.make_attention_mask(tokens, tokens)
    return {
        'dropout': [kept(0.5, jax.random.key), kept(0.125, jax.random.PRNGKey)],
        'dropout of rows': kept(0.5, jax.random.key, -1),
        'attention dropout': [attended(True), attended(False)],
        'causal': causal,
        'padding': padding,
        'combined': nn.combine_masks(causal, None, padding, dtype=bool),
    }


def drawn_by_jax() -> Any:
    """What the initialisers of JAX draw, without any library: see ``test_golden``."""
    inits = [jax.nn.initializers.lecun_normal(), jax.nn.initializers.orthogonal()]
    return [init(jax.random.key(0), (4, 4), jnp.float32) for init in inits]


def flat(tree: Any) -> Numbers:
    """Leaves by path; without gradients of integers, which hold nothing."""
    leaves = flatten_dict(to_state_dict(tree), sep='/')
    arrays = {path: np.asarray(leaves[path]) for path in sorted(leaves)}
    return {path: x for path, x in arrays.items() if x.dtype != jax.dtypes.float0}


def read(name: str) -> Numbers:
    """The numbers of a golden file, by path."""
    return msgpack_restore((DATA / f'{name}.msgpack').read_bytes())


def write(name: str, tree: Any) -> None:
    """Makes a golden file."""
    (DATA / f'{name}.msgpack').write_bytes(msgpack_serialize(flat(tree)))


def stored(variables: Any, golden: Numbers) -> Any:
    """Variables of the same structure with the values of a golden file."""
    leaves = flatten_dict(to_state_dict(variables))
    return unflatten_dict({path: golden['/'.join(('variables', *path))] for path in leaves})

"""Layers as functions of a scope, for programs without modules.

Each takes a :class:`~linnet.core.scope.Scope`, declares its parameters there, and returns its
output::

    from linnet.core import init, nn

    def mlp(scope, x):
        x = nn.relu(scope.child(nn.dense, 'hidden')(x, 64))
        return scope.child(nn.dense, 'out')(x, 10)

    y, variables = init(mlp)(key, x)

They compute in float32 unless ``dtype`` says otherwise. :mod:`linnet.linen` has more.
"""

from linnet.core.nn import attention as attention
from linnet.core.nn import linear as linear
from linnet.core.nn import normalization as normalization
from linnet.core.nn import stochastic as stochastic
from linnet.core.nn.attention import dot_product_attention as dot_product_attention
from linnet.core.nn.attention import (
    multi_head_dot_product_attention as multi_head_dot_product_attention,
)
from linnet.core.nn.linear import Embedding as Embedding
from linnet.core.nn.linear import conv as conv
from linnet.core.nn.linear import conv_transpose as conv_transpose
from linnet.core.nn.linear import dense as dense
from linnet.core.nn.linear import dense_general as dense_general
from linnet.core.nn.linear import embedding as embedding
from linnet.core.nn.normalization import batch_norm as batch_norm
from linnet.core.nn.normalization import group_norm as group_norm
from linnet.core.nn.normalization import layer_norm as layer_norm
from linnet.core.nn.stochastic import dropout as dropout
from linnet.linen import activation as activation
from linnet.linen import initializers as initializers
from linnet.linen.activation import celu as celu
from linnet.linen.activation import elu as elu
from linnet.linen.activation import gelu as gelu
from linnet.linen.activation import glu as glu
from linnet.linen.activation import leaky_relu as leaky_relu
from linnet.linen.activation import log_sigmoid as log_sigmoid
from linnet.linen.activation import log_softmax as log_softmax
from linnet.linen.activation import relu as relu
from linnet.linen.activation import sigmoid as sigmoid
from linnet.linen.activation import silu as silu
from linnet.linen.activation import soft_sign as soft_sign
from linnet.linen.activation import softmax as softmax
from linnet.linen.activation import softplus as softplus
from linnet.linen.activation import swish as swish
from linnet.linen.activation import tanh as tanh
from linnet.linen.pooling import avg_pool as avg_pool
from linnet.linen.pooling import max_pool as max_pool

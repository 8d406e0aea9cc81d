"""The layers, the module system and the lifted transforms: ``import linnet.linen as nn``."""

from linnet._frozen_dict import FrozenDict as FrozenDict
from linnet.core import meta as meta
from linnet.core.filters import DenyList as DenyList
from linnet.core.meta import PARTITION_NAME as PARTITION_NAME
from linnet.core.meta import Partitioned as Partitioned
from linnet.core.meta import get_partition_spec as get_partition_spec
from linnet.core.meta import get_sharding as get_sharding
from linnet.core.meta import unbox as unbox
from linnet.core.meta import with_partitioning as with_partitioning
from linnet.core.variables import Variable as Variable
from linnet.linen import activation as activation
from linnet.linen import batch_apply as batch_apply
from linnet.linen import combinators as combinators
from linnet.linen import dtypes as dtypes
from linnet.linen import initializers as initializers
from linnet.linen import linear as linear
from linnet.linen import module as module
from linnet.linen import pooling as pooling
from linnet.linen import stochastic as stochastic
from linnet.linen._conv import Conv as Conv
from linnet.linen._conv import ConvLocal as ConvLocal
from linnet.linen._conv import ConvTranspose as ConvTranspose
from linnet.linen._dense import Dense as Dense
from linnet.linen._dense import DenseGeneral as DenseGeneral
from linnet.linen._dense import Einsum as Einsum
from linnet.linen._embed import Embed as Embed
from linnet.linen.activation import PReLU as PReLU
from linnet.linen.activation import celu as celu
from linnet.linen.activation import elu as elu
from linnet.linen.activation import gelu as gelu
from linnet.linen.activation import glu as glu
from linnet.linen.activation import hard_sigmoid as hard_sigmoid
from linnet.linen.activation import hard_silu as hard_silu
from linnet.linen.activation import hard_swish as hard_swish
from linnet.linen.activation import hard_tanh as hard_tanh
from linnet.linen.activation import leaky_relu as leaky_relu
from linnet.linen.activation import log_sigmoid as log_sigmoid
from linnet.linen.activation import log_softmax as log_softmax
from linnet.linen.activation import logsumexp as logsumexp
from linnet.linen.activation import normalize as normalize
from linnet.linen.activation import one_hot as one_hot
from linnet.linen.activation import relu as relu
from linnet.linen.activation import relu6 as relu6
from linnet.linen.activation import selu as selu
from linnet.linen.activation import sigmoid as sigmoid
from linnet.linen.activation import silu as silu
from linnet.linen.activation import soft_sign as soft_sign
from linnet.linen.activation import softmax as softmax
from linnet.linen.activation import softplus as softplus
from linnet.linen.activation import standardize as standardize
from linnet.linen.activation import swish as swish
from linnet.linen.activation import tanh as tanh
from linnet.linen.combinators import Sequential as Sequential
from linnet.linen.initializers import ones as ones
from linnet.linen.initializers import ones_init as ones_init
from linnet.linen.initializers import zeros as zeros
from linnet.linen.initializers import zeros_init as zeros_init
from linnet.linen.module.base import Module as Module
from linnet.linen.module.binding import share_scope as share_scope
from linnet.linen.module.context import disable_named_call as disable_named_call
from linnet.linen.module.context import enable_named_call as enable_named_call
from linnet.linen.module.context import intercept_methods as intercept_methods
from linnet.linen.module.context import override_named_call as override_named_call
from linnet.linen.module.decorators import compact as compact
from linnet.linen.module.decorators import nowrap as nowrap
from linnet.linen.module.entry import apply as apply
from linnet.linen.module.entry import init as init
from linnet.linen.module.entry import init_with_output as init_with_output
from linnet.linen.module.merge import merge_param as merge_param
from linnet.linen.module.name_scope import compact_name_scope as compact_name_scope
from linnet.linen.pooling import avg_pool as avg_pool
from linnet.linen.pooling import max_pool as max_pool
from linnet.linen.pooling import min_pool as min_pool
from linnet.linen.pooling import pool as pool
from linnet.linen.stochastic import Dropout as Dropout

__all__ = [
    'Conv',
    'ConvLocal',
    'ConvTranspose',
    'Dense',
    'DenseGeneral',
    'DenyList',
    'Dropout',
    'Einsum',
    'Embed',
    'FrozenDict',
    'Module',
    'PARTITION_NAME',
    'PReLU',
    'Partitioned',
    'Sequential',
    'Variable',
    'activation',
    'apply',
    'avg_pool',
    'batch_apply',
    'celu',
    'combinators',
    'compact',
    'compact_name_scope',
    'disable_named_call',
    'dtypes',
    'elu',
    'enable_named_call',
    'gelu',
    'get_partition_spec',
    'get_sharding',
    'glu',
    'hard_sigmoid',
    'hard_silu',
    'hard_swish',
    'hard_tanh',
    'init',
    'init_with_output',
    'initializers',
    'intercept_methods',
    'leaky_relu',
    'linear',
    'log_sigmoid',
    'log_softmax',
    'logsumexp',
    'max_pool',
    'merge_param',
    'meta',
    'min_pool',
    'module',
    'normalize',
    'nowrap',
    'one_hot',
    'ones',
    'ones_init',
    'override_named_call',
    'pool',
    'pooling',
    'relu',
    'relu6',
    'selu',
    'share_scope',
    'sigmoid',
    'silu',
    'soft_sign',
    'softmax',
    'softplus',
    'standardize',
    'stochastic',
    'swish',
    'tanh',
    'unbox',
    'with_partitioning',
    'zeros',
    'zeros_init',
]

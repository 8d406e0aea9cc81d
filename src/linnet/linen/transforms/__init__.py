"""Lifted transforms: what JAX does to functions, done to modules."""

from linnet._frozen_dict import FrozenDict as FrozenDict
from linnet.core.filters import CollectionFilter as CollectionFilter
from linnet.core.filters import PRNGSequenceFilter as PRNGSequenceFilter
from linnet.core.scope import Scope as Scope
from linnet.core.scope import Variable as Variable
from linnet.linen.module.base import Module as Module
from linnet.linen.transforms.autodiff import custom_vjp as custom_vjp
from linnet.linen.transforms.autodiff import grad as grad
from linnet.linen.transforms.autodiff import jvp as jvp
from linnet.linen.transforms.autodiff import value_and_grad as value_and_grad
from linnet.linen.transforms.autodiff import vjp as vjp
from linnet.linen.transforms.batch import remat_scan as remat_scan
from linnet.linen.transforms.batch import scan as scan
from linnet.linen.transforms.batch import vmap as vmap
from linnet.linen.transforms.control import cond as cond
from linnet.linen.transforms.control import switch as switch
from linnet.linen.transforms.control import while_loop as while_loop
from linnet.linen.transforms.methods import fork_rngs as fork_rngs
from linnet.linen.transforms.own import HashableProxy as _HashableProxy  # noqa: F401
from linnet.linen.transforms.own import TransformTarget as TransformTarget
from linnet.linen.transforms.own import decorator_lift_transform as decorator_lift_transform
from linnet.linen.transforms.own import (
    decorator_lift_transform_cached as decorator_lift_transform_cached,
)
from linnet.linen.transforms.own import lift_direct_transform as lift_direct_transform
from linnet.linen.transforms.own import lift_transform as lift_transform
from linnet.linen.transforms.own import lift_transform_cached as lift_transform_cached
from linnet.linen.transforms.own import module_class_lift_transform as module_class_lift_transform
from linnet.linen.transforms.own import (
    module_class_lift_transform_cached as module_class_lift_transform_cached,
)
from linnet.linen.transforms.staging import checkpoint as checkpoint
from linnet.linen.transforms.staging import jit as jit
from linnet.linen.transforms.staging import remat as remat
from linnet.linen.transforms.variables import add_metadata_axis as add_metadata_axis
from linnet.linen.transforms.variables import fold_rngs as fold_rngs
from linnet.linen.transforms.variables import map_variables as map_variables
from linnet.linen.transforms.variables import named_call as named_call
from linnet.typing import InOutAxis as InOutAxis
from linnet.typing import InOutScanAxis as InOutScanAxis

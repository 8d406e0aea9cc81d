"""The functional core: variables, scopes, keys, and how transforms see them.

Layers as functions of a scope, :mod:`linnet.core.nn`, are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from linnet._frozen_dict import FrozenDict as FrozenDict
from linnet._frozen_dict import copy as copy
from linnet._frozen_dict import freeze as freeze
from linnet._frozen_dict import pop as pop
from linnet._frozen_dict import pretty_repr as pretty_repr
from linnet._frozen_dict import unfreeze as unfreeze
from linnet.core import axes_scan as axes_scan
from linnet.core import frozen_dict as frozen_dict
from linnet.core import lift as lift
from linnet.core import meta as meta
from linnet.core import partial_eval as partial_eval
from linnet.core import scope as scope
from linnet.core import spmd as spmd
from linnet.core import tracers as tracers
from linnet.core import variables as variables
from linnet.core._scope import Scope as Scope
from linnet.core.axes_scan import broadcast as broadcast
from linnet.core.filters import DenyList as DenyList
from linnet.core.lift.autodiff import custom_vjp as custom_vjp
from linnet.core.lift.autodiff import jvp as jvp
from linnet.core.lift.autodiff import vjp as vjp
from linnet.core.lift.batch import remat_scan as remat_scan
from linnet.core.lift.batch import scan as scan
from linnet.core.lift.batch import vmap as vmap
from linnet.core.lift.control import while_loop as while_loop
from linnet.core.lift.staging import jit as jit
from linnet.core.lift.staging import remat as remat
from linnet.core.meta import AxisMetadata as AxisMetadata
from linnet.core.meta import map_axis_meta as map_axis_meta
from linnet.core.meta import unbox as unbox
from linnet.core.scope import apply as apply
from linnet.core.scope import bind as bind
from linnet.core.scope import init as init
from linnet.core.scope import lazy_init as lazy_init
from linnet.core.tracers import check_trace_level as check_trace_level
from linnet.core.tracers import current_trace as current_trace
from linnet.typing import Array as Array

if TYPE_CHECKING:
    from linnet.core import nn as nn


def __getattr__(name: str) -> Any:
    """Imports the layers at their first use."""
    if name == 'nn':
        return importlib.import_module('linnet.core.nn')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

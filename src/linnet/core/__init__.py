"""The functional core: variables, scopes, keys, and how transforms see them."""

from linnet._frozen_dict import FrozenDict as FrozenDict
from linnet._frozen_dict import copy as copy
from linnet._frozen_dict import freeze as freeze
from linnet._frozen_dict import pop as pop
from linnet._frozen_dict import pretty_repr as pretty_repr
from linnet._frozen_dict import unfreeze as unfreeze
from linnet.core._scope import Scope as Scope
from linnet.core.filters import DenyList as DenyList
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

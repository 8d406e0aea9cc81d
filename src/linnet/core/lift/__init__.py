"""JAX transforms of functions of scopes; :mod:`linnet.core.lift.boundary` tells the idea."""

from linnet.core.filters import CollectionFilter as CollectionFilter
from linnet.core.filters import PRNGSequenceFilter as PRNGSequenceFilter
from linnet.core.lift.autodiff import custom_vjp as custom_vjp
from linnet.core.lift.autodiff import jvp as jvp
from linnet.core.lift.autodiff import value_and_grad as value_and_grad
from linnet.core.lift.autodiff import vjp as vjp
from linnet.core.lift.batch import remat_scan as remat_scan
from linnet.core.lift.batch import scan as scan
from linnet.core.lift.batch import vmap as vmap
from linnet.core.lift.boundary import Boundary as Boundary
from linnet.core.lift.control import cond as cond
from linnet.core.lift.control import switch as switch
from linnet.core.lift.control import while_loop as while_loop
from linnet.core.lift.pack import pack as pack
from linnet.core.lift.pack import tree_map_rngs as tree_map_rngs
from linnet.core.lift.staging import checkpoint as checkpoint
from linnet.core.lift.staging import jit as jit
from linnet.core.lift.staging import remat as remat
from linnet.core.lift.variables import fold_rngs as fold_rngs
from linnet.core.lift.variables import id_fn as id_fn
from linnet.core.lift.variables import map_variables as map_variables
from linnet.core.lift.variables import swap_collection as swap_collection
from linnet.typing import In as In
from linnet.typing import InOutAxis as InOutAxis
from linnet.typing import InOutScanAxis as InOutScanAxis
from linnet.typing import Out as Out

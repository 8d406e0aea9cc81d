"""The module system: the class :class:`Module` and what works on modules."""

from linnet._frozen_dict import FrozenDict as FrozenDict
from linnet.core.filters import CollectionFilter as CollectionFilter
from linnet.core.filters import DenyList as DenyList
from linnet.core.scope import Scope as Scope
from linnet.core.scope import Variable as Variable
from linnet.linen.module.base import Module as Module
from linnet.linen.module.binding import share_scope as share_scope
from linnet.linen.module.calls import DescriptorWrapper as DescriptorWrapper
from linnet.linen.module.calls import InterceptorContext as InterceptorContext
from linnet.linen.module.calls import create_descriptor_wrapper as create_descriptor_wrapper
from linnet.linen.module.calls import run_interceptors as run_interceptors
from linnet.linen.module.calls import wrap_descriptor_once as wrap_descriptor_once
from linnet.linen.module.calls import wrap_method_once as wrap_method_once
from linnet.linen.module.context import Args as Args
from linnet.linen.module.context import Interceptor as Interceptor
from linnet.linen.module.context import Kwargs as Kwargs
from linnet.linen.module.context import NextGetter as NextGetter
from linnet.linen.module.context import context as _context  # noqa: F401
from linnet.linen.module.context import disable_named_call as disable_named_call
from linnet.linen.module.context import enable_named_call as enable_named_call
from linnet.linen.module.context import intercept_methods as intercept_methods
from linnet.linen.module.context import override_named_call as override_named_call
from linnet.linen.module.decorators import compact as compact
from linnet.linen.module.decorators import nowrap as nowrap
from linnet.linen.module.entry import apply as apply
from linnet.linen.module.entry import capture_call_intermediates as capture_call_intermediates
from linnet.linen.module.entry import init as init
from linnet.linen.module.entry import init_with_output as init_with_output
from linnet.linen.module.merge import merge_param as merge_param
from linnet.linen.module.name_scope import CompactNameScope as CompactNameScope
from linnet.linen.module.name_scope import compact_name_scope as compact_name_scope
from linnet.linen.module.plan import local_method_names as _get_local_method_names  # noqa: F401
from linnet.linen.module.state import ModuleBase as ModuleBase
from linnet.linen.module.state import ParentDescriptor as ParentDescriptor
from linnet.linen.module.state import SetupState as SetupState
from linnet.linen.module.state import module_field as module_field
from linnet.linen.module.trees import freeze_attribute as _freeze_attr  # noqa: F401
from linnet.linen.module.trees import suffixed_leaves as _get_suffix_value_pairs  # noqa: F401
from linnet.linen.module.variables import tuple_init as tuple_init
from linnet.linen.module.variables import tuple_reduce as tuple_reduce
from linnet.typing import FrozenVariableDict as FrozenVariableDict
from linnet.typing import PRNGKey as PRNGKey
from linnet.typing import RNGSequences as RNGSequences
from linnet.typing import VariableDict as VariableDict
